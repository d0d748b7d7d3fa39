"""Worker processes: the same function on many tasks, behind one progress bar. It does not know what the tasks do.

Each worker has a pipe of its own. The pools of the standard library share one for all results, and wait for ever when
a worker is killed while it writes to it: what it wrote is half a message, and the others keep the pipe open.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn, TypeVar, cast

import cv2
from tqdm import tqdm

from harness.base.errors import DataError

log = logging.getLogger("harness")
Result = TypeVar("Result")
_MIB = 1 << 20
# The threads of NumPy's matrix products wait by spinning. And glibc gives every picture's memory back to the system,
# which fills it with zeros again for the next one, unless up to so many bytes are kept.
_ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(32 * _MIB),
    "MALLOC_TRIM_THRESHOLD_": str(64 * _MIB),
}


@dataclass(frozen=True)
class Died:
    """Stands for the result of a task that ended its worker process; text for a person says how."""

    exit_code: int

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        number = -self.exit_code
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class Pool:
    """Up to `num_workers` processes, which start when there is work for them."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers: dict[Connection, BaseProcess] = {}
        self._starting: set[Connection] = set()

    def start(self, num_wanted: int) -> list[Connection]:
        """Returns a pipe to each worker, of which there are as many as are wanted and allowed."""
        # Spawned, not forked: a forked child inherits locks and handlers of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        while len(self._workers) < min(self.num_workers, num_wanted):
            with _environment_of_workers():
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs,), daemon=True)
                process.start()
            theirs.close()  # so that the pipe ends with the worker
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
def _environment_of_workers() -> Iterator[None]:
    """Sets what libraries read when a process starts, for the processes that start here."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
) -> list[Result]:
    """Returns the result of `work(*task)` for each task, in the order of the tasks.

    Args:
      pool: where to run them.
      work: a function of a module, since it travels to other processes.
      tasks: the arguments of each call.
      sizes: how much each task is, which the progress bar counts.
      title: what the bar says.
      unit: what is counted.

    Raises:
      DataError: a worker died.
      Exception: what `work` raised.
    """
    results = _run(pool, work, tasks, sizes=sizes, title=title, unit=unit, on_death=_refuse)
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

    Raises:
      DataError: workers cannot be started.
      Exception: what `work` raised.
    """
    weights = memory or [0] * len(tasks)
    return _run(
        pool, work, tasks, sizes=sizes, title=title, unit="pictures", on_death=_keep, memory=weights, most=free_memory
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
            for pipe in pool.start(len(waiting) + len(busy)):
                if pipe not in busy and waiting and has_room():
                    busy[pipe] = waiting.popleft()
                    pool.send(pipe, (work, tasks[busy[pipe]]))
            for pipe in cast(list[Connection], wait(list(busy))):
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


def _work(pipe: Connection) -> None:
    """A worker leaves Ctrl-C to its parent, does not outlive it, uses one core, and writes nothing on the screen.

    libtiff reports damage on stderr, which is in the findings anyway; what a task raises reaches the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        pipe.send(None)  # it has started: if it dies now, that is its work's doing
        while True:
            pipe.send(_do(pipe.recv_bytes()))


def _do(job: bytes) -> tuple[object, Exception | None, str]:
    """Returns a function's result, or its error and where that was raised. To know the function is to import it."""
    try:
        work, task = ForkingPickler.loads(job)
        return work(*task), None, ""
    except Exception as error:
        return None, error, traceback.format_exc()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
