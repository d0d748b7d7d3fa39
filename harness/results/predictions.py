"""What a run says of each validation picture: predictions.csv, by which runs are compared picture by picture.

Only writing it needs TensorFlow, so that finished runs are compared at once.
"""

import stat
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.base import csv_files, files
from harness.base.errors import CheckpointError
from harness.base.text import shorten
from harness.dataset.records import tfrecord
from harness.runs import metrics_file

if TYPE_CHECKING:
    from harness.input.loaded_split import Split

_MOST_BYTES = 1 << 30  # some ten million pictures


class Prediction(NamedTuple):
    """What a run says of one picture; the fields are the columns of predictions.csv.

    Attributes:
      path: of the picture, as in the records.
      group: what it has in common with pictures that are not independent of it.
      label: its class.
      predicted: the class that is most probable.
      probability: of that class, from 0 to 1.
      label_probability: of its own class, from 0 to 1.
    """

    path: str
    group: str
    label: str
    predicted: str
    probability: float
    label_probability: float


COLUMNS = Prediction._fields
Predictions = tuple[Prediction, ...]  # of a split, in the order of the records


def collect(split: "Split", class_names: Sequence[str], labels: np.ndarray, chances: np.ndarray) -> Predictions:
    """Returns what a model says of each picture of a split. The records are read once more, and no picture is decoded.

    Args:
      split: the pictures.
      class_names: the class of each label.
      labels: int [n], in the order of the records.
      chances: float32 [n, num_classes], the probability of each class.

    Raises:
      DataError: the records are damaged, or not those that were there when the split was opened.
    """
    from harness.input import record_reader

    everything = np.arange(split.num_examples)
    keys = (tfrecord.FILENAME, tfrecord.GROUP)
    origins = (fields for _, fields in record_reader.read_examples(split.shards, everything, split.expected, keys))
    predicted = chances.argmax(axis=1)
    found = zip(
        origins,
        labels.tolist(),
        predicted.tolist(),
        chances[everything, predicted].tolist(),
        chances[everything, labels].tolist(),
        strict=True,
    )
    return tuple(
        Prediction._make((*origin, class_names[label], class_names[answer], probability, label_probability))
        for origin, label, answer, probability, label_probability in found
    )


def write(path: Path, predictions: Iterable[Prediction]) -> None:
    """Writes one row a picture under a header, complete or not at all."""
    csv_files.write(path, chain([COLUMNS], predictions))


def read(path: Path) -> Predictions:
    """Reads what `write` wrote, to the bit.

    Raises:
      CheckpointError: there is no such file, or it has another form.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no file")
        if status.st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
        with path.open(encoding="utf-8", errors=csv_files.ANY_NAME, newline="") as file:
            rows = csv_files.read_rows(file)
            if next(rows, None) != list(COLUMNS):
                raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
            found = tuple(_parse(row, number) for number, row in enumerate(rows, start=1))
        if not found:
            raise ValueError("it has no row")
        return found
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} cannot be read: {why}. {metrics_file.REWRITE}") from None


def write_probabilities(path: Path, chances: np.ndarray) -> None:
    """Writes the probabilities of every class, float32 [n, num_classes], complete or not at all."""
    with files.open_new(path) as file:
        np.save(file, chances.astype(np.float32), allow_pickle=False)


def read_probabilities(path: Path, num_pictures: int, num_classes: int) -> np.ndarray:
    """Returns what `write_probabilities` wrote of so many pictures.

    Raises:
      CheckpointError: it is missing, damaged, or of other pictures or classes.
    """
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} cannot be read: {why}. {metrics_file.REWRITE}") from None
    if found.dtype != np.float32 or found.shape != (num_pictures, num_classes) or not np.isfinite(found).all():
        raise CheckpointError(
            f"{path} holds {found.dtype} {list(found.shape)}, expected float32 {[num_pictures, num_classes]} of finite "
            f"numbers. {metrics_file.REWRITE}"
        )
    return found


def _parse(row: Sequence[str], number: int) -> Prediction:
    if len(row) != len(COLUMNS):
        raise ValueError(f"picture {number} has {len(row)} columns, expected {len(COLUMNS)}")
    *texts, highest, own = row
    try:
        found = Prediction._make([*texts, float(highest), float(own)])
    except ValueError:
        raise ValueError(f"picture {number} has a probability that is no number") from None
    if not 0 <= found.label_probability <= found.probability <= 1:
        raise ValueError(f"picture {number} has a probability that is not from 0 to 1, or below that of its own class")
    return found


def describe_mismatch(first: Predictions, other: Predictions) -> str:
    """Returns by what the pictures of two runs differ, or their groups or classes; "" if they are the same in order."""
    if len(first) != len(other):
        return f"{len(first):,} by one and {len(other):,} by another"
    pairs = ((one[:3], two[:3]) for one, two in zip(first, other))
    differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if differing is None:
        return ""
    one, two = (" ".join(map(shorten, names)) for names in differing)
    return f"{one} by one and {two} by another (path, group, class)"
