"""The space of a search: whether all it says can be tried, the values to try first, and the config of one trial."""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.base import json_files
from harness.base.errors import ConfigError
from harness.base.text import list_names
from harness.config import settings
from harness.config.hints.spelling import explain_unknown
from harness.config.ranges import Range
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.search.space.combinations import (
    MOST_STEPS,
    Space,
    Value,
    Values,
    combine,
    holds,
    is_same,
    keep_active,
    list_ancestors,
    list_values,
    order_names,
)
from harness.search.space.corners import check_corners, pick_ends

SEARCHED = ("augment", "model", "optim", "train")
_OTHER_RECORDS = "it would need other records: build them and give them with --records"
_REASONS = {
    "records": _OTHER_RECORDS,
    "clean": _OTHER_RECORDS,
    "split": _OTHER_RECORDS,
    "data": "all trials read the same records",
    "runtime": "it changes how fast a trial is, and not what it comes to",
    "tune": "it is about the search itself",
    "train.monitor": "trials are compared by it",
    "train.run": "every trial has its own",
    "train.last_epoch": "the search itself ends trials by it",
}
_OF_BATCH = ("train.batch_size", "train.batch_per", "augment.mixup", "augment.enabled")
_MOST_BATCHES = 4096  # of a range; the remainders of longer ones are the same again


def check_space(config: Config, given: Mapping[str, Setting]) -> None:
    """Looks whether every value the space allows is a valid setting, before the first trial.

    Raises:
      ConfigError: the space is empty, names something that cannot be searched, or reaches outside a setting's range;
        a condition, a tie or a value to start with does not fit it.
    """
    space = config.tune.space
    if not space:
        raise ConfigError(
            "tune.space is empty: nothing to search. State it in a config file, as configs/tune.yaml does."
        )
    source = f"{given['tune.space'].source}: tune.space"
    for judge in (_judge_name, _judge_extent, _judge_tie, _judge_conditions):
        for name in space:
            if problem := judge(config, name):
                raise ConfigError(f"{source}: {problem}")
    if circle := [name for name in space if name not in order_names(space)]:
        raise ConfigError(f"{source}: {list_names(circle, separator=', ')} depend on one another in a circle.")
    check_corners(space, lambda values: _make_config(space, given, values, source))
    _check_start(config, given)


def _judge_name(config: Config, name: str) -> str:
    known = settings.setting_names()
    if name not in known:
        return explain_unknown(name, known, "setting")
    section = name.split(".", maxsplit=1)[0]
    if name == "train.epochs" and config.tune.algorithm == "hyperband":
        return "train.epochs cannot be searched by hyperband, which gives each trial its own, up to tune.max_epochs."
    if reason := _REASONS.get(name) or _REASONS.get(section):
        return f"{name} cannot be searched: {reason}. Settings of {', '.join(SEARCHED)} can."
    return ""


def _judge_extent(config: Config, name: str) -> str:
    extent = config.tune.space[name]
    low, high, step, values = extent.min, extent.max, extent.step, extent.values
    has_range = (low, high, step, extent.sampling) != (None, None, None, "linear")
    if extent.tied is not None:
        return f"{name} is tied, and takes nothing else but when." if values or has_range else ""
    if values is not None:
        twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
        if has_range:
            return f"{name} needs either values, or a min below a max."
        if len({type(value) for value in values}) > 1:
            return f"{name} has values of several kinds: {json_files.show(list(values))}. Name those of one."
        return f"{name} names {json_files.show(twice)} twice." if twice is not None else ""
    if low is None or high is None or low >= high:
        return f"{name} needs either values, or a min below a max."
    if extent.sampling == "log" and (low <= 0 or (step is not None and step <= 1)):
        return f"{name} needs a min above 0 and a step above 1, by which values are multiplied with sampling log."
    found = list_values(extent)
    if found is None and config.tune.algorithm == "grid":
        return f"{name} has endless values, and grid tries all: give it values, or a step."
    if step is not None and found is not None and len(found) > MOST_STEPS:
        return f"{name} has more than {MOST_STEPS} values: make its step larger, or leave it out."
    return ""


