"""python -m harness.verify_resume: a training that is killed ends as if it had been left alone, on this machine too."""

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
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from harness.base import app, files, tf_import
from harness.base.errors import CheckpointError, ExitCode
from harness.config import flags, settings
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.runs import identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
DESCRIPTION = """\
Proves on this machine that a training which is killed ends as if it had been left alone: a few epochs are trained
twice, once in one go and once killed without warning (SIGKILL) and started again, at random moments: while it starts,
between steps, while it measures or saves. Weights, optimizer, dropout seeds, the best weights and figures are then
compared bit by bit. Takes the flags of a training, and 2 epochs unless told otherwise. It prints IDENTICAL and the
steps of the last checkpoint at each kill, or the first tensor that differs (exit code 5). Both trainings are removed
afterwards. The first is started as you would, the second in processes forked after TensorFlow's import, to save time.

  python -m harness.verify_resume --config configs/smoke.yaml
  python -m harness.verify_resume --epochs 2 --kills 3 --runtime.logical_cpus 2
"""
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")
_DEFAULT_EPOCHS = 2
_POLL_S = 0.005
_POLL_WRITES_S = 0.0005  # a file is written in few milliseconds
_TRAIN = "harness.train"
_TIMINGS = "images_per_s"  # the column of metrics.csv that differs between any two runs
_CHANGED_FOR_IT = {
    "runtime.deterministic": "true",
    "train.patience": "0",
    "train.checkpoint_minutes": "0.0001",  # so that kills land within epochs, and resumes begin there
    "runtime.steps_per_loop": "1",  # checkpoints lie between calls
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser("verify_resume", DESCRIPTION, sections=_SECTIONS, seed="train.seed")
    parser.add_argument("--kills", type=int, default=10, help="times to kill the second training (default: 10)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep both run folders in this new folder")
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    manifest.load(config.data.records_folder, config.data.images)
    epochs = config.train.epochs if "train.epochs" in given else _DEFAULT_EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=arguments.keep is None)
        whole, killed = Workdir(root / "whole"), Workdir(root / "killed")
        words = _make_words(config, root, epochs)
        forked = _start_server()
        log.info("training %d epochs in one go", epochs)
        seconds = _train_whole(words, whole)
        log.info("training them again, killed %d times, each time at a random moment", arguments.kills)
        # A CPU's precision is tried out, and might come out otherwise the second time.
        words += ["--train.precision", str(identity.read_in_force(whole)["precision"])]
        attempts = _Attempts(forked, words, killed, temporary=Path(folder), limit_s=60 + 5 * seconds)
        steps = _train_with_kills(attempts, num_kills=arguments.kills, num_steps=_last_step(whole))
        with ProcessPoolExecutor(1, mp_context=forked) as pool:  # there TensorFlow is imported
            difference = pool.submit(compare, whole, killed).result()
    if difference:
        print(f"DIFFERENT: {difference}")
        return ExitCode.CHECKPOINT
    print(f"IDENTICAL: {epochs} epochs, killed at step {', '.join(map(str, steps))}")
    return ExitCode.DONE


def _make_words(config: Config, root: Path, epochs: int) -> list[str]:
    """Returns the flags of both trainings but for the run folder."""
    path = root / "settings.yaml"
    files.write_text(path, settings.as_yaml(config, header="What both trainings are started with."))
    changed = {**_CHANGED_FOR_IT, "train.epochs": str(epochs)}
    flags = [word for name, value in changed.items() for word in (f"--{name}", value)]
    return ["--config", str(path), *flags]


def _start_server() -> BaseContext:
    """Returns where processes start that have imported TensorFlow: forked from one that has used no device.

    The import is most of what the start of a training costs, and happens beside the first training.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.training.trainer"])
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

    forked: BaseContext
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
            f"a training that goes on after a kill, at step {_last_step(self.workdir)}, ended with {process.exitcode}: "
            f"{self._told.read_text(errors='replace').strip()[-500:]}"
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
    random, pace, steps = np.random.default_rng(), _Pace(), []
    for number in range(num_kills):
        seen = _last_step(attempts.workdir)
        left = num_kills - number
        share = (num_steps - seen) / (left + 1)
        ahead = random.integers(max(1, round(2 * share)), endpoint=True)  # 0: while it starts
        ahead = max(0, min(ahead, num_steps - seen - left + 1))  # so that each later kill finds a step to come
        with attempts.start() as process:
            if ahead:
                _wait_for_step(attempts, process, seen + ahead, pace)
                _wait_a_moment(attempts, process, pace, random)
            else:
                process.join(random.uniform(0, pace.to_first_s / 2))
        if not attempts.check(process):
            log.warning("the training came to its end after %d of %d kills; more need more steps", number, num_kills)
            return steps
        steps.append(_last_step(attempts.workdir))
        log.info("killed at step %d of %d", steps[-1], num_steps)
    with attempts.start() as process:
        process.join()
    attempts.check(process)
    return steps


@dataclass
class _Pace:
    """How long the latest training took, so that kills land within its steps, whatever a step takes."""

    to_first_s: float = 1.0  # from its start to the first checkpoint of its own
    between_s: float = 0.1  # from one checkpoint to the next


def _wait_for_step(attempts: _Attempts, process: BaseProcess, step: int, pace: _Pace) -> None:
    """Waits for the checkpoint of a step, the end of the process or the limit, and takes the pace."""
    changed = started = time.monotonic()
    seen = first = _last_step(attempts.workdir)
    while seen < step and process.is_alive() and time.monotonic() < started + attempts.limit_s:
        time.sleep(_POLL_S)
        reached, now = _last_step(attempts.workdir), time.monotonic()
        if reached == seen:
            continue
        if seen == first:
            pace.to_first_s = now - started
        else:
            pace.between_s = now - changed
        seen, changed = reached, now


def _wait_a_moment(attempts: _Attempts, process: BaseProcess, pace: _Pace, random: np.random.Generator) -> None:
    """Waits a random time, but for no more than one checkpoint; then, every other time, until one is being written."""
    seen = _last_step(attempts.workdir)
    _poll(lambda: _last_step(attempts.workdir) > seen, process, random.uniform(0, pace.between_s))
    if random.random() < 0.5:
        folder = attempts.workdir.checkpoints
        written = folder.stat().st_mtime_ns  # changes with each file that appears or goes
        _poll(lambda: folder.stat().st_mtime_ns != written, process, 2 * pace.between_s)


def _poll(is_so: Callable[[], bool], process: BaseProcess, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not is_so() and process.is_alive() and time.monotonic() < end:
        time.sleep(_POLL_WRITES_S)


def _last_step(workdir: Workdir) -> int:
    numbers = [path.stem.rpartition("-")[2] for path in workdir.checkpoints.glob("*.index")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def compare(first: Workdir, second: Workdir) -> str:
    """Returns what differs first between the checkpoints and the figures of two runs, or "" if nothing does."""
    tf_import.import_tensorflow()
    # Else a GPU that is gone would be taken for a difference of numbers.
    devices = [identity.read_in_force(workdir).get("devices") for workdir in (first, second)]
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
    import tensorflow as tf

    readers = [tf.train.load_checkpoint(str(folder)) for folder in (first, second)]
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


if __name__ == "__main__":
    raise SystemExit(app.run(main))
