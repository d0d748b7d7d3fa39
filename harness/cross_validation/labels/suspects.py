"""Pictures whose label is probably wrong, by what models say that never saw them, and suspects.csv.

How many there are is what cleanlab counts by confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning:
estimating uncertainty in dataset labels"): pictures that a class claims with more than the mean probability of its own
ones. Which these are is told by the probability of the label. Nothing here changes a label, and nothing knows how the
probabilities came about.
"""

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.base import csv_files
from harness.base.errors import DataError
from harness.base.text import shorten
from harness.dataset.images.arrays import Array, Ints

COLUMNS = ("path", "given", "suggested", "score", "probability", "given_probability")
_LEAST_GROUPS = 2  # of a class; the model that is asked about the only one has never seen the class
_MANY = 0.3  # of all pictures. Of labels that go wrong by accident there are less


class Suspect(NamedTuple):
    """A picture whose label is probably wrong.

    Attributes:
      place: of the picture among all, from 0.
      path: of the picture, as in the records.
      label: the class it is given as.
      suggested: the most probable class.
      score: quality of the label from 0 to 1, the lower the more suspect. It is the probability of the label, which
        cleanlab calls self-confidence: of N wrong labels in six made classes, 79 % were among the first N by it, by the
        normalized margin 69 %, and by weighted entropy 57 % (benchmarks/suspects.py --scores).
      probability: of the suggested class.
      label_probability: of the given class.
    """

    place: int
    path: str
    label: str
    suggested: str
    score: float
    probability: float
    label_probability: float


def describe_doubt(num_suspects: int, num_pictures: int) -> str:
    """Returns why few of so many suspects will be wrong; "" where they are not many."""
    if num_suspects <= _MANY * num_pictures:
        return ""
    has = "has" if num_suspects == 1 else "have"
    return (
        f"{num_suspects:,} of {num_pictures:,} pictures {has} a doubted label. So many come from models that hardly "
        "know the classes: improve these first."
    )


def find(
    paths: Sequence[str],
    labels: Array,
    chances: Array,
    class_names: Sequence[str],
    *,
    members: Ints | None = None,
) -> tuple[Suspect, ...]:
    """Returns the suspects, the most suspect first and the first in the records first of those that are equally so.

    None is of a class whose pictures are all in one group, for no model that was asked about them has seen the class;
    and none is where all that can be judged are of one class.

    Args:
      paths: of n pictures.
      labels: int [n], the class of each.
      chances: float [n, num_classes], the probabilities by models that have not seen the picture.
      class_names: of the labels.
      members: int [n], the group of each picture, which was never parted; None: each picture is its own.

    Raises:
      DataError: a probability is no number.
    """
    _check(paths, chances)
    judged = np.flatnonzero(_count_groups(labels, members, len(class_names))[labels] >= _LEAST_GROUPS)
    if len(np.unique(labels[judged])) < 2:
        return ()
    judged_labels, judged_chances = labels[judged], chances[judged]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab.count import num_label_issues  # takes 1.4 s to import, nearly all of it scikit-learn

        num_suspects = int(num_label_issues(judged_labels, judged_chances))
    suggested = judged_chances.argmax(axis=1)
    first = rank(judged_labels, judged_chances)[:num_suspects]
    chosen = [int(place) for place in first if _is_doubted(judged_chances[place], judged_labels[place])]
    return tuple(
        Suspect(
            place=int(judged[place]),
            path=paths[judged[place]],
            label=class_names[judged_labels[place]],
            suggested=class_names[suggested[place]],
            score=float(judged_chances[place, judged_labels[place]]),
            probability=float(judged_chances[place, suggested[place]]),
            label_probability=float(judged_chances[place, judged_labels[place]]),
        )
        for place in chosen
    )


def _check(paths: Sequence[str], chances: Array) -> None:
    is_number = np.isfinite(chances).all(axis=1)
    if not is_number.all():
        path = shorten(paths[int(is_number.argmin())])
        raise DataError(
            f"the probabilities of {np.count_nonzero(~is_number):,} of {len(chances):,} pictures, {path} among them, "
            "are no numbers, so that nothing can be said of labels. Train with a lower optim.learning_rate, or with "
            "--train.precision float32."
        )


def _count_groups(labels: Array, members: Ints | None, num_classes: int) -> Ints:
    """Returns in how many groups each class is, int64 [num_classes]."""
    groups = np.arange(len(labels)) if members is None else members
    pairs = np.unique(np.stack([labels, groups], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=num_classes)


def _is_doubted(chances: Array, label: int) -> bool:
    """Whether another class is more probable than the label. The number by confident learning says nothing of which."""
    return bool(chances.max() > chances[label])


def rank(labels: Array, chances: Array) -> Ints:
    """Returns the places of all pictures, int64 [n], the most suspect first; of equals the first in the records first.

    Args:
      labels: int [n], the class of each picture.
      chances: float [n, num_classes], the probabilities by models that have not seen the picture.
    """
    own: Array = chances[np.arange(len(labels)), labels]
    return np.argsort(own, kind="stable")


def write(path: Path, suspects: Iterable[Suspect]) -> None:
    """Writes one row a suspect under a header, complete or not at all."""
    rows = (item[1:] for item in suspects)
    csv_files.write(path, chain([COLUMNS], rows))
