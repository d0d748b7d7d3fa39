"""The heart of a lock: tells others that its owner lives, and ends an owner that has lost it.

Who was suspended, or cut off from the file server, for long enough was taken for gone. What it would write now would
spoil the work of whoever owns the folder since.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from harness.base.errors import CheckpointError, ExitCode
from harness.base.text import visible
from harness.locks import lock_file
from harness.locks.lock_file import LockFile
from harness.locks.owner import Owner
from harness.locks.verdict import Rhythm


@contextlib.contextmanager
def beat(mine: LockFile, told: object, rhythm: Rhythm) -> Iterator[None]:
    """Beats while the block runs, and releases the lock after it. If that becomes another's, the process ends with 5.

    A file system that fails for a while ends nothing, nor does a lock file that makes no sense: only one that names
    another owner does. A lock file that somebody has removed is put back.

    Args:
      mine: the lock.
      told: what it is the lock of, for the message.
      rhythm: its times.
    """
    is_over, latest = threading.Event(), [mine]

    def run() -> None:
        while not is_over.wait(rhythm.beat_s):
            with contextlib.suppress(OSError, CheckpointError, MemoryError, RuntimeError):  # no room for a thread
                latest[0] = _renew(latest[0], told)

    # A daemon, and not waited for without a limit: a file server that does not answer may keep it.
    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    try:
        thread.start()
        yield
    finally:
        is_over.set()
        if thread.is_alive():
            thread.join(rhythm.beat_s)
        latest[0].release()


def _renew(mine: LockFile, told: object) -> LockFile:
    """Moves the time of the lock file; returns that, or the one put in its place if it was removed.

    Raises:
      OSError, CheckpointError: the file system fails, or something else is at its place.
    """
    seen = lock_file.look(mine.path, asks_flock=False)
    if seen is None:
        if (again := lock_file.place(mine.path, mine.owner)) is None:
            return mine
        mine.release()
        return again
    if seen.owner is not None and seen.owner.token != mine.owner.token:
        _end(told, seen.owner)
    mine.beat()
    return mine


def _end(told: object, other: Owner) -> NoReturn:
    try:
        sys.stderr.write(
            f"error: {visible(told)} belongs to {visible(other)} now. This process gave no sign of life for too long, "
            "was taken for gone, and ends here. Wait for the end of that one, or give another folder.\n"
        )
        sys.stderr.flush()
    finally:
        os._exit(ExitCode.CHECKPOINT)
