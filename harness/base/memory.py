"""How much memory there is, and where the decoded pictures go.

Nothing is read or moved here, and no GPU is asked: what a GPU has free comes in as a number, where the pictures are to
be goes out as a Placement. The shares count them once, so whoever reads them must not hold them twice meanwhile.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.errors import MemoryLimitError

# What `auto` takes at most. Beside the pictures, memory holds the network, prefetched batches and the file cache, and
# what is free now is shared with other processes.
MEMORY_SHARE = 0.5
# A GPU's memory is for activations and gradients first, which grow with the batch and are not known beforehand.
DEVICE_SHARE = 0.3
# What is taken when asked for. The last tenth is gone with the first batches: above, a run would be killed, not slow.
MOST_SHARE = 0.9

Mode = Literal["device", "memory", "none"]


@dataclass(frozen=True)
class FreeMemory:
    """Memory that can be had without swapping or being killed, and what limits it: "" for the machine itself."""

    num_bytes: int
    limit: str = ""


@dataclass(frozen=True)
class Placement:
    """Where the decoded pictures go, and a line for the log that says so with the numbers that decided."""

    mode: Mode
    reason: str


def measure_free(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> FreeMemory:
    """Returns the least of what the machine has free and what every cgroup of this process leaves; never raises.

    SLURM and containers limit a job by cgroups. What the file cache holds and nobody uses counts as free.
    """
    found = [FreeMemory(_machine_bytes(proc))]
    for name, folder, files in _own_cgroups(proc, cgroups):
        limits = [limit for limit in map(_read_int, (folder / file for file in files.limits)) if limit is not None]
        if limits:
            used = _read_int(folder / files.usage) or 0
            reclaimable = _read_field(folder / "memory.stat", files.reclaimable) or 0
            found.append(FreeMemory(max(0, min(limits) - max(0, used - reclaimable)), name))
    return min(found, key=lambda free: free.num_bytes)


def _machine_bytes(proc: Path) -> int:
    available = _read_field(proc / "meminfo", "MemAvailable")
    if available is not None:
        return available * 1024
    # macOS counts its pages, but tells only other programs how many are free: half of them is a guess.
    for name, divisor in (("SC_AVPHYS_PAGES", 1), ("SC_PHYS_PAGES", 2)):
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


_V1 = _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files(("memory.max", "memory.high"), "memory.current", "inactive_file")


def _own_cgroups(proc: Path, cgroups: Path) -> Iterator[tuple[str, Path, _Files]]:
    """Every cgroup of this process that may limit its memory, the parents too: any of them may be the tightest."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            mounts, files = (cgroups / "memory",), _V1
        elif number == "0" and not controllers:
            mounts, files = (cgroups, cgroups / "unified"), _V2  # the second beside version 1
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


def place(
    asked: Literal["auto", "device", "memory", "none"],
    *,
    need_bytes: int,
    free_bytes: int,
    device_free_bytes: int | None,
    has_gpu: bool,
    num_replicas: int = 1,
    num_sharing: int = 1,
    limit: str = "",
) -> Placement:
    """Decides where the decoded pictures go; `asked` is data.cache.

    `need_bytes` is of all splits together, `free_bytes` and `limit` as in FreeMemory, `device_free_bytes` of the GPU
    that has least free, None if unknown. Every replica holds a copy on its device; in memory there is one for all of
    this process, and `num_sharing` processes have what is free in equal parts.

    `auto` takes the GPU up to DEVICE_SHARE of it, else memory up to MEMORY_SHARE, else streams. Without a GPU it never
    takes `device`, which would be the same memory once a replica.

    Raises:
      MemoryLimitError: `device` or `memory` is asked for and would take more than MOST_SHARE of what is free.
    """
    gpus, fullest = ("the GPU",) * 2 if num_replicas == 1 else (f"each of {num_replicas} GPUs", "the fullest GPU")
    device = _Room(device_free_bytes, f"free on {fullest}")
    words = f"free in {limit}" if limit else "free"
    if num_sharing > 1:
        words += f" for each of {num_sharing} workers"
    memory = _Room(free_bytes // num_sharing, words, " Or give the job more memory." if limit else "")
    decoded = f"{_format_bytes(need_bytes)} decoded"
    if asked == "none":
        return Placement("none", f"pictures streamed from the records, as data.cache asks: {decoded}, {memory.tell()}")
    if asked == "memory":
        return _place_as_asked("memory", "in memory", need_bytes, memory)
    if asked == "device" and has_gpu:
        return _place_as_asked("device", f"on {gpus}", need_bytes, device)
    if asked == "device":
        where = "on the CPU" if num_replicas == 1 else f"on {num_replicas} devices of the CPU, a copy each"
        return _place_as_asked("device", where, need_bytes * num_replicas, memory)
    if has_gpu and device.holds(need_bytes, DEVICE_SHARE):
        return Placement("device", f"pictures kept on {gpus}: {decoded}, {device.tell()}")
    beside = f"; {device.tell_too_small(DEVICE_SHARE)}" if has_gpu else ""
    if memory.holds(need_bytes, MEMORY_SHARE):
        return Placement("memory", f"pictures kept in memory: {decoded}, {memory.tell()}{beside}")
    return Placement(
        "none", f"pictures streamed from the records: {decoded}, {memory.tell_too_small(MEMORY_SHARE)}{beside}"
    )


@dataclass(frozen=True)
class _Room:
    """What is free somewhere, None if unknown; `words` continue the number, `remedy` ends an error."""

    num_bytes: int | None
    words: str
    remedy: str = ""

    def holds(self, need_bytes: int, share: float) -> bool:
        return self.num_bytes is not None and need_bytes <= share * self.num_bytes

    def tell(self) -> str:
        if self.num_bytes is None:
            return f"unknown how much is {self.words}"
        return f"{_format_bytes(self.num_bytes)} {self.words}"

    def tell_too_small(self, share: float) -> str:
        return self.tell() if self.num_bytes is None else f"over {share * 100:.0f} % of the {self.tell()}"


def _place_as_asked(mode: Mode, where: str, taken_bytes: int, room: _Room) -> Placement:
    taken = _format_bytes(taken_bytes)
    if room.num_bytes is not None and not room.holds(taken_bytes, MOST_SHARE):
        raise MemoryLimitError(
            f"data.cache is {mode}, but the decoded pictures take {taken} {where}, with {room.tell()}: at most "
            f"{MOST_SHARE * 100:.0f} % of that, {_format_bytes(int(MOST_SHARE * room.num_bytes))}, can be theirs. "
            "--data.cache none streams them from the records, auto takes what fits; records built with a smaller "
            f"--records.image_size take less.{room.remedy}"
        )
    return Placement(mode, f"pictures kept {where}, as data.cache asks: {taken} decoded, {room.tell()}")


def _format_bytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
