"""From labels and probabilities to figures: sums first, one division at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from harness.dataset.images.arrays import Array, Floats, Ints
from harness.results.statistics import intervals
from harness.results.statistics.intervals import Interval
from harness.results.statistics.ranking import Ranking

# Pictures times classes up to which curves are measured under many weightings: some seconds.
_MOST_RESAMPLED = 500_000
_MOST_LACKING = 0.1  # of the classes, in a resample that is to tell something of their mean


@dataclass(frozen=True)
class Scores:
    """The figures of the validation after an epoch, by which a run may keep its weights.

    Attributes:
      loss: mean cross-entropy [nats].
      accuracy: share of the pictures that are right.
      balanced_accuracy: mean recall of the classes that have pictures.
      f1: mean F1 of these classes.
      auc: mean over these classes of the area under the ROC curve of one against the rest; None if there is one only.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    f1: float
    auc: float | None


class ClassFigures(TypedDict):
    """The figures of one class. What is not defined is None: areas, where all or no pictures are of it."""

    num_examples: int
    precision: float | None
    precision_ci95: Interval | None
    recall: float | None
    recall_ci95: Interval | None
    f1: float | None
    f1_ci95: Interval | None
    auc: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Metrics:
    """The figures of one evaluation, as `evaluate --json` prints them.

    `confusion[i][j]` counts pictures of class i that were taken for class j. Means over classes are of those that have
    pictures. A figure that is not defined is None, and so is an interval that the pictures do not tell. All intervals
    are of 95 %, by groups; where these are not known (`num_groups` is None) each picture counts as one.

    Attributes:
      loss: mean cross-entropy [nats].
      brier: mean squared error of the probabilities, summed over classes, and halved for two classes.
      majority_class: the most frequent class of these pictures.
      majority_accuracy: of giving it as the answer always.
      auc: mean area under the ROC curve of one class against the rest.
      average_precision: mean area under the precision-recall curve of one class against the rest.
      per_class: num_examples, precision, recall and f1 with their intervals, auc and average_precision of each class.
      skipped: pictures that could not be read and are in no figure.
    """

    num_examples: int
    num_groups: int | None
    class_names: tuple[str, ...]
    loss: float
    loss_ci95: Interval | None
    brier: float
    brier_ci95: Interval | None
    accuracy: float
    accuracy_ci95: Interval
    majority_class: str
    majority_accuracy: float
    balanced_accuracy: float
    balanced_accuracy_ci95: Interval | None
    f1: float
    f1_ci95: Interval | None
    auc: float | None
    auc_ci95: Interval | None
    average_precision: float | None
    average_precision_ci95: Interval | None
    confusion: tuple[tuple[int, ...], ...]
    per_class: dict[str, ClassFigures]
    skipped: int = 0


def score(labels: Array, probabilities: Array) -> Scores:
    """Returns the figures without intervals.

    Args:
      labels: int [n], n at least 1.
      probabilities: float [n, num_classes], rows summing to 1.
    """
    everything = np.ones((1, len(labels)))
    counted = _count(labels, probabilities, everything)
    areas, _ = _rank(labels, probabilities, everything)
    return Scores(
        loss=float(cross_entropy(probabilities[np.arange(len(labels)), labels]).sum() / len(labels)),
        accuracy=int((probabilities.argmax(axis=1) == labels).sum()) / len(labels),
        balanced_accuracy=float(counted["balanced_accuracy"][0]),
        f1=float(counted["f1"][0]),
        auc=_known(float(np.nanmean(areas))) if np.isfinite(areas).any() else None,
    )


def measure(
    labels: Array,
    probabilities: Array,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    skipped: int = 0,
) -> Metrics:
    """Returns the figures for predictions of which every example occurs once.

    Args:
      labels: int [n], n at least 1.
      probabilities: float [n, num_classes], rows summing to 1.
      class_names: the class of each column.
      groups: what each picture has in common with others that are not independent of it; None: nothing is known.
      skipped: pictures that could not be read and are in no figure.
    """
    num_examples, num_classes = probabilities.shape
    members = np.arange(num_examples) if groups is None else intervals.number_groups(groups)
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    found, brier = score(labels, probabilities), _brier(labels, probabilities)
    areas, averages = (part[:, 0] for part in _rank(labels, probabilities, np.ones((1, num_examples))))
    ends = _bootstrap(labels, probabilities, members)
    most = int(confusion.sum(axis=1).argmax())
    return Metrics(
        num_examples=num_examples,
        num_groups=None if groups is None else int(members.max()) + 1,
        class_names=tuple(class_names),
        loss=found.loss,
        loss_ci95=ends["loss"],
        brier=float(brier.mean()),
        brier_ci95=ends["brier"],
        accuracy=found.accuracy,
        accuracy_ci95=intervals.of_share(predicted == labels, members),
        majority_class=class_names[most],
        majority_accuracy=int(confusion[most].sum()) / num_examples,
        balanced_accuracy=found.balanced_accuracy,
        balanced_accuracy_ci95=ends["balanced_accuracy"],
        f1=found.f1,
        f1_ci95=ends["f1"],
        auc=found.auc,
        auc_ci95=ends.get("auc"),
        average_precision=_known(float(np.nanmean(averages))) if np.isfinite(averages).any() else None,
        average_precision_ci95=ends.get("average_precision"),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        per_class={
            name: _measure_class(
                labels == index, predicted == index, members, _known(areas[index]), _known(averages[index])
            )
            for index, name in enumerate(class_names)
        },
        skipped=skipped,
    )


