"""When a build that is asked to stop may do so, and what it says then. It catches no signal: base/app.py does."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.base.errors import HarnessError, InterruptedRun, UnsavedRun
from harness.dataset.build.build_folder import BuildFolder
from harness.dataset.build.process_pool import ShouldStop, Stopped


@dataclass(frozen=True)
class StopRequest:
    """Whether a build was asked to stop, and what its folder held before.

    Exit code 75 promises a scheduler that the next start begins further on. So it needs something new in the folder: a
    job whose time limit is too short would otherwise come back for ever. What other tasks have added counts, too.
    """

    should_stop: Callable[[], str | None]
    work: BuildFolder
    before: frozenset[str]

    def at_once(self, num_done: int) -> str | None:
        """Why to stop now, in work that leaves nothing in the folder until all of it is done."""
        return self.should_stop()

    def once_saved(self) -> ShouldStop:
        """Returns what to ask in work whose every task leaves something: a start that has saved nothing does one."""
        has_saved = self._has_saved()
        return lambda num_done: self.should_stop() if num_done or has_saved else None

    def explain(self, stopped: Stopped) -> HarnessError:
        """Returns the error that the build ends with."""
        if self._has_saved():
            return InterruptedRun(f"{stopped}; the same command goes on from there, with what {self.work.root} keeps.")
        return UnsavedRun(
            f"{stopped}, with nothing new to save; the same command goes on where this one began.", stopped.reason
        )

    def _has_saved(self) -> bool:
        return not self.work.list_saved() <= self.before
