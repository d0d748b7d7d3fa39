"""How the pixels of a file become those that are stored and that a model takes: the same in builds and in use.

Records and exported models say it of themselves; decoder.py reads the pixels, resizing.py scales them.
"""

from dataclasses import dataclass

import numpy as np

from harness.config.schema import Color, Fit, ImageSize, RecordsConfig, ValueRange
from harness.dataset.images.arrays import Array
from harness.dataset.images.resizing import resize


@dataclass(frozen=True)
class Preparation:
    """The size in pixels, how a picture that is no square becomes one, and the colour of what is added to it.

    `range` is what values become black and white of pixels of more than 8 bits; None: none such were met.
    """

    image_size: ImageSize
    fit: Fit = "stretch"
    pad_color: Color = (0, 0, 0)
    range: ValueRange | None = None


def find_preparation(config: RecordsConfig) -> Preparation:
    """Returns what settings ask for."""
    return Preparation(config.image_size, config.fit, config.pad_color)


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


def describe_preparation(preparation: Preparation) -> str:
    """Returns it in words, for errors."""
    color = ", ".join(map(str, preparation.pad_color))
    how = {"stretch": "", "crop": ", cropped", "pad": f", padded with ({color})"}[preparation.fit]
    values = f", of values {describe_range(preparation.range)}" if preparation.range else ""
    return f"{preparation.image_size} pixels{how}{values}"


def describe_range(value_range: ValueRange) -> str:
    """Returns a range in the form of its setting."""
    return "full" if value_range == "full" else f"[{value_range[0]:.17g}, {value_range[1]:.17g}]"
