"""Commands under test in processes that are forked from one that has imported TensorFlow, to save its import each time.

It is not for what a start itself does: that wants `python -m` anew.
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
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

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
        process = _start_server().Process(
            target=_run_here, args=(module, arguments, cwd, dict(environment), given, told)
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], timeout_s)
        stdout, stderr = (path.read_text(encoding="utf-8") for path in told)
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, stdout, stderr)


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
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    random.seed()  # or all would draw what the server would
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
