"""Sets a training up: devices, the whole batch, precision, where pictures are kept, and the table that tells all of it.

`train`, `tune` and `bench` decide these here and nowhere else. Nothing is read but sizes, and nothing is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.base.errors import ConfigError
from harness.base.storage import Folder
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.distribute.collectives import check_alike
from harness.distribute.devices import Devices
from harness.distribute.peers import Peers
from harness.distribute.strategy import make_devices, with_whole_batch
from harness.input.placement import Inputs, plan_inputs
from harness.runs import effective_settings
from harness.runs.effective_settings import Row
from harness.training import precision


@dataclass(frozen=True)
class Setup:
    """What a training is made with.

    Attributes:
      asked: the config as it was given.
      config: the same with the batch of all replicas together, as everything that follows counts it.
      data: the records.
      records: the folder they are read from.
      devices: where to train, with the precision that is in force.
      inputs: where pictures are kept, and which engine augments them.
    """

    asked: Config
    config: Config
    data: Manifest
    records: Folder
    devices: Devices
    inputs: Inputs

    @property
    def effective(self) -> dict[str, object]:
        """What is in force as plain values, which a run that goes on is given again."""
        return self.devices.describe() | self.inputs.describe() | {"batch": self.config.train.batch_size}

    @property
    def rows(self) -> tuple[Row, ...]:
        """What was asked for beside what is in force, and why the two differ."""
        reasons = {**self.devices.reasons, **self.inputs.reasons}
        return effective_settings.list_rows(self.asked, self.effective, reasons)


def set_up(
    config: Config,
    data: Manifest,
    *,
    records: Folder | None = None,
    peers: Peers | None = None,
    devices: Devices | None = None,
    earlier: Mapping[str, object] | None = None,
) -> Setup:
    """Decides what a training is made with; must be called before TensorFlow has used any device.

    Args:
      config: the resolved config.
      data: the records.
      records: the folder they are read from, if not the config's: a copy on this node.
      peers: the other tasks that train with this one; None for this process alone.
      devices: those of another setup of this process, whose precision is kept where the config leaves it open.
      earlier: the `effective` values of the run when it was started, if it goes on.

    Raises:
      ClusterError: the workers do not come, or differ in what they have to have in common.
      ConfigError: the devices are not there, settings do not go together on them, or the validation split cannot give
        train.monitor.
      MemoryLimitError: the pictures shall be kept where they do not fit.
    """
    _check_monitor(config, data)
    is_first = devices is None
    if devices is None:
        devices = make_devices(config, peers)
    whole = with_whole_batch(config, devices.num_replicas)
    digest = whole.digest("augment", "model", "optim", "train")
    check_alike(devices, f"settings {digest[:16]}, records {data.digest[:16]}, run {config.train.run}")
    if is_first or config.train.precision != "auto":
        devices = precision.settle(whole, data, devices, earlier=earlier)
    return Setup(
        asked=config,
        config=whole,
        data=data,
        records=records or config.data.records_folder,
        devices=devices,
        inputs=plan_inputs(whole, data, devices, earlier=earlier),
    )


def _check_monitor(config: Config, data: Manifest) -> None:
    counts = data.splits["validation"].class_counts if "validation" in data.splits else {}
    present = [name for name, count in counts.items() if count]
    if config.train.monitor == "val_auc" and len(present) == 1:
        raise ConfigError(
            f"train.monitor is val_auc, which needs pictures of two classes, and the validation split has {present[0]} "
            "alone. Give --train.monitor val_loss, or records with other classes in it."
        )
