"""Which file system a folder is on, read from Linux' table of mounts, and what is known to matter of its kind."""

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A file system in the tree of files: where it begins, its kind, and its options."""

    point: str
    kind: str
    options: frozenset[str]


def find_mount(folder: Path, mountinfo: str) -> Mount | None:
    """Returns the file system that a folder is on; None if the table does not say.

    Args:
      folder: an absolute path without links.
      mountinfo: the text of /proc/self/mountinfo.
    """
    found = None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not dash or len(left) < 6 or not right[0]:
            continue
        point = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), left[4])
        if folder.is_relative_to(point) and (found is None or len(point) >= len(found.point)):  # the last one is on top
            options = ",".join((left[5], *right[2:3]))
            found = Mount(point, right[0], frozenset(options.split(",")))
    return found


def judge(mount: Mount, *, is_kept: bool = True) -> tuple[str, str]:
    """Returns what a run has to know of such a file system, and what to do about it; "" and "" for nothing.

    Args:
      mount: the file system.
      is_kept: whether what is written there is to stay.
    """
    options = mount.options
    if "ro" in options:
        return "it is mounted read-only", "Give another folder with --run."
    if mount.kind in ("tmpfs", "ramfs") and is_kept:
        return "its files are memory, and gone with the machine or job", "Give a folder on a disk with --run."
    if mount.kind == "overlay" and is_kept:
        fix = "Mount a folder of the machine into the container, and give it with --run."
        return "it is a container's own layer, and gone with it", fix
    if mount.kind.startswith("nfs") and options & {"nolock", "local_lock=all", "local_lock=flock", "local_lock=posix"}:
        fix = "Have it mounted with locks (without nolock and local_lock), or start nothing twice in one run folder."
        return "its locks hold on this node only", fix
    if mount.kind == "lustre" and "flock" not in options:
        where = "hold on this node only" if "localflock" in options else "are off"
        return f"its locks {where}", "Have it mounted with -o flock, or start nothing twice in one run folder."
    return "", ""
