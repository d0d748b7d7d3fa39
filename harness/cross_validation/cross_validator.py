"""A cross-validation from its folds to what they come to: records divided, folds trained, their answers measured."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base.errors import DataError, MemoryLimitError, UnsavedRun
from harness.base.storage import Folder
from harness.config.schema import Config
from harness.cross_validation import figures, fold_records, folds, out_of_fold, trainings
from harness.cross_validation.figures import Contrast, CurvePoint, FoldFigures
from harness.cross_validation.folds import NUM_PARTS, Assignment, Pictures
from harness.cross_validation.labels import suspects
from harness.cross_validation.labels.suspects import Suspect
from harness.cross_validation.out_of_fold import OutOfFold
from harness.cross_validation.trainings import CURVE_PARTS, Training
from harness.dataset.records.manifest import Manifest
from harness.results.evaluation import Evaluation
from harness.results.history import Row
from harness.results.statistics import baselines
from harness.search import progress
from harness.search.trials import trial_folder
from harness.search.trials.claims import Claims
from harness.search.trials.slot_loop import Stop, check_stop, work
from harness.search.trials.slots import list_slots
from harness.search.trials.trial import Trial

log = logging.getLogger("harness")
_RECORDS = "records"
_OF_TRAINING = {int(MemoryLimitError.exit_code): MemoryLimitError}


@dataclass(frozen=True)
class Question:
    """What is asked of a records folder.

    Attributes:
      folder: of the cross-validation.
      settings: the configs that are measured, by name: the one that is asked about, and maybe one to compare it with.
      data: the records.
      records: where they lie.
      num_folds: 2 or more.
      num_repeats: divisions into folds.
      with_curve: whether parts of the groups are trained on, too.
      command: what the user typed.
      train_command: trains with the settings that are asked about.
    """

    folder: Path
    settings: Mapping[str, Config]
    data: Manifest
    records: Folder
    num_folds: int
    num_repeats: int
    with_curve: bool = False
    command: str = ""
    train_command: str = ""

    @property
    def name(self) -> str:
        """Of the settings that are asked about."""
        return next(iter(self.settings))

    @property
    def config(self) -> Config:
        """The settings that are asked about."""
        return next(iter(self.settings.values()))

    def records_of(self, repeat: int) -> Path:
        """Returns where the records of one division lie."""
        return self.folder / _RECORDS / f"repeat-{repeat + 1}"


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
      question: what was asked.
      found: what models say of pictures that they have not seen.
      evaluation: the figures of that.
      folds: of each training.
      suspects: pictures whose label is probably wrong, the most suspect first.
      warnings: what the reader should know first.
      histories: the epochs of each training.
      seconds: for which all trainings ran.
      curve: the learning curve; empty where it was not asked for.
      other: the figures of the settings to compare with; None without any.
      other_found: what the models of these say.
      contrast: by how much the settings differ from these.
    """

    question: Question
    found: OutOfFold
    evaluation: Evaluation
    folds: tuple[FoldFigures, ...]
    suspects: tuple[Suspect, ...]
    warnings: tuple[str, ...]
    histories: tuple[tuple[Row, ...], ...]
    seconds: float
    curve: tuple[CurvePoint, ...] = ()
    other: Evaluation | None = None
    other_found: OutOfFold | None = None
    contrast: Contrast | None = None


def cross_validate(
    question: Question,
    environment: Mapping[str, str],
    should_stop: Callable[[], str | None],
    *,
    is_shown: bool,
) -> Answer:
    """Trains what is left of all folds, and returns what they say together.

    Args:
      question: what is asked.
      environment: of this process, which tells its GPUs.
      should_stop: a reason has the running trainings save, and ends this.
      is_shown: whether a table shows how it goes.

    Raises:
      InterruptedRun: it was asked to stop; the same call goes on from there.
      UnsavedRun: it was asked to stop before there was anything to save.
      ConfigError: the devices are not there.
      DataError: the pictures cannot be divided so, or a training failed.
    """
    pictures = fold_records.read_pictures(question.data, question.records)
    warnings = folds.check(pictures, question.num_folds)
    for warning in warnings:
        log.warning("%s", warning)
    wanted = trainings.list_trainings(
        tuple(question.settings), question.num_folds, question.num_repeats, with_curve=question.with_curve
    )
    with Claims(question.folder, should_stop).proposing() as is_alone:
        if not is_alone:
            reason = should_stop() or ""
            raise UnsavedRun(f"stopped by {reason} before the first training; the same command starts it.", reason)
        assignments = _divide(question, pictures)
        configs = {training: _make_config(question, training) for training in wanted}
        queue = trainings.make_queue(question.folder, configs, should_stop)
    _train(question, queue, wanted, environment, should_stop, is_shown=is_shown)
    return _gather(question, pictures, assignments, wanted, warnings)


def _divide(question: Question, pictures: Pictures) -> list[Assignment]:
    assignments = []
    for repeat in range(question.num_repeats):
        seed = question.config.train.seed + repeat
        assignments.append(folds.assign(pictures, question.num_folds, seed=seed))
        fold_records.divide(question.data, question.records, question.records_of(repeat), pictures, assignments[-1])
    return assignments


