"""Saves and restores a run: weights, optimizer, dropout seeds and progress, in one checkpoint."""

import dataclasses
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import keras
import tensorflow as tf
from pydantic import ConfigDict, Field, TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError
from harness.models.network import seed_states
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_NUM_KEPT = 2  # the latest, and the one before should the latest be damaged, or be of an epoch that is run again
_PREFIX = "ckpt"
_UNFINISHED = ".tmp"  # how the name of a folder ends in which one is written
_NAME = re.compile(rf"{_PREFIX}-\d{{1,18}}", re.ASCII)


_Count = Annotated[int, Field(ge=0)]


@dataclass
class Progress:
    """Where a run stands: everything that is neither a weight nor an optimizer's variable."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    epoch: _Count = 0
    step_in_epoch: _Count = 0
    step: _Count = 0
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)  # loss, correct and examples of the epoch so far
    best_epoch: _Count = 0
    history: list[dict[str, int | float]] = field(default_factory=list)
    num_back_offs: _Count = 0  # each made the learning rate smaller


_FORM = TypeAdapter(Progress)


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
        self._weights = tf.train.Checkpoint(model=kept_model)
        self._latest, self._start, self._best = workdir.checkpoints, workdir.epoch_start, workdir.best
        self._saved_at = time.monotonic()
        self._is_chief = is_chief
        self._model, self._kept_model = model, kept_model

    def save(self, progress: Progress) -> None:
        """Saves everything as the latest checkpoint; those that are later, of a run that went back, are removed."""
        self._save_everything(self._latest, progress, num_kept=_NUM_KEPT)
        self._saved_at = time.monotonic()

    def save_start(self, progress: Progress) -> None:
        """Saves everything as what `go_back` returns to."""
        self._save_everything(self._start, progress, num_kept=1)

    def _save_everything(self, folder: Path, progress: Progress, *, num_kept: int) -> None:
        self._progress.assign(json.dumps(dataclasses.asdict(progress)))
        self._save(self._everything, folder, progress.step, num_kept=num_kept)

    def seconds_since_save(self) -> float:
        """Returns the time since the last save, or since the run was started."""
        return time.monotonic() - self._saved_at

    def _save(self, contents: tf.train.Checkpoint, folder: Path, number: int, *, num_kept: int) -> None:
        if self._is_chief:
            folder.mkdir(parents=True, exist_ok=True)
            _write(contents, folder, f"{_PREFIX}-{number}")
            _keep(folder, number, num_kept)
            return
        # A save may read variables from all workers, so all save; what the others write is the same once more.
        with tempfile.TemporaryDirectory() as elsewhere:
            contents.write(f"{elsewhere}/{_PREFIX}")

    def restore(self) -> Progress | None:
        """Restores the latest checkpoint that is whole; None if there is none. Removes what a killed save has left.

        A crash of the machine may have cut the latest one short; the one before is then used, with a warning.

        Raises:
          CheckpointError: none of them fits the model, or all are damaged.
        """
        if self._is_chief:
            for folder in (self._latest, self._start, self._best):
                _remove_unfinished(folder)
        paths = list_checkpoints(self._latest)
        for path, before in zip(paths, [*paths[1:], None]):
            try:
                progress = self._restore_everything(path)
            except CheckpointError as error:
                if before is None:
                    raise
                log.warning("%s Going on from the one before, %s.", str(error).split(" Start again")[0], before)
                continue
            return progress
        return None

    def _restore_everything(self, path: str) -> Progress:
        _restore(self._everything, path)
        try:
            return json_files.parse(self._progress.numpy(), _FORM)
        except json_files.WrongForm as error:
            raise _explain(path, f"its progress: {error}") from None

    def go_back(self, step: int, *, num_back_offs: int) -> Progress:
        """Restores what `save_start` saved after `step` steps, and makes that the latest checkpoint with this count.

        Raises:
          CheckpointError: it is missing or damaged.
        """
        path = next((path for path in list_checkpoints(self._start) if _number(path) == step), None)
        if path is None:
            raise CheckpointError(
                f"{self._start} holds no checkpoint of step {step} to go back to. Start again in another "
                "folder: --run runs/NEW"
            )
        progress = self._restore_everything(path)
        progress.num_back_offs = num_back_offs
        self.save(progress)
        return progress

    def find_latest(self) -> str | None:
        """Returns the path of the latest checkpoint, without what its files end with; None if there is none."""
        return next(iter(list_checkpoints(self._latest)), None)

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
        """Saves the weights as the best so far.

        The best before is kept: a run that is killed before its latest checkpoint says so knows no other.
        """
        self._save(self._weights, self._best, progress.step, num_kept=_NUM_KEPT)

    def slim(self, progress: Progress) -> None:
        """Removes what a run needs no more that is complete: all but the last checkpoint and the kept weights.

        The last one is what another run may start from. Those before are for a run that is killed or goes back.
        """
        if not self._is_chief:
            return
        for folder, step in ((self._latest, progress.step), (self._best, self._find_best_step(progress))):
            if any(_number(path) == step for path in list_checkpoints(folder)):
                _keep(folder, step, num_kept=1)
        shutil.rmtree(self._start, ignore_errors=True)

    @staticmethod
    def _find_best_step(progress: Progress) -> int:
        return progress.step // progress.epoch * progress.best_epoch

    def restore_best(self, progress: Progress) -> None:
        """Restores the best weights, those at the end of `progress.best_epoch`, of a run at the end of an epoch.

        Raises:
          CheckpointError: there are none, or they are damaged.
        """
        step = self._find_best_step(progress)
        path = next((path for path in list_checkpoints(self._best) if _number(path) == step), None)
        if path is None:
            raise CheckpointError(
                f"{self._best} holds no checkpoint of step {step}. Train again in another folder: --run runs/NEW"
            )
        _restore(self._weights, path)


def list_checkpoints(folder: Path) -> list[str]:
    """Returns the checkpoints in a folder, the latest first, whatever TensorFlow's own list says: it may be cut."""
    found = {
        _number(path.stem): str(path.with_suffix("")) for path in folder.glob("*.index") if _NAME.fullmatch(path.stem)
    }
    return [found[number] for number in sorted(found, reverse=True)]


