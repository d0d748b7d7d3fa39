"""A picture at another size: averaged over areas where it shrinks, cubic where it grows. Nothing is cropped.

fitting.py says which size.
"""

from functools import lru_cache

import cv2
import numpy as np

from harness.dataset.images.arrays import Array

_ROWS = 8  # averaged together: fewer waste the width of a matrix product, more multiply by zeros
_ONE = 1 << 15
_MOST_AVERAGES = 1 << 22  # of three colours: 48 MiB


def resize(pixels: Array, width: int, height: int | None = None) -> Array:
    """Returns `uint8 [height, width, 3]` of `uint8 [H, W, 3]`; without a height the result is a square.

    Each axis is by itself: averaged over areas when it shrinks, so there is no aliasing, and cubic when it grows. The
    averages are those of OpenCV's INTER_AREA, but that a half, or what is a hundredth off it, may be rounded otherwise.
    """
    size = (width, height or width)
    small = (min(pixels.shape[1], size[0]), min(pixels.shape[0], size[1]))
    if small != pixels.shape[1::-1]:
        pixels = _average(pixels, small)
    if small != size:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
    return pixels


def _average(pixels: Array, size: tuple[int, int]) -> Array:
    """Averages over areas, to (width, height) `size`: of rows by matrix products, of columns by OpenCV.

    OpenCV alone takes byte after byte, columns first, and half as long again. But where both sides are whole multiples
    it is fast, where no rows are averaged there is nothing to gain, and a very wide picture would take much memory.
    """
    (height, width), (small_width, small_height) = pixels.shape[:2], size
    is_whole = height % small_height == 0 and width % small_width == 0
    if is_whole or height == small_height or small_height * width > _MOST_AVERAGES:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    rows = pixels.reshape(height, -1)
    averages: Array = np.empty((small_height, 3 * width), np.float32)
    for start, first, weights in _weigh(height, small_height):
        source = rows[first : first + weights.shape[1]].astype(np.float32)
        np.matmul(weights, source, out=averages[start : start + _ROWS])
    averages = cv2.resize(averages.reshape(small_height, width, 3), size, interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(averages, alpha=1 / _ONE)


@lru_cache(512)  # photographs come in as many heights; 32 bytes a row of the picture, each
def _weigh(num: int, num_averages: int) -> list[tuple[int, int, Array]]:
    """The share of rows in their averages, for each block of these: its first average, its first row, and its weights.

    The weights, float32 [averages, rows], are whole numbers that add up to `_ONE`, so that sums of bytes stay below
    2**24 and float32 is exact: whatever order a machine adds in, the result is the same.
    """
    starts = np.arange(0, num_averages, _ROWS)
    firsts = starts * num // num_averages
    edges = firsts[:, None] + np.arange(-(-_ROWS * num // num_averages) + 2)
    averages = starts[:, None] + np.arange(_ROWS)
    # How much of each average lies above each edge, of `num`.
    above = (edges[:, None, :] * num_averages - averages[:, :, None] * num).clip(0, num)
    weights = np.diff((2 * _ONE * above + num) // (2 * num), axis=2).astype(np.float32)
    return [
        (start, first, block[: num_averages - start, : num - first])
        for start, first, block in zip(starts.tolist(), firsts.tolist(), weights)
    ]
