"""Whether probabilities can be taken at their word, and what follows: a temperature, thresholds, who is asked.

Temperature and thresholds are chosen on the validation split alone, and not at all on so few pictures that they would
follow chance.
"""

from dataclasses import dataclass

import numpy as np

from harness.dataset.images.arrays import Array, Floats, Ints
from harness.results.statistics import intervals
from harness.results.statistics.intervals import Interval

LEAST_FITTED = 200  # pictures; on 38 a true temperature of 2.5 was found as 1.2 to 3.9 (5 to 95 %)
SHARES_LEFT = (0.0, 0.1, 0.2, 0.3)  # of the pictures, the least sure, that a person decides
_MOST_FITTED = 10_000  # pictures; one parameter needs no more
_NUM_BINS = 15
_NUM_DRAWS = 1000  # of right and wrong answers, for what chance gives
_MOST_DRAWN = 20_000_000  # answers
_LEAST_CHANCE = 1e-12  # a probability of 0 has no logarithm
_LOG_BOUNDS = (-3.0, 3.0)  # temperatures from 0.05 to 20


@dataclass(frozen=True)
class Bin:
    """The pictures whose highest probability is from `low` to `high`.

    Attributes:
      low: least probability.
      high: largest probability.
      num_examples: pictures, from 1.
      confidence: their mean highest probability.
      accuracy: the share that is right.
      by_chance: that share for a model whose probabilities are true, in 95 % of cases.
    """

    low: float
    high: float
    num_examples: int
    confidence: float
    accuracy: float
    by_chance: Interval


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by so that probabilities are true (Guo et al., 2017), and the loss before and after."""

    value: float
    loss_before: float
    loss_after: float


@dataclass(frozen=True)
class Threshold:
    """From which probability on the second of two classes is the answer, for the highest balanced accuracy."""

    value: float
    balanced_accuracy: float
    balanced_accuracy_at_half: float


@dataclass(frozen=True)
class Coverage:
    """What comes of leaving pictures to a person whose highest probability is below a threshold.

    Attributes:
      share_left: of the validation pictures, that the threshold was chosen for.
      threshold: of the highest probability.
      num_answered: pictures at or above it, which the model decides.
      accuracy: on these; None if there are none.
      accuracy_ci95: its interval.
    """

    share_left: float
    threshold: float
    num_answered: int
    accuracy: float | None
    accuracy_ci95: Interval | None


@dataclass(frozen=True)
class Choices:
    """What was chosen on the validation split: to be applied to other pictures.

    Attributes:
      temperature: None where there are too few pictures, or all are of one class.
      threshold: None where there are more than two classes, too few pictures, or all of one class.
      refused: why there is no temperature, in words; "" if there is one.
      confidences: the thresholds of SHARES_LEFT; empty where nothing was chosen.
    """

    temperature: Temperature | None
    threshold: Threshold | None
    refused: str
    confidences: tuple[float, ...]


NOTHING_TO_CHOOSE = Choices(None, None, "", ())  # of pictures on which nothing may be chosen
NOT_CHOSEN = Choices(None, None, "nothing is known of a temperature or thresholds chosen on the validation split", ())


@dataclass(frozen=True)
class Calibration:
    """Reliability of the probabilities of a split. `ece` is the expected calibration error over 15 bins.

    Attributes:
      ece: mean distance of confidence and accuracy over bins, weighted by pictures; 0 is best, and out of reach.
      ece_by_chance: that of a model whose probabilities are true, in 95 % of cases.
      bins: those that hold pictures.
      choices: what was chosen on the validation split.
      coverage: what its thresholds come to on this split.
    """

    ece: float
    ece_by_chance: Interval
    bins: tuple[Bin, ...]
    choices: Choices
    coverage: tuple[Coverage, ...]


def choose(labels: Array, chances: Array) -> Choices:
    """Returns temperature and thresholds for the validation split.

    Args:
      labels: int [n].
      chances: float [n, num_classes], the probability of each class.
    """
    confidence = chances.max(axis=1)
    cuts = tuple(float(np.quantile(confidence, share, method="higher")) if share else 0.0 for share in SHARES_LEFT)
    refused = _refuse(labels)
    if refused:
        return Choices(None, None, refused, cuts)
    threshold = _choose_threshold(labels, chances[:, 1]) if chances.shape[1] == 2 else None
    return Choices(fit_temperature(labels, chances), threshold, "", cuts)


def _refuse(labels: Array) -> str:
    if len(labels) < LEAST_FITTED:
        return f"a temperature and a threshold need {LEAST_FITTED} validation pictures, and there are {len(labels)}"
    if labels.min() == labels.max():
        return "all validation pictures are of one class, which tells nothing of a temperature or a threshold"
    return ""


def fit_temperature(labels: Array, chances: Array) -> Temperature:
    """Returns the temperature of the lowest loss, from 0.05 to 20, on every k-th picture where there are over 10,000.

    Probabilities stand for the logits: their logarithms differ by a constant a picture, which softmax takes out.
    """
    from scipy.optimize import minimize_scalar

    every = slice(None, None, -(-len(labels) // _MOST_FITTED))
    labels, logits = labels[every], np.log(chances[every].astype(np.float64).clip(_LEAST_CHANCE))

    def loss(log_temperature: float) -> float:
        scaled = _log_softmax(logits / np.exp(log_temperature))
        return float(-scaled[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=_LOG_BOUNDS, method="bounded")
    return Temperature(float(np.exp(found.x)), loss(0.0), float(found.fun))


def apply_temperature(chances: Array, temperature: float) -> Floats:
    """Returns probabilities [n, num_classes] as they are with the logits divided by a temperature."""
    return np.exp(_log_softmax(np.log(chances.astype(np.float64).clip(_LEAST_CHANCE)) / temperature))


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _choose_threshold(labels: Array, second: Array) -> Threshold:
    """The cut of the highest balanced accuracy; of equal ones the nearest to a half."""
    values = np.unique(second.astype(np.float64))
    cuts = np.concatenate([[0.5], (values[1:] + values[:-1]) / 2])
    ranked = [np.sort(second[labels == label].astype(np.float64)) for label in (0, 1)]
    below = [np.searchsorted(scores, cuts, side="left") / len(scores) for scores in ranked]
    balanced = (below[0] + 1 - below[1]) / 2
    best = np.lexsort((np.abs(cuts - 0.5), -balanced))[0]
    return Threshold(float(cuts[best]), float(balanced[best]), float(balanced[0]))


def measure(labels: Array, chances: Array, members: Ints, choices: Choices, *, seed: int = 0) -> Calibration:
    """Returns how far probabilities hold on a split, and what the choices come to on it.

    Args:
      labels: int [n], n at least 1.
      chances: float [n, num_classes].
      members: int [n], the group of each picture.
      choices: made on the validation split.
      seed: of the answers that are drawn for what chance gives; these are drawn one by one, whatever the groups.
    """
    confidence = chances.max(axis=1).astype(np.float64)
    is_right = chances.argmax(axis=1) == labels
    number = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
    counts = np.bincount(number, minlength=_NUM_BINS)
    sure, right = np.bincount(number, confidence, _NUM_BINS), np.bincount(number, is_right, _NUM_BINS)
    drawn = _draw(confidence, number, seed)
    ends = np.quantile(drawn, [0.025, 0.975], axis=0)
    bins = tuple(
        Bin(
            low=i / _NUM_BINS,
            high=(i + 1) / _NUM_BINS,
            num_examples=int(counts[i]),
            confidence=float(sure[i] / counts[i]),
            accuracy=float(right[i] / counts[i]),
            by_chance=(float(ends[0, i] / counts[i]), float(ends[1, i] / counts[i])),
        )
        for i in np.flatnonzero(counts)
    )
    errors = np.quantile(np.abs(drawn - sure).sum(axis=1) / len(labels), [0.025, 0.975])
    return Calibration(
        ece=float(np.abs(sure - right).sum() / len(labels)),
        ece_by_chance=(float(errors[0]), float(errors[1])),
        bins=bins,
        choices=choices,
        coverage=tuple(
            _cover(share, cut, confidence >= cut, is_right, members)
            for share, cut in zip(SHARES_LEFT, choices.confidences)
        ),
    )


def _draw(confidence: Floats, number: Ints, seed: int) -> Floats:
    """Right answers a bin [draws, bins] of a model that is right as often as it says."""
    random = np.random.default_rng(seed)
    num_draws = max(100, min(_NUM_DRAWS, _MOST_DRAWN // len(confidence)))
    return np.stack(
        [
            np.bincount(number, random.random(len(confidence)) < confidence, _NUM_BINS).astype(np.float64)
            for _ in range(num_draws)
        ]
    )


def _cover(share: float, cut: float, is_answered: Array, is_right: Array, members: Ints) -> Coverage:
    answered = is_right[is_answered]
    accuracy = float(answered.mean()) if len(answered) else None
    return Coverage(share, cut, len(answered), accuracy, intervals.of_share(answered, members[is_answered]))
