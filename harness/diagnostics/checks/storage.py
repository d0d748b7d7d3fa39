"""The file systems of the run folder and the records: room, rights, speed, locks, renames, clock.

Nothing is made but one folder with a name of its own beside what is there, which is removed again.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from harness.base.machine.cgroups import read
from harness.base.storage import Folder
from harness.base.text import format_bytes
from harness.diagnostics.checks import mounts
from harness.diagnostics.checks.finding import Finding, Status
from harness.diagnostics.checks.mounts import Mount

GROUP = "storage"
PREFIX = ".harness-doctor-"
MOUNTINFO = Path("/proc/self/mountinfo")
_PIECE_BYTES = 4 << 20
_MOST_BYTES, _MOST_S = 64 << 20, 0.4  # of one measurement of speed
_ROOM_TO_MEASURE = 4 * _MOST_BYTES
_LEAST_BYTES, _COMFORTABLE_BYTES = 300_000_000, 2_000_000_000  # a run of the default network takes 250 MB
_LEAST_FILES = 1000
_SLOW_WRITE, _SLOW_READ = 10e6, 10e6  # bytes a second
_CLOCK_S = 2.0  # some file systems keep whole seconds


def check_folder(
    name: str, folder: Folder, *, beside: Path | None = None, is_kept: bool = True, mountinfo: Path = MOUNTINFO
) -> Iterator[Finding]:
    """Yields what the file system is like that a folder is on, or will be: the nearest parent that exists is tried.

    Args:
      name: what the folder is for.
      folder: where it is or will be.
      beside: another folder that is tried; on the same file system nothing is measured twice.
      is_kept: whether what is written there is to stay.
      mountinfo: Linux' table of mounts.
    """
    if not isinstance(folder, Path):
        yield Finding(GROUP, name, "unknown", f"{folder} is no folder of this machine: a build or training tries it")
        return
    place, blocker = find_existing(folder)
    yield _check_place(name, folder, place, blocker, mounts.find_mount(place, read(mountinfo)), is_kept=is_kept)
    if blocker:
        return
    if place == folder.resolve() and not os.access(place, os.W_OK | os.X_OK):
        yield _refuse(name, f"{place} cannot be written: {os.strerror(errno.EACCES)}")
        return
    if beside is not None and find_existing(beside)[0].stat().st_dev == place.stat().st_dev:
        return
    if place == folder.resolve() and place.parent.stat().st_dev == place.stat().st_dev:
        place = place.parent  # a run and records are left alone
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as own:
            room = os.statvfs(place)
            if room.f_bavail * room.f_frsize >= _ROOM_TO_MEASURE:
                yield _check_speed(name, Path(own))
            yield _check_names(name, Path(own))
            yield _check_clock(name, Path(own))
    except OSError as error:
        yield _refuse(name, f"{place} cannot be written: {error.strerror}")


def _refuse(name: str, found: str) -> Finding:
    fix = "Give a folder that you may write to with --run (records: --records), or have its rights changed."
    return Finding(GROUP, f"{name} files", "problem", found, fix)


def find_existing(folder: Path) -> tuple[Path, str]:
    """Returns the nearest folder that exists, without links, and the reason why nothing can be made below it, or ""."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            if place.is_dir():
                return place.resolve(), ""
            if place.exists() or place.is_symlink():
                return place, "it is no folder" if place.exists() else "it is a link to nothing"
        except OSError as error:
            return place, error.strerror or str(error)
    return Path("/"), ""


def _check_place(name: str, folder: Path, place: Path, blocker: str, mount: Mount | None, *, is_kept: bool) -> Finding:
    if blocker:
        fix = "Give another folder with --run (records: --records), or move what is there."
        return Finding(GROUP, name, "problem", f"{place}: {blocker}", fix)
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    num_files = room.f_favail if room.f_files else None  # some file systems have no number
    values = {
        "folder": str(folder),
        "file_system": mount and mount.kind,
        "mounted_at": mount and mount.point,
        "free_bytes": free,
        "free_files": num_files,
    }
    words = f"{folder}{'' if folder.is_dir() else ' (to be made)'} on {mount.kind if mount else 'a disk'}"
    words += f": {format_bytes(free)}" + (f" and {num_files:,} files" if num_files is not None else "") + " free"
    if free < _COMFORTABLE_BYTES:
        status: Status = "problem" if free < _LEAST_BYTES else "warning"
        return Finding(GROUP, name, status, words, "Make room, or give a folder elsewhere with --run.", values)
    if num_files is not None and num_files < _LEAST_FILES:
        return Finding(GROUP, name, "warning", words, "Remove files there: each needs an inode of its own.", values)
    matter, fix = mounts.judge(mount, is_kept=is_kept) if mount else ("", "")
    if matter:
        status = "problem" if "ro" in mount.options else "warning"
        return Finding(GROUP, name, status, f"{words}; {matter}", fix, values)
    return Finding(GROUP, name, "ok", words, values=values)


