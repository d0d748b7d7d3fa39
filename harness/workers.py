"""Worker processes: the same function on many tasks, behind one progress bar."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2
from tqdm import tqdm

from harness.errors import DataError

log = logging.getLogger("harness")


@contextmanager
def open_pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Opens a pool of `num_workers` processes, or of one for each core if that is 0.

    Raises:
      DataError: a worker died.
    """
    # Spawned, not forked: a forked child inherits locks and handlers of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers or len(os.sched_getaffinity(0)), context, _start_worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, perhaps for want of memory. Nothing was published; what is finished is kept, and "
            "the same command goes on with it. Try fewer workers: --runtime.workers 1"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """A worker leaves Ctrl-C to its parent, does not outlive it, uses one core, and writes nothing on the screen.

    libtiff reports damage on stderr, which is in the findings anyway; a worker's exceptions reach the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def run_all(
    pool: ProcessPoolExecutor,
    work: Callable,
    tasks: Sequence[tuple],
    *,
    sizes: Sequence[int],
    title: str,
    unit: str = "pictures",
) -> list:
    """Returns the result of `work(*task)` for each task, in the order of the tasks.

    Args:
      pool: where to run them.
      work: a function of a module, since it travels to other processes.
      tasks: the arguments of each call.
      sizes: how much each task is, which the progress bar counts.
      title: what the bar says.
      unit: what is counted.
    """
    futures = {pool.submit(work, *task): index for index, task in enumerate(tasks)}
    results: list = [None] * len(tasks)
    disable = None if log.isEnabledFor(logging.INFO) else True  # None: only where there is no terminal
    with tqdm(total=sum(sizes), desc=title, unit=f" {unit}", disable=disable, leave=False) as bar:
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            bar.update(sizes[futures[future]])
    return results
