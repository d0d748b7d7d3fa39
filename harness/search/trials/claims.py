"""Who of all processes does what in a search: one at a time proposes, and each trial has one that looks after it.

The locks are files (harness/locks), which need no lock of the file system and hold across nodes. A claim falls with its
process; the next that asks then has it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.base.errors import CheckpointError
from harness.base.text import list_names
from harness.locks import lock, lock_file
from harness.locks.lock import InUse
from harness.locks.verdict import USUAL, Verdict

_CLAIMS = "claims"
_PROPOSING = "proposing"
_LOOK_S = 0.05
_MOST_WAIT_S = 1800.0  # for others to propose, which takes a minute in a Bayesian search of many hundred trials


def refuse_others(folder: Path, record: str, ours: Iterable[str], *, what: str, flag: str) -> None:
    """Refuses a folder of something else, such as a run or records: trainings would write over its files.

    Args:
      folder: may be new.
      record: the file that none of ours is without from its start.
      ours: other names that may be in it before there is that file.
      what: ours is, with its article.
      flag: names the folder.

    Raises:
      CheckpointError: it holds something else, or is no folder.
    """
    if (folder / record).exists() or not folder.exists():
        return
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder. Give another one for {what}: {flag} runs/NEW")
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")}
    if others := sorted(names - {_CLAIMS, *ours}):
        raise CheckpointError(
            f"{folder} holds something else than {what}: {list_names(others, separator=', ')}. Give another folder, "
            f"which may be new: {flag} runs/NEW"
        )


class Claims:
    """The claims of one process on what is done in the folder of a search."""

    def __init__(self, folder: Path, should_stop: Callable[[], str | None]) -> None:
        """Takes the folder of the search; waiting ends where `should_stop` gives a reason."""
        self._folder, self._should_stop = folder / _CLAIMS, should_stop
        self._threads = threading.Lock()
        self._still: dict[Path, tuple[object, float]] = {}  # locks of other machines: as they were, and since when

    @contextmanager
    def proposing(self) -> Iterator[bool]:
        """Makes this thread the only one of all processes that proposes; False where it was told to stop before.

        Raises:
          InUse: another process has it for minutes.
        """
        started = time.monotonic()
        with self._threads, ExitStack() as stack:
            while not self._should_stop():
                if (held := self.take(_PROPOSING)) is not None:
                    stack.enter_context(held)
                    yield True
                    return
                if time.monotonic() - started > _MOST_WAIT_S:
                    place = self._folder / _PROPOSING
                    raise InUse(f"{place} is in use by {lock.look_for_owner(place)[0]}. If that hangs, end it.")
                time.sleep(_LOOK_S)
            yield False

    def take(self, name: str) -> ExitStack | None:
        """Returns the claim on something, to be closed after use; None while another process has it.

        One whose process is on another machine, which may have died, is waited for once it has been silent for long.

        Raises:
          OSError: the folder cannot be written.
        """
        place = self._folder / name
        _, found = lock.look_for_owner(place)
        if found is Verdict.LIVES or (found is None and not self._is_silent(place)):
            return None
        stack = ExitStack()
        stack.callback(_remove, place)
        try:
            stack.enter_context(lock.hold_folder(place))
        except InUse:
            return None
        return stack

    def _is_silent(self, place: Path) -> bool:
        """Whether an owner has given no sign of life for as long as all that is seen of it here."""
        seen = lock_file.look(place / lock.FILE_NAME, asks_flock=False)
        if seen is None:
            return True
        known, since = self._still.get(place, (None, 0.0))
        if known != seen.stamp:
            self._still[place] = seen.stamp, time.monotonic()
            return False
        return time.monotonic() - since > USUAL.still_s


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        place.rmdir()
