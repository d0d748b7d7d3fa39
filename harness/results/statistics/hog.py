"""Histograms of oriented gradients: where in a picture edges of which direction are (Dalal and Triggs, 2005).

As in their "Histograms of oriented gradients for human detection": cells of 8x8 pixels, 9 directions without sign,
blocks of 2x2 cells that overlap, each normalised, clipped and normalised again. OpenCV had this up to version 4.
"""

import cv2
import numpy as np

from harness.dataset.images.arrays import Array, Floats

_SIDE, _CELL, _NUM_DIRECTIONS = 64, 8, 9
_CLIPPED = 0.2  # of a block's length 1; one strong edge shall not decide
_NUM_CELLS = _SIDE // _CELL
_NUM_BLOCKS = _NUM_CELLS - 1
_TINY = 1e-3  # added to the length of a block, that flat ones stay flat; gradients go up to 255


def describe(pixels: Array) -> Array:
    """Returns the features, float32 [n, 1764], of pictures made as small as 64x64.

    Args:
      pixels: uint8 [n, size, size, 3].
    """
    small = np.stack([cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for picture in pixels])
    length, direction = _gradients(small.astype(np.float32))
    cells = _count(length, direction)
    blocks = np.concatenate(
        [cells[:, i : i + _NUM_BLOCKS, j : j + _NUM_BLOCKS] for i in (0, 1) for j in (0, 1)], axis=-1
    )
    return _normalise(np.minimum(_normalise(blocks), _CLIPPED)).reshape(len(pixels), -1).astype(np.float32)


def _gradients(small: Array) -> tuple[Array, Array]:
    """Length and direction [n, 64, 64], 0 to pi, of the gradient of the channel where it is longest."""
    across, down = np.zeros_like(small), np.zeros_like(small)
    across[:, :, 1:-1] = small[:, :, 2:] - small[:, :, :-2]
    down[:, 1:-1] = small[:, 2:] - small[:, :-2]
    longest = (across**2 + down**2).argmax(axis=-1)[..., None]
    across, down = (np.take_along_axis(part, longest, axis=-1)[..., 0] for part in (across, down))
    return np.hypot(across, down), np.arctan2(down, across) % np.pi


def _count(length: Array, direction: Array) -> Floats:
    """Sums the lengths by cell and direction [n, 8, 8, 9]; each falls on the two directions beside its own."""
    place = direction / np.pi * _NUM_DIRECTIONS - 0.5
    lower = np.floor(place)
    share = place - lower
    row, column = np.indices((_SIDE, _SIDE)) // _CELL
    cell = (np.arange(len(length))[:, None, None] * _NUM_CELLS + row) * _NUM_CELLS + column
    votes = np.zeros(len(length) * _NUM_CELLS * _NUM_CELLS * _NUM_DIRECTIONS)
    for number, weight in ((lower, 1 - share), (lower + 1, share)):
        slot = cell * _NUM_DIRECTIONS + number.astype(np.int64) % _NUM_DIRECTIONS
        votes += np.bincount(slot.ravel(), (length * weight).ravel(), minlength=len(votes))
    return votes.reshape(len(length), _NUM_CELLS, _NUM_CELLS, _NUM_DIRECTIONS)


def _normalise(blocks: Floats) -> Floats:
    return blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + _TINY)
