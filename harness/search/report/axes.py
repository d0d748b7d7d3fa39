"""Where the values of a setting stand on an axis: numbers by their size, choices at even distances.

Figures draw by it and the forests of importance.py learn from it. It knows nothing of either.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config.ranges import Range
from harness.search.space.combinations import Value
from harness.search.trials.trial import Trial

STEP_APART = 0.14  # between 0 and what stands apart, as a share of the axis


@dataclass(frozen=True)
class Axis:
    """The axis of one setting.

    Attributes:
      name: of the setting.
      choices: its values at even distances, in order; empty if the axis is one of numbers.
      low: the lowest number.
      high: the highest number.
      is_log: whether equal distances are equal factors.
      is_whole: whether all its numbers are whole.
      is_ordered: whether its values have an order; False of words.
      apart: values that have no place among the numbers, such as 0 where distances are factors.
    """

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    is_whole: bool = False
    is_ordered: bool = True
    apart: tuple[Value, ...] = ()

    @property
    def off(self) -> float:
        """Where a trial stands in which the setting is off."""
        return -STEP_APART * (len(self.apart) + 1)

    def place(self, value: Value) -> float:
        """Returns where a value stands: 0 to 1 from the lowest to the highest, below 0 what stands apart."""
        if self.choices:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        if value in self.apart or not isinstance(value, int | float):
            return -STEP_APART * (self.apart.index(value) + 1)
        if self.low == self.high:
            return 0.5
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def make_axes(space: Mapping[str, Range], trials: Sequence[Trial]) -> tuple[Axis, ...]:
    """Returns an axis for each setting of a space but the tied ones, on which the values of these trials have a place.

    The default of a setting is tried whether it lies in the space or not. A tied setting is where the other one is: it
    would take half of its importance.
    """
    return tuple(
        _make_axis(name, extent, [trial.values[name] for trial in trials if name in trial.values])
        for name, extent in space.items()
        if extent.tied is None
    )


def _make_axis(name: str, extent: Range, tried: Sequence[Value]) -> Axis:
    if extent.values is not None:
        choices = tuple(dict.fromkeys((*extent.values, *tried)))
        is_ordered = all(isinstance(value, int | float) for value in choices)
        ordered = tuple(sorted(choices, key=float)) if is_ordered else choices
        return Axis(name, choices=ordered, is_ordered=is_ordered)
    is_log = extent.sampling == "log"
    ends = [value for value in (extent.min, extent.max) if value is not None]
    numbers = [*ends, *(value for value in tried if _has_place(value, is_log=is_log))]
    apart = tuple(dict.fromkeys(value for value in tried if not _has_place(value, is_log=is_log)))
    return Axis(
        name,
        low=float(min(numbers, default=0.0)),
        high=float(max(numbers, default=1.0)),
        is_log=is_log,
        is_whole=all(isinstance(value, int) for value in numbers),
        apart=apart,
    )


def _has_place(value: Value, *, is_log: bool) -> bool:
    """Whether a value is a number that an axis of numbers takes."""
    if isinstance(value, bool | str) or not math.isfinite(value):
        return False
    return value > 0 or not is_log
