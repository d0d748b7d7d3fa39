"""Figures of a search as PNG bytes: what the trials reached as time went by, and with which settings.

All draw completed trials with finite scores. Red is the best, black the default settings.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from harness.base import figures
from harness.base.text import format_value, shorten
from harness.dataset.images.arrays import Floats
from harness.search.report.axes import Axis
from harness.search.space.combinations import Value
from harness.search.trials.trial import Objective, Trial

BLUE, RED, BLACK = "#4477aa", "#ee6677", "#222222"  # of Paul Tol's bright scheme, distinct for colour-blind readers
MOST_DRAWN = 18  # settings that find room in a figure
MOST_COLOURED, MOST_GREY = 15, 40  # lines that an eye follows, and that a page has room for
_MOST_TICKS = 8
_CHARS_A_ROW = 64  # of the values along an axis
_UNITS: dict[Objective, str] = {
    "val_loss": "val_loss [nats], lower is better",
    "val_accuracy": "val_accuracy [share], higher is better",
    "val_auc": "val_auc, higher is better",
    "val_balanced_accuracy": "val_balanced_accuracy [share], higher is better",
    "val_f1": "val_f1, higher is better",
}


def draw_progress(ended: Sequence[tuple[float, Trial]], objective: Objective, *, default: str) -> bytes:
    """Draws the objective of trials against the time spent until each ended, and the best so far.

    Args:
      ended: device hours and trial, in the order in which they ended.
      objective: what their scores are.
      default: name of the trial of the default settings, or "".
    """
    figure = figures.new_figure(9.5, 4)
    axes = figure.subplots()
    hours = np.array([hour for hour, _ in ended])
    scores = np.array([trial.score for _, trial in ended])
    better = np.minimum if objective == "val_loss" else np.maximum
    extent = find_extent(scores, objective)
    _draw_trials(axes, hours, scores, extent, label="a trial", face=BLUE)
    axes.step(hours, np.clip(better.accumulate(scores), *extent), where="post", color=RED, lw=2, label="best so far")
    for hour, trial in ended:
        if trial.name == default:
            _mark_default(axes, hour, float(np.clip(trial.score, *extent)))
    axes.set(xlabel="device hours of all trials that had ended", ylabel=_UNITS[objective])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    return figures.as_png(figure)


def draw_lines(settings: Sequence[Axis], ranked: Sequence[Trial], objective: Objective, *, default: str) -> bytes:
    """Draws parallel coordinates: a line a trial, which crosses the axis of each setting where its value stands.

    The best are coloured. Of the others, which are grey, some are drawn for all if they are many.

    Args:
      settings: at most MOST_DRAWN axes; the objective has one below them.
      ranked: trials, the best first.
      objective: what their scores are.
      default: name of the trial of the default settings, or "".
    """
    figure = figures.new_figure(10.5, 0.82 * (len(settings) + 1) + 1.6)
    axes = figure.subplots()
    best, others = ranked[:MOST_COLOURED], ranked[MOST_COLOURED:]
    scores = np.array([trial.score for trial in ranked])
    whole = Normalize(*find_extent(scores, objective), clip=True)
    coloured = Normalize(scores[: len(best)].min(), scores[: len(best)].max())
    colours = ScalarMappable(coloured, "viridis" if objective == "val_loss" else "viridis_r")  # the dark ones are good
    for place, trial in reversed(list(enumerate(ranked))):
        spread = 0.02 * (place / max(1, len(ranked) - 1) - 0.5)  # else lines through the same choices hide one another
        across = [_place(axis, trial) + spread for axis in settings] + [float(whole(trial.score))]
        rows = range(len(across))
        if trial in best:
            axes.plot(across, rows, color=colours.cmap(coloured(trial.score)), lw=1.4, zorder=2)
        elif place % -(-len(others) // MOST_GREY) == 0:
            axes.plot(across, rows, color="0.82", lw=0.8, zorder=1, antialiased=False)  # a third of the bytes
        if place == 0:
            axes.plot(across, rows, color=RED, lw=2.8, zorder=4, label=f"the best trial, {figures.label(trial.name)}")
        if trial.name == default:
            axes.plot(across, rows, color=BLACK, lw=1.8, ls="--", zorder=4.5, label="default settings")
    _draw_rows(axes, settings, ranked, whole, objective)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize="small")
    words = f"of the best {len(best)}: {_UNITS[objective]}" if others else _UNITS[objective]
    figure.colorbar(colours, ax=axes, label=words, fraction=0.04)
    return figures.as_png(figure)


def draw_panels(
    settings: Sequence[Axis], ranked: Sequence[Trial], objective: Objective, *, default: str, num_epochs: int
) -> bytes:
    """Draws a panel for each setting: its value against the objective.

    Args:
      settings: at most MOST_DRAWN axes.
      ranked: trials, the best first.
      objective: what their scores are.
      default: name of the trial of the default settings, or "".
      num_epochs: trials that trained for fewer are drawn hollow; 0 if the number says nothing.
    """
    num_columns = min(3, len(settings))
    num_rows = -(-len(settings) // num_columns)
    figure = figures.new_figure(10.5, 2.9 * num_rows + 0.7)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).ravel()
    for axes, axis in zip(grid, settings):
        _draw_panel(axes, axis, ranked, objective, default=default, num_epochs=num_epochs)
    for axes in grid[len(settings) :]:
        axes.remove()
    figure.supylabel(_UNITS[objective], fontsize="medium")
    shown = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    kept = [line for label, line in shown.items() if not label.startswith("_")]
    figure.legend(handles=kept, loc="outside upper center", ncols=len(kept), frameon=False, fontsize="small")
    return figures.as_png(figure)


def find_extent(scores: Floats, objective: Objective) -> tuple[float, float]:
    """Returns the lowest and the highest score that is drawn where it is.

    Of some trials that went far wrong the others would be a flat line; those are drawn at the end.
    """
    if objective == "val_loss":
        best = scores.min()
        return float(best), float(min(scores.max(), best + 2.5 * (np.quantile(scores, 0.9) - best)))
    best = scores.max()
    return float(max(scores.min(), best - 2.5 * (best - np.quantile(scores, 0.1)))), float(best)


def _draw_panel(
    axes: Axes, axis: Axis, ranked: Sequence[Trial], objective: Objective, *, default: str, num_epochs: int
) -> None:
    """Draws the trials at the places of their values; those of a choice side by side, with their median."""
    places = np.array([_place(axis, trial) for trial in ranked])
    scores = np.array([trial.score for trial in ranked])
    extent = find_extent(scores, objective)
    is_short = np.array([trial.num_epochs < num_epochs for trial in ranked])
    is_choice = (places < 0) | bool(axis.choices)
    beside = places + is_choice * (np.arange(len(ranked)) % 5 - 2) * 0.015
    for chosen, face, label in ((~is_short, BLUE, "a trial"), (is_short, "none", "trained for fewer epochs")):
        _draw_trials(axes, beside[chosen], scores[chosen], extent, label=label, face=face)
    for place in np.unique(places[is_choice]):
        if (places == place).sum() > 1:
            ends, median = (place - 0.05, place + 0.05), np.median(scores[places == place])
            axes.plot(ends, (median, median), color="0.2", lw=2, zorder=3, label="median of a choice")
    axes.plot(beside[0], scores[0], "*", color=RED, ms=13, zorder=4, label="the best trial")
    for place, trial in zip(beside, ranked):
        if trial.name == default:
            _mark_default(axes, place, float(np.clip(trial.score, *extent)))
    marked, labels = _list_ticks(axis, ranked)
    is_long = sum(map(len, labels)) > 26
    axes.set_xticks(marked, labels, rotation=30 if is_long else 0, ha="right" if is_long else "center")
    axes.tick_params(labelsize="small")
    axes.set_xlim(min(-0.08, *marked) - 0.06, 1.14)
    axes.set_title(_name(axis), fontsize="medium")
    axes.grid(alpha=0.3)


def _draw_trials(
    axes: Axes, places: Floats, scores: Floats, extent: tuple[float, float], *, label: str, face: str
) -> None:
    """Draws a dot for each trial, and an arrow at the end of the axis for those beyond it."""
    shown = np.clip(scores, *extent)
    is_shown = shown == scores
    if is_shown.any():
        axes.plot(places[is_shown], scores[is_shown], "o", color=BLUE, mfc=face, alpha=0.7, ms=5, label=label)
    for is_beyond, marker in ((scores > shown, "^"), (scores < shown, "v")):
        if is_beyond.any():
            label = "worse than the axis shows"
            axes.plot(places[is_beyond], shown[is_beyond], marker, color=BLUE, mfc="none", ms=6, label=label)


def _mark_default(axes: Axes, place: float, score: float) -> None:
    axes.plot(place, score, "D", color=BLACK, mfc="none", mew=1.6, ms=9, zorder=5, label="default settings")


def _draw_rows(
    axes: Axes, settings: Sequence[Axis], ranked: Sequence[Trial], norm: Normalize, objective: Objective
) -> None:
    """Draws the axes that the lines of trials cross, one below the other, with what stands where."""
    last = len(settings)
    for row in range(last + 1):
        axes.plot((0, 1), (row, row), color="0.3", lw=1, zorder=3)
    for row, axis in enumerate(settings):
        for place, label in zip(*_list_ticks(axis, ranked)):
            _draw_tick(axes, place, row, label)
    low, high = float(norm.vmin), float(norm.vmax)
    worst = ranked[-1].score
    for number in _choose_numbers(Axis(objective, low=low, high=high)):
        is_end = number == (high if worst > high else low if worst < low else None)
        _draw_tick(axes, float(norm(number)), row=last, label=f"{number:.3g}{' or worse' if is_end else ''}")
    axes.set_yticks(range(last + 1), [*map(_name, settings), objective])
    axes.set_ylim(last + 0.5, -0.3)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(NullLocator())
    axes.spines[:].set_visible(False)


def _draw_tick(axes: Axes, place: float, row: int, label: str) -> None:
    axes.plot((place, place), (row - 0.06, row + 0.06), color="0.3", lw=1, zorder=3)
    backing = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
    axes.text(place, row + 0.12, label, ha="center", va="top", fontsize="small", zorder=5, bbox=backing)


def _name(axis: Axis) -> str:
    return f"{figures.label(axis.name)}{' (log)' if axis.is_log else ''}"


def _place(axis: Axis, trial: Trial) -> float:
    return axis.place(trial.values[axis.name]) if axis.name in trial.values else axis.off


def _list_ticks(axis: Axis, ranked: Sequence[Trial]) -> tuple[list[float], list[str]]:
    """Returns where something is written beside an axis, and what."""
    marked: list[Value] = list(axis.choices) or [*_choose_numbers(axis), *axis.apart]
    marked = marked[:: -(-len(marked) // _MOST_TICKS)]
    most = max(6, _CHARS_A_ROW // len(marked))
    labels = [shorten(format_value(value), most) for value in marked]
    is_off = any(axis.name not in trial.values for trial in ranked)
    return [*map(axis.place, marked), *([axis.off] * is_off)], [*labels, *(["off"] * is_off)]


def _choose_numbers(axis: Axis) -> list[float]:
    """Returns the ends of an axis of numbers, and round numbers between them that stand clear of both."""
    if axis.low == axis.high:
        return [axis.low]
    if axis.is_log:
        steps = (1, 3) if axis.high / axis.low < 1000 else (1,)
        ticks = LogLocator(subs=steps, numticks=_MOST_TICKS).tick_values(axis.low, axis.high)
    else:
        ticks = MaxNLocator(5, integer=axis.is_whole, steps=(1, 2, 2.5, 5, 10)).tick_values(axis.low, axis.high)
    inside = [float(number) for number in ticks if axis.low < number < axis.high]
    return [axis.low, *(number for number in inside if 0.1 < axis.place(number) < 0.9), axis.high]
