"""Saves and restores a run: weights, optimizer, dropout seeds and progress, in one checkpoint."""

import dataclasses
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from harness.base.errors import CheckpointError
from harness.models.network import seed_states
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_NUM_KEPT = 2  # the latest, and the one before should the latest be damaged


@dataclass
class Progress:
    """Where a run stands: everything that is neither a weight nor an optimizer's variable."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)  # loss, correct and examples of the epoch so far
    best_loss: float | None = None
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    num_back_offs: int = 0  # each made the learning rate smaller


class Checkpoints:
    """The checkpoints of one run folder. Files appear complete; a save that is cut short leaves the one before.

    All workers of a run make every call; only the chief's files are kept. `kept_model` is what is measured: the model,
    or one with an average of its weights. `gradient_sums` are those of batches whose step is still to come.
    """

    def __init__(
        self,
        workdir: Workdir,
        model: keras.Model,
        optimizer: keras.Optimizer,
        *,
        kept_model: keras.Model,
        gradient_sums: Sequence[tf.Variable] = (),
        is_chief: bool = True,
    ) -> None:
        # As text in a variable the progress is saved and restored in one piece with the weights.
        self._progress = tf.Variable("", dtype=tf.string, trainable=False)
        self._everything = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            seeds=_by_index(seed_states(model)),
            progress=self._progress,
            **({"gradient_sums": _by_index(gradient_sums)} if gradient_sums else {}),
            **({"average": kept_model} if kept_model is not model else {}),
        )
        self._latest = tf.train.CheckpointManager(self._everything, str(workdir.checkpoints), max_to_keep=_NUM_KEPT)
        self._start = tf.train.CheckpointManager(self._everything, str(workdir.epoch_start), max_to_keep=1)
        self._weights = tf.train.Checkpoint(model=kept_model)
        self._best = tf.train.CheckpointManager(self._weights, str(workdir.best), max_to_keep=1)
        self._saved_at = time.monotonic()
        self._is_chief = is_chief
        self._model, self._kept_model = model, kept_model

    def save(self, progress: Progress) -> None:
        """Saves everything as the latest checkpoint."""
        self._save_everything(self._latest, progress)
        self._saved_at = time.monotonic()

    def save_start(self, progress: Progress) -> None:
        """Saves everything as what `go_back` returns to."""
        self._save_everything(self._start, progress)

    def _save_everything(self, manager: tf.train.CheckpointManager, progress: Progress) -> None:
        self._progress.assign(json.dumps(dataclasses.asdict(progress)))
        self._save(manager, progress.step)

    def seconds_since_save(self) -> float:
        """Returns the time since the last save, or since the run was started."""
        return time.monotonic() - self._saved_at

    def _save(self, manager: tf.train.CheckpointManager, number: int) -> None:
        if self._is_chief:
            manager.save(checkpoint_number=number)
            return
        # A save may read variables from all workers, so all save; what the others write is the same once more.
        with tempfile.TemporaryDirectory() as folder:
            manager.checkpoint.write(f"{folder}/checkpoint")

    def restore(self) -> Progress | None:
        """Restores the latest checkpoint that is whole; None if there is none. Removes what a killed save has left.

        A crash of the machine may have cut the latest one short; the one before is then used, with a warning.

        Raises:
          CheckpointError: none of them fits the model, or all are damaged.
        """
        if self._is_chief:
            for manager in (self._latest, self._start, self._best):
                for unfinished in Path(manager.directory).glob("ckpt-*_temp"):
                    shutil.rmtree(unfinished, ignore_errors=True)
        paths = list_checkpoints(Path(self._latest.directory))
        for path, before in zip(paths, [*paths[1:], None]):
            try:
                progress = self._restore_everything(path)
            except (CheckpointError, ValueError, TypeError, KeyError) as error:
                if before is None:
                    raise
                log.warning("%s Going on from the one before, %s.", _without_advice(error, path), before)
                continue
            return progress
        return None

    def _restore_everything(self, path: str) -> Progress:
        _restore(self._everything, path)
        values = json.loads(self._progress.numpy().decode())
        return Progress(**{**values, "sums": tuple(values["sums"])})

    def go_back(self, step: int, *, num_back_offs: int) -> Progress:
        """Restores what `save_start` saved after `step` steps, and makes that the latest checkpoint with this count.

        Raises:
          CheckpointError: it is missing or damaged.
        """
        path = next((path for path in list_checkpoints(Path(self._start.directory)) if _number(path) == step), None)
        if path is None:
            raise CheckpointError(
                f"{self._start.directory} holds no checkpoint of step {step} to go back to. Start again in another "
                "folder: --run runs/NEW"
            )
        progress = self._restore_everything(path)
        progress.num_back_offs = num_back_offs
        self.save(progress)
        if self._is_chief:
            for later in list_checkpoints(Path(self._latest.directory)):
                if _number(later) > step:  # it would come before what has just been saved
                    _remove(later)
        return progress

    def find_latest(self) -> str | None:
        """Returns the path of the latest checkpoint, without what its files end with; None if there is none."""
        return next(iter(list_checkpoints(Path(self._latest.directory))), None)

    def start_from(self, other: Workdir) -> None:
        """Takes the weights of another run's latest checkpoint; optimizer and progress begin anew.

        Raises:
          CheckpointError: there is none, it is damaged, or it is of another network.
        """
        paths = list_checkpoints(other.checkpoints)
        if not paths:
            raise CheckpointError(f"{other.root} holds no checkpoint to start from. Give another --train.start_from")
        _restore(tf.train.Checkpoint(model=self._model), paths[0])
        self._kept_model.set_weights(self._model.get_weights())

    def save_best(self, progress: Progress) -> None:
        """Saves the weights as the best so far."""
        self._save(self._best, progress.step)

    def restore_best(self) -> None:
        """Restores the best weights.

        Raises:
          CheckpointError: there are none, or they are damaged.
        """
        path = tf.train.latest_checkpoint(self._best.directory)  # the manager knows of its own saves only
        if path is None:
            raise CheckpointError(
                f"{self._best.directory} holds no checkpoint. Train again in another folder: --run runs/NEW"
            )
        _restore(self._weights, path)


def list_checkpoints(folder: Path) -> list[str]:
    """Returns the checkpoints in a folder, the latest first, whatever TensorFlow's own list says: it may be cut."""
    found = {}
    for path in folder.glob("*.index"):
        if path.stem.rpartition("-")[2].isdecimal():
            found[_number(path.stem)] = str(path.with_suffix(""))
    return [found[number] for number in sorted(found, reverse=True)]


def _number(path: str) -> int:
    return int(path.rpartition("-")[2])


def _remove(path: str) -> None:
    index = Path(f"{path}.index")
    index.unlink(missing_ok=True)  # first: without it the rest is no checkpoint
    for part in index.parent.glob(f"{index.stem}.data-*"):
        part.unlink()


def _without_advice(error: Exception, path: str) -> str:
    return str(error).split(" Start again")[0] if isinstance(error, CheckpointError) else f"{path} is damaged: {error}."


def _by_index(values: Sequence) -> dict[str, object]:
    """A checkpoint's keys are text."""
    return {str(index): value for index, value in enumerate(values)}


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.restore(path).assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:  # as damage is told
        raise CheckpointError(
            f"the checkpoint {path} cannot be restored: {str(error).splitlines()[0][:200]}. Start again in another "
            "folder: --run runs/NEW"
        ) from None
