"""Trains twice, in one go and killed again and again, and compares what both leave, bit by bit."""

import importlib.util
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from harness.base import files, tf_import
from harness.base.errors import CheckpointError
from harness.config import settings
from harness.config.schema import Config
from harness.runs import identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_POLL_S = 0.005
_POLL_WRITES_S = 0.0005  # a file is written in few milliseconds
_TRAIN = "harness.train"
_PRELOADED = "harness.training.trainer"
_TIMINGS = "images_per_s"  # the column of metrics.csv that differs between any two runs
_CHANGED_FOR_IT = {
    "runtime.deterministic": "true",
    "train.patience": "0",
    "train.checkpoint_minutes": "0.0001",  # so that kills land within epochs, and resumes begin there
    "runtime.exports": "[]",  # of the same weights they are the same
    "runtime.steps_per_loop": "1",  # checkpoints lie between calls
}


@dataclass(frozen=True)
class Comparison:
    """What differs first between both runs, "" if nothing does, and the step of the last checkpoint at each kill."""

    difference: str
    killed_at: tuple[int, ...]


def verify(config: Config, root: Path, temporary: Path, *, epochs: int, num_kills: int) -> Comparison:
    """Trains in one go, trains again with kills, and compares.

    Args:
      config: the resolved config.
      root: a folder for both run folders, `whole` and `killed`.
      temporary: a folder for what the killed trainings cannot remove.
      epochs: to train.
      num_kills: how often the second training is killed.

    Raises:
      CheckpointError: a training failed.
    """
    whole, killed = Workdir(root / "whole"), Workdir(root / "killed")
    words = _make_words(config, root, epochs)
    forked = _start_server()
    log.info("training %d epochs in one go", epochs)
    seconds = _train_whole(words, whole)
    log.info("training them again, killed %d times, each time at a random moment", num_kills)
    # A CPU's precision is tried out, and might come out otherwise the second time.
    words += ["--train.precision", str(identity.read_effective(whole)["precision"])]
    attempts = _Attempts(forked, words, killed, temporary, limit_s=60 + 5 * seconds)
    steps = _train_with_kills(attempts, num_kills=num_kills, num_steps=_read_last_step(whole))
    with ProcessPoolExecutor(1, mp_context=forked) as pool:  # there TensorFlow is imported
        difference = pool.submit(compare, whole, killed).result()
    return Comparison(difference, tuple(steps))


def _make_words(config: Config, root: Path, epochs: int) -> list[str]:
    """Returns the flags of both trainings but for the run folder."""
    path = root / "settings.yaml"
    files.write_text(path, settings.as_yaml(config, header="What both trainings are started with."))
    changed = {**_CHANGED_FOR_IT, "train.epochs": str(epochs)}
    flags = [word for name, value in changed.items() for word in (f"--{name}", value)]
    return ["--config", str(path), *flags]


def _start_server() -> ForkServerContext:
    """Returns where processes start that have imported TensorFlow: forked from one that has used no device.

    The import is most of what the start of a training costs, and happens beside the first training.
    """
    context = multiprocessing.get_context("forkserver")
    if importlib.util.find_spec(_PRELOADED) is None:  # which a fork server passes over in silence
        raise ModuleNotFoundError(_PRELOADED)
    context.set_forkserver_preload([_PRELOADED])
    with tf_import.hide_start_up_lines():
        forkserver.ensure_running()
    return context