def _check_speed(name: str, own: Path) -> Finding:
    written, taken = measure_speed(own)
    values = {"write_bytes_per_s": round(written), "read_bytes_per_s": round(taken)}
    words = f"writes {format_bytes(written)}/s to the disk, reads {format_bytes(taken)}/s"
    if written < _SLOW_WRITE or taken < _SLOW_READ:
        fix = "Use a faster file system; --data.cache memory reads records once, fewer checkpoints write less."
        return Finding(GROUP, f"{name} speed", "warning", words, fix, values)
    return Finding(GROUP, f"{name} speed", "ok", words, values=values)


def measure_speed(own: Path) -> tuple[float, float]:
    """Returns the bytes a second that are written until they are on the disk, and read again past this cache.

    Args:
      own: a folder for one file, which loses its name at once: it is gone whatever ends this process.
    """
    piece = os.urandom(_PIECE_BYTES)  # or a file system that compresses would do nothing
    with tempfile.TemporaryFile(dir=own, buffering=0) as file:
        started, num_written = time.perf_counter(), 0
        while num_written < _MOST_BYTES and time.perf_counter() - started < _MOST_S:
            num_written += file.write(piece)
            os.fsync(file.fileno())
        write_s = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        started, num_read = time.perf_counter(), 0
        while time.perf_counter() - started < _MOST_S and (block := file.read(_PIECE_BYTES)):
            num_read += len(block)
        read_s = time.perf_counter() - started
    return num_written / max(write_s, 1e-9), num_read / max(read_s, 1e-9)


def _check_names(name: str, own: Path) -> Finding:
    found = {
        "locks": excludes(own / "flock", fcntl.flock),
        "fcntl locks": excludes(own / "lockf", fcntl.lockf),
        "renames": _replaces(own),
        "hard links": _links(own),
    }
    values = {key.replace(" ", "_"): value for key, value in found.items()}
    good, bad = ([key for key, value in found.items() if value is wanted] for wanted in (True, False))
    words = f"{', '.join(good) or 'nothing'} hold" + (f"; not {', '.join(bad)}" if bad else "")
    if not found["renames"]:
        fix = "Give a folder on another file system with --run: a file that is replaced may be lost here."
        return Finding(GROUP, f"{name} locks", "problem", words, fix, values)
    if not found["locks"]:
        fix = "Start nothing twice in one run folder: here only its owner's heartbeats keep a second one out."
        return Finding(GROUP, f"{name} locks", "warning", words, fix, values)
    return Finding(GROUP, f"{name} locks", "ok", words, values=values)


def excludes(path: Path, lock: Callable[[IO[bytes], int], None]) -> bool:
    """Whether a lock on a file keeps another process of this machine out.

    Args:
      path: a file to be made.
      lock: fcntl.flock or fcntl.lockf.
    """
    with path.open("wb") as file:
        try:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                os._exit(0 if _is_kept_out(path, lock) else 1)
            os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _is_kept_out(path: Path, lock: Callable[[IO[bytes], int], None]) -> bool:
    with path.open("r+b") as file:
        try:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def _replaces(own: Path) -> bool:
    """Whether a rename puts a file in another's place, whose readers keep what they had."""
    old, new = own / "old", own / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with old.open("rb") as reader:
        try:
            new.replace(old)
        except OSError:
            return False
        return old.read_bytes() == b"new" and reader.read() == b"old" and not new.exists()


def _links(own: Path) -> bool:
    """Whether a file can have a second name, and nobody else's."""
    first, second = own / "first", own / "second"
    first.write_bytes(b"first")
    try:
        second.hardlink_to(first)
    except OSError:
        return False
    try:
        second.hardlink_to(first)
    except FileExistsError:
        return second.read_bytes() == b"first"
    return False


def _check_clock(name: str, own: Path) -> Finding:
    before = time.time()
    (own / "clock").write_bytes(b"")
    after = time.time()
    ahead_s = (own / "clock").stat().st_mtime - (before + after) / 2
    values = {"ahead_s": round(ahead_s, 3)}
    if abs(ahead_s) > _CLOCK_S:
        where = "ahead of" if ahead_s > 0 else "behind"
        words = f"its clock is {abs(ahead_s):,.0f} s {where} this machine's"
        fix = "Set both by NTP: what is newer is told by the times of files."
        return Finding(GROUP, f"{name} clock", "warning", words, fix, values)
    return Finding(GROUP, f"{name} clock", "ok", "agrees with this machine's", values=values)
