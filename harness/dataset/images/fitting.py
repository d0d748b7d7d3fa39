"""The pixels of a file as those that are stored and that a model takes: the same in builds and in use.

decoder.py reads the pixels, resizing.py scales them. What is asked for is a config.preparation.Preparation.
"""

import numpy as np

from harness.config.preparation import Preparation
from harness.dataset.images.arrays import Array
from harness.dataset.images.resizing import resize


def prepare(pixels: Array, preparation: Preparation) -> Array:
    """Returns `uint8 [image_size, image_size, 3]` of upright pixels `uint8 [H, W, 3]`."""
    size, (height, width) = preparation.image_size, pixels.shape[:2]
    if preparation.fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return resize(pixels[top : top + side, left : left + side], size)
    if preparation.fit == "stretch" or height == width:
        return resize(pixels, size)
    rows, columns = find_inner(height, width, preparation)
    padded: Array = np.full((size, size, 3), preparation.pad_color, np.uint8)
    padded[rows, columns] = resize(pixels, columns.stop - columns.start, rows.stop - rows.start)
    return padded


def find_inner(height: int, width: int, preparation: Preparation) -> tuple[slice, slice]:
    """Returns the rows and columns of what `prepare` returns that show a picture of this size, not its padding."""
    size = preparation.image_size
    if preparation.fit != "pad":
        return slice(0, size), slice(0, size)
    longest = max(height, width)
    inner = [max(1, round(side * size / longest)) for side in (height, width)]
    starts = [(size - side) // 2 for side in inner]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, inner))
    return rows, columns