@contextmanager
def open_latest(folder: Path) -> Iterator:
    """Opens the latest checkpoint in a folder, to look at its tensors.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    paths = list_checkpoints(folder)
    if not paths:
        raise CheckpointError(f"{folder} holds no checkpoint.")
    with files.open_plain(folder) as plain:
        try:
            yield tf.train.load_checkpoint(f"{plain}/{Path(paths[0]).name}")
        except tf.errors.OpError as error:
            raise CheckpointError(f"the checkpoint {paths[0]} cannot be read: {str(error)[:200]}") from None


def _write(contents: tf.train.Checkpoint, folder: Path, name: str) -> None:
    """Writes a checkpoint to disk, complete or not at all: TensorFlow leaves half of one where there is no room."""
    with tempfile.TemporaryDirectory(_UNFINISHED, ".", folder, ignore_cleanup_errors=True) as elsewhere:
        contents.write(f"{elsewhere}/{name}")
        parts = sorted(Path(elsewhere).iterdir())
        files.sync(*parts)
        for part in parts:  # the index comes last: without it the rest is no checkpoint
            part.replace(folder / part.name)
        files.sync(folder)


def _number(path: str) -> int:
    return int(path.rpartition("-")[2])


def _keep(folder: Path, number: int, num_kept: int) -> None:
    """Removes all checkpoints but the one just saved and the newest before it, and writes TensorFlow's own list.

    That list is for other readers. It is never read here, since it may be cut, and says nothing of what a killed
    process had saved.
    """
    paths = list_checkpoints(folder)
    kept = [path for path in paths if _number(path) <= number][:num_kept]
    names = [Path(path).name for path in kept]
    lines = [f'model_checkpoint_path: "{names[0]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names[::-1])]
    files.write_text(folder / "checkpoint", "".join(f"{line}\n" for line in lines))
    for path in paths:
        if path not in kept:
            _remove(path)


def _remove(path: str) -> None:
    index = Path(f"{path}.index")
    index.unlink(missing_ok=True)  # first: without it the rest is no checkpoint
    for part in index.parent.glob(f"{index.stem}.data-*"):
        part.unlink()


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes have left: halves of checkpoints and of TensorFlow's list."""
    whole = {Path(path).name for path in list_checkpoints(folder)}
    for path in (*folder.glob(f".*{_UNFINISHED}"), *folder.glob(f"{_PREFIX}-*_temp")):  # TensorFlow's own too
        shutil.rmtree(path, ignore_errors=True)
    data = [path for path in folder.glob(f"{_PREFIX}-*.data-*") if path.name.partition(".")[0] not in whole]
    for path in (*data, *folder.glob("checkpoint.tmp*"), *folder.glob(".checkpoint.*.tmp")):
        path.unlink(missing_ok=True)


def _by_index(values: Sequence) -> dict[str, object]:
    """A checkpoint's keys are text."""
    return {str(index): value for index, value in enumerate(values)}


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    folder, name = Path(path).parent, Path(path).name
    with files.open_plain(folder) as plain:
        try:
            checkpoint.read(f"{plain}/{name}").assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:  # as damage is told
            reason = next(iter(str(error).splitlines()), type(error).__name__).replace(plain, str(folder))
            raise _explain(path, reason[:200]) from None


def _explain(path: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} cannot be restored: {reason}. Start again in another folder: --run runs/NEW"
    )