def _judge_tie(config: Config, name: str) -> str:
    space, tied = config.tune.space, config.tune.space[name].tied
    if tied is None:
        return ""
    if tied not in space or tied == name:
        return f"{name} is tied to {_name_nearest(tied, [other for other in space if other != name])}"
    if (further := space[tied].tied) is not None:
        return f"{name} is tied to {tied}, which is tied itself: name {further}."
    return ""


def _judge_conditions(config: Config, name: str) -> str:
    space = config.tune.space
    for parent, wanted in space[name].when.items():
        if parent not in space or parent == name:
            return f"{name} has when {_name_nearest(parent, [other for other in space if other != name])}"
        if (tied := space[parent].tied) is not None:
            return f"{name} has when {parent}, which is tied: name {tied}."
        values = list_values(space[parent])
        if values is None:
            return f"{name} has when {parent}, of which no single value is ever met: give {parent} values, or a step."
        if wrong := [value for value in wanted if not holds(values, value)]:
            shown, nearest = json_files.show(wrong[0]), json_files.show(_find_nearest(wrong[0], values))
            return f"{name} has when {parent} {shown}, a value that {parent} does not take; the nearest is {nearest}."
    return ""


def _find_nearest(value: Value, values: Sequence[Value]) -> Value:
    if isinstance(values, range):
        return min(max(int(value), values[0]), values[-1]) if isinstance(value, int | float) else values[0]
    texts = {str(other): other for other in values}
    return texts[difflib.get_close_matches(str(value), texts, n=1, cutoff=0.0)[0]]


def _name_nearest(name: str, valid: Sequence[str]) -> str:
    """The end of a sentence on a name that is not in the space."""
    nearest = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    return f"{json_files.cut(name)}, which is no other setting of the space{hint}."


def _check_start(config: Config, given: Mapping[str, Setting]) -> None:
    """Looks whether the values to try first can be tried."""
    if not config.tune.start:
        return
    source, space = f"{given['tune.start'].source}: tune.start", config.tune.space
    for values in config.tune.start:
        for name in values:
            if name not in space:
                raise ConfigError(f"{source} names {_name_nearest(name, list(space))}")
            if (tied := space[name].tied) is not None:
                raise ConfigError(f"{source} names {name}, which is tied: name {tied}.")
        completed = _complete(config, values)
        if off := [name for name in values if name not in completed]:
            when = json_files.show({parent: list(wanted) for parent, wanted in space[off[0]].when.items()})
            raise ConfigError(f"{source} names {off[0]}, which is off beside the values there: it has when {when}.")
        _make_config(space, given, completed, source)


def make_trial_config(given: Mapping[str, Setting], values: Values, source: str) -> Config:
    """The config of one trial: what was given, with the proposed values and those tied to them.

    Hyperband proposes the epochs as well.

    Args:
      given: the settings that were stated, the space among them.
      values: setting -> proposed value; a tied setting that is named keeps its value.
      source: what is named where a value is wrong.

    Raises:
      WrongValue: a value is not valid.
    """
    space = settings.make_config({"tune.space": given["tune.space"]}).tune.space if "tune.space" in given else {}
    return _make_config(space, given, values, source)


def _make_config(space: Space, given: Mapping[str, Setting], values: Values, source: str) -> Config:
    proposed = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    proposed |= keep_active(space, proposed)
    chosen = {name: Setting(_parse(name, value), source) for name, value in proposed.items()}
    if "tuner/epochs" in values:
        chosen["train.epochs"] = Setting(values["tuner/epochs"], source)
    kept = {name: setting for name, setting in given.items() if not name.startswith("tune.") and name != "train.run"}
    return settings.make_config({**kept, **chosen})


def _parse(name: str, value: Value) -> object:
    """A text stands for a list or null where the setting takes one."""
    return settings.parse_flag(name, value).value if isinstance(value, str) else value


