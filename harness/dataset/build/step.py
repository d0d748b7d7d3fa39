"""What every step of a build has at hand: settings, folder, worker processes, and its share where tasks divide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.config.schema import Config
from harness.dataset.build import process_pool
from harness.dataset.build.build_folder import BuildFolder
from harness.dataset.build.process_pool import Pool, Result
from harness.dataset.build.stop_request import StopRequest

Item = TypeVar("Item")


@dataclass(frozen=True)
class Task:
    """One of several processes, perhaps on several machines, that share the work of a build."""

    index: int
    num_tasks: int

    @property
    def share(self) -> str:
        """The name of its part of the work."""
        return f"{self.index}-of-{self.num_tasks}"


@dataclass(frozen=True)
class Step:
    """A build in progress."""

    config: Config
    work: BuildFolder
    pool: Pool
    task: Task | None
    stop: StopRequest

    def run(
        self,
        function: Callable[..., Result],
        tasks: Sequence[tuple[object, ...]],
        sizes: Sequence[int],
        title: str,
        *,
        unit: str = "pictures",
        saves: bool = False,
    ) -> list[Result]:
        """Runs a function of a module on many tasks in the worker processes.

        Args:
          function: what to run.
          tasks: the arguments of each call.
          sizes: how much each task is.
          title: what the progress bar says.
          unit: what is counted.
          saves: whether each task leaves in the build's folder what the next start can use.

        Raises:
          Stopped: the build was asked to stop.
        """
        should_stop = self.stop.once_saved() if saves else self.stop.at_once
        return process_pool.run_all(
            self.pool, function, tasks, sizes=sizes, title=title, unit=unit, should_stop=should_stop
        )

    def has(self, position: int) -> bool:
        """Whether the chunk or shard at this position is to be done here."""
        return self.task is None or position % self.task.num_tasks == self.task.index


def divide(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Returns the items in parts of as many at most."""
    return [items[start : start + most] for start in range(0, len(items), most)]
