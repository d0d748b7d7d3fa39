"""Fingerprints of pictures: their low frequencies, and how these would look if the picture were cropped or turned.

Which pictures are compared is decided in similarity_search.py.
"""

from functools import cache
from itertools import product

import cv2
import numpy as np

from harness.dataset.images.arrays import Array

# Smaller pictures show too little to tell a near duplicate from another picture: any two of handwriting can be laid on
# each other. They get no fingerprint, so that only exact copies of them are found.
LEAST_SIDE = 64

_FREQUENCIES = 10
FINGERPRINT_BYTES = _FREQUENCIES * _FREQUENCIES
NORM = 127

# A small grey picture whose sides fade out, since a crop or a turn changes the sides most. Without the fading half of
# the slight crops are farther apart than many pairs of different drawings.
_GREY_SIDE = 32
_FADE = 0.3
_MIN_CONTRAST = 1.0  # root mean square of the low frequencies in grey levels; below, there is only noise to compare

# Amplitudes of natural pictures fall with 1/f: unweighted, four or five of the numbers carry the norm, and two
# random photographs are alike too often. Weighted with f and more, the details of a crop outweigh the rest.
_WHITENING = 0.75

# Crops and turns are predicted for pictures of this model: amplitudes fall with 1/f, up to this many frequencies.
_MODEL_FREQUENCIES = 14
_NOISE = 1e-3

# What is seen of a picture: width and height, turn in degrees, right and down. Shares of the side, about the middle.
View = tuple[float, float, float, float, float]
_WHOLE: View = (1, 1, 0, 0, 0)
COARSE_VIEWS: tuple[View, ...] = (
    *(_WHOLE, (0.86, 0.86, 0, 0, 0)),
    *((0.92, 0.92, 0, right, down) for right, down in product((-0.04, 0.04), repeat=2)),
    *((0.92, 1, 0, right, 0) for right in (-0.04, 0.04)),
    *((1, 0.92, 0, 0, down) for down in (-0.04, 0.04)),
)
_FINE_VIEWS: tuple[View, ...] = (
    *((1, 1, turn, 0, 0) for turn in (-4, 0, 4)),
    *((0.96, 0.96, turn, 0, 0) for turn in (-2, 0, 2)),
    *((0.92, 0.92, turn, right, down) for turn, right, down in product((-4, 0, 4), *((-0.035, 0, 0.035),) * 2)),
    *((0.84, 0.84, 0, right, down) for right, down in product((-0.05, 0, 0.05), repeat=2)),
    *COARSE_VIEWS[-4:],
)
_PAIRS = 128  # at a time: their views stay in the caches


def _cosines(num: int, positions: Array) -> Array:
    """The orthonormal cosine basis of a grey's side, at any positions in [0, 1]: float64 [num, positions]."""
    basis: Array = np.cos(np.pi * np.outer(np.arange(num), positions)) * np.sqrt(2 / _GREY_SIDE)
    basis[0] /= np.sqrt(2)
    return basis


_CENTRES = (np.arange(_GREY_SIDE) + 0.5) / _GREY_SIDE
_EDGE_DISTANCE = np.minimum(_CENTRES, 1 - _CENTRES)
_FADING = np.where(_EDGE_DISTANCE < _FADE, 0.5 - 0.5 * np.cos(np.pi * _EDGE_DISTANCE / _FADE), 1.0)
_SHARES = np.outer(_FADING, _FADING) / _FADING.sum() ** 2
_FADING_COSINES = _cosines(_FREQUENCIES, _CENTRES) * _FADING
_INDEX = np.arange(_FREQUENCIES)
_WEIGHTS = np.maximum(np.hypot(_INDEX[:, None], _INDEX), 1) ** _WHITENING
MIRROR = np.tile(np.where(_INDEX % 2, -1, 1), _FREQUENCIES).astype(np.int8)


