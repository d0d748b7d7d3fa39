"""Several runs on the same pictures: what differs in their settings, their figures and their answers.

It reads what runs have left, or is given what they answered (measuring.py); it shows nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import CheckpointError, ConfigError, DataError
from harness.base.text import list_names, shorten
from harness.comparison import contrast, finished_run
from harness.comparison.contrast import Contrast
from harness.comparison.finished_run import Figures, FinishedRun
from harness.results import predictions
from harness.results.predictions import Prediction, Predictions

_FEW_GROUPS = 30  # below, intervals are wide and tests find little
_OTHER_PICTURES = "Measure all of them on the same pictures: --images DIR"
_NOT_OF_SETTINGS = "train.run"


@dataclass(frozen=True)
class Measured:
    """A run and what it does on the pictures that are compared on.

    Attributes:
      run: what it has left.
      figures: on these pictures.
      predictions: for each picture, in the same order for all runs.
      ms_a_picture: the median of single pictures on this machine, in milliseconds; None: not measured.
    """

    run: FinishedRun
    figures: Figures
    predictions: Predictions
    ms_a_picture: float | None = None


@dataclass(frozen=True)
class Disagreement:
    """A picture that not all runs take for the same class; `answers` has a row of each run."""

    path: str
    label: str
    answers: tuple[Prediction, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs beside one another.

    Attributes:
      measured_on: the name of a split, or the folder of pictures.
      measured: the runs as given; the first is what the others are compared with.
      settings: the settings that differ, with the value of each run as text; "" where a run has none.
      contrasts: one for each run but the first.
      disagreements: those that matter most first.
      notes: what a reader has to know, in sentences.
    """

    measured_on: str
    measured: tuple[Measured, ...]
    settings: dict[str, tuple[str, ...]]
    contrasts: tuple[Contrast, ...]
    disagreements: tuple[Disagreement, ...]
    notes: tuple[str, ...]


def load_runs(roots: Sequence[Path]) -> tuple[FinishedRun, ...]:
    """Reads what runs have left.

    Raises:
      ConfigError: there are fewer than two, or one is given twice.
      CheckpointError: as of `finished_run.load`.
    """
    if len(roots) < 2:
        raise ConfigError("there is one run only. Give two or more: python -m harness.compare runs/one runs/other")
    seen: dict[Path, Path] = {}
    for root in roots:
        if (place := root.resolve()) in seen:
            same = "" if root == seen[place] else f", as {seen[place]} too"
            raise ConfigError(f"{root} is given twice{same}. Give each run once.")
        seen[place] = root
    return tuple(map(finished_run.load, roots))


def read_answers(runs: Sequence[FinishedRun]) -> tuple[Measured, ...]:
    """Returns what each run said of its validation pictures at its end.

    Raises:
      CheckpointError: predictions.csv of a run is missing or damaged, or is not what metrics.json was made of.
      DataError: the runs were trained on other records, or know other classes.
    """
    check_records(runs)
    measured = []
    for run in runs:
        rows = predictions.read(run.workdir.predictions)
        num_right = sum(row.label == row.predicted for row in rows)
        if len(rows) != run.figures.num_examples or abs(num_right / len(rows) - run.figures.accuracy) > 1e-6:
            raise CheckpointError(
                f"{run.workdir.predictions} and {run.workdir.metrics.name} do not belong together: {len(rows):,} "
                f"pictures of which {num_right:,} are right, but {run.figures.num_examples:,} with accuracy "
                f"{run.figures.accuracy:.3f}. Measure anew: --split validation"
            )
        measured.append(Measured(run, run.figures, rows))
    return tuple(measured)


def check_records(runs: Sequence[FinishedRun]) -> None:
    """Looks whether runs were trained on the same records.

    Raises:
      DataError: they were not, or know other classes.
    """
    check_classes(runs)
    first = runs[0]
    for run in runs[1:]:
        if run.started.records_sha256 != first.started.records_sha256:
            raise DataError(
                f"{run.name} was trained on other records than {first.name} ({_name_records(run)}, "
                f"{_name_records(first)}): their validation pictures are not the same. {_OTHER_PICTURES}"
            )


