"""How much memory there is and is free: of the machine, and within this process' cgroups. It asks no GPU."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """An amount of memory, and what limits it: "" for the machine itself."""

    num_bytes: int
    limit: str = ""


def measure_free(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Memory:
    """Returns what can be had without swapping or being killed; never raises.

    That is the least of what the machine has free and what every cgroup of this process leaves. SLURM and containers
    limit a job by cgroups. What the file cache holds and nobody uses counts as free.
    """
    found = [Memory(_machine_bytes(proc, "MemAvailable", "SC_AVPHYS_PAGES"))]
    for name, folder, files in _own_cgroups(proc, cgroups):
        if (limit := files.read_limit(folder)) is not None:
            used = _read_int(folder / files.usage) or 0
            reclaimable = _read_field(folder / "memory.stat", files.reclaimable) or 0
            found.append(Memory(max(0, limit - max(0, used - reclaimable)), name))
    return min(found, key=lambda free: free.num_bytes)


def measure_total(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Memory:
    """Returns the least of the machine's memory and the limits of this process' cgroups, whatever is in use."""
    found = [Memory(_machine_bytes(proc, "MemTotal", "SC_PHYS_PAGES"))]
    for name, folder, files in _own_cgroups(proc, cgroups):
        if (limit := files.read_limit(folder)) is not None:
            found.append(Memory(limit, name))
    return min(found, key=lambda total: total.num_bytes)


def _machine_bytes(proc: Path, field: str, pages: str) -> int:
    """What Linux says in a field of /proc/meminfo, else the size of the pages that the system counts by a name."""
    told = _read_field(proc / "meminfo", field)
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

    def read_limit(self, folder: Path) -> int | None:
        """Returns the tightest limit in bytes; None if there is none."""
        return min((limit for name in self.limits if (limit := _read_int(folder / name)) is not None), default=None)


_V1 = _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files(("memory.max", "memory.high"), "memory.current", "inactive_file")


def _own_cgroups(proc: Path, cgroups: Path) -> Iterator[tuple[str, Path, _Files]]:
    """Every cgroup of this process that may limit its memory, the parents too: any of them may be the tightest."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            mounts, files = [cgroups / "memory"], _V1
        elif number == "0" and not controllers:
            mounts, files = [cgroups, cgroups / "unified"], _V2  # the second beside version 1
        else:
            continue
        for mount in mounts:
            for name, folder in _with_parents(mount, path):
                yield name, folder, files


def _with_parents(mount: Path, path: str) -> Iterator[tuple[str, Path]]:
    """In a container the path may be the host's, and a part of it another cgroup here: then only the root counts."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts or not _is_folder(mount.joinpath(*parts)):
        parts = []
    for depth in range(len(parts), 0, -1):
        yield f"cgroup /{'/'.join(parts[:depth])}", mount.joinpath(*parts[:depth])
    yield "this container", mount  # a machine's own root has no limit


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return ""


def _read_int(path: Path) -> int | None:
    """The number in a file; None for "max", and for a file that is not there."""
    return _parse_int(_read(path).strip())


def _read_field(path: Path, name: str) -> int | None:
    """The number behind a name at the beginning of a line, as in `name: 12 kB` and `name 12`."""
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0].rstrip(":") == name:
            return _parse_int(words[1])
    return None


def _parse_int(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 30 else None
