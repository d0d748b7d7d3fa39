"""The processors of this machine, and how many of them this process may use. It sets nothing."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.base.machine import cgroups as own_cgroups
from harness.base.machine.cgroups import read, read_int

_INSTRUCTIONS = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX-512-BF16"}


@dataclass(frozen=True)
class Quota:
    """The CPU time a cgroup allows, in processors, and the cgroup's name in words."""

    processors: float
    limit: str


def find_instructions(cpuinfo: str) -> str:
    """Returns the instructions by which all processors multiply bfloat16, such as "AMX-BF16"; "" if there are none.

    Args:
      cpuinfo: the text of Linux' /proc/cpuinfo.
    """
    flags = list_flags(cpuinfo)
    return next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), "")


def list_flags(cpuinfo: str) -> frozenset[str]:
    """Returns what all processors of /proc/cpuinfo can do, in Linux' words."""
    flags = [frozenset(value.split()) for name, value in _fields(cpuinfo) if name == "flags"]
    return frozenset.intersection(*flags) if flags else frozenset()


def find_model(cpuinfo: str) -> str:
    """Returns the name of the first processor of /proc/cpuinfo, "" where it has none."""
    return next((" ".join(value.split()) for name, value in _fields(cpuinfo) if name == "model name"), "")


def _fields(cpuinfo: str) -> list[tuple[str, str]]:
    parts = [line.partition(":") for line in cpuinfo.splitlines()]
    return [(name.strip(), value) for name, _, value in parts]


def count_usable() -> int:
    """Returns the processors that this process may run on, which TensorFlow starts as many threads for."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_quota(proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT) -> Quota | None:
    """Returns the tightest limit of CPU time among the cgroups of this process; None without one."""
    found = []
    for cgroup in own_cgroups.list_own("cpu", proc, cgroups):
        if cgroup.version == 1:
            quota, period = (read_int(cgroup.folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        else:
            words = read(cgroup.folder / "cpu.max").split()
            quota, period = map(own_cgroups.parse_int, words) if len(words) == 2 else (None, None)
        if quota and period:  # -1 and "max" are none
            found.append(Quota(quota / period, cgroup.name))
    return min(found, key=lambda limit: limit.processors, default=None)
