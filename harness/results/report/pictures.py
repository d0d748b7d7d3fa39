"""Which validation pictures the report shows, and these pictures themselves, small.

The surest mistakes, and of each of the most confused pairs some, so that a number in the matrix has pictures to show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import cv2
import numpy as np

from harness.config.schema import Config
from harness.dataset.images.arrays import Array
from harness.dataset.records import tfrecord
from harness.dataset.records.encoding import decode_pixels, encode_jpeg
from harness.input import preview, record_reader
from harness.input.loaded_split import Split
from harness.input.placement import Inputs
from harness.results import overlay
from harness.results.evaluation import Answers
from harness.results.explanation import Explainer
from harness.results.report.facts import Picture, Pictures
from harness.results.statistics import hog
from harness.results.statistics.baselines import HogClassifier

# The page stays under 2 MB: these are 36 times three pictures, 36 and 16, of 4 to 7 kB.
_NUM_SUREST, _NUM_PAIRS, _NUM_OF_PAIR, _MOST_MISTAKES = 24, 12, 2, 36
_NUM_UNSURE, _NUM_RIGHT, _NUM_AUGMENTED = 12, 24, 8
_SIDE, _QUALITY = 112, 75  # pixels, and JPEG's
_AT_ONCE = 8  # pictures that are explained together


def choose_mistakes(answers: Answers) -> list[int]:
    """Returns the places of the mistakes that are shown: the surest, and some of each of the most confused pairs."""
    predicted = answers.chances.argmax(axis=1)
    wrong = rank_mistakes(answers)
    pairs: dict[tuple[int, int], list[int]] = {}
    for place in wrong:
        pairs.setdefault((int(answers.labels[place]), int(predicted[place])), []).append(place)
    most = sorted(pairs.values(), key=len, reverse=True)[:_NUM_PAIRS]
    chosen = dict.fromkeys([*wrong[:_NUM_SUREST], *(place for found in most for place in found[:_NUM_OF_PAIR])])
    rank = {place: number for number, place in enumerate(wrong)}
    return sorted(list(chosen)[:_MOST_MISTAKES], key=rank.__getitem__)


def rank_mistakes(answers: Answers) -> list[int]:
    """Returns the places of all mistakes, the surest first."""
    wrong = np.flatnonzero(answers.chances.argmax(axis=1) != answers.labels)
    return wrong[np.argsort(-answers.chances[wrong].max(axis=1), kind="stable")].tolist()


def _choose_right(answers: Answers, seed: int) -> tuple[list[int], list[int]]:
    """The places of the least sure right answers, and of some at random."""
    right = np.flatnonzero(answers.chances.argmax(axis=1) == answers.labels)
    unsure = right[np.argsort(answers.chances[right].max(axis=1), kind="stable")][:_NUM_UNSURE]
    drawn = np.random.default_rng(seed).permutation(right)[:_NUM_RIGHT]
    return unsure.tolist(), drawn.tolist()


def collect(
    split: Split, train: Split, answers: Answers, classifier: HogClassifier, *, explain: Explainer | None = None
) -> Pictures:
    """Returns the pictures of the page, but those as augmented.

    Args:
      split: of the answers.
      train: the training split, in which the nearest pictures are looked for.
      answers: of the model.
      classifier: what knows the training pictures' features.
      explain: finds what the answers of mistakes go by; None: that is not shown.

    Raises:
      DataError: the records are damaged, or not those that were there when the splits were opened.
    """
    mistakes = choose_mistakes(answers)
    unsure, right = _choose_right(answers, seed=0)
    shown, features = {}, {}
    for place, path, pixels in _read(split, [*mistakes, *unsure, *right]):
        shown[place] = _describe(answers, place, path, _shrink(pixels))
        if place in mistakes:
            features[place] = hog.describe(pixels[None])[0]
    _add_nearest(shown, features, train, classifier)
    if explain is not None:
        _add_overlays(shown, split, mistakes, explain)
    return Pictures(
        mistakes=tuple(shown[place] for place in mistakes),
        unsure=tuple(shown[place] for place in unsure),
        right=tuple(shown[place] for place in right),
        num_mistakes=len(rank_mistakes(answers)),
    )


def _describe(answers: Answers, place: int, path: str, jpeg: bytes) -> Picture:
    chances, label = answers.chances[place], int(answers.labels[place])
    predicted = int(chances.argmax())
    return Picture(path, label, predicted, float(chances[predicted]), float(chances[label]), jpeg)


def _add_nearest(shown: dict[int, Picture], features: dict[int, Array], train: Split, known: HogClassifier) -> None:
    if not features:
        return
    nearest, labels = known.find_nearest(np.stack(list(features.values())))
    found = {place: (path, _shrink(pixels)) for place, path, pixels in _read(train, nearest.tolist())}
    for place, where, label in zip(features, nearest.tolist(), labels.tolist()):
        path, jpeg = found[where]
        shown[place] = replace(shown[place], nearest=jpeg, nearest_path=path, nearest_label=label)


def _add_overlays(shown: dict[int, Picture], split: Split, mistakes: Sequence[int], explain: Explainer) -> None:
    for start in range(0, len(mistakes), _AT_ONCE):
        places, _, pixels = zip(*_read(split, mistakes[start : start + _AT_ONCE]))
        predicted = np.array([shown[place].predicted for place in places])
        for place, shows, speaking in zip(places, pixels, explain(np.stack(pixels), predicted)):
            shown[place] = replace(shown[place], overlay=_shrink(overlay.draw(shows, speaking)))


def _read(split: Split, places: Sequence[int]) -> Iterator[tuple[int, str, Array]]:
    """Yields place, name and pixels uint8 [size, size, 3] of pictures, each once, in the order of the records."""
    keys, expected = (tfrecord.FILENAME, tfrecord.IMAGE), split.expected
    for place, (path, content) in record_reader.read_examples(split.shards, np.unique(places), expected, keys):
        pixels = decode_pixels(cast(bytes, content), expected.encoding, expected.image_size)
        yield place, str(path), pixels


def draw_augmented(train: Split, config: Config, inputs: Inputs) -> tuple[tuple[bytes, bytes], ...]:
    """Returns training pictures as stored and as trained on, as small JPEGs; none where nothing is augmented."""
    if not config.augment.enabled:
        return ()
    pairs = zip(*preview.pair_up(train, config, inputs, min(_NUM_AUGMENTED, train.num_examples)))
    return tuple((_shrink(stored), _shrink(trained)) for stored, trained in pairs)


def _shrink(pixels: Array) -> bytes:
    side = min(_SIDE, len(pixels))
    return encode_jpeg(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), _QUALITY)