def _train_whole(words: Sequence[str], workdir: Workdir) -> float:
    """Trains to the end in a process that nothing was forked for; returns the seconds it took."""
    started = time.monotonic()
    command = [sys.executable, "-m", _TRAIN, *words, "--run", str(workdir.root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CheckpointError(
            f"the training to compare with ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return time.monotonic() - started


@dataclass(frozen=True)
class _Attempts:
    """Trainings in the same run folder, each of which goes on where the one before was killed."""

    forked: ForkServerContext
    words: Sequence[str]
    workdir: Workdir
    temporary: Path  # a folder for what the killed ones cannot remove
    limit_s: float

    @property
    def _told(self) -> Path:
        return self.temporary / "told.log"

    @contextmanager
    def start(self) -> Iterator[BaseProcess]:
        """Starts a training, which is killed at the end of the block."""
        words = [*self.words, "--run", str(self.workdir.root)]
        process = self.forked.Process(target=_train_here, args=(words, self._told), daemon=True)
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()

    def check(self, process: BaseProcess) -> bool:
        """Returns whether a training that has ended was killed; if not, it had come to its end.

        Raises:
          CheckpointError: it failed.
        """
        if process.exitcode in (0, -signal.SIGKILL):
            return process.exitcode != 0
        raise CheckpointError(
            f"a training that goes on after a kill, at step {_read_last_step(self.workdir)}, ended with "
            f"{process.exitcode}: {self._told.read_text(errors='replace').strip()[-500:]}"
        )


def _train_here(words: Sequence[str], told: Path) -> None:
    """Does in a forked process what `python -m harness.train` does, and writes to a file what that says."""
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    tempfile.tempdir = str(told.parent)
    sys.argv[1:] = words
    runpy.run_module(_TRAIN, run_name="__main__", alter_sys=True)


def _train_with_kills(attempts: _Attempts, *, num_kills: int, num_steps: int) -> list[int]:
    """Trains to the end, killed at random moments that are spread over the steps.

    Returns:
      The step of the last checkpoint at each kill; fewer if the training was at its end before a kill.
    """
    random, timing = np.random.default_rng(), _Timing()
    steps: list[int] = []
    for number in range(num_kills):
        seen = _read_last_step(attempts.workdir)
        left = num_kills - number
        share = (num_steps - seen) / (left + 1)
        ahead = int(random.integers(max(1, round(2 * share)), endpoint=True))  # 0: while it starts
        ahead = max(0, min(ahead, num_steps - seen - left + 1))  # so that each later kill finds a step to come
        with attempts.start() as process:
            if ahead:
                _wait_for_step(attempts, process, seen + ahead, timing)
                _wait_a_moment(attempts, process, timing, random)
            else:
                process.join(random.uniform(0, timing.to_first_s / 2))
        if not attempts.check(process):
            log.warning("the training came to its end after %d of %d kills; more need more steps", number, num_kills)
            return steps
        steps.append(_read_last_step(attempts.workdir))
        log.info("killed at step %d of %d", steps[-1], num_steps)
    with attempts.start() as process:
        process.join()
    attempts.check(process)
    return steps


@dataclass
class _Timing:
    """How long the latest training took, so that kills land within its steps, whatever a step takes."""

    to_first_s: float = 1.0  # from its start to the first checkpoint of its own
    between_s: float = 0.1  # from one checkpoint to the next


def _wait_for_step(attempts: _Attempts, process: BaseProcess, step: int, timing: _Timing) -> None:
    """Waits for the checkpoint of a step, the end of the process or the limit, and takes the times."""
    changed = started = time.monotonic()
    seen = first = _read_last_step(attempts.workdir)
    while seen < step and process.is_alive() and time.monotonic() < started + attempts.limit_s:
        time.sleep(_POLL_S)
        reached, now = _read_last_step(attempts.workdir), time.monotonic()
        if reached == seen:
            continue
        if seen == first:
            timing.to_first_s = now - started
        else:
            timing.between_s = now - changed
        seen, changed = reached, now


def _wait_a_moment(attempts: _Attempts, process: BaseProcess, timing: _Timing, random: np.random.Generator) -> None:
    """Waits a random time, but for no more than one checkpoint; then, every other time, until one is being written."""
    seen = _read_last_step(attempts.workdir)
    _poll(lambda: _read_last_step(attempts.workdir) > seen, process, random.uniform(0, timing.between_s))
    if random.random() < 0.5:
        folder = attempts.workdir.checkpoints
        written = folder.stat().st_mtime_ns  # changes with each file that appears or goes
        _poll(lambda: folder.stat().st_mtime_ns != written, process, 2 * timing.between_s)


def _poll(is_so: Callable[[], bool], process: BaseProcess, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not is_so() and process.is_alive() and time.monotonic() < end:
        time.sleep(_POLL_WRITES_S)


def _read_last_step(workdir: Workdir) -> int:
    numbers = [path.stem.rpartition("-")[2] for path in workdir.checkpoints.glob("*.index")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def compare(first: Workdir, second: Workdir) -> str:
    """Returns what differs first between the checkpoints and the figures of two runs, or "" if nothing does."""
    tf_import.import_tensorflow()
    # Else a GPU that is gone would be taken for a difference of numbers.
    devices = [identity.read_effective(workdir).get("devices") for workdir in (first, second)]
    if devices[0] != devices[1]:
        return f"the devices: {devices[0]} in one go, {devices[1]} after kills"
    pairs = {"": (first.checkpoints, second.checkpoints), "the best weights: ": (first.best, second.best)}
    for what, folders in pairs.items():
        if difference := _compare_checkpoints(*folders):
            return what + difference
    figures = [_read_figures(workdir) for workdir in (first, second)]
    for number, (one, other) in enumerate(zip(*figures), start=1):
        for column in one:
            if one[column] != other[column]:
                return f"{column} of epoch {number}: {one[column]} in one go, {other[column]} after kills"
    return "" if len(figures[0]) == len(figures[1]) else "the number of epochs"


def _compare_checkpoints(first: Path, second: Path) -> str:
    from harness.runs.checkpoint import open_latest

    with open_latest(first) as one_reader, open_latest(second) as other_reader:
        readers = (one_reader, other_reader)
        names = [sorted(reader.get_variable_to_shape_map()) for reader in readers]
        if names[0] != names[1]:
            return f"the checkpoints hold other tensors: {sorted({*names[0]} ^ {*names[1]})[0]}"
        for name in names[0]:
            one, other = (reader.get_tensor(name) for reader in readers)
            if "progress" in name or "save_counter" in name or "OBJECT_GRAPH" in name:
                continue  # timings, and the number of saves
            if np.asarray(one).tobytes() != np.asarray(other).tobytes():
                return f"{name.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')}, {_describe_difference(one, other)}"
    return ""


def _describe_difference(one: np.ndarray, other: np.ndarray) -> str:
    if one.dtype.kind != "f":
        return f"{one} in one go, {other} after kills"
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return f"by up to {difference.max():.3g}, in {np.count_nonzero(difference)} of {difference.size} values"


def _read_figures(workdir: Workdir) -> list[dict[str, str]]:
    header, *rows = workdir.metrics_csv.read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    return [{name: value for name, value in zip(columns, row.split(",")) if name != _TIMINGS} for row in rows]
