"""A folder that several tasks work in, each on a share of its own, or one process on the whole.

Each share has a lock beside that of the whole, so that no two do the same share. A task takes its share's lock and then
looks whether anyone has the whole; who takes the whole looks at all shares after that. So two that come at once both
see each other, or one does: never both go on.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.base.errors import CheckpointError
from harness.locks import lock, lock_file
from harness.locks.lock import InUse
from harness.locks.verdict import USUAL, Rhythm

_RETRY_S = 0.1
_MOST_LOOKS = 64  # at a time, each in a thread that mostly waits


@contextlib.contextmanager
def hold_whole(path: Path, told: object, clear: Callable[[], None], rhythm: Rhythm = USUAL) -> Iterator[None]:
    """Makes this process the owner of the whole until the block ends; then clears the folder.

    Args:
      path: the lock file of the whole.
      told: what it is the lock of, for messages.
      clear: called at the end, while nobody else is there.
      rhythm: the times of the locks.

    Raises:
      As `lock.hold`; InUse also if a share has an owner.
    """
    with lock.hold(path, told, rhythm):
        shares = _list_shares(path)
        with ThreadPoolExecutor(_MOST_LOOKS) as pool:
            for _ in pool.map(lambda share: lock.acquire(share, told, rhythm).release(), shares):
                pass
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # nothing can be removed here
                clear()


@contextlib.contextmanager
def hold_share(
    path: Path, share: str, told: object, clear: Callable[[], None], rhythm: Rhythm = USUAL
) -> Iterator[None]:
    """Makes this process the owner of one share until the block ends; the last task clears the folder.

    Args:
      path: the lock file of the whole.
      share: which of how many, such as "3-of-8".
      told: what it is the lock of, for messages.
      clear: called at the end if no other task is there, nor can come meanwhile.
      rhythm: the times of the locks.

    Raises:
      As `lock.hold`; InUse if the share or the whole has another owner.
    """
    try:
        with lock.hold(path.with_name(f"{path.name}.{share}"), told, rhythm):
            _wait_for_whole(path, told, rhythm)
            yield
    finally:
        with contextlib.suppress(OSError, CheckpointError):  # nothing can be removed here, or somebody has come
            _clear_after_last(path, told, clear, rhythm)


def _wait_for_whole(path: Path, told: object, rhythm: Rhythm) -> None:
    """Returns once nobody has the whole: a task that clears the folder is about to go, and so is one who looks.

    Raises:
      InUse: it still has an owner after a while.
    """
    limit = time.monotonic() + rhythm.yield_s
    while lock_file.look(path, asks_flock=False) is not None:
        try:
            lock.acquire(path, told, rhythm).release()
        except InUse:
            if time.monotonic() > limit:
                raise
            time.sleep(_RETRY_S)


def _clear_after_last(path: Path, told: object, clear: Callable[[], None], rhythm: Rhythm) -> None:
    """Clears the folder if no task is there. One that comes meanwhile waits, as long as this one has the whole."""
    if not _list_shares(path):
        with lock.hold(path, told, rhythm):
            if not _list_shares(path):
                clear()


def _list_shares(path: Path) -> list[Path]:
    form = re.compile(re.escape(path.name) + r"\.\d+-of-\d+")
    return [other for other in path.parent.iterdir() if form.fullmatch(other.name)]
