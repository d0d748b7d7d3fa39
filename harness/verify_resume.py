"""python -m harness.verify_resume: a training that is killed ends as if it had been left alone, on this machine too."""

import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import cli, files, manifest, run_folder, settings
from harness.config import Config
from harness.errors import CheckpointError, ExitCode
from harness.workdir import Workdir

log = logging.getLogger("harness")
DESCRIPTION = """\
Proves on this machine that a training which is killed ends as if it had been left alone: a few epochs are trained
twice, once in one go and once killed without warning (SIGKILL) and started again; weights, optimizer, dropout seeds
and figures are then compared bit by bit. Takes the flags of a training, and 2 epochs unless told otherwise. It prints
IDENTICAL, or the first tensor that differs (exit code 5). Both trainings are removed afterwards.

  python -m harness.verify_resume --config configs/smoke.yaml
  python -m harness.verify_resume --epochs 2 --kills 3 --runtime.logical_cpus 2
"""
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")
_DEFAULT_EPOCHS = 2
_POLL_S = 0.02
_TIMINGS = "images_per_s"  # the column of metrics.csv that differs between any two runs
_CHANGED_FOR_IT = {
    "runtime.deterministic": "true",
    "train.patience": "0",
    "train.checkpoint_minutes": "0.0005",  # so that kills land within epochs, and resumes begin there
    "runtime.steps_per_loop": "1",  # checkpoints lie between calls
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = cli.make_parser("verify_resume", DESCRIPTION, sections=_SECTIONS, seed="train.seed")
    parser.add_argument("--kills", type=int, default=2, help="times to kill the second training (default: 2)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep both run folders in this new folder")
    arguments = parser.parse_args(argv)
    config, given = cli.read_config(arguments)
    cli.start_logging(quiet=arguments.quiet)
    manifest.load(config.data.records_folder)
    epochs = config.train.epochs if "train.epochs" in given else _DEFAULT_EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=arguments.keep is None)
        command = _make_command(config, root, epochs)
        log.info("training %d epochs in one go", epochs)
        seconds = _train(command, root / "whole")
        # A CPU's precision is tried out, and might come out otherwise the second time.
        precision = run_folder.read_in_force(Workdir(root / "whole"))["precision"]
        command = [*command, "--train.precision", str(precision)]
        log.info("training them again, killed %d times", arguments.kills)
        steps = _train_with_kills(command, root / "killed", num_kills=arguments.kills, seconds=seconds)
        difference = compare(Workdir(root / "whole"), Workdir(root / "killed"))
    if difference:
        print(f"DIFFERENT: {difference}")
        return ExitCode.CHECKPOINT
    print(f"IDENTICAL: {epochs} epochs, killed at step {', '.join(map(str, steps))}")
    return ExitCode.DONE


def _make_command(config: Config, root: Path, epochs: int) -> list[str]:
    path = root / "settings.yaml"
    files.write_text(path, settings.as_yaml(config, header="What both trainings are started with."))
    changed = {**_CHANGED_FOR_IT, "train.epochs": str(epochs)}
    flags = [word for name, value in changed.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "harness.train", "--config", str(path), *flags]


def _train(command: Sequence[str], run: Path) -> float:
    """Trains to the end; returns the seconds it took."""
    started = time.monotonic()
    done = subprocess.run([*command, "--run", str(run)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CheckpointError(
            f"the training to compare with ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return time.monotonic() - started


def _train_with_kills(command: Sequence[str], run: Path, *, num_kills: int, seconds: float) -> list[int]:
    """Trains, killed whenever a new checkpoint has appeared and a random moment later; returns the steps reached."""
    random, steps = np.random.default_rng(), []
    latest = Workdir(run).checkpoints
    for _ in range(num_kills):
        seen = _last_step(latest)
        process = subprocess.Popen([*command, "--run", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60 + 5 * seconds
        while process.poll() is None and _last_step(latest) <= seen and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        time.sleep(random.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(_last_step(latest))
    _train(command, run)
    return steps


def _last_step(folder: Path) -> int:
    numbers = [path.stem.rpartition("-")[2] for path in folder.glob("*.index")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def compare(first: Workdir, second: Workdir) -> str:
    """Returns what differs first between the latest checkpoints and the figures of two runs, or "" if nothing does."""
    cli.import_tensorflow()
    import tensorflow as tf

    readers = [tf.train.load_checkpoint(str(workdir.checkpoints)) for workdir in (first, second)]
    names = [sorted(reader.get_variable_to_shape_map()) for reader in readers]
    if names[0] != names[1]:
        return f"the checkpoints hold other tensors: {sorted({*names[0]} ^ {*names[1]})[0]}"
    for name in names[0]:
        one, other = (reader.get_tensor(name) for reader in readers)
        if "progress" in name or "save_counter" in name or "OBJECT_GRAPH" in name:
            continue  # timings, and the number of saves
        if np.asarray(one).tobytes() != np.asarray(other).tobytes():
            return f"{name.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')}, {_describe_difference(one, other)}"
    figures = [_read_figures(workdir) for workdir in (first, second)]
    for number, (one, other) in enumerate(zip(*figures), start=1):
        for column in one:
            if one[column] != other[column]:
                return f"{column} of epoch {number}: {one[column]} in one go, {other[column]} after kills"
    return "" if len(figures[0]) == len(figures[1]) else "the number of epochs"


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
    raise SystemExit(cli.run(main))
