"""The GPUs of a machine: which of them a task takes, what is free on them, and the precision that suits them."""

import os
from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from harness.base.errors import ClusterError, ConfigError
from harness.base.machine import nvidia_smi
from harness.base.machine.nvidia_smi import SmiError
from harness.distribute import slurm


def choose(asked: str, reasons: dict[str, str], environment: Mapping[str, str]) -> list[tf.config.PhysicalDevice]:
    """Returns the GPUs that were asked for; of "all" where there are none, `reasons` tell "devices" why.

    Args:
      asked: all, none, how many, or their indices with commas.
      reasons: gets a word for each choice that was not asked for.
      environment: the variables of this process, which say whether SLURM gave it GPUs.

    Raises:
      ClusterError: it did, all are asked for, and TensorFlow sees none.
      ConfigError: the machine does not have them.
    """
    found = tf.config.list_physical_devices("GPU")
    if asked in ("none", "0"):
        return []
    if asked == "all":
        if not found:
            _check_none_is_lent(environment)
            reasons["devices"] = "no GPU found: training on the CPU"
        return found
    indices = [int(part) for part in asked.split(",") if part] if "," in asked else list(range(int(asked)))
    if any(index >= len(found) for index in indices):
        raise ConfigError(
            f"runtime.gpus is '{asked}' but this machine shows {_count(len(found))}"
            f"{f' (0 to {len(found) - 1})' if found else ''}. Use --gpus all, or --gpus none for the CPU."
        )
    return [found[index] for index in indices]


def _check_none_is_lent(environment: Mapping[str, str]) -> None:
    """A job that holds GPUs must not spend its hours on the CPU."""
    if lent := slurm.find_lent_gpus(environment):
        name, value = lent
        where = f" on {node}" if (node := environment.get("SLURMD_NODENAME")) else ""
        raise ClusterError(
            f"SLURM gave this job GPUs ({name} is {value[:200]}), but TensorFlow sees none{where}. See whether "
            "nvidia-smi lists them there, and whether TensorFlow has its CUDA libraries: pip install -e '.[gpu]'. To "
            "look further: python -m harness.doctor. To train on the CPU nevertheless, say so: --gpus none"
        )


def _count(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"


def share_out(found: list[tf.config.PhysicalDevice], index: int, count: int) -> list[tf.config.PhysicalDevice]:
    """Returns the share of one of `count` tasks of a node that all see the same GPUs.

    Raises:
      ClusterError: they do not divide evenly.
    """
    if len(found) % count:
        raise ClusterError(
            f"{count} tasks of this node share {_count(len(found))}, which does not divide evenly. Start as many tasks "
            "as GPUs with --ntasks-per-node, or give each its own with --gpus-per-task."
        )
    each = len(found) // count
    return found[index * each : (index + 1) * each]


def ask_bytes(kind: Literal["free", "total"]) -> int | None:
    """Returns the memory in bytes of the visible GPU that has least; None where it cannot be told.

    TensorFlow tells what it has taken of a GPU, and not what there is.
    """
    try:
        found = nvidia_smi.list_gpus()
    except SmiError:
        return None
    return nvidia_smi.find_least(found, os.environ.get("CUDA_VISIBLE_DEVICES"), kind)


def choose_precision(asked: str, chosen: list[tf.config.PhysicalDevice], reasons: dict[str, str]) -> str:
    """Returns the precision that was asked for, or of "auto" the one that all of these GPUs are fast in.

    Tensor cores multiply bfloat16 from compute capability 8.0 on and float16 from 7.0 on; without GPUs it is float32.
    `reasons` tell "precision" why.
    """
    if asked != "auto":
        return asked
    if not chosen:
        return "float32"
    capability = min(tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in chosen)
    reasons["precision"] = f"compute capability {'.'.join(map(str, capability))}"
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"
