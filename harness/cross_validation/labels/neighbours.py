"""Suspects beside the pictures that look most like them, under the label they have and under the one that is suggested.

What looks alike is told by edges (HOG features), as on a run's report. Whoever looks decides; nothing is decided here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from harness.cross_validation.labels.suspects import Suspect
from harness.dataset.images.arrays import Array, Ints
from harness.dataset.records.encoding import encode_jpeg
from harness.results.statistics import hog

MOST_CASES = 40
MOST_COMPARED = 5_000  # pictures, shared evenly by the classes needed; each takes some 2 ms to read and describe
_NUM_NEIGHBOURS = 3
_BATCH = 256
# Pixels, and JPEG's quality. A case of coloured noise has 45 kB so, one of the sample 17.
_SIDE, _NEIGHBOUR_SIDE, _QUALITY = 144, 88, 75

# Gives place and pixels uint8 [size, size, 3] of pictures, for increasing places, in their order.
Read = Callable[[Sequence[int]], Iterable[tuple[int, Array]]]


@dataclass(frozen=True)
class Neighbour:
    """A picture that looks like a suspect: its path, and a small JPEG."""

    path: str
    jpeg: bytes


@dataclass(frozen=True)
class Case:
    """A suspect to decide on.

    Attributes:
      suspect: what is known of it.
      jpeg: the picture, small.
      given: its nearest pictures of the class it is given as, the nearest first; fewer than three if there are no more.
      suggested: its nearest pictures of the suggested class.
    """

    suspect: Suspect
    jpeg: bytes
    given: tuple[Neighbour, ...]
    suggested: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Pictures:
    """All pictures of the records, of which suspects are some.

    Attributes:
      paths: of n pictures.
      labels: int [n], the class each is given as.
      members: int [n], the group of each.
      class_names: of the labels.
      read: gives the pixels of some.
    """

    paths: Sequence[str]
    labels: Ints
    members: Ints
    class_names: Sequence[str]
    read: Read


def collect(suspects: Sequence[Suspect], pictures: Pictures) -> tuple[Case, ...]:
    """Returns the first forty suspects with their neighbours.

    A neighbour is of another group than its suspect, for near copies of a picture have its label and tell nothing, and
    of another group than the other neighbours where there are enough. It is no suspect itself unless its class has too
    few others. Of each class the first pictures are looked at, 5,000 in all.

    Args:
      suspects: all of them, the most suspect first.
      pictures: of the records.

    Raises:
      DataError: as of `pictures.read`.
    """
    shown = suspects[:MOST_CASES]
    if not shown:
        return ()
    jpegs: dict[int, bytes] = {}
    features: dict[int, Array] = {}
    for place, pixels in pictures.read(sorted(item.place for item in shown)):
        jpegs[place] = _shrink(pixels, _SIDE)
        features[place] = hog.describe(pixels[None])[0]
    number = {name: label for label, name in enumerate(pictures.class_names)}
    sides = [(number[item.label], number[item.suggested]) for item in shown]
    candidates = _choose_candidates({label for pair in sides for label in pair}, suspects, pictures.labels)
    distances = _measure(np.stack([features[item.place] for item in shown]), candidates, pictures.read)
    nearest = [
        [_find_nearest(item.place, label, candidates, row, pictures) for label in pair]
        for item, pair, row in zip(shown, sides, distances)
    ]
    wanted = sorted({place for pair in nearest for side in pair for place in side})
    found = {
        place: Neighbour(pictures.paths[place], _shrink(pixels, _NEIGHBOUR_SIDE))
        for place, pixels in (pictures.read(wanted) if wanted else ())
    }
    return tuple(
        Case(item, jpegs[item.place], *(tuple(found[place] for place in side) for side in pair))
        for item, pair in zip(shown, nearest)
    )


def _choose_candidates(wanted: set[int], suspects: Sequence[Suspect], labels: Ints) -> Ints:
    """The places in which neighbours are looked for, increasing."""
    is_suspect = np.zeros(len(labels), bool)
    is_suspect[[item.place for item in suspects]] = True
    chosen = []
    for label in sorted(wanted):
        of_class = np.flatnonzero(labels == label)
        trusted = of_class[~is_suspect[of_class]]
        enough = trusted if len(trusted) >= _NUM_NEIGHBOURS else of_class
        chosen.append(enough[: max(_NUM_NEIGHBOURS, MOST_COMPARED // len(wanted))])
    return np.sort(np.concatenate(chosen))


def _measure(features: Array, candidates: Ints, read: Read) -> Array:
    """The squared distance of each suspect to each candidate, float32 [num_suspects, num_candidates]."""
    own = np.square(features).sum(axis=1)[:, None]
    parts = [np.empty((len(features), 0), np.float32)]
    for start in range(0, len(candidates), _BATCH):
        pixels = [pixels for _, pixels in read(candidates[start : start + _BATCH].tolist())]
        others = hog.describe(np.stack(pixels))
        parts.append(own - 2 * features @ others.T + np.square(others).sum(axis=1))
    return np.concatenate(parts, axis=1)


def _find_nearest(place: int, label: int, candidates: Ints, distances: Array, pictures: Pictures) -> list[int]:
    """The places of the nearest pictures of a class outside a picture's own group, the nearest first."""
    may_be = (pictures.labels[candidates] == label) & (pictures.members[candidates] != pictures.members[place])
    order = np.argsort(np.where(may_be, distances, np.inf), kind="stable")[: np.count_nonzero(may_be)]
    nearest = candidates[order]
    _, first = np.unique(pictures.members[nearest], return_index=True)
    is_first = np.isin(np.arange(len(nearest)), first)
    chosen = [*np.flatnonzero(is_first), *np.flatnonzero(~is_first)][:_NUM_NEIGHBOURS]
    return [int(place) for place in nearest[sorted(chosen)]]


def _shrink(pixels: Array, most: int) -> bytes:
    side = min(most, len(pixels))
    return encode_jpeg(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), _QUALITY)
