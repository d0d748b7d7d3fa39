"""The slots of a search at work: each takes a training from a queue, looks after it to its end, and takes the next.

Any number of processes, on one machine or in many jobs, work on one queue. What is trained is for the queue to say.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.base.errors import ClusterError, ExitCode, InterruptedRun, StorageError, UnsavedRun
from harness.base.text import count, list_names
from harness.locks import lock
from harness.locks.verdict import Verdict
from harness.runs.workdir import Workdir
from harness.search.trials import child
from harness.search.trials.child import Ending
from harness.search.trials.slots import Slot
from harness.search.trials.trial_folder import Record

log = logging.getLogger("harness")
IDLE_S = 1.0  # between two looks at what others do
_LOOK_S = 0.5
_MOST_REFUSALS = 3  # by an owner on another machine of which nobody can tell whether it lives; each takes a minute
# Of the machine, not of the training: the search ends, and its next start goes on with it.
_OF_MACHINE = {int(kind.exit_code): kind for kind in (ClusterError, StorageError)}


@dataclass(frozen=True)
class Taken:
    """A training that this process looks after, until the claim is closed."""

    workdir: Workdir
    record: Record
    claim: ExitStack


class Queue(Protocol):
    """What is to be trained."""

    def take(self) -> Taken | None:
        """Waits for the next training; None once nothing is left, or the process is to stop."""

    def note(self, taken: Taken, ending: Ending) -> None:
        """Notes how it ended: complete, failed, or paused."""


@dataclass
class Done:
    """What the slots of this process have done.

    Attributes:
      ended: the names of trainings that are complete or have failed.
      stopped: by the name of each that was stopped, whether it has left a new checkpoint.
    """

    ended: list[str] = field(default_factory=list)
    stopped: dict[str, bool] = field(default_factory=dict)


class Stop:
    """Why this process is to stop, if it is: it was asked to, or one of its slots has failed."""

    def __init__(self, asked: Callable[[], str | None]) -> None:
        self.asked = asked
        self.failure: BaseException | None = None

    def is_urgent(self) -> bool:
        """Whether what runs is to stop at once, without saving: this process was interrupted for a second time."""
        return isinstance(self.failure, KeyboardInterrupt)

    def __call__(self) -> str | None:
        """Returns the reason, or None."""
        return self.asked() or ("the failure of another slot" if self.failure else None)


def work(
    queue: Queue, slots: tuple[Slot, ...], stop: Stop, *, limit_s: float = 0.0, show: Callable[[], None] = lambda: None
) -> Done:
    """Trains in all slots until the queue has nothing left or the process is to stop, with all running ones saved.

    Args:
      queue: what to train; it waits where `stop` lets it.
      slots: of this machine.
      stop: a reason has the running trainings save and end.
      limit_s: seconds that all processes of a training may take, after which it has failed; 0: no limit.
      show: called about twice a second meanwhile.

    Raises:
      HarnessError: the machine lets nothing be trained, or as the queue raises it.
    """
    done = Done()

    def look_after(slot: Slot) -> None:
        """Trains what the queue gives, one after another, until it gives nothing more."""
        slot.enter()
        try:
            while (taken := queue.take()) is not None:
                with taken.claim:
                    left_s = max(1.0, limit_s - taken.record.seconds) if limit_s else 0.0
                    ending = _find_ending(taken.workdir, slot, stop, left_s)
                    if ending.exit_code in _OF_MACHINE and ending.reason:
                        raise _OF_MACHINE[ending.exit_code](f"trial {taken.workdir.root.name}: {ending.reason}")
                    queue.note(taken, ending)
                    if ending.is_paused:
                        done.stopped[taken.workdir.root.name] = ending.has_saved
                    else:
                        done.ended.append(taken.workdir.root.name)
        except BaseException as error:
            stop.failure = stop.failure or error  # at once, so that the others save
            raise

    with ThreadPoolExecutor(len(slots), thread_name_prefix="slot") as pool:
        left = {pool.submit(look_after, slot) for slot in slots}
        try:
            while left:
                _, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                show()
        except BaseException as error:
            stop.failure = stop.failure or error
            raise
    if stop.failure is not None:
        raise stop.failure
    return done


def _find_ending(workdir: Workdir, slot: Slot, stop: Stop, limit_s: float) -> Ending:
    """Trains a run to its end; one that an earlier start of the search has left running is waited for."""
    num_refused = 0
    while not workdir.metrics.is_file():
        owner, found = lock.look_for_owner(workdir.root)
        if found is Verdict.LIVES:
            log.info("trial %s: %s still trains it; waiting for its end", workdir.root.name, owner)
            while lock.look_for_owner(workdir.root)[1] is Verdict.LIVES:
                if stop():
                    return Ending(ExitCode.INTERRUPTED)
                time.sleep(IDLE_S)
            continue
        ending = child.train(workdir, slot, should_stop=stop, is_urgent=stop.is_urgent, limit_s=limit_s)
        if ending.exit_code != ExitCode.CHECKPOINT or lock.look_for_owner(workdir.root)[1] is Verdict.GONE:
            return ending
        num_refused += 1
        if num_refused == _MOST_REFUSALS:
            return ending
    return Ending(ExitCode.DONE)


def check_stop(stop: Stop, done: Done, folder: Path, count_ended: Callable[[], int], *, noun: str = "trial") -> None:
    """Ends a process that was asked to stop with the error that says what it has done itself.

    Exit code 75 promises a scheduler that the next start begins further on.

    Args:
      stop: whether it was asked to.
      done: what its slots have done.
      folder: of the whole.
      count_ended: returns how many trainings of all processes have ended.
      noun: what a training is called.

    Raises:
      InterruptedRun: something of it was saved, or has ended.
      UnsavedRun: nothing was.
    """
    if not (reason := stop.asked()):
        return
    saved = sorted(name for name, has_saved in done.stopped.items() if has_saved)
    unsaved = sorted(set(done.stopped) - set(saved))
    if unsaved and not saved and not done.ended:
        raise UnsavedRun(
            f"stopped by {reason} before {noun}s {list_names(unsaved, separator=', ')} had anything new to save; the "
            "same command goes on where this one began.",
            reason,
        )
    lists = (("saved", saved), ("without anything new to save", unsaved))
    told = [f"{what}: {list_names(names, separator=', ')}" for what, names in lists if names]
    raise InterruptedRun(
        f"stopped by {reason} after {count(count_ended(), noun)} of {folder}; "
        f"{'; '.join(told) or 'none was running here'}. The same command goes on from there."
    )
