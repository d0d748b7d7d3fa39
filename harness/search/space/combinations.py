"""Which values the dimensions of a space have, which of them are proposed together, and all their combinations.

It takes a space for sound: space.py checks it.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from harness.config.ranges import Range

Value = str | int | float | bool
Space = Mapping[str, Range]
Values = Mapping[str, Value]
MOST_STEPS = 10_000


def list_values(extent: Range) -> Sequence[Value] | None:
    """Returns every value of a dimension in its order, MOST_STEPS and one at most of one with a step.

    Returns:
      None of fractions without a step, which are too many.
    """
    if extent.values is not None:
        return extent.values
    if extent.step is not None:
        return tuple(itertools.islice(_walk(extent), MOST_STEPS + 1))
    if isinstance(extent.min, int) and isinstance(extent.max, int):
        return range(extent.min, extent.max + 1)
    return None


def _walk(extent: Range) -> Iterator[Value]:
    """The values that steps lead to, without the errors of binary fractions: 0.2 and 0.1 are 0.3."""
    low, high, step = (Decimal(repr(number)) for number in (extent.min, extent.max, extent.step))
    is_whole = all(isinstance(number, int) for number in (extent.min, extent.max, extent.step))
    for index in itertools.count():
        value = low * step**index if extent.sampling == "log" else low + index * step
        if value > high:
            return
        yield int(value) if is_whole else float(value)


def is_same(one: object, other: object) -> bool:
    """Whether two values are one: 5 and 5.0 are, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def holds(values: Sequence[Value], value: object) -> bool:
    """Whether a dimension has this value among these, which may be a long range."""
    if isinstance(values, range):
        return type(value) is int and value in values
    return any(is_same(value, other) for other in values)


def order_names(space: Space) -> tuple[str, ...]:
    """Returns the settings in the order of the space, each after those it depends on; without those of a circle."""
    needs = {name: _list_needs(extent) for name, extent in space.items()}
    found: dict[str, None] = {}
    while (ready := next((name for name in needs if needs[name] <= found.keys()), None)) is not None:
        found[ready] = None
        del needs[ready]
    return tuple(found)


def _list_needs(extent: Range) -> set[str]:
    return {*extent.when, *([extent.tied] if extent.tied is not None else [])}


def list_ancestors(space: Space, names: set[str]) -> set[str]:
    """Returns the settings that these depend on, directly or through others."""
    found: set[str] = set()
    while names := set().union(*(_list_needs(space[name]) for name in names)) - found:
        found |= names
    return found


def is_active(space: Space, name: str, beside: Values) -> bool:
    """Whether a setting is proposed beside these values of those it depends on, of which the inactive are left out."""
    extent = space[name]
    return (extent.tied is None or extent.tied in beside) and all(
        parent in beside and any(is_same(beside[parent], value) for value in wanted)
        for parent, wanted in extent.when.items()
    )


def keep_active(space: Space, values: Values) -> dict[str, Value]:
    """Returns the values of the active settings; a tied one that is not named has the value it is tied to."""
    kept: dict[str, Value] = {}
    for name in order_names(space):
        tied = space[name].tied
        if is_active(space, name, kept):
            if name in values:
                kept[name] = values[name]
            elif tied is not None:
                kept[name] = kept[tied]
    return {name: kept[name] for name in space if name in kept}


def combine(space: Space, choices: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    """Yields all combinations of these values, each of the active settings alone; the last setting changes first.

    Args:
      space: the space.
      choices: the values of each setting that is not tied; tied ones follow, and are in no combination.
    """
    names = [name for name in order_names(space) if space[name].tied is None]

    def extend(place: int, chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
        """Yields what is chosen with every choice of the settings from this place on."""
        if place == len(names):
            yield chosen
        elif not is_active(space, names[place], chosen):
            yield from extend(place + 1, chosen)
        else:
            for value in choices[names[place]]:
                yield from extend(place + 1, {**chosen, names[place]: value})

    return extend(0, {})