def _make_config(question: Question, training: Training) -> Config:
    records = fold_records.make_records(
        question.data, question.records_of(training.repeat), training.fold, num_parts=training.num_parts
    )
    return trainings.make_config(question.settings[training.setting], training, records)


def _train(
    question: Question,
    queue: trainings.TrainingQueue,
    wanted: Sequence[Training],
    environment: Mapping[str, str],
    should_stop: Callable[[], str | None],
    *,
    is_shown: bool,
) -> None:
    tune, stop = question.config.tune, Stop(should_stop)
    slots = list_slots(tune, question.config.runtime, environment)

    def load() -> list[Trial]:
        return list(_load(question.folder, wanted))

    with progress.open_table(load, objective="val_loss", total=len(wanted), is_shown=is_shown, noun="training") as show:
        done = work(queue, slots, stop, limit_s=60 * tune.minutes_per_trial, show=show)
    check_stop(stop, done, question.folder, lambda: sum(trial.status != "running" for trial in load()), noun="training")
    if failed := [trial for trial in load() if trial.status == "failed"]:
        last = trial_folder.read(trainings.workdir_of(question.folder, _find(wanted, failed[-1].name)))
        copies = question.folder / _RECORDS
        # A training knows nothing of where its records come from, and says that they are to be built.
        cure = f" {copies} holds copies: do not build them, but remove it." * (str(copies.absolute()) in last.reason)
        raise _OF_TRAINING.get(last.exit_code, DataError)(
            f"{len(failed)} of {len(wanted)} trainings failed, so that not every picture has an answer: "
            f"{failed[-1].name}: {failed[-1].reason} Its log is {failed[-1].run / 'train.log'}.{cure} The same "
            "command tries those that failed again."
        )


def _find(wanted: Sequence[Training], name: str) -> Training:
    return next(training for training in wanted if training.name == name)


def _load(folder: Path, wanted: Sequence[Training]) -> Iterator[Trial]:
    """What is known of the trainings that were begun."""
    for training in wanted:
        workdir = trainings.workdir_of(folder, training)
        if workdir.root.exists():
            yield trial_folder.load(workdir, trial_folder.read(workdir), "val_loss")


def _gather(
    question: Question,
    pictures: Pictures,
    assignments: Sequence[Assignment],
    wanted: Sequence[Training],
    warnings: Sequence[str],
) -> Answer:
    def collect(setting: str, num_parts: int = NUM_PARTS) -> OutOfFold:
        """Returns what the trainings of these settings say that were given so many parts of the other folds."""
        runs = {
            (training.repeat, training.fold): trainings.workdir_of(question.folder, training)
            for training in wanted
            if (training.setting, training.num_parts) == (setting, num_parts)
        }
        return out_of_fold.collect(runs, pictures, assignments)

    names = tuple(question.settings)
    found = collect(names[0])
    split = fold_records.open_all(question.data, question.records)
    baseline = figures.train_baselines(*baselines.describe(split, baselines.MOST_MEASURED), assignments[0])
    main = [training for training in wanted if training.setting == names[0] and training.num_parts == NUM_PARTS]
    answer = Answer(
        question=question,
        found=found,
        evaluation=figures.measure(found, baseline),
        folds=figures.measure_folds(found),
        suspects=suspects.find(
            pictures.paths,
            pictures.labels,
            found.chances.mean(axis=0),
            pictures.class_names,
            members=pictures.members,
        ),
        warnings=tuple(warnings),
        histories=tuple(
            _read_history(trainings.workdir_of(question.folder, training).metrics_csv) for training in main
        ),
        seconds=sum(trial.seconds for trial in _load(question.folder, wanted)),
    )
    if question.with_curve:
        points = [(parts, collect(names[0], parts)) for parts in CURVE_PARTS] + [(NUM_PARTS, found)]
        answer = dataclasses.replace(answer, curve=figures.trace(_place(points, pictures, assignments)))
    if len(names) > 1:
        other = collect(names[1])
        contrast = figures.contrast(found, other)
        answer = dataclasses.replace(answer, other=figures.measure(other), other_found=other, contrast=contrast)
    return answer


def _place(
    points: Sequence[tuple[int, OutOfFold]], pictures: Pictures, assignments: Sequence[Assignment]
) -> list[tuple[float, float, OutOfFold]]:
    """Adds the share of the groups and the mean number of pictures that were trained on."""
    placed = []
    for parts, found in points:
        counts = [
            int(((one.folds != fold) & (one.parts < parts)).sum())
            for one in assignments
            for fold in np.unique(one.folds)
        ]
        placed.append((parts / NUM_PARTS, float(np.mean(counts)), found))
    return placed


def _read_history(path: Path) -> tuple[Row, ...]:
    """The epochs of a training; none where they are gone, since they are only drawn."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        names = lines[0].split(",")
        return tuple(dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines[1:])
    except (OSError, ValueError, IndexError):
        return ()
