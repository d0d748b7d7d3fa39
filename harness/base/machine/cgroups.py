"""The cgroups of this process, by which SLURM and containers limit it, and the small files that tell of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cgroup:
    """A cgroup of this process: its name in words, its folder, and the version of the files in it."""

    name: str
    folder: Path
    version: Literal[1, 2]


def list_own(controller: str, proc: Path = Path("/proc"), root: Path = ROOT) -> Iterator[Cgroup]:
    """Yields every cgroup of this process that may limit something, the parents too: any may be the tightest.

    Args:
      controller: what is limited, such as "memory" or "cpu".
      proc: where the system tells of its processes.
      root: where cgroups are mounted.
    """
    for line in read(proc / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version: Literal[1, 2]
        if controller in controllers.split(","):
            mounts, version = [root / controller], 1
        elif number == "0" and not controllers:
            mounts, version = [root, root / "unified"], 2  # the second beside version 1
        else:
            continue
        for mount in mounts:
            for name, folder in _with_parents(mount, path):
                yield Cgroup(name, folder, version)


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


def read(path: Path) -> str:
    """Returns a file's text, "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return ""


def read_int(path: Path) -> int | None:
    """Returns the number in a file; None for "max", and for a file that is not there."""
    return parse_int(read(path).strip())


def read_field(path: Path, name: str) -> int | None:
    """Returns the number behind a name at the beginning of a line, as in `name: 12 kB` and `name 12`."""
    for line in read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0].rstrip(":") == name:
            return parse_int(words[1])
    return None


def parse_int(text: str) -> int | None:
    """Returns a number of at most 29 digits, None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 30 else None
