"""KerasTuner over the trainer: it proposes and remembers, a trial is one run of the training loop."""

import contextlib
import io
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import keras
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.oracle import Oracle
from keras_tuner.engine.trial import Trial
from pydantic import BaseModel, Field, TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError, DataError, DivergedError, MemoryLimitError, explain
from harness.base.json_files import Form
from harness.base.storage import Folder
from harness.base.text import format_value
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.dataset.records.manifest import Manifest
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.search.oracle import make_oracle, write_whole
from harness.search.space import check_batches, make_trial_config
from harness.training import trainer
from harness.training.setup import Setup, set_up

log = logging.getLogger("harness")
_PROJECT = "search"  # KerasTuner's folder in that of the search
_MEMORY_ADVICE = "Propose smaller batches or networks in tune.space."


def search(
    config: Config,
    given: Mapping[str, Setting],
    data: Manifest,
    records: Folder,
    should_stop: Callable[[], str | None],
) -> Sequence[Trial]:
    """Runs the trials that are left; returns all finished ones, best first.

    Args:
      config: the resolved config, with the search space in its section `tune`.
      given: the settings that were stated, which every trial gets.
      data: the records.
      records: the folder they are read from.
      should_stop: asked within a trial; a reason ends the search after a save.

    Raises:
      InterruptedRun: it was asked to stop; the same call goes on from there.
      ConfigError: the devices cannot share a batch that may be proposed.
      DataError: no trial finished with a finite loss.
    """
    setup = set_up(config, data, records=records, earlier=_read_effective(config))
    check_batches(config, setup.devices.num_replicas)
    for reason in setup.devices.reasons.values():
        log.info("%s", reason)
    with files.open_plain(config.tune.folder) as folder:  # it looks for its trials by a pattern
        tuner = _open_tuner(folder, setup, given, should_stop)
        try:
            tuner.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
    trials = tuner.oracle.get_best_trials(len(tuner.oracle.trials))
    finished = [trial for trial in trials if trial.status == "COMPLETED"]
    if not finished:
        raise DataError(f"not one trial of the search in {config.tune.folder} finished with a finite loss.")
    return finished


class _Proposed(BaseModel):
    values: dict[str, str | int | float | bool]


class _Trial(BaseModel):
    """What is relied on of trial.json, KerasTuner's file of a trial."""

    trial_id: Annotated[str, Field(pattern=r"^\w{1,40}$")]  # the name of its folder
    hyperparameters: _Proposed
    score: float | None
    status: Literal["RUNNING", "IDLE", "INVALID", "STOPPED", "COMPLETED", "FAILED"]


_TRIAL_FORM, _OBJECT_FORM = TypeAdapter(_Trial), TypeAdapter(dict[str, object])


def _open_tuner(
    folder: str, setup: Setup, given: Mapping[str, Setting], should_stop: Callable[[], str | None]
) -> "_Tuner":
    """Returns the tuner with all trials there are.

    Raises:
      CheckpointError: its files are damaged, or are not of this search.
    """
    config = setup.asked
    project = config.tune.folder / _PROJECT
    _check_files(project, config)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where it reloads from
            return _Tuner(make_oracle(config.tune), setup, given, should_stop, folder)
    except OSError:
        raise
    except Exception as error:  # KerasTuner believes its own files, so what is wrong in them shows anywhere
        raise _refuse(project, f"{type(error).__name__}: {str(error)[:200]}") from None


def _check_files(project: Path, config: Config) -> None:
    """Compares the files of KerasTuner, as far as this project relies on them, with their form and the search."""
    for path in sorted(project.glob("*.json")):
        _read(path, _OBJECT_FORM)
    for path in sorted(project.glob("trial_*/trial.json")):
        trial = _read(path, _TRIAL_FORM)
        if trial.status == "COMPLETED" and trial.score is None:
            raise _refuse(path, "it is completed and has no score")
        proposed = {name for name in trial.hyperparameters.values if not name.startswith("tuner/")}
        if differing := sorted(proposed ^ set(config.tune.space)):
            raise _refuse(path, f"{json_files.cut(differing[0])} is in the trial or in tune.space, but not in both")


def _read(path: Path, form: TypeAdapter[Form]) -> Form:
    try:
        return json_files.read(path, form)
    except json_files.WrongForm as error:
        raise _refuse(path, str(error)) from None


def _refuse(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read: {reason}. Search anew in another folder: --tune.folder runs/NEW")


class _Tuner(BaseTuner):
    """KerasTuner proposes and remembers; the training loop does the work, and keeps its own checkpoints."""

    def __init__(
        self,
        oracle: Oracle,
        setup: Setup,
        given: Mapping[str, Setting],
        should_stop: Callable[[], str | None],
        folder: str,
    ) -> None:
        self._setup, self._given, self._should_stop = setup, given, should_stop
        super().__init__(oracle, directory=folder, project_name=_PROJECT)

    def on_trial_begin(self, trial: Trial) -> None:
        """Saves the search too: KerasTuner does so after a trial, so one stopped in its first would not be found."""
        super().on_trial_begin(trial)
        self.save()

    def save(self) -> None:
        """Saves the search; no file is ever cut, as it would be on a full disk."""
        self.oracle.save()
        write_whole(self._get_tuner_fname(), self.get_state())

    def run_trial(self, trial: Trial, *_args: object, **_kwargs: object) -> dict[str, float]:
        """Returns the figures of one trial. One that diverges or needs too much memory has failed: others may not."""
        try:
            return self._train(trial)
        except (Exception, KeyboardInterrupt) as error:  # KerasTuner takes all but its own for a bad proposal
            found = explain(error, memory_advice=_MEMORY_ADVICE) if isinstance(error, Exception) else None
            told = found or error
            if isinstance(told, DivergedError | MemoryLimitError):
                log.warning("trial %s failed: %s", trial.trial_id, told)
                return {"val_loss": math.nan, "val_accuracy": math.nan}  # by which KerasTuner knows it, without a word
            raise keras_tuner.errors.FatalError(str(told)) from told

    def _train(self, trial: Trial) -> dict[str, float]:
        values, data = trial.hyperparameters.values, self._setup.data
        config = make_trial_config(self._given, values, f"trial {trial.trial_id}")
        workdir = Workdir(self._setup.asked.tune.folder / "trials" / trial.trial_id)
        log.info("trial %s: %s", trial.trial_id, _describe(values))
        with identity.own(workdir, config, data):
            devices, earlier = self._setup.devices, identity.read_effective(workdir)
            setup = set_up(config, data, records=self._setup.records, devices=devices, earlier=earlier)
            identity.check_batch(workdir, setup.config.train.batch_size)
            identity.claim(workdir, config, data, effective=setup.effective, rows=setup.rows)
            keras.backend.clear_session()
            found = trainer.train_and_evaluate(setup, workdir, should_stop=self._should_stop)
        if not math.isfinite(found.loss):
            raise DivergedError(f"the loss is {found.loss}.")
        return {"val_loss": found.loss, "val_accuracy": found.accuracy}

    def save_model(self, trial_id: str, model: object, step: int = 0) -> None:
        """Keeps nothing."""


def _read_effective(config: Config) -> Mapping[str, object]:
    """What the trials so far were given that asked for any precision: all get the same, or they would not compare."""
    for path in sorted((config.tune.folder / "trials").glob("*")):
        workdir = Workdir(path)
        if workdir.config.is_file() and identity.load_config(workdir).train.precision == "auto":
            return identity.read_effective(workdir)
    return {}


def _describe(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {format_value(value)}" for name, value in values.items() if not name.startswith("tuner/"))
