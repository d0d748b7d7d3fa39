"""The corners of a space, where a combination of settings that is wrong shows before the first trial."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.base import json_files
from harness.base.errors import ConfigError
from harness.config.schema import Config
from harness.config.settings import WrongValue
from harness.search.space.combinations import Space, Value, Values, combine, is_same, list_ancestors, list_values

_MOST_COMBINATIONS = 4096  # of which each takes a tenth of a millisecond
_MOST_PAIRS = 8192


def check_corners(space: Space, make: Callable[[Values], Config]) -> None:
    """Makes the config of every corner of a space.

    Args:
      space: a sound space.
      make: makes a config of proposed values, or raises WrongValue.

    Raises:
      ConfigError: a corner is not valid; the text says how to leave it out, if others with the same value are.
    """
    corners = list_corners(space)
    for corner in corners:
        try:
            make(corner)
        except WrongValue as error:
            raise ConfigError(f"{error}{_advise(space, corners, corner, error.name, make)}") from None


def list_corners(space: Space) -> Sequence[Values]:
    """Returns all combinations of ends and named values or, if these are too many, such that hold every pair."""
    choices = {name: pick_ends(space, name) for name, extent in space.items() if extent.tied is None}
    corners = tuple(itertools.islice(combine(space, choices), _MOST_COMBINATIONS + 1))
    if len(corners) <= _MOST_COMBINATIONS:
        return corners
    return tuple(itertools.islice(_pair(space, choices), _MOST_PAIRS))


def pick_ends(space: Space, name: str) -> Sequence[Value]:
    """Returns every value of a dimension that is a list, or its ends.

    With the values that switch other settings on, and those beside them, which do not.
    """
    extent = space[name]
    values = list_values(extent)
    if values is None:
        return (extent.min, extent.max)
    if extent.values is not None:
        return values
    places = {0, len(values) - 1}
    for wanted in itertools.chain.from_iterable(other.when.get(name, ()) for other in space.values()):
        places |= {values.index(wanted) + offset for offset in (-1, 0, 1)}
    return tuple(values[place] for place in sorted(places) if 0 <= place < len(values))


def _pair(space: Space, choices: Mapping[str, Sequence[Value]]) -> Iterator[Values]:
    """Combinations that hold each value, then each pair of values; the other settings have their first."""
    one = [(name, value) for name, values in choices.items() for value in values]
    for fixed in itertools.chain(((pair,) for pair in one), itertools.combinations(one, 2)):
        chosen = dict(fixed)
        if len(chosen) < len(fixed):  # two values of one setting never meet
            continue
        ancestors = list_ancestors(space, set(chosen))
        narrowed = {
            name: (chosen[name],) if name in chosen else values if name in ancestors else values[:1]
            for name, values in choices.items()
        }
        found = (values for values in combine(space, narrowed) if chosen.keys() <= values.keys())
        yield from itertools.islice(found, 1)


def _advise(space: Space, corners: Sequence[Values], wrong: Values, name: str, make: Callable[[Values], Config]) -> str:
    """A sentence on what makes a value wrong that is valid in other corners, or nothing."""
    if name in space:
        name = space[name].tied or name
    alike = [
        corner
        for corner in corners
        if (name not in wrong or is_same(corner.get(name), wrong[name])) and _is_valid(corner, make)
    ]
    for other in wrong:
        valid = list(dict.fromkeys(corner[other] for corner in alike if other in corner))
        if other != name and valid and not any(is_same(value, wrong[other]) for value in valid):
            if name in wrong:
                shown = ", ".join(map(json_files.show, valid))
                return f" Propose it only where it is valid: give it when: {{{other}: [{shown}]}}."
            return f" The space proposes {other} {json_files.show(wrong[other])} beside it."
    return ""


def _is_valid(corner: Values, make: Callable[[Values], Config]) -> bool:
    with contextlib.suppress(WrongValue):
        make(corner)
        return True
    return False
