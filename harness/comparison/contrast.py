"""Whether runs differ from one of them beyond chance, by what each says of the same pictures.

A word goes by the larger of two p-values where it is about accuracy. One counts groups of pictures as differences.py
does, but goes by Student's t, which a handful of pictures may mislead. The other is McNemar's exact test (1947) on the
pictures that only one of the two runs gets right; it holds for the fewest pictures, but counts each as independent.
Where many runs are compared, the p-values of a figure are corrected after Holm (1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.dataset.images.arrays import Array
from harness.results import metrics
from harness.results.predictions import Predictions
from harness.results.statistics import differences
from harness.results.statistics.differences import Difference

Word = Literal["better", "worse", "not shown to differ"]
_LEVEL = 0.05


@dataclass(frozen=True)
class Judged:
    """The difference in one figure, and what it shows.

    Attributes:
      difference: run minus reference, with the interval of this one comparison.
      p_value: how probable so large a difference is by chance, after Holm's correction.
      word: what is shown of the run at a level of 5 % for all comparisons of this figure together.
    """

    difference: Difference
    p_value: float
    word: Word


@dataclass(frozen=True)
class Contrast:
    """A run beside the reference.

    Attributes:
      accuracy: the difference in accuracy.
      loss: the difference in mean cross-entropy [nats], of which less is better.
      num_won: pictures that the run gets right and the reference does not.
      num_lost: pictures that the reference gets right and the run does not.
      mcnemar: the p-value of McNemar's exact test, not corrected.
    """

    accuracy: Judged
    loss: Judged
    num_won: int
    num_lost: int
    mcnemar: float


def contrast(reference: Predictions, others: Sequence[Predictions]) -> tuple[Contrast, ...]:
    """Returns how each of the others differs from the reference.

    Args:
      reference: what one run says of the pictures.
      others: what other runs say of the same pictures, in the same order.
    """
    groups = _list_groups(reference)
    right = [_is_right(rows) for rows in (reference, *others)]
    losses = [_losses(rows) for rows in (reference, *others)]
    won = [int((row & ~right[0]).sum()) for row in right[1:]]
    lost = [int((right[0] & ~row).sum()) for row in right[1:]]
    mcnemar = [differences.test_exactly(*counts) for counts in zip(won, lost)]
    p_right = [differences.p_value(row[None], right[0][None], groups, is_share=True) for row in right[1:]]
    accuracies = _judge(right, groups, [max(pair) for pair in zip(p_right, mcnemar)], sign=1)
    p_loss = [differences.p_value(row[None], losses[0][None], groups) for row in losses[1:]]
    return tuple(
        Contrast(*values) for values in zip(accuracies, _judge(losses, groups, p_loss, sign=-1), won, lost, mcnemar)
    )


def correct(p_values: Sequence[float]) -> list[float]:
    """Returns p-values after Holm: that chance alone puts any of them below 5 % has a probability of 5 % at most."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _judge(values: Sequence[Array], groups: Sequence[str], p_values: Sequence[float], *, sign: int) -> list[Judged]:
    """Judges the differences from the first row of figures: shares that are right if the sign is 1, losses if -1."""
    judged = []
    for row, p_value in zip(values[1:], correct(p_values)):
        difference = differences.estimate(row[None], values[0][None], groups, is_share=sign > 0)
        gain = sign * difference.mean
        word: Word = "not shown to differ" if p_value >= _LEVEL or not gain else "better" if gain > 0 else "worse"
        judged.append(Judged(difference, p_value, word))
    return judged


def _list_groups(rows: Predictions) -> list[str]:
    return [row.group for row in rows]


def _is_right(rows: Predictions) -> Array:
    return np.array([row.label == row.predicted for row in rows])


def _losses(rows: Predictions) -> Array:
    return metrics.cross_entropy(np.array([row.label_probability for row in rows]))
