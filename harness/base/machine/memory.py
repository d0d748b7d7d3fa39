"""How much memory there is and is free: of the machine, and within this process' cgroups. It asks no GPU."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.machine import cgroups as own_cgroups
from harness.base.machine.cgroups import Cgroup, read_field, read_int


@dataclass(frozen=True)
class Memory:
    """An amount of memory, and what limits it: "" for the machine itself."""

    num_bytes: int
    limit: str = ""


def measure_free(proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT) -> Memory:
    """Returns what can be had without swapping or being killed; never raises.

    That is the least of what the machine has free and what every cgroup of this process leaves. SLURM and containers
    limit a job by cgroups. What the file cache holds and nobody uses counts as free.
    """
    found = [Memory(_machine_bytes(proc, "MemAvailable", "SC_AVPHYS_PAGES"))]
    for cgroup, limit in list_limits(proc, cgroups):
        files = _FILES[cgroup.version]
        used = read_int(cgroup.folder / files.usage) or 0
        reclaimable = read_field(cgroup.folder / "memory.stat", files.reclaimable) or 0
        found.append(Memory(max(0, limit - max(0, used - reclaimable)), cgroup.name))
    return min(found, key=lambda free: free.num_bytes)


def measure_total(proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT) -> Memory:
    """Returns the least of the machine's memory and the limits of this process' cgroups, whatever is in use."""
    limits = [Memory(limit, cgroup.name) for cgroup, limit in list_limits(proc, cgroups)]
    machine = Memory(_machine_bytes(proc, "MemTotal", "SC_PHYS_PAGES"))
    return min([machine, *limits], key=lambda total: total.num_bytes)


def list_limits(proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT) -> Iterator[tuple[Cgroup, int]]:
    """Yields the cgroups of this process that have a limit of memory, with the tightest in bytes."""
    for cgroup in own_cgroups.list_own("memory", proc, cgroups):
        limits = [read_int(cgroup.folder / file) for file in _FILES[cgroup.version].limits]
        known = [limit for limit in limits if limit is not None]
        if known:
            yield cgroup, min(known)


def _machine_bytes(proc: Path, field: str, pages: str) -> int:
    """What Linux says in a field of /proc/meminfo, else the size of the pages that the system counts by a name."""
    told = read_field(proc / "meminfo", field)
    if told is not None:
        return told * 1024
    # macOS counts its pages, but tells only other programs how many are free: half of them is a guess.
    for name, divisor in ((pages, 1), ("SC_PHYS_PAGES", 2)):
        try:
            num_bytes = os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") // divisor
        except (AttributeError, OSError, ValueError):
            continue
        if num_bytes > 0:  # -1 pages: the name is known, the value is not
            return num_bytes
    return 0


@dataclass(frozen=True)
class _Files:
    """The names of one version of cgroups for the same things."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: str


_FILES = {
    1: _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    2: _Files(("memory.max", "memory.high"), "memory.current", "inactive_file"),
}
