"""What a model without a network makes of the same records: HOG features and logistic regression.

These features see edges and no colour. A network that is not better has learnt nothing that needs a network.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from harness.dataset.images.arrays import Array, Ints
from harness.input import decoding
from harness.input.loaded_split import Split
from harness.input.record_reader import Reading
from harness.input.sampler import Streams
from harness.results.statistics import hog, intervals
from harness.results.statistics.intervals import Interval

NAME = "HOG features and logistic regression"
MOST_TRAINED = 5_000  # pictures; more hardly help such a model, and take minutes
MOST_MEASURED = 10_000
_BATCH = 256
_MOST_ITERATIONS = 100


@dataclass(frozen=True)
class Baseline:
    """How the model without a network does on a split.

    Attributes:
      name: of the kind of model.
      num_trained: training pictures it was made from: all, or the first 5,000 of the records, whose order is mixed.
      num_measured: pictures of the split it was measured on: all, or the first 10,000.
      accuracy: on these.
      accuracy_ci95: its interval by groups.
      balanced_accuracy: the mean over classes of the share recognised.
    """

    name: str
    num_trained: int
    num_measured: int
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float


class HogClassifier:
    """Logistic regression on HOG features, trained on a split."""

    def __init__(self, features: Array, labels: Array) -> None:
        """Fits it. On one thread it comes to the same again.

        Args:
          features: float32 [n, k], as `hog.describe` gives them.
          labels: int [n]; if all are the same, that is its answer.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        self.num_trained = len(labels)
        self._features, self._labels = features, labels
        self._only = int(labels[0]) if (labels == labels[0]).all() else None
        self._model = LogisticRegression(max_iter=_MOST_ITERATIONS)
        if self._only is None:
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # what is nearly there is a baseline, too
                self._model.fit(features, labels)

    def predict(self, features: Array) -> Ints:
        """Returns the label of each row of features, int64 [n]."""
        if self._only is not None:
            return np.full(len(features), self._only)
        return self._model.predict(features).astype(np.int64)

    def find_nearest(self, features: Array) -> tuple[Ints, Ints]:
        """Returns the place in the records, int64 [m], and the label, int [m], of the most similar training pictures.

        Args:
          features: float32 [m, k], of other pictures.
        """
        lengths = np.square(self._features).sum(axis=1)
        nearest = np.array([(lengths - 2 * self._features @ row).argmin() for row in features], np.int64)
        return nearest, self._labels[nearest]


def train(split: Split) -> HogClassifier:
    """Returns the model of a training split, of its first 5,000 pictures at most.

    Raises:
      DataError: the records are damaged, or not those that were there when the split was opened.
    """
    return HogClassifier(*describe(split, MOST_TRAINED))


def describe(split: Split, most: int) -> tuple[Array, Ints]:
    """Returns the features, float32 [n, k], and the labels, int64 [n], of a split, or of its first `most`.

    Raises:
      DataError: as of `train`.
    """
    features, labels = zip(*_read(split, most))
    return np.concatenate(features), np.concatenate(labels)


def predict(classifier: HogClassifier, split: Split) -> Ints:
    """Returns what the model takes the first 10,000 pictures of a split for, in the order of the records.

    Raises:
      DataError: as of `train`.
    """
    return np.concatenate([classifier.predict(features) for features, _ in _read(split, MOST_MEASURED)])


def measure(classifier: HogClassifier, labels: Array, predicted: Array, members: Ints) -> Baseline:
    """Returns the figures of its answers.

    Args:
      classifier: which gave them.
      labels: int [n], the classes, n at least 1.
      predicted: int [n], its answers.
      members: int [n], the group of each picture.
    """
    is_right = predicted == labels
    recalls = [float(is_right[labels == label].mean()) for label in np.unique(labels)]
    return Baseline(
        name=NAME,
        num_trained=classifier.num_trained,
        num_measured=len(labels),
        accuracy=float(is_right.mean()),
        accuracy_ci95=intervals.of_share(is_right, members),
        balanced_accuracy=float(np.mean(recalls)),
    )


def _read(split: Split, most: int) -> Iterator[tuple[Array, Ints]]:
    """Yields features and labels of the first pictures of a split."""
    wanted = np.arange(min(most, split.num_examples))
    reading = Reading(Streams(split.shards, (0, len(wanted))), wanted, split.expected)
    pixels = decoding.new_pixels(min(_BATCH, len(wanted)), split.image_size)
    for indices in np.split(wanted, range(_BATCH, len(wanted), _BATCH)):
        labels = decoding.decode_examples(reading, indices, out=pixels[: len(indices)])
        yield hog.describe(pixels[: len(indices)]), labels
