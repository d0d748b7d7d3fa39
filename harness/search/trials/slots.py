"""The slots of a search on this machine: how many trainings at once, and which GPUs and processors each has.

No device is asked: a process that has opened a GPU keeps a part of its memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.base.errors import ConfigError
from harness.base.machine import nvidia_smi
from harness.base.machine.nvidia_smi import SmiError
from harness.config.training_sections import RuntimeConfig
from harness.config.tune_section import TuneConfig
from harness.distribute import slurm


@dataclass(frozen=True)
class Slot:
    """One place for a training.

    Attributes:
      index: from 0.
      num_on_node: slots of all tasks of this step on the node, which share the memory.
      gpus: what CUDA_VISIBLE_DEVICES names for it; None leaves that as it is.
      cpus: the processors it runs on; all of them where there are fewer than slots.
    """

    index: int
    num_on_node: int
    gpus: tuple[str, ...] | None
    cpus: frozenset[int]

    def enter(self) -> None:
        """Binds the calling thread, and whatever it starts, to the processors of the slot."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cpus)


def list_slots(tune: TuneConfig, runtime: RuntimeConfig, environment: Mapping[str, str]) -> tuple[Slot, ...]:
    """Returns the slots: one for each group of GPUs, or for the CPUs together, unless `tune.slots` says how many.

    More slots than groups of one GPU share the GPUs in turn.

    Args:
      tune: `slots` and `gpus_per_trial` are used.
      runtime: `gpus` says which GPUs may be used.
      environment: of this process; CUDA_VISIBLE_DEVICES counts.

    Raises:
      ClusterError: the variables of a SLURM step do not fit together.
      ConfigError: a trial shall have more GPUs than there are, or more slots than groups of several GPUs are asked for.
    """
    gpus, num_tasks = _choose_gpus(runtime.gpus, _list_gpus(environment)), 1
    if step := slurm.read_step(environment):  # each of its tasks is a search process of its own
        index, count = step.gpu_share
        num_tasks = step.counts[step.node]
        gpus = gpus[index * len(gpus) // count : (index + 1) * len(gpus) // count]
    each = tune.gpus_per_trial
    if each > 1 and len(gpus) < each:
        raise ConfigError(
            f"tune.gpus_per_trial is {each}, but there are {len(gpus)} GPUs to use. Give it at most as many."
        )
    groups = [tuple(gpus[first : first + each]) for first in range(0, len(gpus) - each + 1, each)]
    count = max(1, len(groups)) if tune.slots == "auto" else int(tune.slots)
    if each > 1 and count > len(groups):
        raise ConfigError(
            f"tune.slots is {count}, but {len(gpus)} GPUs make {len(groups)} groups of tune.gpus_per_trial, {each}. "
            "Use --tune.slots auto."
        )
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
    return tuple(
        Slot(index, num_tasks * count, groups[index % len(groups)] if groups else None, _share(cpus, index, count))
        for index in range(count)
    )


def _share(cpus: list[int], index: int, count: int) -> frozenset[int]:
    """Neighbouring processors, which mostly share a cache."""
    if count > len(cpus):
        return frozenset(cpus)
    return frozenset(cpus[index * len(cpus) // count : (index + 1) * len(cpus) // count])


def _list_gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the GPUs of this process in the words of CUDA_VISIBLE_DEVICES."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA itself stops at the first that is none.
        valid = [not name.startswith("-") and bool(name) for name in names]
        return names[: valid.index(False)] if False in valid else names
    try:
        return [str(gpu.index) for gpu in nvidia_smi.list_gpus()]
    except SmiError:
        return []


def _choose_gpus(asked: str, gpus: list[str]) -> list[str]:
    """Returns those that runtime.gpus names; what does not exist the training itself refuses."""
    if asked == "all":
        return gpus
    if asked == "none":
        return []
    if "," in asked:
        return [gpus[int(index)] for index in asked.split(",") if index and int(index) < len(gpus)]
    return gpus[: int(asked)]
