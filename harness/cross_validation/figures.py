"""What the answers to unseen pictures come to: figures of all, of each fold, of fewer pictures, and beside others.

The intervals count groups of pictures. They are those of these trainings: that others would have come of other pictures
is not in them, for which a single cross-validation has no estimate (Bengio and Grandvalet, 2004, "No unbiased estimator
of the variance of k-fold cross-validation"). Several repeats show how much the division and the seed do.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.comparison.contrast import Word
from harness.cross_validation.folds import Assignment
from harness.cross_validation.out_of_fold import OutOfFold
from harness.dataset.images.arrays import Array, Ints
from harness.results import evaluation, metrics
from harness.results.evaluation import Answers, Evaluation
from harness.results.metrics import Metrics
from harness.results.statistics import calibration, differences, intervals
from harness.results.statistics.baselines import MOST_TRAINED, HogClassifier
from harness.results.statistics.differences import Difference
from harness.results.statistics.intervals import Interval

SPLIT = "cross-validation"
_LEVEL = 0.05


@dataclass(frozen=True)
class FoldFigures:
    """The figures of one training on its own fold; `repeat` and `fold` count from 1."""

    repeat: int
    fold: int
    num_trained: int
    evaluation: Evaluation


@dataclass(frozen=True)
class CurvePoint:
    """What comes of training on a part of the groups.

    Attributes:
      share: of the groups of the other folds.
      num_trained: pictures trained on, mean of the trainings.
      accuracy: of all pictures.
      accuracy_ci95: its interval.
      loss: mean cross-entropy [nats].
      gain: accuracy minus that of the point before; None for the first.
      word: what that shows.
    """

    share: float
    num_trained: float
    accuracy: float
    accuracy_ci95: Interval
    loss: float
    gain: Difference | None = None
    word: Word = "not shown to differ"


@dataclass(frozen=True)
class Judged:
    """A paired difference of two settings on the same folds, and what it shows of the first."""

    difference: Difference
    p_value: float
    word: Word


@dataclass(frozen=True)
class Contrast:
    """The settings beside others: accuracy, and loss [nats], of which less is better."""

    accuracy: Judged
    loss: Judged


def train_baselines(features: Array, labels: Array, assignment: Assignment) -> tuple[HogClassifier, Ints]:
    """Returns a model without a network, and what such models say of each picture without having seen its fold.

    Args:
      features: float32 [m, k] of the first m pictures.
      labels: int [m].
      assignment: of all pictures.
    """
    answers = np.empty(len(labels), np.int64)
    folds = assignment.folds[: len(labels)]
    classifier = None
    for fold in np.unique(folds):
        others = np.flatnonzero(folds != fold)[:MOST_TRAINED]
        classifier = HogClassifier(features[others], labels[others])
        answers[folds == fold] = classifier.predict(features[folds == fold])
    assert classifier is not None
    return classifier, answers


def measure(found: OutOfFold, baseline: tuple[HogClassifier, Ints] | None = None) -> Evaluation:
    """Returns the figures of all answers together; with several repeats each picture counts as often.

    Counts are of pictures, but those of the confusion matrix, which are of answers.

    Args:
      found: the answers.
      baseline: as `train_baselines` returns it, of the first repeat.
    """
    pictures, repeats = found.pictures, found.num_repeats
    answers = Answers(
        np.tile(pictures.labels, repeats),
        found.chances.reshape(-1, found.chances.shape[2]),
        [*pictures.groups] * repeats,
    )
    classifier, of_baseline = baseline or (None, None)
    measured = evaluation.evaluate(
        SPLIT,
        answers,
        pictures.class_names,
        choices=calibration.NOTHING_TO_CHOOSE,
        classifier=classifier,
        of_baseline=of_baseline,
    )
    return dataclasses.replace(measured, metrics=_count_once(measured.metrics, repeats))


def _count_once(found: Metrics, repeats: int) -> Metrics:
    per_class = {
        name: metrics.ClassFigures(**{**each, "num_examples": each["num_examples"] // repeats})
        for name, each in found.per_class.items()
    }
    return dataclasses.replace(found, num_examples=found.num_examples // repeats, per_class=per_class)


def measure_folds(found: OutOfFold) -> tuple[FoldFigures, ...]:
    """Returns the figures of each training."""
    pictures, groups = found.pictures, np.array(found.pictures.groups, object)
    rows = []
    for repeat, folds in enumerate(found.folds):
        for fold in np.unique(folds):
            inside = folds == fold
            answers = Answers(pictures.labels[inside], found.chances[repeat, inside], groups[inside].tolist())
            measured = evaluation.evaluate(
                f"fold {fold + 1}", answers, pictures.class_names, choices=calibration.NOTHING_TO_CHOOSE
            )
            rows.append(FoldFigures(repeat + 1, int(fold) + 1, int((~inside).sum()), measured))
    return tuple(rows)


def trace(points: Sequence[tuple[float, float, OutOfFold]]) -> tuple[CurvePoint, ...]:
    """Returns the points of a learning curve.

    Args:
      points: share of the groups, mean number of pictures trained on, and the answers, the smallest share first.
    """
    traced: list[CurvePoint] = []
    for place, (share, num_trained, found) in enumerate(points):
        is_right, members = found.is_right, np.tile(found.pictures.members, found.num_repeats)
        gain, word = None, "not shown to differ"
        if place:
            before = points[place - 1][2]
            judged = contrast(found, before).accuracy
            gain, word = judged.difference, judged.word
        traced.append(
            CurvePoint(
                share=share,
                num_trained=num_trained,
                accuracy=float(is_right.mean()),
                accuracy_ci95=intervals.of_share(is_right.reshape(-1), members) or (0.0, 1.0),
                loss=float(metrics.cross_entropy(found.label_chances).mean()),
                gain=gain,
                word=word,  # type: ignore[arg-type]
            )
        )
    return tuple(traced)


def contrast(first: OutOfFold, second: OutOfFold) -> Contrast:
    """Returns by how much the first settings differ from the second, on the same pictures and folds."""
    groups = first.pictures.groups
    right = [one.is_right.astype(np.float64) for one in (first, second)]
    losses = [metrics.cross_entropy(one.label_chances) for one in (first, second)]
    accuracy = _judge(right[0], right[1], groups, sign=1, is_share=True)
    return Contrast(accuracy, _judge(losses[0], losses[1], groups, sign=-1))


def _judge(first: Array, second: Array, groups: Sequence[str], *, sign: int, is_share: bool = False) -> Judged:
    """Judges a difference whose higher values are better if the sign is 1."""
    difference = differences.estimate(first, second, groups, is_share=is_share)
    p_value = differences.p_value(first, second, groups, is_share=is_share)
    if is_share:  # Student's t may be misled by a handful of pictures: as in comparison/contrast.py
        won, lost = (round(float(each.sum(axis=1).mean())) for each in (first > second, first < second))
        p_value = max(p_value, differences.test_exactly(won, lost))
    gain = sign * difference.mean
    word: Word = "not shown to differ" if p_value >= _LEVEL or not gain else "better" if gain > 0 else "worse"
    return Judged(difference, p_value, word)
