"""All that is said of a model on one split: its figures, its calibration, and the models it has to beat.

It puts together what metrics.py and statistics/ measure, in one form for `metrics.json` and `evaluate --json`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import keras
import numpy as np

from harness.dataset.images.arrays import Array, Ints
from harness.dataset.records import tfrecord
from harness.input import pipeline, record_reader
from harness.input.loaded_split import Split
from harness.results import metrics
from harness.results.export import loader
from harness.results.metrics import Metrics
from harness.results.statistics import baselines, calibration, differences, hog, intervals
from harness.results.statistics.baselines import Baseline, HogClassifier
from harness.results.statistics.calibration import Calibration, Choices
from harness.results.statistics.differences import Difference

_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a split.

    Attributes:
      split: its name, or what else was measured on.
      metrics: the figures.
      calibration: whether probabilities hold.
      baseline: how a model without a network does on the same pictures; None where there is none.
      gain: accuracy minus that of the baseline, picture by picture; None without a baseline.
    """

    split: str
    metrics: Metrics
    calibration: Calibration
    baseline: Baseline | None = None
    gain: Difference | None = None

    def as_values(self) -> dict[str, object]:
        """Returns everything as plain values for JSON, the metrics on top. An unknown interval is null."""
        baseline = None
        if self.baseline is not None and self.gain is not None:
            ends = [end if np.isfinite(end) else None for end in (self.gain.low, self.gain.high)]
            baseline = {**asdict(self.baseline), "gain": self.gain.mean, "gain_ci95": None if None in ends else ends}
        return {
            "split": self.split,
            **asdict(self.metrics),
            "ece": self.calibration.ece,
            "calibration": asdict(self.calibration),
            "baseline": baseline,
        }


@dataclass(frozen=True)
class Answers:
    """What a model says of the pictures of a split, in their order.

    Attributes:
      labels: int [n], n at least 1.
      chances: float [n, num_classes].
      groups: of each picture; None where nothing is known of them.
      skipped: pictures that could not be read.
    """

    labels: Array
    chances: Array
    groups: Sequence[str] | None = None
    skipped: int = 0

    @property
    def members(self) -> Ints:
        """The number of each picture's group, its own where groups are not known."""
        return np.arange(len(self.labels)) if self.groups is None else intervals.number_groups(self.groups)


def evaluate(
    split: str,
    answers: Answers,
    class_names: Sequence[str],
    *,
    choices: Choices,
    classifier: HogClassifier | None = None,
    of_baseline: Ints | None = None,
) -> Evaluation:
    """Returns what a model's answers come to.

    Args:
      split: its name.
      answers: of the model.
      class_names: the class of each label.
      choices: temperature and thresholds, as chosen on the validation split.
      classifier: the model without a network.
      of_baseline: int [m], its answers on the first m pictures; None without one.
    """
    members, labels = answers.members, answers.labels
    baseline = gain = None
    if classifier is not None and of_baseline is not None:
        first = slice(len(of_baseline))
        baseline = baselines.measure(classifier, labels[first], of_baseline, members[first])
        is_right = answers.chances[first].argmax(axis=1) == labels[first]
        of_other = of_baseline == labels[first]
        gain = differences.estimate(is_right[None], of_other[None], members[first], is_share=True)
    return Evaluation(
        split,
        metrics.measure(labels, answers.chances, class_names, groups=answers.groups, skipped=answers.skipped),
        calibration.measure(labels, answers.chances, members, choices),
        baseline,
        gain,
    )


def answer(
    model: keras.Model, classifier: HogClassifier | None, batches: Iterable[tuple[Array, Array]]
) -> tuple[Array, Array, Ints | None]:
    """Returns labels int [n], probabilities float32 [n, num_classes], and the baseline's answers on the first pictures.

    Without a picture all are empty, and without a baseline the last is None.

    Args:
      model: as `loader.load_model` returns it.
      classifier: the model without a network, if there is one.
      batches: labels int [b] and pixels uint8 [b, size, size, 3].
    """
    labels, chances, of_baseline, num = [np.empty(0, int)], [], [np.empty(0, np.int64)], 0
    for known, pixels in batches:
        labels.append(known)
        chances.append(loader.predict(model, pixels))
        if classifier is not None and num < baselines.MOST_MEASURED:
            of_baseline.append(classifier.predict(hog.describe(pixels[: baselines.MOST_MEASURED - num])))
        num += len(known)
    return (
        np.concatenate(labels),
        np.concatenate(chances) if chances else np.empty((0, 0)),
        None if classifier is None else np.concatenate(of_baseline),
    )


def read_batches(split: Split) -> Iterator[tuple[Array, Array]]:
    """Yields labels int [n] and pixels uint8 [n, size, size, 3] of a streamed split, each picture once."""
    batches = pipeline.eval_batches(split, _BATCH).take(split.num_batches(_BATCH))
    for batch in batches.as_numpy_iterator():
        is_counted = batch["weight"] > 0
        yield batch["label"][is_counted], batch["image"][is_counted]


def read_groups(split: Split) -> list[str]:
    """Returns the group of each picture of a split, in the order of the records. No picture is decoded.

    Raises:
      DataError: the records are damaged, or not those that were there when the split was opened.
    """
    everything = np.arange(split.num_examples)
    examples = record_reader.read_examples(split.shards, everything, split.expected, (tfrecord.GROUP,))
    return [str(group) for _, (group,) in examples]
