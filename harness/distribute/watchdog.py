"""Ends a process that has come no further for too long, and says where it stood.

A worker of a run can wait for ever in an all-reduce for one that is cut off, and so can a read from a dead file server.
It knows nothing of steps: whoever works tells it of progress.
"""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.base.errors import ExitCode

_LOOKS = 20  # in the time that is allowed


@contextlib.contextmanager
def watch(stall_s: float, stacks: Path) -> Iterator[Callable[[], None]]:
    """Watches over what is done within; gives a function that tells of progress.

    After `stall_s` seconds without progress the stacks of all threads go to stderr and to a file, and the process ends
    at once with exit code 6: the thread that hangs could not be stopped otherwise.

    Args:
      stall_s: seconds; 0 watches over nothing.
      stacks: the file for the stacks. It is written only then.
    """
    if not stall_s:
        yield lambda: None
        return
    last, is_over = [time.monotonic()], threading.Event()

    def tell() -> None:
        last[0] = time.monotonic()

    def look() -> None:
        while not is_over.wait(stall_s / _LOOKS):
            if time.monotonic() - last[0] > stall_s:
                _end(stall_s, stacks)

    thread = threading.Thread(target=look, name="watchdog", daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        is_over.set()
        thread.join()


def _end(stall_s: float, stacks: Path) -> None:
    text = (
        f"error: no progress for {stall_s:g} s (runtime.stall_s); the stacks of all threads are in {stacks}. The same "
        "command goes on from the last checkpoint. If the work only takes so long, give more: --runtime.stall_s "
        f"{10 * stall_s:g}\n"
    )
    try:
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        with contextlib.suppress(OSError), stacks.open("w") as file:  # the folder may be what hangs or is full
            faulthandler.dump_traceback(file=file, all_threads=True)
        sys.stderr.write(text)
        sys.stderr.flush()
    finally:
        os._exit(ExitCode.CLUSTER)