def check_classes(runs: Sequence[FinishedRun]) -> None:
    """Looks whether runs know the same classes, in whatever order.

    Raises:
      DataError: they do not.
    """
    first, *others = (sorted(run.figures.class_names) for run in runs)
    for run, names in zip(runs[1:], others):
        if names != first:
            raise DataError(
                f"{run.name} knows other classes than {runs[0].name}: {list_names(names)}, not {list_names(first)}. "
                "Only runs of the same classes can be compared: leave one out."
            )


def compare(measured_on: str, measured: Sequence[Measured], notes: Sequence[str] = ()) -> Comparison:
    """Returns how runs differ.

    Args:
      measured_on: the name of a split, or the folder of pictures.
      measured: the runs, the one that the others are compared with first.
      notes: what else a reader has to know.

    Raises:
      DataError: the runs were not measured on the same pictures.
    """
    first, *others = measured
    for other in others:
        if found := predictions.describe_mismatch(first.predictions, other.predictions):
            raise DataError(
                f"{first.run.name} and {other.run.name} were not measured on the same pictures: {found}. "
                f"{_OTHER_PICTURES}"
            )
    return Comparison(
        measured_on,
        tuple(measured),
        list_differing([one.run for one in measured]),
        contrast.contrast(first.predictions, [other.predictions for other in others]),
        tuple(_find_disagreements(measured)),
        (*notes, *_advise(measured_on, measured)),
    )


def list_differing(runs: Sequence[FinishedRun]) -> dict[str, tuple[str, ...]]:
    """Returns the settings that are not the same in all runs, with the value of each; "" where a run has none."""
    values = [run.list_settings() for run in runs]
    names = dict.fromkeys(name for found in values for name in found)
    rows = {name: tuple(found.get(name, "") for found in values) for name in names if name != _NOT_OF_SETTINGS}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _find_disagreements(measured: Sequence[Measured]) -> list[Disagreement]:
    """Returns the pictures that some runs get right and others do not, the surest mistakes first; then the rest."""
    every = zip(*(one.predictions for one in measured))
    differing = (answers for answers in every if len({answer.predicted for answer in answers}) > 1)

    def rank(answers: tuple[Prediction, ...]) -> tuple[bool, float]:
        wrong = [answer.probability for answer in answers if answer.predicted != answer.label]
        return len(wrong) == len(answers), -max(wrong)

    return [Disagreement(answers[0].path, answers[0].label, answers) for answers in sorted(differing, key=rank)]


def _advise(measured_on: str, measured: Sequence[Measured]) -> list[str]:
    notes, first = [], measured[0]
    if len(measured) > 2:
        notes.append(
            f"{len(measured) - 1} runs are compared with {shorten(first.run.name)}: the p-values of each figure are "
            "corrected after Holm, so that all words about it together are wrong by chance in 5 % of cases at most. "
            "The intervals are of each comparison alone."
        )
    if measured_on == "validation":
        has_test = all(one.run.figures.test is not None for one in measured)
        other = "a test split (--split.test of the build) would not"
        cure = "measure on the test split: --split test" if has_test else other
        choosers = [shorten(one.run.name) for one in measured if one.run.config.train.keep == "best"]
        chosen = f"{list_names(choosers, separator=', ')} chose the epoch by these pictures" if choosers else ""
        taken = "Whoever takes the better run has chosen it by these pictures"
        notes.append(f"{chosen or taken}, which flatters a little; {cure}.")
    if measured_on == "train":
        notes.append("The runs have learnt these pictures: that says nothing of how they do on others.")
    num_groups = len({row.group for row in first.predictions})
    if 1 < num_groups < min(_FEW_GROUPS, len(first.predictions)):
        notes.append(f"{num_groups} groups of pictures are few: only large differences can be shown with them.")
    if num_groups == 1:
        notes.append("All pictures are of one group: they cannot tell whether runs differ on others.")
    notes.append("The chance of the seed is not in it: the same settings with other seeds may differ as much.")
    return notes


def _name_records(run: FinishedRun) -> str:
    return f"{shorten(run.started.records or 'a folder')}, sha256 {run.started.records_sha256[:8]}"
