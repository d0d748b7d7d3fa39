"""From labels and probabilities to figures: sums first, one division at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """The figures of one evaluation, as `evaluate --json` prints them.

    `confusion[i][j]` counts pictures of class i that were taken for class j. `auc` is the mean over classes of the
    area under the ROC curve of one class against the rest, None where only one class is present. `ece` is the expected
    calibration error over 15 bins of equal width.
    """

    num_examples: int
    class_names: tuple[str, ...]
    loss: float
    accuracy: float
    accuracy_ci95: tuple[float, float]
    auc: float | None
    confusion: tuple[tuple[int, ...], ...]
    per_class: dict[str, dict[str, float | int | None]]
    ece: float
    skipped: int = 0


def measure(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], *, skipped: int = 0) -> Metrics:
    """Returns the figures for predictions of which every example occurs once.

    Args:
      labels: int [n], n at least 1.
      probabilities: float [n, num_classes], rows summing to 1.
      class_names: the class of each column.
      skipped: pictures that could not be read and are in no figure.
    """
    num_examples, num_classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    correct = int(np.trace(confusion))
    losses = cross_entropy(probabilities[np.arange(num_examples), labels])
    return Metrics(
        num_examples=num_examples,
        class_names=tuple(class_names),
        loss=float(losses.sum() / num_examples),
        accuracy=correct / num_examples,
        accuracy_ci95=wilson_interval(correct, num_examples),
        auc=_mean_auc(labels, probabilities),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        per_class={name: _class_figures(confusion, index) for index, name in enumerate(class_names)},
        ece=_calibration_error(probabilities.max(axis=1), predicted == labels),
        skipped=skipped,
    )


def cross_entropy(of_label: np.ndarray) -> np.ndarray:
    """Returns each picture's loss, float64 [n], from the probability of its own class; 1e-7 counts as the least."""
    return -np.log(of_label.astype(np.float64).clip(1e-7))


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns the 95 % interval of a proportion after Wilson (1927), which holds for small and extreme counts too."""
    z = 1.959964
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _class_figures(confusion: np.ndarray, index: int) -> dict[str, float | int | None]:
    hits, actual, predicted = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    return {
        "num_examples": actual,
        "precision": hits / predicted if predicted else None,
        "recall": hits / actual if actual else None,
        "f1": 2 * hits / (actual + predicted) if actual + predicted else None,
    }


def _mean_auc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    num_classes = probabilities.shape[1]
    columns = [1] if num_classes == 2 else range(num_classes)
    areas = [_auc(labels == column, probabilities[:, column]) for column in columns]
    known = [area for area in areas if area is not None]
    return sum(known) / len(known) if known else None


def _auc(is_positive: np.ndarray, scores: np.ndarray) -> float | None:
    """Mann and Whitney's statistic: the share of pairs ranked rightly, ties counting half."""
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not num_positive or not num_negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    pairs = ranks[is_positive].sum() - num_positive * (num_positive + 1) / 2
    return float(pairs / (num_positive * num_negative))


def _calibration_error(confidence: np.ndarray, is_correct: np.ndarray) -> float:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    confident = np.bincount(bins, weights=confidence, minlength=_CALIBRATION_BINS)
    correct = np.bincount(bins, weights=is_correct, minlength=_CALIBRATION_BINS)
    return float(np.abs(confident - correct).sum() / len(confidence))
