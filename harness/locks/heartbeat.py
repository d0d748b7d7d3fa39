"""The heart of a lock: tells others that its owner lives, and ends an owner that has lost it.

Who was suspended, or cut off from the file server, for long enough was taken for gone. What it would write now would
spoil the work of whoever owns the folder since.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator

from harness.base.errors import CheckpointError, ExitCode
from harness.base.text import visible
from harness.locks import lock_file
from harness.locks.lock_file import LockFile
from harness.locks.owner import Owner
from harness.locks.verdict import Rhythm

log = logging.getLogger("harness")


@contextlib.contextmanager
def beat(mine: LockFile, told: object, rhythm: Rhythm) -> Iterator[None]:
    """Beats while the block runs. If the lock becomes another's, the process ends at once with exit code 5.

    A file system that fails for a while ends nothing, nor does a lock file that is missing or makes no sense: only one
    that names another owner does.

    Args:
      mine: the lock.
      told: what it is the lock of, for the message.
      rhythm: its times.
    """
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(rhythm.beat_s):
            with contextlib.suppress(OSError):
                mine.beat()
            if (other := _find_other(mine)) is not None:
                _end(told, other)

    # A daemon, and not waited for without a limit: a file server that does not answer may keep it.
    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(rhythm.beat_s)


def _find_other(mine: LockFile) -> Owner | None:
    """Returns whose the lock has become; None if it has not, as far as can be seen."""
    try:
        seen = lock_file.look(mine.path, asks_flock=False)
    except (OSError, CheckpointError):
        return None
    if seen is None or seen.owner is None or seen.owner.token == mine.owner.token:
        return None
    return seen.owner


def _end(told: object, other: Owner) -> None:
    try:
        sys.stderr.write(
            f"error: {visible(told)} belongs to {visible(other)} now. This process gave no sign of life for too long, "
            "was taken for gone, and ends here. Wait for the end of that one, or give another folder.\n"
        )
        sys.stderr.flush()
    finally:
        os._exit(ExitCode.CHECKPOINT)
