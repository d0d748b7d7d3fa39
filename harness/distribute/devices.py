"""What a run trains on: the strategy, its devices in words, and the precision. It chooses nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import tensorflow as tf

from harness.distribute import gpus
from harness.distribute.peers import Peers


@dataclass(frozen=True)
class Devices:
    """What is in force: the strategy, its devices in words, and the precision.

    `names` are the devices of this worker; every worker has as many. `reasons` say of "devices" and "precision" why
    they are as they are, where that is not what was asked for. `num_local` workers share this node's memory. `peers`
    are the other workers, None of one alone.
    """

    strategy: tf.distribute.Strategy
    names: tuple[str, ...]
    precision: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    worker_index: int = 0
    num_workers: int = 1
    num_local: int = 1
    peers: Peers | None = None

    @property
    def num_replicas(self) -> int:
        """Replicas that share each global batch, over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes what is kept."""
        return self.worker_index == 0

    @property
    def is_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return self.names[0].startswith("/gpu")

    @property
    def _strategy_name(self) -> str:
        if self.num_workers > 1:
            return "MultiWorkerMirroredStrategy"  # its class has another name
        return type(self.strategy).__name__ if self.num_replicas > 1 else "none"

    def free_bytes(self) -> int | None:
        """Returns the free memory of the GPU that has least, in bytes; None on CPUs, and where it cannot be told."""
        return gpus.ask_bytes("free") if self.is_gpu else None

    def total_bytes(self) -> int | None:
        """Returns the memory of the GPU that has least, in bytes; None on CPUs, and where it cannot be told."""
        return gpus.ask_bytes("total") if self.is_gpu else None

    def describe(self) -> dict[str, object]:
        """Returns what is in force as plain values."""
        return {
            "devices": self.names,
            "strategy": self._strategy_name,
            "workers": self.num_workers,
            "precision": self.precision,
        }
