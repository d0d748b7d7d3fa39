"""Why training is as fast as it is: measured rates in, a verdict in words out. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import NullFormatter, StrMethodFormatter

from harness.base import figures
from harness.base.figures import BLUE, RED

_WORTH_TRYING = 1.05  # a gain below is noise, and nothing is promised of it


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
    def input_limit(self) -> float:
        """How many times as fast the training would be with an input that cost nothing."""
        return self.compute.images_per_s / self.overlapped.images_per_s

    @property
    def step_limit(self) -> float:
        """How many times as fast it would be with steps that cost nothing."""
        return self.input.images_per_s / self.overlapped.images_per_s

    @property
    def would_input_help(self) -> bool:
        """Whether a faster input is worth trying."""
        return self.input_limit >= _WORTH_TRYING

    @property
    def would_steps_help(self) -> bool:
        """Whether faster steps are worth trying."""
        return self.step_limit >= _WORTH_TRYING

    @property
    def bound(self) -> str:
        """What is slow, in a word: where more is to be gained."""
        if not self.would_input_help and not self.would_steps_help:
            return "BALANCED"
        return "INPUT-BOUND" if self.input_limit > self.step_limit else "COMPUTE-BOUND"

    def predict(self, *, input_per_s: float, compute_per_s: float) -> float:
        """Returns the pictures a second to expect of a training whose parts have these rates by themselves.

        As much of the shorter part stands in the way of the longer one as was measured: none where they run beside
        one another, all of it where they share one core.
        """
        long, short = _order(self.input.images_per_s, self.compute.images_per_s)
        share = min(1.0, max(0.0, (1 / self.overlapped.images_per_s - long) / short))
        longer, shorter = _order(input_per_s, compute_per_s)
        expected = self.overlapped.images_per_s * (long + share * short) / (longer + share * shorter)
        return min(expected, input_per_s, compute_per_s)


def _order(first_per_s: float, second_per_s: float) -> tuple[float, float]:
    """The longer time a picture, and the shorter one."""
    return 1 / min(first_per_s, second_per_s), 1 / max(first_per_s, second_per_s)


def judge(
    rates: Rates, *, inputs: Sequence[Attempt], computes: Sequence[Attempt], cache: str = "none"
) -> tuple[str, ...]:
    """Returns the verdict, and a line for each change that is worth it or was tried in vain.

    Args:
      rates: of the settings as they are.
      inputs: rates of the input alone with other settings.
      computes: rates of the steps alone with other settings.
      cache: where pictures are kept decoded; none: they are decoded each time.
    """
    given, taken = rates.input.images_per_s, rates.compute.images_per_s
    tried = [(trial, rates.predict(input_per_s=trial.images_per_s, compute_per_s=taken)) for trial in inputs]
    tried += [(trial, rates.predict(input_per_s=given, compute_per_s=trial.images_per_s)) for trial in computes]
    reached = rates.overlapped.images_per_s
    tried.sort(key=lambda pair: -pair[1])
    helpful = [pair for pair in tried if pair[1] / reached >= _WORTH_TRYING]
    lines = [
        f"  {trial.flag}: expect {expected:,.0f} images/s, {expected / reached:.2g} times as many"
        for trial, expected in helpful
    ]
    lines += [
        f"  {trial.flag}: tried, no gain ({trial.images_per_s:,.0f} images/s by itself)"
        for trial, _ in tried[len(helpful) :]
    ]
    return _describe(rates), *lines, *([] if helpful or rates.bound == "BALANCED" else [_advise(rates.bound, cache)])


def _advise(bound: str, cache: str) -> str:
    """What is left to do where nothing that was tried helps."""
    if bound == "COMPUTE-BOUND":
        rest = "a smaller network or picture, or a faster device, would"
    elif cache == "none":
        rest = "build the records with --records.encoding raw, or lend more cores"
    else:  # decoded already
        rest = "lend more cores, or augment less"
    return f"Nothing that was tried helps: {rest}."


def _describe(rates: Rates) -> str:
    given, taken, reached = (rate.images_per_s for rate in (rates.input, rates.compute, rates.overlapped))
    parts = f"the input gives {given:,.0f} images/s by itself, the steps take {taken:,.0f}, together {reached:,.0f}"
    if rates.bound == "BALANCED":
        return f"BALANCED: {parts}. Neither a faster input alone nor faster steps alone would gain much."
    other, limit = {
        "INPUT-BOUND": ("Faster steps", rates.step_limit),
        "COMPUTE-BOUND": ("A faster input", rates.input_limit),
    }[rates.bound]
    gain = f"{limit - 1:.0%} at most" if limit >= _WORTH_TRYING else "nothing"
    return f"{rates.bound}: {parts}. {other} would gain {gain}."


def draw_rates(rates: Rates, *, title: str) -> bytes:
    """Draws the rates of the input alone, the steps alone, and both as bars; the lower of two is the limit."""
    figure = figures.new_figure(7, 2.6)
    axes = figure.subplots()
    names = ("input alone", "steps alone", "both together")
    values = [rate.images_per_s for rate in (rates.input, rates.compute, rates.overlapped)]
    bars = axes.barh(names, values, color=(BLUE, BLUE, RED))
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=4)
    axes.invert_yaxis()
    axes.set(
        xlabel="pictures a second",
        title=figures.title(title),
        xscale="log" if max(values) > 20 * min(values) else "linear",
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.text(0.99, 0.04, rates.bound, transform=axes.transAxes, ha="right")
    return figures.as_png(figure)
