"""Worker processes: the same function on many tasks, behind one progress bar. It does not know what the tasks do.

Each worker has a pipe of its own. The pools of the standard library share one for all results, and wait for ever when
a worker is killed while it writes to it: what it wrote is half a message, and the others keep the pipe open.
"""

import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, TypeVar, cast

from tqdm import tqdm

from harness.base.errors import DataError
from harness.dataset.build import worker

log = logging.getLogger("harness")
Result = TypeVar("Result")
_LOOK_S = 0.2  # how often it is asked whether to stop
# Why the remaining tasks shall not be done, or None; it is given how many are.
ShouldStop = Callable[[int], str | None]


@dataclass(frozen=True)
class Died:
    """Stands for the result of a task that ended its worker process; text for a person says how."""

    exit_code: int

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        number = -self.exit_code
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class Stopped(Exception):
    """Tasks that were not done because somebody asked to stop; those in work are lost."""

    def __init__(self, reason: str, num_done: int, where: str) -> None:
        super().__init__(f"stopped by {reason} {where}")
        self.reason, self.num_done, self.where = reason, num_done, where


def never(num_done: int) -> None:
    """Asks for no stop, however many tasks are done."""


class Pool:
    """Up to `num_workers` processes, which start when there is work for them."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers: dict[Connection, BaseProcess] = {}
        self._starting: set[Connection] = set()

    def start(self, num_wanted: int) -> list[Connection]:
        """Returns a pipe to each worker, of which there are as many as are wanted and allowed."""
        while len(self._workers) < min(self.num_workers, num_wanted):
            ours, process = worker.start()
            self._workers[ours] = process
            self._starting.add(ours)
        return list(self._workers)[:num_wanted]

    def send(self, pipe: Connection, job: tuple[object, ...]) -> None:
        """Gives a worker a function and its arguments; one that has died is found when its answer is received."""
        with contextlib.suppress(ConnectionError):
            pipe.send(job)

    def receive(self, pipe: Connection) -> Any:
        """Returns what a worker sent, `Died` if it will send nothing more, or None when it has only started.

        Raises:
          DataError: the worker ended before it could take any work.
        """
        try:
            answer = pipe.recv()
            self._starting.discard(pipe)
            return answer
        except (EOFError, ConnectionError):
            died = self._bury(pipe)
        if pipe in self._starting:
            raise DataError(f"a worker process ended when it started ({died}): look at free memory and limits.")
        return died

    def _bury(self, pipe: Connection) -> Died:
        process = self._workers.pop(pipe)
        pipe.close()
        process.kill()  # it may have closed the pipe and still live
        process.join()
        return Died(process.exitcode or 0)

    def stop(self) -> None:
        """Ends the workers, whatever they are doing; their files appear complete or not at all."""
        for pipe, process in self._workers.items():
            pipe.close()
            process.kill()
        for process in self._workers.values():
            process.join()
        self._workers.clear()
        self._starting.clear()


@contextmanager
def open_pool(num_workers: int) -> Iterator[Pool]:
    """Opens a pool of `num_workers` processes, or of one for each core if that is 0."""
    pool = Pool(num_workers or len(os.sched_getaffinity(0)))
    try:
        yield pool
    finally:
        pool.stop()


def run_all(
    pool: Pool,
    work: Callable[..., Result],
    tasks: Sequence[tuple[object, ...]],
    *,
    sizes: Sequence[int],
    title: str,
    unit: str = "pictures",
    should_stop: ShouldStop = never,
) -> list[Result]:
    """Returns the result of `work(*task)` for each task, in the order of the tasks.

    Args:
      pool: where to run them.
      work: a function of a module, since it travels to other processes.
      tasks: the arguments of each call.
      sizes: how much each task is, which the progress bar counts.
      title: what the bar says.
      unit: what is counted.
      should_stop: asked before the first task, after each, and several times a second.

    Raises:
      DataError: a worker died.
      Stopped: `should_stop` gave a reason.
      Exception: what `work` raised.
    """
    results = _run(pool, work, tasks, sizes=sizes, title=title, unit=unit, should_stop=should_stop, on_death=_refuse)
    return cast(list[Result], results)


def try_all(
    pool: Pool,
    work: Callable[..., Result],
    tasks: Sequence[tuple[object, ...]],
    *,
    sizes: Sequence[int],
    title: str,
    memory: Sequence[int] = (),
    free_memory: int = 0,
    should_stop: ShouldStop = never,
) -> list[Result | Died]:
    """Does as `run_all`, but gives `Died` for a task that ended its worker, and goes on with another worker.

    Args:
      pool: where to run them.
      work: a function of a module.
      tasks: the arguments of each call.
      sizes: how much each task is.
      title: what the bar says.
      memory: bytes that each task takes; none: that is of no account.
      free_memory: bytes that those of one time may take together. A task that takes more is run alone.
      should_stop: as in `run_all`.

    Raises:
      DataError: workers cannot be started.
      Stopped: `should_stop` gave a reason.
      Exception: what `work` raised.
    """
    return _run(
        pool,
        work,
        tasks,
        sizes=sizes,
        title=title,
        unit="pictures",
        should_stop=should_stop,
        on_death=_keep,
        memory=memory or [0] * len(tasks),
        most=free_memory,
    )


def _refuse(died: Died) -> NoReturn:
    raise DataError(
        f"a worker process died ({died}), perhaps for want of memory. Nothing was published; what is finished is kept, "
        "and the same command goes on with it. Try fewer workers: --runtime.workers 1"
    )


def _keep(died: Died) -> Died:
    return died


def _run(
    pool: Pool,
    work: Callable[..., Result],
    tasks: Sequence[tuple[object, ...]],
    *,
    sizes: Sequence[int],
    title: str,
    unit: str,
    should_stop: ShouldStop,
    on_death: Callable[[Died], Died],
    memory: Sequence[int] | None = None,
    most: int = 0,
) -> list[Result | Died]:
    results: list[Any] = [None] * len(tasks)
    disable = None if log.isEnabledFor(logging.INFO) else True  # None: only where there is no terminal
    waiting = deque(range(len(tasks)))
    busy: dict[Connection, int] = {}

    def has_room() -> bool:
        """Whether the next task fits into memory beside those that run."""
        return not memory or not busy or memory[waiting[0]] + sum(memory[index] for index in busy.values()) <= most

    with tqdm(total=sum(sizes), desc=title, unit=f" {unit}", disable=disable, leave=False) as bar:
        while waiting or busy:
            if reason := should_stop(len(tasks) - len(waiting) - len(busy)):
                num_done = sum(sizes) - sum(sizes[index] for index in [*waiting, *busy.values()])
                raise Stopped(reason, num_done, f"in {title}, after {num_done} of {sum(sizes)} {unit}")
            for pipe in pool.start(len(waiting) + len(busy)):
                if pipe not in busy and waiting and has_room():
                    busy[pipe] = waiting.popleft()
                    pool.send(pipe, (work, tasks[busy[pipe]]))
            for pipe in cast(list[Connection], wait(list(busy), _LOOK_S)):
                answer = pool.receive(pipe)
                if answer is None:
                    continue
                index = busy.pop(pipe)
                results[index] = on_death(answer) if isinstance(answer, Died) else _open(answer)
                bar.update(sizes[index])
    return results


def _open(answer: Any) -> Any:
    result, error, trace = answer
    if error is not None:
        raise error from RuntimeError(f"in a worker process:\n{trace}")
    return result
