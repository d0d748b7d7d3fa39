"""Why training is as fast as it is: measured rates in, a verdict in words out. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.base import html
from harness.results.charts import BLUE, RED

_WORTH_TRYING = 1.05  # a gain below is noise
_MOST_WAIT = 0.05  # share of the time that a step may wait for its input before the input is what is slow


@dataclass(frozen=True)
class Rate:
    """How fast one part works by itself: pictures a second, and CPU time a picture over all threads."""

    images_per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class Attempt:
    """A changed setting that was tried on the spot: its flag, and the rate of what it changes."""

    flag: str
    images_per_s: float


@dataclass(frozen=True)
class Rates:
    """What was measured of one training."""

    input: Rate
    compute: Rate
    overlapped: Rate
    wait_share: float  # of the time of the overlapped steps, spent waiting for the next batch

    @property
    def is_input_bound(self) -> bool:
        """Whether faster steps would gain nothing: the input is slower by itself, or the steps wait for it."""
        return self.input.images_per_s < self.compute.images_per_s or self.wait_share > _MOST_WAIT


def judge(rates: Rates, *, inputs: Sequence[Attempt], computes: Sequence[Attempt]) -> tuple[str, ...]:
    """Returns the verdict, and a line for each change that is worth it or was tried in vain.

    Args:
      rates: of the settings as they are.
      inputs: rates of the input alone with other settings.
      computes: rates of the steps alone with other settings.
    """
    reached, limit = rates.overlapped.images_per_s, rates.compute.images_per_s
    if rates.is_input_bound:
        head = (
            f"INPUT-BOUND: the steps wait for pictures {rates.wait_share:.0%} of the time. The input gives "
            f"{rates.input.images_per_s:,.0f} images/s, the steps could take {limit:,.0f}."
        )
        lines = [_expect(trial, min(trial.images_per_s, limit), reached) for trial in _by_rate(inputs)]
        rest = "Nothing that was tried helps: build the records with --records.encoding raw, or lend more cores."
    else:
        head = (
            f"COMPUTE-BOUND: the input gives {rates.input.images_per_s:,.0f} images/s, "
            f"{rates.input.images_per_s / limit:,.1f} times what the steps take. A faster input would gain "
            f"{max(0.0, limit / reached - 1):.0%} at most."
        )
        lines = [
            _expect(trial, min(reached * trial.images_per_s / limit, rates.input.images_per_s), reached)
            for trial in _by_rate(computes)
        ]
        rest = "Nothing that was tried helps: a smaller network or picture, or a faster device, would."
    helpful = [line for line, gain in lines if gain >= _WORTH_TRYING]
    useless = [line for line, gain in lines if gain < _WORTH_TRYING]
    return head, *helpful, *useless, *([] if helpful else [rest])


def _by_rate(trials: Sequence[Attempt]) -> list[Attempt]:
    return sorted(trials, key=lambda trial: -trial.images_per_s)


def _expect(trial: Attempt, expected: float, reached: float) -> tuple[str, float]:
    gain = expected / reached
    if gain < _WORTH_TRYING:
        return f"  {trial.flag}: tried, no gain ({trial.images_per_s:,.0f} images/s by itself)", gain
    return f"  {trial.flag}: expect {expected:,.0f} images/s, {gain:.1f} times as many", gain


def draw_rates(rates: Rates, *, title: str) -> bytes:
    """Draws the rates of the input alone, the steps alone, and both as bars; the lower of two is the limit."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    names = ("input alone", "steps alone", "both together")
    values = [rate.images_per_s for rate in (rates.input, rates.compute, rates.overlapped)]
    bars = axes.barh(names, values, color=(BLUE, BLUE, RED))
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=4)
    axes.invert_yaxis()
    axes.set(xlabel="pictures a second", title=title, xscale="log" if max(values) > 20 * min(values) else "linear")
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.text(
        0.99, 0.04, "INPUT-BOUND" if rates.is_input_bound else "COMPUTE-BOUND", transform=axes.transAxes, ha="right"
    )
    return html.as_png(figure)
