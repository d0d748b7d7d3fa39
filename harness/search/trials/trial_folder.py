"""The folder of a trial: its run, and what the search knows of it. All that a search knows is in these folders.

There is no other state: what is proposed next follows from the trials there are. So nothing can go out of step with
them, however many processes work on one search and whenever one is killed.
"""

import datetime
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError, ConfigError
from harness.config import settings
from harness.config.schema import Config
from harness.runs import metrics_file
from harness.runs.workdir import Workdir
from harness.search.space.combinations import Value
from harness.search.space.space import default_values
from harness.search.trials.child import Ending
from harness.search.trials.trial import Objective, Trial

_TRIALS = "trials"
_SEEDS = "retrain"
_NAME = re.compile(r"\d{1,9}", re.ASCII)
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")  # of the config of a training
_PLAN = ("tuner/epochs", "tuner/initial_epoch", "tuner/bracket", "tuner/round")  # KerasTuner's names
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _check_plan(plan: dict[str, str | int]) -> dict[str, str | int]:
    if plan and not all(isinstance(plan.get(name), int) for name in _PLAN):
        raise ValueError(f"it should have whole numbers as {', '.join(_PLAN)}")
    return plan


@dataclass(frozen=True)
class Record:
    """What trial.json says of a trial.

    Attributes:
      values: what it tries: setting -> value.
      plan: KerasTuner's own entries of Hyperband, such as "tuner/epochs".
      draws: the state of the search's random numbers after the proposal.
      started: when, as ISO 8601 in local time.
      status: completed once its figures are final, failed if there will be none.
      finished: when it ended, or "".
      seconds: for which its processes ran.
      start_seconds: of these, until the last of them had its devices.
      exit_code: of the process by which it failed; 0 otherwise.
      reason: why it failed.
      log_end: the last lines of its log, if it failed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    values: dict[str, Value]
    plan: Annotated[dict[str, str | int], AfterValidator(_check_plan)]
    draws: Annotated[int, Field(ge=0)]
    started: str
    status: Literal["running", "completed", "failed"] = "running"
    finished: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?$")] = ""
    seconds: _Seconds = 0.0
    start_seconds: _Seconds = 0.0
    exit_code: int = 0
    reason: str = ""
    log_end: tuple[str, ...] = ()


class _Figures(BaseModel):
    """What is read of the metrics.json of a trial."""

    loss: float
    accuracy: float
    balanced_accuracy: float | None = None  # as in runs of earlier versions
    f1: float | None = None
    auc: float | None = None
    epochs: Annotated[int, Field(ge=0)]


_RECORD = TypeAdapter(Record)


def now() -> str:
    """Returns the time as a record has it."""
    return datetime.datetime.now().isoformat(" ", "seconds")


def trials_of(folder: Path) -> Path:
    """Returns where the trials of a search lie."""
    return folder / _TRIALS


def seeds_of(folder: Path) -> Path:
    """Returns where the best and the default settings are trained again with other seeds."""
    return folder / _SEEDS


def list_trials(folder: Path) -> list[Workdir]:
    """Returns the folders of all trials of a search, in the order of their start."""
    parent = trials_of(folder)
    try:
        names = [entry.name for entry in os.scandir(parent)]
    except FileNotFoundError:
        return []
    return [Workdir(parent / name) for name in sorted(filter(_NAME.fullmatch, names), key=int)]


def create(parent: Path, name: str, record: Record, config: Config, *, origin: Workdir | None = None) -> Workdir:
    """Makes the folder of a trial, complete or not at all; whoever calls it has the claim on the trial.

    Args:
      parent: the folder for it.
      name: of the trial.
      record: what it tries.
      config: what it is trained with. The paths are written such that a search in another current folder can go on.
      origin: the run it goes on from beyond that one's end, with everything but the last epoch alike.

    Raises:
      OSError: it cannot be written.
    """
    config = settings.make_absolute(config)
    unfinished, workdir = Workdir(parent / f".{name}.tmp"), Workdir(parent / name)
    if unfinished.root.exists():  # of a process that was killed
        shutil.rmtree(unfinished.root)
    try:
        write(unfinished, record)
        command = ["python", "-m", "harness.train", "--config", str(workdir.trial_config), "--run", str(workdir.root)]
        files.write_text(unfinished.trial_config, settings.as_yaml(config, *_SECTIONS, header=shlex.join(command)))
        if origin is not None:
            _copy_run(origin, unfinished)
            files.write_text(unfinished.config, settings.as_yaml(config, header="The resolved settings of this run."))
        unfinished.root.rename(workdir.root)
    except BaseException:
        shutil.rmtree(unfinished.root, ignore_errors=True)
        raise
    files.sync(parent)
    return workdir


def _copy_run(origin: Workdir, target: Workdir) -> None:
    """Copies what a run needs to go on: checkpoints, figures and events, but none of its results."""
    for name in ("checkpoints", "train", "validation"):
        if (origin.root / name).is_dir():
            shutil.copytree(origin.root / name, target.root / name)
    for path in (origin.metrics_csv, origin.environment):
        shutil.copyfile(path, target.root / path.name)


def write(workdir: Workdir, record: Record) -> None:
    """Writes the record of a trial, complete or not at all; whoever calls it has the claim on the trial."""
    files.remove_unfinished(workdir.record)
    files.write_json(workdir.record, asdict(record))


def read(workdir: Workdir) -> Record:
    """Returns the record of a trial; one whose figures were removed is not completed any more.

    Raises:
      CheckpointError: it is missing, damaged, or of another version.
    """
    try:
        record = json_files.read(workdir.record, _RECORD)
    except json_files.WrongForm as error:
        raise CheckpointError(f"{workdir.record} cannot be read: {error}. {_cure(workdir)}") from None
    if record.status == "completed" and not workdir.metrics.exists():
        return replace(record, status="running", finished="")
    return record


def _cure(workdir: Workdir) -> str:
    if workdir.root.parent.name == _TRIALS:
        return "To make it anew from what the trial itself has left: --tune.rebuild true"
    return f"Remove {workdir.root}, and the same command trains it again."


def read_config(workdir: Workdir) -> Config:
    """Returns what a trial is trained with.

    Raises:
      CheckpointError: the file is damaged or missing.
    """
    try:
        return settings.make_config(settings.read_file(workdir.trial_config))
    except ConfigError as error:
        raise CheckpointError(f"{error} Search anew in another folder: --tune.folder runs/NEW") from None


def load(workdir: Workdir, record: Record, objective: Objective) -> Trial:
    """Returns what is known of a trial.

    Raises:
      CheckpointError: it is completed, and its figures cannot be read.
    """
    trial = Trial(
        name=workdir.root.name,
        run=workdir.root,
        values=record.values,
        status=record.status,
        seconds=record.seconds,
        start_seconds=record.start_seconds,
        finished=record.finished,
        started_from=str(record.plan.get("tuner/trial_id", "")),
        reason=record.reason,
        log_end=record.log_end,
    )
    if record.status != "completed":
        return trial
    found = metrics_file.read(workdir, _Figures)
    figures = {f"val_{name}": value for name, value in found if name != "epochs" and value is not None}
    first = int(record.plan.get("tuner/initial_epoch", 0))
    return replace(
        trial,
        figures=figures,
        score=figures.get(objective),
        num_epochs=found.epochs,
        num_epochs_trained=max(0, found.epochs - first),
    )


def note_ending(workdir: Workdir, record: Record, ending: Ending) -> Record:
    """Writes and returns the record of a trial that has ended, or was told to stop and will go on.

    Raises:
      CheckpointError: it is complete, and its figures cannot be read.
    """
    spent = replace(record, seconds=record.seconds + ending.seconds, start_seconds=ending.start_seconds)
    if ending.is_paused:
        write(workdir, spent)
        return spent
    reason = ending.reason
    if not reason:
        found = metrics_file.read(workdir, _Figures)
        if not (math.isfinite(found.loss) and math.isfinite(found.accuracy)):
            reason = "its figures are no finite numbers"
    ended = replace(
        spent,
        status="failed" if reason else "completed",
        finished=now(),
        exit_code=ending.exit_code,
        reason=reason,
        log_end=ending.log_end,
    )
    write(workdir, ended)
    return ended


def begin_again(record: Record) -> Record:
    """Returns the record of a trial that has failed, such that it is taken up again where it stands."""
    return replace(record, status="running", finished="", exit_code=0, reason="", log_end=())


def rebuild(folder: Path, config: Config) -> list[str]:
    """Makes records that cannot be read anew from what the trials themselves have left.

    Args:
      folder: of the search.
      config: of the search, whose space says which settings were tried.

    Returns:
      The names of the trials.

    Raises:
      CheckpointError: what a trial was trained with cannot be read either.
    """
    rebuilt = []
    for workdir in list_trials(folder):
        try:
            read(workdir)
        except CheckpointError:
            write(workdir, _rebuild(workdir, config))
            rebuilt.append(workdir.root.name)
    return rebuilt


def _rebuild(workdir: Workdir, config: Config) -> Record:
    """What the trial has left says what was tried; whether it is completed is seen when it is gone on with."""
    if not workdir.trial_config.is_file() and workdir.config.is_file():
        shutil.copyfile(workdir.config, workdir.trial_config)
    if not workdir.trial_config.is_file():
        raise CheckpointError(f"{workdir.root} says nothing of what was tried in it. Remove it, and it is tried again.")
    tried = read_config(workdir)
    values = default_values(tried.model_copy(update={"tune": config.tune}))
    own = default_values(config)
    stated = {
        name: _as_stated(value, (own.get(name), *(config.tune.space[name].values or ())))
        for name, value in values.items()
    }
    return Record(stated, plan={}, draws=0, started=now())


def _as_stated(value: Value, stated: Iterable[Value | None]) -> Value:
    """Returns a value as it stands in the search: what a trial is trained with has its paths absolute."""
    return next((path for path in stated if isinstance(path, str) and str(Path(path).absolute()) == value), value)
