"""One owner for a folder, on all machines that share it: the others are refused, and told who has it.

Whose a lock is stands in its file. How that file appears is in lock_file.py, when its owner counts as gone in
verdict.py, what an owner does that has lost it in heartbeat.py.

Taking over is safe without any lock of the file system. Whoever has found an owner gone first owns a second lock, named
after the content of the first file. As long as he has that, nobody else can put something in the place of this very
file. He looks once more whether it is still the one that was judged, and moves his own file over it.

A file that says nothing may be judged while its maker, suspended between making and writing, goes on. The maker
therefore looks for that second lock once he has written, as the other looks at what is written once he has the lock:
at least one of them sees the other, and leaves it to him.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from harness.base.errors import CheckpointError
from harness.locks import heartbeat, lock_file, owner, verdict
from harness.locks.lock_file import LockFile, Seen
from harness.locks.owner import Owner
from harness.locks.verdict import USUAL, Rhythm, Verdict

log = logging.getLogger("harness")
FILE_NAME = ".lock"
_MOST_TRIES = 200  # to get a lock that others take and leave
_TRIES_FOR_BLANK = 5  # to see who owns a file that has just appeared
_RETRY_S = 0.02
_NOTHING_SHA256 = sha256(b"").hexdigest()


class InUse(CheckpointError):
    """A folder that another process owns."""


@contextlib.contextmanager
def hold_folder(folder: Path, rhythm: Rhythm = USUAL) -> Iterator[None]:
    """Makes this process the owner of a folder, which is made if it is missing, until the block ends.

    Raises:
      InUse: another process owns it.
      CheckpointError: something else stands in the place of the folder or its lock file.
      OSError: it cannot be made or written.
    """
    is_new = not folder.exists()
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold(folder / FILE_NAME, folder, rhythm))
            except (FileExistsError, NotADirectoryError) as error:
                raise CheckpointError(f"cannot write to {folder}: {error.strerror}. Give another folder.") from None
            yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is kept if something came of it
                folder.rmdir()


def look_for_owner(folder: Path) -> tuple[str, Verdict | None]:
    """Returns who owns a folder in words, and what one look tells of that: None if it may live. It changes nothing.

    Returns:
      "" and GONE where nobody does.

    Raises:
      CheckpointError: something else stands in the place of the folder or its lock file.
      OSError: it cannot be read.
    """
    try:
        seen = lock_file.look(folder / FILE_NAME)
    except NotADirectoryError as error:
        raise CheckpointError(f"cannot write to {folder}: {error.strerror}. Give another folder.") from None
    if seen is None:
        return "", Verdict.GONE
    return _describe(seen), verdict.judge_at_once(seen, owner.identify(os.environ))


def find_host(folder: Path) -> str:
    """Returns on which machine the owner of a folder is, to be shown; "" where there is none, or it cannot be told."""
    try:
        seen = lock_file.look(folder / FILE_NAME, asks_flock=False)
    except (OSError, CheckpointError):
        return ""
    return seen.owner.host if seen is not None and seen.owner is not None else ""


@contextlib.contextmanager
def hold(path: Path, told: object, rhythm: Rhythm = USUAL) -> Iterator[None]:
    """Makes this process the owner of a lock until the block ends. If it loses the lock before, it ends with 5.

    Args:
      path: the lock file, which is removed at the end.
      told: what it is the lock of, for messages.
      rhythm: its times.

    Raises:
      InUse: another process owns it.
      CheckpointError: something else stands in the place of the file.
      OSError: it or its folder cannot be made or written.
    """
    with heartbeat.beat(acquire(path, told, rhythm), told, rhythm):
        yield


def acquire(path: Path, told: object, rhythm: Rhythm) -> LockFile:
    """Returns a lock, whose heart does not beat yet.

    Raises:
      As `hold`.
    """
    me, seen, missing = owner.identify(os.environ), None, None
    for number in range(_MOST_TRIES):
        mine = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            seen = lock_file.look(path)
            if seen is None:
                mine = _place(path, me)
            elif seen.owner is not None or number > _TRIES_FOR_BLANK:
                mine = _succeed(path, seen, me, told, rhythm)
        except FileNotFoundError as error:
            missing = error
            continue  # whoever had it has removed the folder in between
        if mine is not None:
            return mine
        time.sleep(_RETRY_S)
    if missing is not None and seen is None:
        raise CheckpointError(f"cannot make {path.parent}: {missing.strerror}. Give another folder.")
    raise _refuse(path, told, seen)


def _place(path: Path, me: Owner) -> LockFile | None:
    """Makes a lock of this process; returns None if there is one, or somebody has taken it for left half made."""
    mine = lock_file.place(path, me)
    if mine is not None and os.path.lexists(_name_claim(path, _NOTHING_SHA256)):
        mine.abandon()
        return None
    return mine


def _succeed(path: Path, seen: Seen, me: Owner, told: object, rhythm: Rhythm) -> LockFile | None:
    """Takes the place of an owner that is gone; returns None if the lock has become another's or free.

    Raises:
      InUse: the owner lives, or may.
    """
    if (found := verdict.judge_at_once(seen, me)) is None:
        _log_wait(seen, me, told, rhythm)
        found = verdict.judge(path, seen, me, rhythm)
    if found is Verdict.CHANGED:
        return None
    if found is not Verdict.GONE:
        raise _refuse(path, told, seen, is_silent=found is Verdict.SILENT)
    try:
        claim = acquire(_name_claim(path, seen.content_sha256), told, rhythm)
    except InUse:
        return None  # another takes it over just now
    try:
        now = lock_file.look(path)
        mine = claim.move(path) if now is not None and now.content_sha256 == seen.content_sha256 else None
    except BaseException:
        claim.release()
        raise
    if mine is None:
        claim.release()
        return None
    log.info("%s: its owner is gone, %s; going on in its place", told, _describe(seen))
    return mine


def _name_claim(path: Path, content_sha256: str) -> Path:
    """Returns the name of the lock that allows to replace a lock file. It is short: the path may have the longest."""
    named = os.fsencode(f"{path.name} {content_sha256}")
    return path.with_name(f".{sha256(named).hexdigest()[:32]}.tmp")


def _log_wait(seen: Seen, me: Owner, told: object, rhythm: Rhythm) -> None:
    if seen.owner is not None and seen.owner.is_earlier_start_of(me):
        log.info(
            "%s is still held by an earlier start of this job, %s: waiting up to %g s for its end",
            *(told, seen.owner, rhythm.patience_s),
        )
    else:
        log.info(
            "%s is held by %s: looking for up to %g s whether that still lives", told, _describe(seen), rhythm.still_s
        )


def _refuse(path: Path, told: object, seen: Seen | None, *, is_silent: bool = False) -> InUse:
    text = f"{told} is in use by {_describe(seen)}. Wait for its end, or give another folder."
    if is_silent:
        text += f" It gives no sign of life, but the file server keeps its lock: if its machine is gone, remove {path}."
    return InUse(text)


def _describe(seen: Seen | None) -> str:
    return "another process" if seen is None or seen.owner is None else str(seen.owner)