def default_values(config: Config) -> dict[str, Value]:
    """Returns the values that the active settings of the space have without a search.

    A tied setting is named only where its value is not that of the one it is tied to.
    """
    return _leave_ties(config, keep_active(config.tune.space, _own_values(config)))


def start_values(config: Config) -> tuple[dict[str, Value], ...]:
    """Returns what is tried first: the settings as they are, then tune.start, each once."""
    found = [default_values(config), *(_complete(config, values) for values in config.tune.start)]
    return tuple(values for place, values in enumerate(found) if values not in found[:place])


def active_values(config: Config, values: Values) -> dict[str, Value]:
    """Returns the value of every active setting in the order of the space, the tied ones included."""
    return keep_active(config.tune.space, values)


def list_combinations(config: Config) -> Iterator[dict[str, Value]]:
    """Yields every combination of a space without endless values, in the order of the space."""
    space = config.tune.space
    return combine(space, {name: list_values(extent) or () for name, extent in space.items() if extent.tied is None})


def count_combinations(config: Config, most: int) -> int:
    """Returns how many different trials the space has, `most` at most."""
    if any(extent.tied is None and list_values(extent) is None for extent in config.tune.space.values()):
        return most
    return sum(1 for _ in itertools.islice(list_combinations(config), most))


def _own_values(config: Config) -> dict[str, Value]:
    return {name: _own_value(config, name) for name in config.tune.space}


def _own_value(config: Config, name: str) -> Value:
    """The value of a setting without a search, in the form in which a space holds it."""
    section, _, field = name.partition(".")
    value = getattr(getattr(config, section), field)
    return str(value) if isinstance(value, Path) else Range(values=(value,)).values[0]


def _complete(config: Config, values: Values) -> dict[str, Value]:
    """These values, and the own ones of the other active settings."""
    space = config.tune.space
    free = {name: value for name, value in _own_values(config).items() if space[name].tied is None}
    return _leave_ties(config, keep_active(space, {**free, **values}))


def _leave_ties(config: Config, values: Values) -> dict[str, Value]:
    space = config.tune.space
    return {
        name: value
        for name, value in values.items()
        if (tied := space[name].tied) is None or not is_same(value, values[tied])
    }


def check_batches(config: Config, num_replicas: int) -> None:
    """Looks whether the replicas can share every batch the space may propose, before the first trial.

    Raises:
      ConfigError: they cannot share one of them evenly, or not in pairs where mixup may ask for them.
    """
    wrong = []
    for values in _list_batches(config):
        size, basis, mixup, is_enabled = (values[name] for name in _OF_BATCH)
        multiple = (num_replicas if basis == "step" else 1) * (2 if mixup and is_enabled else 1)
        if isinstance(size, int) and size % multiple:
            wrong.append((size, multiple, " in pairs for augment.mixup" if mixup and is_enabled else ""))
    if wrong:
        size, multiple, pairs = max(wrong, key=lambda found: found[1])
        raise ConfigError(
            f"tune.space can propose a train.batch_size of {size}, which {num_replicas} device"
            f"{'s' * (num_replicas > 1)} cannot share evenly{pairs}. Name multiples of {multiple} only: values, or a "
            "min and a step."
        )


def _list_batches(config: Config) -> Iterator[dict[str, Value]]:
    """Yields what can be proposed together of the settings that decide how a batch is shared."""
    space = config.tune.space
    named = {name for name in _OF_BATCH if name in space}
    space = {name: space[name] for name in space if name in named | list_ancestors(space, named)}
    choices = {name: pick_ends(space, name) for name, extent in space.items() if extent.tied is None}
    if "train.batch_size" in space:
        sizes = space["train.batch_size"].tied or "train.batch_size"
        choices[sizes] = list_values(space[sizes])[:_MOST_BATCHES]
    own = {name: _own_value(config, name) for name in _OF_BATCH}
    for values in combine(space, choices):
        yield own | keep_active(space, values)
