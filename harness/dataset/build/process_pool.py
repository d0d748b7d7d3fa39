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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

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


class Pool:
    """Up to `num_workers` processes, which start when there is work for them."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers: dict[Connection, BaseProcess] = {}

    def start(self, num_wanted: int) -> list[Connection]:
        """Returns a pipe to each worker, of which there are as many as are wanted and allowed."""
        # Spawned, not forked: a forked child inherits locks and handlers of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        with _environment_of_workers():
            while len(self._workers) < min(self.num_workers, num_wanted):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs,), daemon=True)
                process.start()
                theirs.close()  # so that the pipe ends with the worker
                self._workers[ours] = process
        return list(self._workers)[:num_wanted]

    def stop(self) -> None:
        """Ends the workers, whatever they are doing; their files appear complete or not at all."""
        for pipe, process in self._workers.items():
            pipe.close()
            process.kill()
        for process in self._workers.values():
            process.join()
        self._workers.clear()


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
    results: list[Any] = [None] * len(tasks)
    disable = None if log.isEnabledFor(logging.INFO) else True  # None: only where there is no terminal
    waiting = iter(range(len(tasks)))
    busy: dict[Connection, int] = {}
    with tqdm(total=sum(sizes), desc=title, unit=f" {unit}", disable=disable, leave=False) as bar, _deaths_named():
        idle = pool.start(len(tasks))
        while True:
            for pipe in idle:
                index = next(waiting, None)
                if index is not None:
                    pipe.send((work, tasks[index]))
                    busy[pipe] = index
            if not busy:
                return results
            idle = cast(list[Connection], wait(list(busy)))
            for pipe in idle:
                index = busy.pop(pipe)
                results[index] = _receive(pipe)
                bar.update(sizes[index])


def _receive(pipe: Connection) -> Any:
    result, error, trace = pipe.recv()
    if error is not None:
        raise error from RuntimeError(f"in a worker process:\n{trace}")
    return result


@contextmanager
def _deaths_named() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise DataError(
            "a worker process died, perhaps for want of memory. Nothing was published; what is finished is kept, and "
            "the same command goes on with it. Try fewer workers: --runtime.workers 1"
        ) from None


def _work(pipe: Connection) -> None:
    """A worker leaves Ctrl-C to its parent, does not outlive it, uses one core, and writes nothing on the screen.

    libtiff reports damage on stderr, which is in the findings anyway; what a task raises reaches the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            work, task = pipe.recv()
            answer: tuple[object, Exception | None, str]
            try:
                answer = (work(*task), None, "")
            except Exception as error:
                answer = (None, error, traceback.format_exc())
            pipe.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
