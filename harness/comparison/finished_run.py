"""What a finished run has left to be judged by: its figures, its settings, its records and the size of its model.

It reads files of the run folder and needs no TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from harness.base import json_files
from harness.base.errors import CheckpointError
from harness.config import settings
from harness.config.schema import Config
from harness.results.statistics.intervals import Interval
from harness.results.verdict import Level
from harness.runs import metrics_file, versions
from harness.runs.identity import InForce
from harness.runs.workdir import Workdir

_ADVICE = "Leave this run out, or train it anew in another folder: --run runs/NEW"
_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Figures:
    """The figures by which runs are put in order, as in metrics.json; an interval that is not known is None."""

    class_names: Annotated[tuple[str, ...], Field(min_length=1)]
    num_examples: Annotated[int, Field(ge=1)]
    num_groups: _Count | None
    accuracy: _Share
    accuracy_ci95: Interval | None
    balanced_accuracy: _Share
    balanced_accuracy_ci95: Interval | None
    loss: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    loss_ci95: Interval | None
    auc: _Share | None
    auc_ci95: Interval | None


@dataclass(frozen=True)
class Judgement:
    """What metrics.json says of a run beside the baselines."""

    level: Level


@dataclass(frozen=True)
class TrainingFigures(Figures):
    """What metrics.json holds of the validation split and of the run; `test` is None without such a split."""

    num_parameters: _Count
    epochs: _Count
    best_epoch: _Count
    test: Figures | None = None
    verdict: Judgement | None = None

    @property
    def judged(self) -> Figures:
        """Those that the verdict speaks of: of the test split where there is one."""
        return self.test or self


class Started(BaseModel):
    """What environment.json says of the start of a run."""

    records_sha256: str
    records: str = ""
    harness: str = ""
    in_force: InForce = InForce()


_STARTED = TypeAdapter(Started)


@dataclass(frozen=True)
class Result:
    """What came of a run that has ended.

    Attributes:
      name: its folder, as it was given.
      workdir: the run folder.
      started: what it was started with.
      figures: of the weights it kept, on its validation split.
      num_bytes: of the exported model in Keras' format; None if that is not there.
    """

    name: str
    workdir: Workdir
    started: Started
    figures: TrainingFigures
    num_bytes: int | None


@dataclass(frozen=True)
class FinishedRun(Result):
    """The same with the settings, whose YAML takes longer to read than all the rest.

    Attributes:
      config: the settings.
      left_out: those that another version of harness knew, and this one does not, or not so.
    """

    config: Config
    left_out: Sequence[str] = ()

    def list_settings(self) -> dict[str, str]:
        """Returns each known setting's value as text, and what was in force where the machine had a say in it."""
        in_force = self.started.in_force
        every = settings.list_values(self.config)
        values = {name: value for name, value in every.items() if name not in self.left_out}
        values |= {f"in force: {name}": str(getattr(in_force, name)) for name in ("precision", "batch", "engine")}
        return {**values, "version of harness": self.started.harness}


def load(root: Path) -> FinishedRun:
    """Reads what a run has left, of another version of harness as far as this one knows it.

    Raises:
      CheckpointError: the folder is no run, the run is not finished, or a file of it is damaged.
      ConfigError: its config is damaged.
    """
    workdir = Workdir(root)
    with versions.naming(workdir):
        config, left_out = versions.load_known(workdir)
        metrics_file.check_complete(workdir)
        return FinishedRun(**vars(load_result(root)), config=config, left_out=left_out)


def load_result(root: Path) -> Result:
    """Reads what came of a run whose metrics.json is there.

    Raises:
      CheckpointError: a file of it is damaged.
    """
    workdir = Workdir(root)
    return Result(
        str(root),
        workdir,
        read_start(workdir),
        metrics_file.read(workdir, TrainingFigures),
        workdir.keras_model.stat().st_size if workdir.keras_model.is_file() else None,
    )


def read_start(workdir: Workdir) -> Started:
    """Returns what a run was started with.

    Raises:
      CheckpointError: environment.json is missing or damaged.
    """
    try:
        return json_files.read(workdir.environment, _STARTED)
    except json_files.WrongForm as error:
        raise CheckpointError(f"{workdir.environment} cannot be read: {error}. {_ADVICE}") from None