def fingerprint(pixels: Array) -> bytes:
    """Returns the fingerprint of `uint8 [S, S, 3]`: FINGERPRINT_BYTES of int8, all zero where there is nothing to see.

    It does not depend on the picture's brightness and contrast, and little on its size.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GREY_SIDE, _GREY_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    coefficients = _FADING_COSINES @ (small - (small * _SHARES).sum()) @ _FADING_COSINES.T
    coefficients[0, 0] = 0
    if np.sqrt((coefficients * coefficients).sum()) < _MIN_CONTRAST * (_FADING**2).sum():
        return bytes(FINGERPRINT_BYTES)
    return _to_norm((coefficients * _WEIGHTS).ravel()).astype(np.int8).tobytes()


def _to_norm(values: Array) -> Array:
    """The values of the last axis as whole numbers of the norm of a fingerprint."""
    norms = np.sqrt((values * values).sum(axis=-1, keepdims=True))
    scaled: Array = values * (NORM / np.maximum(norms, 1e-9))
    np.rint(scaled, out=scaled)
    return scaled


def predict(fingerprints: Array, views: tuple[View, ...]) -> Array:
    """Returns the likeliest fingerprints of views of pictures `int8 [N, F]`: whole numbers, float64 [N, views, F]."""
    operators = _make_operators(views)
    predicted = fingerprints.astype(np.float64) @ operators.reshape(-1, FINGERPRINT_BYTES).T
    return _to_norm(predicted.reshape(len(fingerprints), len(views), FINGERPRINT_BYTES))


@cache
def _make_operators(views: tuple[View, ...]) -> Array:
    """The matrices of the least squared error over pictures of the model, from whole to view: float64 [views, F, F].

    The fading moves with the view, so to take the view of what the fingerprint shows would not do.
    """
    fading = np.kron(_FADING_COSINES, _FADING_COSINES)
    fading -= np.outer(fading.sum(axis=1), _SHARES)
    fading[0] = 0
    fading *= _WEIGHTS.reshape(-1, 1)
    y, x = (axis.ravel() - 0.5 for axis in np.meshgrid(_CENTRES, _CENTRES, indexing="ij"))
    index = np.arange(_MODEL_FREQUENCIES)
    variances = 1 / np.maximum(index[:, None] ** 2 + index**2, 0.5).ravel()

    def show(width: float, height: float, turn: float, right: float, down: float) -> Array:
        cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        columns = _cosines(_MODEL_FREQUENCIES, 0.5 + right + cosine * width * x - sine * height * y)
        rows = _cosines(_MODEL_FREQUENCIES, 0.5 + down + sine * width * x + cosine * height * y)
        shown: Array = fading @ (rows[:, None] * columns).reshape(-1, x.size).T
        return shown

    whole = show(*_WHOLE)
    covariance = whole * variances @ whole.T
    covariance += _NOISE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    operators = [np.linalg.solve(covariance, whole * variances @ show(*view).T).T for view in views]
    # The whole is known: the model would take from it what is unlikely.
    return np.stack([np.eye(len(whole)) if view == _WHOLE else made for view, made in zip(views, operators)])


def measure_likeness(fingerprints: Array, pairs: Array) -> Array:
    """Returns the largest product of the first of each pair with a view of the second, mirrored or not: float32 [M].

    Args:
      fingerprints: `int8 [N, FINGERPRINT_BYTES]`.
      pairs: `int64 [M, 2]`, rows of `fingerprints`. Sorted by the second they cost least: its views are made once then.
    """
    parts = [np.zeros(0, np.float32)]
    for block in np.split(pairs, range(_PAIRS, len(pairs), _PAIRS)):
        shown, whole = block.T
        rows, places = np.unique(whole, return_inverse=True)
        # Products of whole numbers below 2**24: float32 is exact, so every machine finds the same.
        views = predict(fingerprints[rows], _FINE_VIEWS).astype(np.float32)[places]
        seen = fingerprints[shown]
        both = np.stack([seen, seen * MIRROR], axis=2).astype(np.float32)
        parts.append((views @ both).max(axis=(1, 2), initial=-np.inf))
    return np.concatenate(parts)
