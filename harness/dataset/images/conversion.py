"""What Pillow has opened as upright RGB of 8 bits, and what is noted of that. It reads no file; decoder.py does."""

import struct
import zlib

import numpy as np
from PIL import Image

from harness.dataset.images.arrays import Array
from harness.dataset.images.color_profiles import Conversion
from harness.dataset.structure.inspection import MOST_EXIF_BYTES

# What Pillow's decoders are seen to raise on damaged files.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    RuntimeError,  # of what libavif and libheif say
    struct.error,
    zlib.error,
)
SIDEWAYS = (5, 6, 7, 8)  # of the EXIF orientations
_EXIF_ORIENTATION = 0x0112
_PART_PIXELS = 1 << 20  # converted to RGB at a time


def list_notes(image: Image.Image, turn: int) -> tuple[str, ...]:
    """What `decode` converts, in words for the report."""
    found = {
        "exif": bool(image.info.get("exif")),
        "exif_rotated": turn != 1,
        "gray": image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"),
        "palette": image.mode in ("P", "PA"),
        "alpha": image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info,
        "cmyk": image.mode == "CMYK",
        "several_frames": getattr(image, "is_animated", False),
    }
    return tuple(note for note, is_true in found.items() if is_true)


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation from 1 to 8; 1 where there is none or the EXIF data are damaged, which hurts no pixel."""
    exif = image.info.get("exif", image.info.get("Raw profile type exif")) or b""
    if len(exif) > MOST_EXIF_BYTES:  # each byte of it may become fifty in memory
        return 1
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except DECODER_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def to_rgb(image: Image.Image, conversion: Conversion | None = None) -> Array:
    """Converts a picture a part at a time: each conversion of the whole would be another copy of it."""
    image.load()
    width, height = image.size
    columns, rows = min(width, _PART_PIXELS), max(1, _PART_PIXELS // width)
    if rows >= height and columns >= width:
        return _part_to_rgb(image, conversion)
    pixels: Array = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            right, bottom = min(width, left + columns), min(height, top + rows)
            pixels[top:bottom, left:right] = _part_to_rgb(image.crop((left, top, right, bottom)), conversion)
    return pixels


def _part_to_rgb(image: Image.Image, conversion: Conversion | None) -> Array:
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        colors = image.convert("RGBA")
        if conversion:
            alpha = colors.getchannel("A")
            colors = conversion.convert(colors if conversion.mode == "RGB" else image)
            colors.putalpha(alpha)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, colors)
    elif conversion:
        image = conversion.convert(image)
    return np.asarray(image.convert("RGB"))


def turn_upright(pixels: Array, orientation: int) -> Array:
    """Undoes an EXIF orientation: https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.4 A."""
    if orientation in SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
