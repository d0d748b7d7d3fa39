"""What models say of pictures that they have never seen: of each picture one answer for each division into folds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.base import csv_files
from harness.base.errors import CheckpointError
from harness.cross_validation.folds import Assignment, Pictures
from harness.dataset.images.arrays import Array, Floats, Ints
from harness.results import predictions
from harness.runs import metrics_file
from harness.runs.workdir import Workdir

COLUMNS = ("path", "group", "label", "fold", "repeat")
CLASS_COLUMN = "p:"  # and the name of a class


@dataclass(frozen=True)
class OutOfFold:
    """The answers to all pictures.

    Attributes:
      pictures: in the order of the records.
      chances: float32 [num_repeats, n, num_classes].
      folds: int64 [num_repeats, n], the fold each picture was measured in.
    """

    pictures: Pictures
    chances: Array
    folds: Ints

    @property
    def num_repeats(self) -> int:
        """Divisions into folds."""
        return len(self.chances)

    @property
    def is_right(self) -> Array:
        """Whether each answer is right: bool [num_repeats, n]."""
        right: Array = self.chances.argmax(axis=2) == self.pictures.labels
        return right

    @property
    def label_chances(self) -> Floats:
        """The probability of each picture's own class: float64 [num_repeats, n]."""
        places = np.arange(len(self.pictures.labels))
        return self.chances[:, places, self.pictures.labels].astype(np.float64)


def collect(
    runs: Mapping[tuple[int, int], Workdir], pictures: Pictures, assignments: Sequence[Assignment]
) -> OutOfFold:
    """Returns what the trainings say, each of its own fold.

    Args:
      runs: the complete training of each repeat and fold.
      pictures: all of them.
      assignments: of each repeat.

    Raises:
      CheckpointError: a training does not say of just the pictures of its fold what it thinks of them.
    """
    num_classes = len(pictures.class_names)
    places = {path: place for place, path in enumerate(pictures.paths)}
    chances = np.full((len(assignments), len(places), num_classes), np.nan, np.float32)
    for (repeat, fold), run in runs.items():
        rows = predictions.read(run.predictions)
        here = [places.get(row.path, -1) for row in rows]
        wanted = np.flatnonzero(assignments[repeat].folds == fold)
        if sorted(here) != wanted.tolist():
            raise CheckpointError(
                f"{run.predictions} is not about the {len(wanted)} pictures of fold {fold + 1}. {metrics_file.REWRITE}"
            )
        chances[repeat, here] = predictions.read_probabilities(run.probabilities, len(rows), num_classes)
    return OutOfFold(pictures, chances, np.stack([assignment.folds for assignment in assignments]))


def write(path: Path, found: OutOfFold) -> None:
    """Writes one row for each picture and repeat under a header, complete or not at all."""
    csv_files.write(path, _list_rows(found))


def _list_rows(found: OutOfFold) -> Iterator[Sequence[object]]:
    pictures = found.pictures
    yield (*COLUMNS, *(f"{CLASS_COLUMN}{name}" for name in pictures.class_names))
    for repeat in range(found.num_repeats):
        for place, path in enumerate(pictures.paths):
            label = pictures.class_names[pictures.labels[place]]
            fold = int(found.folds[repeat, place]) + 1
            yield path, pictures.groups[place], label, fold, repeat + 1, *found.chances[repeat, place].tolist()
