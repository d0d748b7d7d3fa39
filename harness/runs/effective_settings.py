"""What a run was asked for and what is in force, setting by setting, and why where the two differ.

It decides nothing: whoever chose a setting gives the reason for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.base import text
from harness.config.schema import Config


@dataclass(frozen=True)
class Row:
    """One setting: what was asked for, what is in force, and the reason, "" where it is what was asked for."""

    name: str
    asked: str
    in_force: str
    reason: str = ""


def list_rows(config: Config, found: Mapping[str, object], reasons: Mapping[str, str]) -> tuple[Row, ...]:
    """Returns the settings that a machine has a say in.

    Args:
      config: what was asked for.
      found: what is in force: `devices`, `strategy`, `workers`, `precision`, `cache` and `engine`, as
        `Devices.describe` and `Inputs.describe` return them.
      reasons: for any of these names why it is so.
    """
    augment = config.augment
    engine = (
        (str(found["engine"]), reasons.get("engine", "")) if augment.enabled else ("off", "augment.enabled is false")
    )
    return (
        _devices_row(config, found, reasons.get("devices", "")),
        _strategy_row(found),
        Row("precision", config.train.precision, str(found["precision"]), reasons.get("precision", "")),
        Row("XLA", _on_or_off(config.runtime.xla), _on_or_off(config.runtime.xla), _describe_xla(config, found)),
        Row("cache", config.data.cache, str(found["cache"]), reasons.get("cache", "")),
        Row("augment engine", augment.engine, *engine),
        _batch_row(config, found),
        _workers_row(found),
    )


def format_rows(rows: Sequence[Row]) -> str:
    """Returns the settings as lines whose columns line up, under a header."""
    cells = [(row.name, row.asked, row.in_force, row.reason) for row in rows]
    return text.format_table([("setting", "asked", "in force", "reason"), *cells], num_left=4)


def _devices_row(config: Config, found: Mapping[str, object], reason: str) -> Row:
    gpus, num_cpus = config.runtime.gpus, config.runtime.logical_cpus
    asked = f"gpus {gpus}, logical_cpus {num_cpus}" if num_cpus else f"gpus {gpus}"
    if num_cpus > 1 and _is_gpu(found):
        reason = "logical_cpus divides a CPU, and there are GPUs"
    return Row("devices", asked, " ".join(found["devices"]), reason)


def _strategy_row(found: Mapping[str, object]) -> Row:
    reason = {
        "none": "one device needs none",
        "MirroredStrategy": f"{len(found['devices'])} devices of one process",
    }.get(found["strategy"], f"{found['workers']} processes")
    return Row("strategy", "-", str(found["strategy"]), reason)


def _on_or_off(value: bool) -> str:
    return "on" if value else "off"


def _describe_xla(config: Config, found: Mapping[str, object]) -> str:
    if found["strategy"] != "none":
        return "never under a tf.distribute strategy"
    if _is_gpu(found):
        return "" if config.runtime.xla else "python -m harness.bench tries whether it helps"
    return "measured to be 4 to 16 times slower on a CPU"


def _is_gpu(found: Mapping[str, object]) -> bool:
    return found["devices"][0].startswith("/gpu")


def _batch_row(config: Config, found: Mapping[str, object]) -> Row:
    train, num_replicas = config.train, found["workers"] * len(found["devices"])
    asked = f"{train.batch_size}{' a replica' if train.batch_per == 'replica' else ''}"
    size = train.count_batch(num_replicas)
    if num_replicas == 1:
        return Row("global batch", asked, str(size))
    return Row("global batch", asked, f"{size}, {size // num_replicas} a replica", f"{num_replicas} replicas")


def _workers_row(found: Mapping[str, object]) -> Row:
    named = "tasks of TF_CONFIG or SLURM's step"
    return Row("workers", "-", str(found["workers"]), f"no {named}" if found["workers"] == 1 else named)
