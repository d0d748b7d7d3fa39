"""Which devices a run uses: `--gpus` -> a tf.distribute strategy and a precision, and why."""

import logging
import os
import subprocess
from dataclasses import dataclass

import tensorflow as tf

from harness.config import Config
from harness.errors import ConfigError

log = logging.getLogger("harness")
_NVIDIA_SMI_S = 20  # it can hang on a broken driver


@dataclass(frozen=True)
class Devices:
    """What is in force: the strategy, its devices in words, the precision, and a reason for what was not asked for."""

    strategy: tf.distribute.Strategy
    names: tuple[str, ...]
    precision: str
    notes: tuple[str, ...]

    @property
    def num_replicas(self) -> int:
        """Replicas that share each global batch."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return self.names[0].startswith("/gpu")

    def free_bytes(self) -> int | None:
        """Returns the free memory of the GPU that has least, in bytes; None on CPUs, and where it cannot be told."""
        return _ask_free_bytes() if self.is_gpu else None

    def describe(self) -> dict[str, object]:
        """Returns what is in force as plain values."""
        return {
            "devices": self.names,
            "strategy": type(self.strategy).__name__ if self.num_replicas > 1 else "none",
            "precision": self.precision,
            "notes": self.notes,
        }


def make_devices(config: Config) -> Devices:
    """Chooses devices; must be called before TensorFlow has used any.

    One device gets no wrapper, since XLA is off under any strategy; several get a MirroredStrategy.

    Raises:
      ConfigError: GPUs are asked for by number that the machine does not have, or the batch does not divide,
        or not into pairs where mixup asks for them.
    """
    notes: list[str] = []
    gpus = _choose_gpus(config.runtime.gpus, notes)
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    if gpus:
        names = [f"/gpu:{index}" for index in range(len(gpus))]
    else:
        names = _split_cpu(config.runtime.logical_cpus)
    if config.train.batch_size % len(names):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, which {len(names)} devices cannot share evenly. "
            f"Use a multiple of {len(names)}."
        )
    if config.augment.enabled and config.augment.mixup and config.train.batch_size % (2 * len(names)):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but augment.mixup mixes pairs on each of {len(names)} "
            f"devices. Use a multiple of {2 * len(names)}, or augment.mixup 0."
        )
    several = len(names) > 1
    strategy = tf.distribute.MirroredStrategy(names) if several else tf.distribute.get_strategy()
    return Devices(strategy, tuple(names), _choose_precision(config.train.precision, gpus), tuple(notes))


def _choose_gpus(asked: str, notes: list[str]) -> list:
    found = tf.config.list_physical_devices("GPU")
    if asked in ("none", "0"):
        return []
    if asked == "all":
        if not found:
            notes.append("no GPU found: training on the CPU")
        return found
    indices = [int(part) for part in asked.split(",") if part] if "," in asked else list(range(int(asked)))
    if any(index >= len(found) for index in indices):
        raise ConfigError(
            f"runtime.gpus is '{asked}' but this machine shows {len(found)} GPUs"
            f"{f' (0 to {len(found) - 1})' if found else ''}. Use --gpus all, or --gpus none for the CPU."
        )
    return [found[index] for index in indices]


def _ask_free_bytes() -> int | None:
    """TensorFlow tells what it has taken of a GPU, and not what there is; nvidia-smi comes with the driver."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_free_bytes(told, os.environ.get("CUDA_VISIBLE_DEVICES"))


def parse_free_bytes(told: str, visible: str | None) -> int | None:
    """Returns the least free memory in bytes of the visible GPUs in lines of "index, uuid, MiB"; None if unclear.

    Args:
      told: what `nvidia-smi --query-gpu=index,uuid,memory.free --format=csv,noheader,nounits` printed.
      visible: CUDA_VISIBLE_DEVICES, indices or beginnings of UUIDs; None for all. Slices of a GPU (MIG) are unclear.
    """
    rows = [[part.strip() for part in line.split(",")] for line in told.splitlines() if line.strip()]
    if any(len(row) != 3 or not row[2].isdecimal() for row in rows):
        return None
    free_of = {name: int(free) << 20 for index, uuid, free in rows for name in (index, uuid)}
    wanted = list(free_of) if visible is None else [part.strip() for part in visible.split(",") if part.strip()]
    found = [next((free for name, free in free_of.items() if _names(part, name)), None) for part in wanted]
    return None if not found or None in found else min(found)


def _names(part: str, name: str) -> bool:
    return part == name if part.isdecimal() else name.startswith(part)


def _split_cpu(num_devices: int) -> list[str]:
    if num_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices)
    return [f"/cpu:{index}" for index in range(max(1, num_devices))]


def _choose_precision(asked: str, gpus: list) -> str:
    """Tensor cores multiply bfloat16 from compute capability 8.0 on and float16 from 7.0 on; CPUs stay exact."""
    if asked != "auto":
        return asked
    if not gpus:
        return "float32"
    capability = min(tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus)
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"
