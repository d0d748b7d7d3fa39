"""How a run got where it is: its epochs as figures, and in sentences why this one was kept and what the curves say."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from harness.base import figures, html
from harness.base.figures import BLUE, RED
from harness.base.html import Html
from harness.base.text import count
from harness.results.history import Row
from harness.results.report.facts import RunFacts

_WIDTH, _HEIGHT = 4.7, 3.1  # inches; two find room beside each other
_RISEN, _LEAST_RISE = 1.1, 0.05  # times the lowest validation loss, and nats above it, that make a rise
_LEAST_EPOCHS = 3  # that curves say something
_MOST_ROWS, _MOST_DOTS = 100, 60  # epochs in the table, and with a dot each


def describe(facts: RunFacts) -> Html:
    """Returns the section."""
    curves = html.drawn(
        [
            _draw_pair(facts, "loss", "cross-entropy [nats]"),
            _draw_pair(facts, "accuracy", "share of pictures"),
            *_draw_monitor(facts),
            *_draw_rate(facts),
            _draw_single(
                facts, "images_per_s", "seconds of training an epoch", "seconds", lambda v: facts.num_train / v
            ),
        ]
    )
    shaded = "Shaded: epochs that may not be kept. " if facts.config.train.keep == "best" else ""
    legend = (
        f"{shaded}Dashed: the epoch that is kept. Dotted: the lowest validation loss. The training figures are those "
        "of augmented pictures, with dropout, during the epoch."
    )
    return Html(
        f"{html.paragraphs(explain(facts))}{curves}{html.paragraphs([legend], kind='quiet')}"
        f"{html.fold('the epochs as a table', _table(facts.history))}"
    )


def explain(facts: RunFacts) -> list[str]:
    """Returns why the epoch was kept, whether the run learnt by heart, and how its learning rate and time went."""
    return [*facts.kept.explain(), _explain_fit(facts), _explain_pace(facts)]


def _explain_fit(facts: RunFacts) -> str:
    rows = facts.history
    lowest, last = facts.kept.lowest, rows[-1]
    if len(rows) < _LEAST_EPOCHS:
        few = f"{count(len(rows), 'epoch')} {'is' if len(rows) == 1 else 'are'} too few"
        return f"{few} to say whether it learns the training pictures by heart."
    has_risen = last["val_loss"] > max(_RISEN * lowest["val_loss"], lowest["val_loss"] + _LEAST_RISE)
    if has_risen and last["loss"] < lowest["loss"]:
        return (
            f"Overfitting: from epoch {lowest['epoch']:.0f} to {last['epoch']:.0f} the validation loss rose by "
            f"{last['val_loss'] / lowest['val_loss'] - 1:.0%}, from {lowest['val_loss']:.4f} to "
            f"{last['val_loss']:.4f}, while the training loss fell from {lowest['loss']:.4f} to {last['loss']:.4f}. "
            "More pictures, more augmentation, more dropout or a smaller network help."
        )
    return (
        f"No overfitting shows: the validation loss ends at {last['val_loss']:.4f}, its lowest is "
        f"{lowest['val_loss']:.4f}, and the training loss ends at {last['loss']:.4f}."
    )


def _explain_pace(facts: RunFacts) -> str:
    rates = [row["lr"] for row in facts.history]
    seconds = [facts.num_train / row["images_per_s"] for row in facts.history]
    pace = (
        f"An epoch trains on {count(facts.num_train, 'picture')} in {_format_time(float(np.median(seconds)))} "
        f"(median), {facts.num_train / np.median(seconds):,.0f} a second; all epochs took {_format_time(sum(seconds))}."
    )
    if min(rates) == max(rates):
        return f"The learning rate was {rates[0]:.3g} throughout. {pace}"
    return (
        f"The learning rate began at {rates[0]:.3g}, was {max(rates):.3g} at most and ended at {rates[-1]:.3g}. {pace}"
    )


def _format_time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = int(seconds) // 60
    return f"{minutes} min {int(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _marker(facts: RunFacts) -> str:
    return "." if len(facts.history) <= _MOST_DOTS else ""


def _draw_pair(facts: RunFacts, name: str, unit: str) -> str:
    figure = figures.new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    epochs = [row["epoch"] for row in facts.history]
    axes.plot(epochs, [row[name] for row in facts.history], color=BLUE, marker=_marker(facts), label="training")
    axes.plot(
        epochs, [row[f"val_{name}"] for row in facts.history], color=RED, marker=_marker(facts), label="validation"
    )
    _finish(axes, facts, title=name, unit=unit)
    axes.legend(frameon=False, fontsize="small")
    return figures.as_svg(figure, f"{name} of training and validation by epoch")


def _draw_monitor(facts: RunFacts) -> list[str]:
    """What the run went by, where that is neither the loss nor the accuracy."""
    name = facts.config.train.monitor
    if name in ("val_loss", "val_accuracy"):
        return []
    return [_draw_single(facts, name, f"{name}, by which the epoch was chosen", "share", color=RED)]


def _draw_rate(facts: RunFacts) -> list[str]:
    """The learning rate, where it is not the same throughout, which is told in words."""
    is_constant = len({row["lr"] for row in facts.history}) == 1
    return [] if is_constant else [_draw_single(facts, "lr", "learning rate", "learning rate")]


def _draw_single(
    facts: RunFacts,
    name: str,
    title: str,
    unit: str,
    convert: Callable[[float], float] = float,
    *,
    color: str = BLUE,
) -> str:
    figure = figures.new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    shown = [(row["epoch"], convert(row[name])) for row in facts.history if name in row]
    axes.plot(*zip(*shown), color=color, marker=_marker(facts))
    if unit == "seconds":
        axes.set_ylim(bottom=0)
    _finish(axes, facts, title=title, unit=unit)
    return figures.as_svg(figure, f"{title} by epoch")


def _finish(axes: Axes, facts: RunFacts, *, title: str, unit: str) -> None:
    facts.kept.mark(axes)
    axes.set(xlabel="epoch", ylabel=unit, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _table(rows: Sequence[Row]) -> Html:
    names = list(rows[-1])
    shown = [["-" if name not in row else _format(name, row[name]) for name in names] for row in rows[-_MOST_ROWS:]]
    more = f"The last {_MOST_ROWS}; metrics.csv has all." if len(rows) > _MOST_ROWS else ""
    return Html(f"{html.table(names, shown)}{html.paragraphs([more] if more else [])}")


def _format(name: str, value: float) -> str:
    return f"{value:.0f}" if name in ("epoch", "images_per_s") else f"{value:.4g}"
