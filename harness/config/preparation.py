"""How the pixels of a file become those that are stored and that a model takes, as a value.

Records and exported models say it of themselves. It imports nothing that knows pixels: fitting.py does the work.
"""

from dataclasses import dataclass

from harness.config.dataset_sections import RecordsConfig
from harness.config.values import Color, Fit, ImageSize, ValueRange


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


def describe_preparation(preparation: Preparation) -> str:
    """Returns it in words, for errors."""
    color = ", ".join(map(str, preparation.pad_color))
    how = {"stretch": "", "crop": ", cropped", "pad": f", padded with ({color})"}[preparation.fit]
    values = f", of values {describe_range(preparation.range)}" if preparation.range else ""
    return f"{preparation.image_size} pixels{how}{values}"


def describe_ends(value_range: ValueRange) -> str:
    """Returns which values are black and white, in words."""
    if value_range == "full":
        return "the least value of their kind is black, the greatest white"
    return f"{value_range[0]:.17g} is black, {value_range[1]:.17g} white"


def describe_range(value_range: ValueRange) -> str:
    """Returns a range in the form of its setting."""
    return "full" if value_range == "full" else f"[{value_range[0]:.17g}, {value_range[1]:.17g}]"
