"""The file of a lock: how it appears, is looked at, is handed on and goes. Whose it may become is for lock.py to say.

It appears by O_CREAT with O_EXCL, which succeeds for one process only, on one machine and on NFS alike. For a moment it
is empty, and has no flock yet: a file that says nothing is looked at again before it is judged.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.base import files, json_files
from harness.base.errors import CheckpointError
from harness.locks.owner import FORM, Owner

_MOST_BYTES = 4096  # of a lock file of ours
_ANSWER_S = 10.0  # a file server whose locks do not answer counts as one without locks
_GONE = (errno.ENOENT, errno.ESTALE)


@dataclass(frozen=True)
class Seen:
    """A lock file as it was at one look."""

    owner: Owner | None  # None: it says nothing that can be read
    content_sha256: str  # of one owner only, whose token is in it
    stamp: tuple[int, ...]  # changes with each beat of the owner's heart
    is_held: bool | None  # by a flock; None: the file system does not say


@dataclass(frozen=True)
class LockFile:
    """A lock file of this process; its descriptor has the flock."""

    path: Path
    descriptor: int
    owner: Owner

    def beat(self) -> None:
        """Moves the time of the file, which tells others that this process lives."""
        os.utime(self.descriptor)

    def lies_at(self, path: Path) -> bool:
        """Whether the file at the path is this one."""
        seen = look(path, asks_flock=False)
        return seen is not None and seen.owner is not None and seen.owner.token == self.owner.token

    def move(self, path: Path) -> "LockFile | None":
        """Takes the place of another lock file, or returns None if a third was faster.

        Raises:
          OSError: it could not.
        """
        self.path.replace(path)
        return replace(self, path=path) if self.lies_at(path) else None

    def abandon(self) -> None:
        """Has the file say nothing again, wherever it lies, for others to take over."""
        try:
            os.ftruncate(self.descriptor, 0)
        finally:
            os.close(self.descriptor)

    def release(self) -> None:
        """Removes the file, if it is still there and of this process."""
        with contextlib.suppress(
            OSError, CheckpointError
        ):  # of a disk that fails, which is told by whoever wrote to it
            if self.lies_at(self.path):
                self.path.unlink()  # before others may have it
        os.close(self.descriptor)


def look(path: Path, *, asks_flock: bool = True) -> Seen | None:
    """Returns what a lock file says; None if there is none. It is opened anew, for NFS to show its latest state.

    Raises:
      CheckpointError: it is no file.
      OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _refuse(path) from None
        if error.errno in _GONE:
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refuse(path)
        content = os.read(descriptor, _MOST_BYTES + 1)
        # A shared lock: those who look do not see one another.
        is_free = _lock(descriptor, fcntl.LOCK_SH) if asks_flock else None
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    finally:
        os.close(descriptor)
    stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    is_held = None if is_free is None else not is_free
    return Seen(_parse(content), hashlib.sha256(content).hexdigest(), stamp, is_held)


def _refuse(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is no file, where a lock should be. Remove it, or give another folder.")


def _parse(content: bytes) -> Owner | None:
    try:
        return json_files.parse(content, FORM) if len(content) <= _MOST_BYTES else None
    except json_files.WrongForm:
        return None


def place(path: Path, me: Owner) -> LockFile | None:
    """Makes a lock file of this process, or returns None if there is one.

    Raises:
      FileNotFoundError: the folder is gone.
      OSError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    try:
        has_flock = bool(_lock(descriptor, fcntl.LOCK_EX))
        mine = LockFile(path, descriptor, me.with_lock(has_flock=has_flock))
        with files.naming(path):
            os.write(descriptor, json.dumps(asdict(mine.owner)).encode())
            os.fsync(descriptor)  # NFS shows others what is written only then, or when it is closed
        if mine.lies_at(path):
            return mine
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    os.close(descriptor)  # this process was suspended before it could write, and taken for gone
    return None


def _lock(descriptor: int, kind: int) -> bool | None:
    """Returns whether the flock was given; None where the file system has none, or none that answers."""
    answers: list[bool | None] = []

    def ask() -> None:
        """Asks once; there is no answer as long as the file system gives none."""
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            answers.append(True)
        except BlockingIOError:
            answers.append(False)
        except OSError:
            answers.append(None)

    # A thread, since a call to a lock server that is down returns only when that is up.
    thread = threading.Thread(target=ask, name="flock", daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    return answers[0] if answers else None
