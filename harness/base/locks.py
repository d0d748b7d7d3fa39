"""Files that are locked: whoever holds one keeps the other processes of the machine out.

A lock ends with its process. Between machines that share a file system it holds where that passes locks on.
"""

import errno
import fcntl
import os
from pathlib import Path

_MOST_TRIES = 100  # to lock a file that others remove
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Held(Exception):
    """Another process holds the lock."""


def acquire(path: Path, *, is_shared: bool = False) -> tuple[int, bool]:
    """Locks a file, which is made with its folder if it is missing. To close its descriptor ends the lock.

    Returns:
      The descriptor, open for reading and writing, and whether it is locked, which some file systems cannot do.

    Raises:
      Held: another process holds it, or others come and go too fast.
      OSError: the file cannot be made.
    """
    for _ in range(_MOST_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # whoever held it has removed the folder in between
        try:
            is_locked = _lock(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
            if _lies_at(descriptor, path):
                return descriptor, is_locked
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it has removed it in between: a lock on it keeps nobody out
    raise Held


def is_alone(descriptor: int, path: Path) -> bool:
    """Whether nobody shares the lock; if so, others are kept out from now on, and the file may be removed."""
    try:
        # A shared lock is let go before it becomes an exclusive one.
        return _lock(descriptor, fcntl.LOCK_EX) and _lies_at(descriptor, path)
    except (Held, OSError):
        return False


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Held from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _lies_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
