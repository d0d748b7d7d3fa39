"""Which pictures are measured together: folds of whole groups, alike in their classes, and parts of each fold.

A group is never on two sides, so that no model is measured on a picture of a group that it has seen.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.errors import DataError
from harness.base.text import list_names
from harness.dataset.images.arrays import Array, Ints
from harness.results.statistics import intervals

NUM_PARTS = 4  # of a fold; a learning curve takes one, two and four of them


@dataclass(frozen=True)
class Pictures:
    """The pictures that are measured, in the order of the records.

    Attributes:
      paths: as in the records.
      labels: int [n].
      groups: by name.
      class_names: the class of each label.
    """

    paths: Sequence[str]
    labels: Array
    groups: Sequence[str]
    class_names: Sequence[str]

    @property
    def members(self) -> Ints:
        """The number of each picture's group."""
        return intervals.number_groups(self.groups)


@dataclass(frozen=True)
class Assignment:
    """The fold and the part of it that each picture is in, int [n] each."""

    folds: Ints
    parts: Ints


def check(pictures: Pictures, num_folds: int) -> list[str]:
    """Looks whether the pictures can be divided so; returns what to warn of.

    Raises:
      DataError: there are fewer groups than folds, or a class that no training but one would know.
    """
    members = pictures.members
    num_groups = int(members.max()) + 1
    if num_groups < num_folds:
        raise DataError(
            f"{len(members):,} pictures in {num_groups} group{'s' * (num_groups != 1)} cannot be divided into "
            f"{num_folds} folds: a group is never divided. Give at most --folds {num_groups}, or records with more "
            "groups."
            if num_groups > 1
            else f"all {len(members):,} pictures are of one group, which is never divided: records with more groups "
            "(split.group_by of the build) can be cross-validated."
        )
    largest = int(np.bincount(pictures.labels).max())
    if largest < num_folds:
        raise DataError(
            f"no class has as many pictures as there are folds, {num_folds}: the largest has {largest}. Give at most "
            f"--folds {max(2, largest)}, or records with more pictures."
        )
    counts = {
        name: len(np.unique(members[pictures.labels == label])) for label, name in enumerate(pictures.class_names)
    }
    if lonely := [name for name, count in counts.items() if count == 1]:
        raise DataError(
            f"all pictures of {list_names(lonely)} are of one group: a model that is measured on them has never seen "
            "that class. Give it pictures of more groups, or leave it out: --data.classes of the build."
        )
    warned = []
    if missing := [name for name, count in counts.items() if not count]:
        warned.append(f"there is no picture of {list_names(missing)}: no figure says anything of that")
    if few := [name for name, count in counts.items() if 1 < count < num_folds]:
        warned.append(
            f"fewer than {num_folds} groups have pictures of {list_names(few)}: some folds have none, and figures of "
            "that class go by few groups"
        )
    return warned


def assign(pictures: Pictures, num_folds: int, *, seed: int) -> Assignment:
    """Returns folds of about as many pictures of each class, of whole groups, and the parts of each fold.

    The folds are those of scikit-learn's StratifiedGroupKFold.

    Args:
      pictures: what `check` has let pass.
      num_folds: 2 or more.
      seed: another one divides them otherwise.

    Raises:
      DataError: the groups are too few and too different in size for so many folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    members, labels = pictures.members, pictures.labels
    folds = np.empty(len(labels), np.int64)
    # It finds more classes where a picture could be of none; one class is fine here, too.
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer pictures than folds, which `check` tells
        for fold, (_, measured) in enumerate(splitter.split(labels, labels, members)):
            folds[measured] = fold
    if (counts := np.bincount(folds, minlength=num_folds)).min() == 0:
        raise DataError(
            f"{int(members.max()) + 1} groups of such different sizes leave {int((counts == 0).sum())} of {num_folds} "
            "folds empty. Give fewer --folds."
        )
    return Assignment(folds, _deal_parts(labels, members, folds, seed))


def _deal_parts(labels: Array, members: Ints, folds: Ints, seed: int) -> Ints:
    """Divides each fold into parts of whole groups: the largest first, each to the part with the fewest of its class.

    In a fold of few groups that is left open: then it goes by all folds. The order of groups of the same size is drawn.
    """
    num_groups, num_classes = int(members.max()) + 1, int(labels.max()) + 1
    counts = np.zeros((num_groups, num_classes), np.int64)
    np.add.at(counts, (members, labels), 1)
    order = np.random.default_rng(seed).permutation(num_groups)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    fold_of = np.zeros(num_groups, np.int64)
    fold_of[members] = folds
    held = np.zeros((int(folds.max()) + 1, NUM_PARTS, num_classes), np.int64)
    part_of = np.zeros(num_groups, np.int64)
    for group in order:
        here, most = held[fold_of[group]], int(counts[group].argmax())
        part = int(np.lexsort((held.sum(axis=(0, 2)), held[:, :, most].sum(axis=0), here[:, most]))[0])
        part_of[group] = part
        here[part] += counts[group]
    return part_of[members]
