"""A space as KerasTuner's hyperparameters, and whether values lie in it."""

import keras_tuner
from keras_tuner.engine import hyperparameters as kinds
from keras_tuner.src.engine.conditions import Parent  # whose public form takes one condition, or a chain of them

from harness.search.space.combinations import (
    Space,
    Value,
    Values,
    holds,
    is_active,
    is_same,
    keep_active,
    list_values,
    order_names,
)


def make_hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Returns the dimensions of a sound space, each after those it depends on; tied settings are none."""
    dimensions = keras_tuner.HyperParameters()
    dimensions.merge([_make_dimension(space, name) for name in order_names(space) if space[name].tied is None])
    return dimensions


def _make_dimension(space: Space, name: str) -> kinds.HyperParameter:
    extent, values = space[name], list_values(space[name])
    shared = {"name": name, "conditions": [_make_condition(space, *condition) for condition in extent.when.items()]}
    if values is None:
        return kinds.Float(min_value=extent.min, max_value=extent.max, sampling=extent.sampling, **shared)
    if isinstance(values, range):
        return kinds.Int(min_value=values[0], max_value=values[-1], sampling=extent.sampling, **shared)
    if isinstance(values[0], bool):  # a Choice makes numbers of these
        return kinds.Boolean(**shared) if len(values) == 2 else kinds.Fixed(value=values[0], **shared)
    # Ranges with a step too: KerasTuner's steps miss the end of 0.2 to 0.6 by 0.1, and its logarithms are not exact.
    return kinds.Choice(values=list(values), **shared)


def _make_condition(space: Space, parent: str, wanted: tuple[Value, ...]) -> Parent:
    """The condition with the values as the parent has them: KerasTuner makes them all of the kind of the first."""
    values = list_values(space[parent]) or ()
    return Parent(parent, [values[values.index(value)] for value in wanted])


def lies_in_space(space: Space, values: Values) -> bool:
    """Whether these values could have been proposed: those of all active settings, and no others.

    What KerasTuner adds about a trial (`tuner/...`) does not count, nor whether a tied setting is named.
    """
    stated = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    active = keep_active(space, stated)
    is_whole = all(name in active or not is_active(space, name, active) for name in space)
    return is_whole and stated.keys() <= active.keys() and all(_holds(space, name, active) for name in active)


def _holds(space: Space, name: str, active: Values) -> bool:
    """Whether a setting takes the value that it has there."""
    extent, value = space[name], active[name]
    if extent.tied is not None:
        return is_same(value, active[extent.tied])
    if (values := list_values(extent)) is not None:
        return holds(values, value)
    low, high = extent.min or 0.0, extent.max or 0.0
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
