"""Memory and the other limits of the system: shared memory, open files, processes."""

import os
import re
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.base.machine import cgroups as own_cgroups
from harness.base.machine import memory
from harness.base.machine.cgroups import read_field, read_int
from harness.base.text import format_bytes
from harness.diagnostics.checks.finding import Finding, Status

GROUP = "memory"
_LEAST_BYTES = 1_000_000_000  # TensorFlow and a small training take as much
_COMFORTABLE_BYTES = 2_000_000_000
_LEAST_SHARED_BYTES = 128 << 20  # of 64 MiB, which containers have by default, NCCL takes half a GPU
_LEAST_FILES = 1024
_LEAST_PROCESSES = 512  # threads count as processes, and TensorFlow starts some for every core


def check_memory(
    environment: Mapping[str, str], proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT
) -> Iterator[Finding]:
    """Yields how much memory is free, and what limits it.

    Args:
      environment: the variables, for SLURM's.
      proc: where the system tells of its memory.
      cgroups: where cgroups are mounted.
    """
    free = memory.measure_free(proc, cgroups)
    total, swap = (_kilobytes(proc, name) for name in ("MemTotal", "SwapTotal"))
    lent = find_slurm_bytes(environment)
    limits = [limit for _, limit in memory.list_limits(proc, cgroups) if total is None or limit < total]
    values = {
        "total_bytes": total,
        "free_bytes": free.num_bytes,
        "cgroup_bytes": min(limits, default=None),
        "slurm_bytes": lent,
        "swap_bytes": swap,
    }
    found = f"{format_bytes(free.num_bytes)} free"
    found += f" of {format_bytes(total)}" if total else ""
    found += f", limited by {free.limit}" if free.limit else ""
    found += f"; swap {format_bytes(swap)}" if swap else "; no swap" if swap == 0 else ""
    if free.num_bytes < _COMFORTABLE_BYTES:
        status: Status = "problem" if free.num_bytes < _LEAST_BYTES else "warning"
        fix = "End what holds it, or give the job more (sbatch --mem=8G): a small training takes about 1 GB."
        yield Finding(GROUP, "memory", status, found, fix, values)
    elif lent and lent < free.num_bytes:
        found = f"{found}, but SLURM lent {format_bytes(lent)} and no cgroup holds this process to it"
        fix = "SLURM may kill what takes more: ask for more with --mem, or stream pictures with --data.cache none."
        yield Finding(GROUP, "memory", "warning", found, fix, values)
    else:
        yield Finding(GROUP, "memory", "ok", found, values=values)


def find_slurm_bytes(environment: Mapping[str, str]) -> int | None:
    """Returns the memory that SLURM lends a job on this node, in bytes; None where it does not say, or lends all."""

    def read(name: str) -> int:
        text = environment.get(name, "")
        return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0

    mebibytes = read("SLURM_MEM_PER_NODE") or read("SLURM_MEM_PER_CPU") * read("SLURM_CPUS_ON_NODE")
    return mebibytes << 20 if mebibytes else None


def _kilobytes(proc: Path, name: str) -> int | None:
    found = read_field(proc / "meminfo", name)
    return None if found is None else found * 1024


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108 - nothing is written there
    """Yields the room that processes share memory in, which NCCL needs between GPUs.

    Args:
      folder: where it is mounted.
    """
    fix = "Give the container more: docker run --shm-size=1g. NCCL takes it between GPUs."
    try:
        found = os.statvfs(folder)
    except OSError as error:
        yield Finding(GROUP, "shared memory", "warning", f"{folder}: {error.strerror}", fix)
        return
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    words = f"{folder}: {format_bytes(free)} free of {format_bytes(total)}"
    values = {"total_bytes": total, "free_bytes": free}
    is_small = free < _LEAST_SHARED_BYTES
    status: Status = "warning" if is_small else "ok"
    yield Finding(GROUP, "shared memory", status, words, fix if is_small else "", values)


def check_limits(proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT) -> Iterator[Finding]:
    """Yields how many files and processes this process may have.

    Args:
      proc: where the system tells of this process' cgroups.
      cgroups: where cgroups are mounted.
    """
    soft, hard = map(_number, resource.getrlimit(resource.RLIMIT_NOFILE))
    words, values = f"{_show(soft)} open files (at most {_show(hard)})", {"soft": soft, "hard": hard}
    if soft is not None and soft < _LEAST_FILES:
        fix = f"ulimit -n {_LEAST_FILES if hard is None else min(hard, 4 * _LEAST_FILES)}"
        yield Finding(GROUP, "open files", "warning", words, fix, values)
    else:
        yield Finding(GROUP, "open files", "ok", words, values=values)
    own = _number(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    left = [own] if own is not None else []
    for cgroup in own_cgroups.list_own("pids", proc, cgroups):
        most = read_int(cgroup.folder / "pids.max")
        if most is not None:
            left.append(most - (read_int(cgroup.folder / "pids.current") or 0))
    least = min(left, default=None)
    words, values = f"{_show(least)} processes and threads", {"most": least}
    if least is not None and least < _LEAST_PROCESSES:
        fix = f"ulimit -u {4 * _LEAST_PROCESSES}, or a higher pids limit of the container or job."
        yield Finding(GROUP, "processes", "warning", words, fix, values)
    else:
        yield Finding(GROUP, "processes", "ok", words, values=values)


def _number(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _show(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"
