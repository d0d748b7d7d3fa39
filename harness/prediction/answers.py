"""What a model says of picture files, in batches: the next ones are decoded while the network works."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation
from harness.dataset.images import sources
from harness.dataset.images.arrays import Array
from harness.dataset.images.rejection import Rejected

BATCH = 32


class Answer(NamedTuple):
    """What a model says of one file; of one that cannot be used only why.

    Attributes:
      path: as it was given.
      pixels: as the model took them, uint8 [size, size, 3].
      chances: the probability of each class, float32 [num_classes].
      rejected: why there are neither.
      explanation: the file that shows why, "" if none was asked for.
    """

    path: str
    pixels: Array | None = None
    chances: Array | None = None
    rejected: Rejected | None = None
    explanation: str = ""


def answer_all(
    paths: Sequence[str], predict: Callable[[Array], Array], limits: CleanConfig, preparation: Preparation
) -> Generator[list[Answer], None, None]:
    """Yields the answers of each batch, in the order of the paths.

    Args:
      paths: the files.
      predict: from pixels uint8 [n, size, size, 3] to probabilities float32 [n, num_classes].
      limits: what is refused.
      preparation: how the pixels are prepared.
    """
    with closing(sources.read_all(map(Path, paths), limits, preparation, num_ahead=2 * BATCH)) as pictures:
        pairs = ((path, picture) for path, (_, picture) in zip(paths, pictures, strict=True))
        while batch := list(islice(pairs, BATCH)):
            readable = [picture for _, picture in batch if not isinstance(picture, Rejected)]
            chances = iter(predict(np.stack(readable)) if readable else ())
            yield [_join(path, picture, chances) for path, picture in batch]


def _join(path: str, picture: Array | Rejected, chances: Iterator[Array]) -> Answer:
    if isinstance(picture, Rejected):
        return Answer(path, rejected=picture)
    return Answer(path, picture, next(chances))
