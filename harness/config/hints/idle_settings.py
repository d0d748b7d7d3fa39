"""When settings count: which do nothing beside the others as they are, and what would make them do something.

Whether that is an error flags.py decides, which knows who stated what.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_AUGMENT = (
    *("engine", "flip", "rotation", "zoom", "shift", "shear", "brightness", "contrast", "saturation", "hue"),
    *("grayscale", "erasing", "erasing_area", "mixup"),
)
_OWN = ("emotion_cnn", "residual_cnn")  # networks.OWN_NETWORKS; a test compares them


@dataclass(frozen=True)
class Need:
    """What has to hold for settings to count.

    Attributes:
      setting: the one that decides.
      values: its values with which they count; empty: all above 0.
      is_switch: it is tried one way and the other, while a file keeps what counts for either.
    """

    setting: str
    values: tuple[object, ...] = ()
    is_switch: bool = False

    def holds(self, value: Any) -> bool:
        """Whether it holds for a value of the setting that decides."""
        return value in self.values if self.values else value > 0

    def describe(self) -> str:
        """Returns the values with which the settings count, in words."""
        return " or ".join(map(_show, self.values)) if self.values else "more than 0"


@dataclass(frozen=True)
class Idle:
    """A setting that does nothing, what it would need, and what the deciding setting is instead."""

    name: str
    need: Need
    found: object

    def describe(self, fixed: Collection[str] = ()) -> str:
        """Returns the end of a sentence about the setting and its value; of `fixed` nobody can set anything."""
        setting = self.need.setting
        if setting in fixed:
            return f"which does nothing in this command: {setting} is {_show(self.found)} in it. Leave it out"
        return (
            f"which does nothing with {setting} {_show(self.found)}. Leave it out, or set {setting} to "
            f"{self.need.describe()}"
        )


# Each setting that does not always count; the value that says "off" may stand anywhere. What is refused wherever it
# stands (weight_decay with adam, weights of a network of our own) is refused by the sections themselves.
_TABLE: tuple[tuple[Need, tuple[str, ...]], ...] = (
    (Need("records.fit", ("pad",)), ("records.pad_color",)),
    (Need("records.encoding", ("jpeg",)), ("records.jpeg_quality",)),
    (
        Need("augment.enabled", (True,), is_switch=True),
        tuple(f"augment.{name}" for name in _AUGMENT),
    ),
    (Need("augment.erasing"), ("augment.erasing_area",)),
    (Need("model.name", _OWN), ("model.widths",)),
    (
        Need("model.name", ("emotion_cnn",)),
        ("model.pooling", "model.first_kernels", "model.dense_units", "model.dropout"),
    ),
    (Need("optim.schedule", ("plateau",)), ("optim.plateau_epochs", "optim.plateau_factor")),
    (Need("optim.name", ("sgd",)), ("optim.momentum",)),
    (Need("train.keep", ("best",)), ("train.min_epochs", "train.patience")),
    (Need("tune.algorithm", ("hyperband",), is_switch=True), ("tune.max_epochs",)),
    (Need("tune.algorithm", ("random", "grid", "bayesian"), is_switch=True), ("tune.trials",)),
)


def find_idle(config: BaseModel, names: Iterable[str], *, searched: Collection[str] = ()) -> Iterator[Idle]:
    """Yields those of the settings that do nothing in a config, though their values are neither the default nor 0.

    Args:
      config: the whole config.
      names: the settings to look at.
      searched: settings that a search gives other values, of which nothing is said here.
    """
    looked_at = set(names)
    for need, settings in _TABLE:
        found = _value_of(config, need.setting)
        if need.setting in searched or need.holds(found):
            continue
        for name in settings:
            if name in looked_at and _value_of(config, name) not in (_default_of(config, name), 0):
                yield Idle(name, need, found)


def _value_of(config: BaseModel, name: str) -> Any:
    section, field = name.split(".")
    return getattr(getattr(config, section), field)


def _default_of(config: BaseModel, name: str) -> Any:
    section, field = name.split(".")
    return type(getattr(config, section)).model_fields[field].get_default(call_default_factory=True)


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
