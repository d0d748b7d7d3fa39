"""The space of a search: which settings it names, whether all its values are valid, and the config of one trial."""

import itertools
from collections.abc import Mapping, Sequence

from harness.base.errors import ConfigError
from harness.config import settings
from harness.config.schema import Config
from harness.config.settings import Setting

SEARCHED = ("augment", "model", "optim", "train")


def check_space(config: Config, given: Mapping[str, Setting]) -> None:
    """Looks whether every value the space allows is a valid setting, before the first trial.

    Raises:
      ConfigError: the space is empty, names something that cannot be searched, or reaches outside a setting's range.
    """
    if not config.tune.space:
        raise ConfigError(
            "tune.space is empty: nothing to search. State it in a config file, as configs/tune.yaml does."
        )
    source = given["tune.space"].source
    for name, extent in config.tune.space.items():
        if name not in settings.setting_names():
            raise ConfigError(
                f"{source}: tune.space: {settings.unknown_name(name, settings.setting_names(), 'setting')}"
            )
        if name.split(".")[0] not in SEARCHED or name == "train.run":
            raise ConfigError(f"{source}: tune.space: {name} cannot be searched, only {', '.join(SEARCHED)} can.")
        has_ends = extent.min is not None and extent.max is not None
        if (extent.values is None) == (not has_ends) or (has_ends and extent.min >= extent.max):
            raise ConfigError(f"{source}: tune.space: {name} needs either values, or a min below a max.")
    for pair in itertools.combinations_with_replacement(_list_ends(config, f"{source} (tune.space)"), 2):
        if pair[0][0] != pair[1][0] or pair[0] == pair[1]:  # two values of one setting never meet
            settings.make_config({**given, **dict(pair)})


def check_batches(config: Config, num_replicas: int) -> None:
    """Looks whether the replicas can share every batch the space may propose, before the first trial.

    Raises:
      ConfigError: they cannot share one of them evenly, or not in pairs where mixup may ask for them.
    """
    sizes, bases, mixups, enabled = (
        _list_values(config, name)
        for name in ("train.batch_size", "train.batch_per", "augment.mixup", "augment.enabled")
    )
    multiple = (num_replicas if "step" in bases else 1) * (2 if any(mixups) and any(enabled) else 1)
    if wrong := [size for size in sizes if size % multiple]:
        raise ConfigError(
            f"tune.space can propose a train.batch_size of {wrong[0]}, which {num_replicas} devices cannot share evenly"
            f"{' in pairs for augment.mixup' if any(mixups) else ''}. Name multiples of {multiple} only: values, or a "
            "min and a step."
        )


def _list_values(config: Config, name: str) -> Sequence:
    """All that a setting can be in the trials; of a range of floats its ends, which tell whether it reaches from 0."""
    extent = config.tune.space.get(name)
    if extent is None:
        section, _, field = name.partition(".")
        return (getattr(getattr(config, section), field),)
    if extent.values is not None or not isinstance(extent.max, int):
        return extent.values or (extent.min, extent.max)
    if extent.sampling == "log" and extent.step and extent.step > 1:  # KerasTuner multiplies by the step then
        powers = (extent.min * extent.step**exponent for exponent in itertools.count())
        return tuple(int(value) for value in itertools.takewhile(lambda value: value <= extent.max, powers))
    return range(int(extent.min), extent.max + 1, max(1, int(extent.step or 1)))


def _list_ends(config: Config, source: str) -> list[tuple[str, Setting]]:
    """Every value the space names, with its setting."""
    return [
        (name, Setting(value, source))
        for name, extent in config.tune.space.items()
        for value in extent.values or (extent.min, extent.max)
    ]


def make_trial_config(given: Mapping[str, Setting], values: Mapping[str, object], source: str) -> Config:
    """The config of one trial: what was given, with the proposed values; Hyperband proposes the epochs as well."""
    chosen = {name: Setting(value, source) for name, value in values.items() if not name.startswith("tuner/")}
    if "tuner/epochs" in values:
        chosen["train.epochs"] = Setting(values["tuner/epochs"], source)
    kept = {name: setting for name, setting in given.items() if not name.startswith("tune.") and name != "train.run"}
    return settings.make_config({**kept, **chosen})
