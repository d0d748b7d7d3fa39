"""Commands under test in processes that are forked from one that has imported TensorFlow, to save its import each time.

The trainings that a search or a cross-validation starts are forked from it. All this is not for what a start itself
does: that wants `python -m` anew.
"""

import importlib.util
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

PRELOADED = ("harness.training.trainer", "harness.diagnostics.throughput", "keras_tuner", "matplotlib.figure")


def run_forked(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout_s: int,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess:
    """Does what `python -m MODULE ARGUMENTS` does, and returns what `subprocess.run` would.

    Raises:
      TimeoutExpired: it took longer, and was killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, *told = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        given.write_bytes(stdin)
        process = start_forked(
            module, arguments, cwd=cwd, environment=environment, given=given, told=told, ends_with_us=False
        )
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], timeout_s)
        stdout, stderr = (path.read_text(encoding="utf-8") for path in told)
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, stdout, stderr)


def start_forked(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    told: Sequence[Path],
    given: Path = Path(os.devnull),
    ends_with_us: bool = True,
) -> BaseProcess:
    """Starts what `run_forked` runs; `given` is its standard input, `told` the files of its other two streams."""
    everything = (module, arguments, cwd, dict(environment), given, told)
    process = _start_server().Process(target=_run_here, args=everything, daemon=ends_with_us)
    process.start()
    return process


def _start_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    for name in PRELOADED:  # a fork server passes over in silence what it does not find
        assert importlib.util.find_spec(name) is not None, name
    context.set_forkserver_preload(list(PRELOADED))
    environment, os.environ["TF_CPP_MIN_LOG_LEVEL"] = dict(os.environ), "3"
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return context


def _run_here(
    module: str, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], given: Path, told: Sequence[Path]
) -> None:
    assert "tensorflow" in sys.modules, "the fork server has not imported it"
    sys.stdin = given.open()
    for stream, path in zip((1, 2), told):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    os.chdir(cwd)
    if module in ("harness.cross_validate", "harness.tune"):
        subprocess.Popen = _Popen
    _run_module(module, arguments, environment)


def _run_module(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    random.seed()  # or all would draw what the server would
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class _Popen(subprocess.Popen):
    """Forks a training instead of starting it; any other command is started as ever."""

    def __new__(cls, args: Sequence[str], **options: object) -> "subprocess.Popen | _Training":
        is_training = list(args[:3]) == [sys.executable, "-m", "harness.train"]
        return _Training(args[2], args[3:], **options) if is_training else super().__new__(cls)


class _Training:
    """A forked training, with as much of Popen as a search uses."""

    def __init__(
        self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], stdout: IO[bytes], **_: object
    ) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_train_here(module, arguments, env, stdout.fileno()))

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _train_here(module: str, arguments: Sequence[str], environment: Mapping[str, str], own_log: int) -> int:
    """Returns the exit code of a training in this process, a fork of a search, whose files and handlers it drops."""
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(own_log, stream)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the locks of the search among them
        _run_module(module, arguments, environment)
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
