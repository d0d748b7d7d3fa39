"""A worker process: what it starts with, and how it does what it is sent. It does not know what else is to do."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler

import cv2

_MIB = 1 << 20
# The threads of NumPy's matrix products wait by spinning. And glibc gives every picture's memory back to the system,
# which fills it with zeros again for the next one, unless up to so many bytes are kept.
_ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(32 * _MIB),
    "MALLOC_TRIM_THRESHOLD_": str(64 * _MIB),
}
# A terminal sends them to all processes of a command, SLURM to all of a step; the parent decides what they end.
_FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


def start() -> tuple[Connection, BaseProcess]:
    """Starts a worker; returns the pipe to it, which first gives None: the worker has started.

    It answers each `(function, arguments)` with the result, the error or None, and the error's traceback or "".
    """
    # Spawned, not forked: a forked child inherits locks and handlers of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    with _environment_of_workers(), _signals_of_workers():
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
    theirs.close()  # so that the pipe ends with the worker
    return ours, process


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
def _signals_of_workers() -> Iterator[None]:
    """Blocks the signals that are the parent's; a process that starts here is deaf to them from its first instant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        resource_tracker.ensure_running()  # multiprocessing's own process; its start lets some of them through again
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """A worker does not outlive its parent, uses one core, and writes nothing on the screen.

    libtiff reports damage on stderr, which is in the findings anyway; what a task raises reaches the parent.
    """
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