def cross_entropy(of_label: Array) -> Floats:
    """Returns each picture's loss, float64 [n], from the probability of its own class; 1e-7 counts as the least."""
    return -np.log(of_label.astype(np.float64).clip(1e-7))


def _brier(labels: Array, probabilities: Array) -> Floats:
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1.0
    return np.square(errors).sum(axis=1) / (2 if errors.shape[1] == 2 else 1)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _measure_class(
    is_class: Array, is_answer: Array, members: Ints, area: float | None, average: float | None
) -> ClassFigures:
    """The figures of a class, of which the areas under the curves are given.

    F1 is 2J / (1 + J) for Jaccard's index J, the share of hits among pictures of the class or taken for it. So its
    interval follows from that of a share.
    """
    is_hit, either = is_class & is_answer, is_class | is_answer
    hits, actual, predicted = int(is_hit.sum()), int(is_class.sum()), int(is_answer.sum())
    jaccard = intervals.of_share(is_hit[either], members[either])
    return {
        "num_examples": actual,
        "precision": hits / predicted if predicted else None,
        "precision_ci95": intervals.of_share(is_hit[is_answer], members[is_answer]),
        "recall": hits / actual if actual else None,
        "recall_ci95": intervals.of_share(is_hit[is_class], members[is_class]),
        "f1": 2 * hits / (actual + predicted) if actual + predicted else None,
        "f1_ci95": jaccard and (2 * jaccard[0] / (1 + jaccard[0]), 2 * jaccard[1] / (1 + jaccard[1])),
        "auc": area,
        "average_precision": average,
    }


def _bootstrap(labels: Array, probabilities: Array, members: Ints) -> dict[str, Interval | None]:
    losses, brier = cross_entropy(probabilities[np.arange(len(labels)), labels]), _brier(labels, probabilities)
    is_ranked = probabilities.size <= _MOST_RESAMPLED
    rankings = _rankings(labels, probabilities) if is_ranked else []

    def weigh(weights: Floats) -> Mapping[str, Floats]:
        """Returns each figure, [draws], of pictures that count as often as `weights` say, [draws, N]."""
        totals = weights.sum(axis=1)
        of_pictures = {"loss": weights @ losses / totals, "brier": weights @ brier / totals}
        of_classes = _count(labels, probabilities, weights)
        if is_ranked:
            areas, averages = (_mean_known(part) for part in _measure(rankings, weights))
            of_classes |= {"auc": areas, "average_precision": averages}
        is_telling = _share_lacking(labels, weights) <= _MOST_LACKING
        return {**of_pictures, **{name: np.where(is_telling, row, np.nan) for name, row in of_classes.items()}}

    return intervals.bootstrap(weigh, members, width=probabilities.shape[1] if is_ranked else 1)


def _share_lacking(labels: Array, weights: Floats) -> Floats:
    """The share [b] of the classes with pictures of which none has a weight [b, n]: a mean over the others misleads."""
    present, numbers = np.unique(labels, return_inverse=True)
    return (_sum_by(numbers, weights, len(present)) == 0).mean(axis=0)


def _count(labels: Array, probabilities: Array, weights: Floats) -> dict[str, Floats]:
    """Balanced accuracy and mean F1 [b] of weighted pictures [b, n], over the classes that have a weight."""
    num_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    hits = _sum_by(labels, weights * (predicted == labels), num_classes)
    actual, answers = (_sum_by(column, weights, num_classes) for column in (labels, predicted))
    with np.errstate(invalid="ignore"):
        recalls = hits / actual
        f1 = np.where(actual > 0, 2 * hits / (actual + answers), np.nan)
    return {"balanced_accuracy": _mean_known(recalls), "f1": _mean_known(f1)}


def _sum_by(column: Array, weights: Floats, num_classes: int) -> Floats:
    """Sums [num_classes, b] of weights [b, n] over the pictures of each class."""
    order = np.argsort(column, kind="stable")
    present, starts = np.unique(column[order], return_index=True)
    sums = np.zeros((num_classes, len(weights)))
    sums[present] = np.add.reduceat(weights[:, order], starts, axis=1).T
    return sums


def _mean_known(values: Floats) -> Floats:
    """The mean over the first axis of what is not NaN; NaN where nothing is."""
    is_known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(is_known, values, 0.0).sum(axis=0) / is_known.sum(axis=0)


def _rankings(labels: Array, probabilities: Array) -> list[Ranking]:
    scores = probabilities
    if probabilities.shape[1] == 2:  # of which one may be rounded to 1 where the other still has digits
        scores = np.stack([-probabilities[:, 1], probabilities[:, 1]], axis=1)
    return [Ranking(labels == column, scores[:, column]) for column in range(scores.shape[1])]


def _measure(rankings: Sequence[Ranking], weights: Floats) -> tuple[Floats, Floats]:
    measured = [ranking.measure(weights) for ranking in rankings]
    return np.stack([area for area, _ in measured]), np.stack([average for _, average in measured])


def _rank(labels: Array, probabilities: Array, weights: Floats) -> tuple[Floats, Floats]:
    """Areas under both curves of each class [num_classes, b]; NaN where they are not defined."""
    return _measure(_rankings(labels, probabilities), weights)
