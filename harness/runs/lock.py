"""One owner for a folder: a lock that holds between the processes of one machine and ends with its process.

It does not hold between machines that share a file system without locks of its own.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError

log = logging.getLogger("harness")
FILE_NAME = ".lock"
_MOST_TRIES = 100  # to lock a file that others remove
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class Owner:
    """Who holds a folder."""

    pid: int
    host: str
    since: str


_FORM = TypeAdapter(Owner)


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Makes this process the owner of a folder, which is made if it is missing, until the block ends.

    Raises:
      CheckpointError: another process holds it, or a file stands in its place.
      OSError: it cannot be made or written.
    """
    path, is_new = folder / FILE_NAME, not folder.exists()
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of a disk that fails, which is told by whoever wrote to it
            path.unlink()  # before others may have it
            if is_new:
                folder.rmdir()  # if nothing came of it
        os.close(descriptor)


def _acquire(path: Path) -> int:
    for _ in range(_MOST_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # its owner has removed the folder in between
        except (FileExistsError, NotADirectoryError) as error:
            raise CheckpointError(f"cannot write to {path.parent}: {error.strerror}. Give another folder.") from None
        try:
            _lock(descriptor, path)
            if _is_same(descriptor, path):
                owner = Owner(os.getpid(), socket.gethostname(), datetime.datetime.now().isoformat(" ", "seconds"))
                with files.naming(path):
                    os.truncate(descriptor, 0)
                    os.write(descriptor, json.dumps(asdict(owner)).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has removed it in the meantime: whoever makes it anew has another
    raise _busy(path, "processes that come and go")


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(path, _describe_owner(path)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s cannot be locked: start nothing else in it", path.parent)


def _busy(path: Path, owner: str) -> CheckpointError:
    return CheckpointError(f"{path.parent} is in use by {owner}. Wait for its end, or give another folder.")


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _describe_owner(path: Path) -> str:
    try:
        owner = json_files.read(path, _FORM)
    except json_files.WrongForm:
        return "another process"
    return f"process {owner.pid} on {owner.host[:100]} since {owner.since[:40]}"
