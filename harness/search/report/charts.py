"""Figures of a search as PNG bytes: what the trials reached as time went by, and with which settings.

All draw completed trials with finite scores. Red is the best, black the default settings.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from harness.base import figures
from harness.base.text import format_value
from harness.search.report.axes import Axis
from harness.search.trials import Objective, Trial, Value

BLUE, RED, BLACK = "#4477aa", "#ee6677", "#222222"  # of Paul Tol's bright scheme, distinct for colour-blind readers
MOST_DRAWN = 18  # settings that find room in a figure
_MOST_TICKS = 8
_WIDE = 10.0  # from here on, of the highest to the lowest loss, equal distances are equal factors
_MEANINGS: dict[Objective, str] = {
    "val_loss": "val_loss [nats], lower is better",
    "val_accuracy": "val_accuracy [share], higher is better",
}


def draw_progress(ended: Sequence[tuple[float, Trial]], objective: Objective, *, default: str) -> bytes:
    """Draws the objective of trials against the time spent until each ended, and the best so far.

    Args:
      ended: hours and trial, in the order in which they ended.
      objective: what their scores are.
      default: name of the trial of the default settings, or "".
    """
    figure = figures.new_figure(9.5, 4)
    axes = figure.subplots()
    hours, scores = [hour for hour, _ in ended], [trial.score for _, trial in ended]
    better = np.minimum if objective == "val_loss" else np.maximum
    axes.plot(hours, scores, "o", color=BLUE, alpha=0.7, label="a trial")
    axes.step(hours, better.accumulate(scores), where="post", color=RED, label="best so far")
    for hour, trial in ended:
        if trial.name == default:
            axes.plot(hour, trial.score, "D", color=BLACK, ms=9, mfc="none", mew=2, label="default settings")
    axes.set(xlabel="device hours of all trials that had ended", ylabel=_MEANINGS[objective])
    axes.set_xlim(left=0)
    _scale(axes, scores, objective)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figures.as_png(figure)


def draw_lines(settings: Sequence[Axis], ranked: Sequence[Trial], objective: Objective, *, default: str) -> bytes:
    """Draws parallel coordinates: a line a trial, which crosses the axis of each setting where its value stands.

    Args:
      settings: at most MOST_DRAWN axes; the objective has one below them.
      ranked: trials, the best first.
      objective: what their scores are.
      default: name of the trial of the default settings, or "".
    """
    figure = figures.new_figure(10.5, 0.82 * (len(settings) + 1) + 1.6)
    axes = figure.subplots()
    scores = [trial.score for trial in ranked]
    norm = _norm(scores, objective)
    colours = ScalarMappable(norm, "viridis" if objective == "val_loss" else "viridis_r")  # the dark ones are good
    rows = range(len(settings) + 1)
    for place, trial in reversed(list(enumerate(ranked))):
        spread = 0.02 * (place / max(1, len(ranked) - 1) - 0.5)  # else lines through the same choices hide one another
        across = [_place(axis, trial) + spread for axis in settings] + [float(norm(trial.score))]
        axes.plot(across, rows, color=colours.cmap(norm(trial.score)), lw=1.2, alpha=0.85, zorder=2)
        if place == 0:
            axes.plot(across, rows, color=RED, lw=2.8, zorder=4, label=f"the best trial, {figures.label(trial.name)}")
        if trial.name == default:
            axes.plot(across, rows, color=BLACK, lw=1.8, ls="--", zorder=4.5, label="default settings")
    _draw_rows(axes, settings, ranked, norm, objective)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize="small")
    figure.colorbar(colours, ax=axes, label=_MEANINGS[objective], format=FuncFormatter(_write_number), fraction=0.04)
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
        _draw_panel(axes, axis, ranked, default=default, num_epochs=num_epochs)
    for axes in grid[len(settings) :]:
        axes.remove()
    _scale(grid[0], [trial.score for trial in ranked], objective)
    figure.supylabel(_MEANINGS[objective], fontsize="medium")
    shown = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    kept = [line for label, line in shown.items() if not label.startswith("_")]
    figure.legend(handles=kept, loc="outside upper center", ncols=len(kept), fontsize="small")
    return figures.as_png(figure)


def _draw_panel(axes: Axes, axis: Axis, ranked: Sequence[Trial], *, default: str, num_epochs: int) -> None:
    """Draws the trials at the places of their values, choices with the median of each."""
    by_place: dict[float, list[float]] = {}
    for rank, trial in reversed(list(enumerate(ranked))):
        place = _place(axis, trial)
        by_place.setdefault(place, []).append(trial.score)
        is_short = trial.num_epochs < num_epochs
        label = "trained for fewer epochs" if is_short else "a trial"
        axes.plot(place, trial.score, "o", color=BLUE, mfc="none" if is_short else BLUE, alpha=0.7, ms=5, label=label)
        if trial.name == default:
            axes.plot(place, trial.score, "D", color=BLACK, mfc="none", mew=2, ms=10, label="default settings")
        if rank == 0:
            axes.plot(place, trial.score, "*", color=RED, ms=13, zorder=4, label="the best trial")
    for place, scores in by_place.items():
        if axis.choices or place < 0:
            ends = (place - 0.05, place + 0.05)
            axes.plot(ends, [np.median(scores)] * 2, color="0.2", lw=2, zorder=3, label="median of a choice")
    places, labels = _list_ticks(axis, ranked)
    is_long = sum(map(len, labels)) > 26
    axes.set_xticks(places, labels, rotation=30 if is_long else 0, ha="right" if is_long else "center")
    axes.tick_params(labelsize="small")
    axes.set_xlim(min(-0.08, *places) - 0.06, 1.14)
    axes.set_title(f"{figures.label(axis.name)}{' (log)' if axis.is_log else ''}", fontsize="medium")
    axes.grid(alpha=0.3)


def _draw_rows(
    axes: Axes, settings: Sequence[Axis], ranked: Sequence[Trial], norm: Normalize, objective: Objective
) -> None:
    """Draws the axes that the lines of trials cross, one below the other, with what stands where."""
    for row, axis in enumerate(settings):
        axes.plot((0, 1), (row, row), color="0.3", lw=1, zorder=1)
        for place, label in zip(*_list_ticks(axis, ranked)):
            _draw_tick(axes, place, row, label)
    last = len(settings)
    axes.plot((0, 1), (last, last), color="0.3", lw=1, zorder=1)
    for number in _choose_numbers(float(norm.vmin), float(norm.vmax), is_log=isinstance(norm, LogNorm)):
        _draw_tick(axes, float(norm(number)), last, _write_number(number))
    names = [f"{figures.label(axis.name)}{' (log)' if axis.is_log else ''}" for axis in settings]
    axes.set_yticks(range(last + 1), [*names, objective])
    axes.set_ylim(last + 0.5, -0.3)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(NullLocator())
    axes.spines[:].set_visible(False)


def _draw_tick(axes: Axes, place: float, row: int, label: str) -> None:
    axes.plot((place, place), (row - 0.06, row + 0.06), color="0.3", lw=1, zorder=3)
    backing = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
    axes.text(place, row + 0.12, label, ha="center", va="top", fontsize="small", zorder=5, bbox=backing)


def _place(axis: Axis, trial: Trial) -> float:
    return axis.place(trial.values[axis.name]) if axis.name in trial.values else axis.off


def _list_ticks(axis: Axis, ranked: Sequence[Trial]) -> tuple[list[float], list[str]]:
    """Returns where something is written beside an axis, and what."""
    marked: list[Value] = list(axis.choices)
    if not axis.choices:
        numbers = _choose_numbers(axis.low, axis.high, is_log=axis.is_log, is_whole=axis.is_whole)
        marked = [*numbers, *axis.apart]
    elif len(marked) > _MOST_TICKS:
        marked = marked[:: -(-len(marked) // _MOST_TICKS)]
    most = max(6, 48 // max(1, len(marked)))
    labels = [figures.label(_write_number(value))[:most] for value in marked]
    is_off = any(axis.name not in trial.values for trial in ranked)
    return [*map(axis.place, marked), *([axis.off] * is_off)], [*labels, *(["off"] * is_off)]


def _choose_numbers(low: float, high: float, *, is_log: bool, is_whole: bool = False) -> list[float]:
    """Returns round numbers between two others, or the two if there are none."""
    if low == high:
        return [low]
    if is_log:
        ticks = LogLocator(subs=(1, 3) if high / low < 1000 else (1,), numticks=_MOST_TICKS).tick_values(low, high)
    else:
        ticks = MaxNLocator(5, integer=is_whole, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
    inside = [float(number) for number in ticks if low <= number * (1 + 1e-9) <= high * 1.0001]
    return inside if len(inside) > 1 else [low, high]


def _write_number(value: object, _: int = 0) -> str:
    return f"{value:g}" if isinstance(value, float) else format_value(value)


def _norm(scores: Sequence[float], objective: Objective) -> Normalize:
    """Returns what makes 0 to 1 of scores, by factors where they differ by many."""
    low, high = min(scores), max(scores)
    if _is_wide(scores, objective):
        return LogNorm(low, high)
    return Normalize(low, high) if low < high else Normalize(low - 0.5, low + 0.5)


def _scale(axes: Axes, scores: Sequence[float], objective: Objective) -> None:
    """Makes equal distances equal factors on the axis of scores that differ by many."""
    if _is_wide(scores, objective):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(_write_number))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _is_wide(scores: Sequence[float], objective: Objective) -> bool:
    return objective == "val_loss" and min(scores) > 0 and max(scores) / min(scores) > _WIDE
