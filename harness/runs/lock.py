"""One owner for a folder, who is named to others. How the lock holds stands in base/locks.py."""

import contextlib
import datetime
import json
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.base import files, json_files, locks
from harness.base.errors import CheckpointError

log = logging.getLogger("harness")
FILE_NAME = ".lock"


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
    try:
        descriptor, is_locked = locks.acquire(path)
    except locks.Held:
        raise _busy(path) from None
    except (FileExistsError, NotADirectoryError) as error:
        raise CheckpointError(f"cannot write to {path.parent}: {error.strerror}. Give another folder.") from None
    if not is_locked:
        log.warning("%s cannot be locked: start nothing else in it", path.parent)
    owner = Owner(os.getpid(), socket.gethostname(), datetime.datetime.now().isoformat(" ", "seconds"))
    try:
        with files.naming(path):
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(asdict(owner)).encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _busy(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.parent} is in use by {_describe_owner(path)}. Wait for its end, or give another folder."
    )


def _describe_owner(path: Path) -> str:
    try:
        owner = json_files.read(path, _FORM)
    except json_files.WrongForm:
        return "another process"
    return f"process {owner.pid} on {owner.host[:100]} since {owner.since[:40]}"
