"""Pixels of more than 8 bits: their values as they stand in the file, what these are, and 8 bits of them by a range.

Which range is in force is decided for all pictures of a set together, in curation/cleaner.py.
"""

import math
import re
import struct
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from harness.config.values import ValueRange
from harness.dataset.images.arrays import Array

# OpenCV warns of each tag that it does not know, such as those of maps. Its version 4 has another name for this.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_set_log_level(0)

CLIPPED, FEW_LEVELS = "clipped", "few_levels"  # notes
_PART_VALUES = 1 << 20  # scaled at a time
_MOST_SAMPLED = 1 << 18  # values that the middle ones are found among
_FEW, _LOST = 32, 4  # levels that are few, and how many values each of them stands for
_BITS, _PHOTOMETRIC, _EXTRA, _SAMPLE_FORMAT = 258, 262, 338, 339  # tags of TIFF
_NO_DATA = 42113  # of GDAL: https://gdal.org/en/stable/drivers/raster/gtiff.html
_NO_FLOAT = 1e38  # from here floats mean that there is no value
_WHITE_IS_ZERO, _ASSOCIATED = 0, 1
_PPM_HEADER = re.compile(rb"P[256](?:(?:\s|#[^\n]*\n)+\d+){2}(?:\s|#[^\n]*\n)+(\d+)\s")
_KINDS = {1: "uint", 2: "int", 3: "float"}  # by the sample format of TIFF


@dataclass(frozen=True)
class Levels:
    """The values of a picture: what they are, such as uint16 or float32, the least, the greatest, and the middle ones.

    `middle_low` and `middle_high` are what one value in a thousand lies below, or above.
    """

    kind: str
    low: float
    high: float
    middle_low: float
    middle_high: float

    def __str__(self) -> str:
        return " ".join((self.kind, *(f"{value:.17g}" for value in (self.low, self.high, *self.middle))))

    @property
    def middle(self) -> tuple[float, float]:
        """What 99.8 % of the values lie between."""
        return self.middle_low, self.middle_high


def parse_levels(text: str) -> Levels:
    """Returns the levels that a text was made of.

    Raises:
      ValueError: it was made of none.
    """
    kind, *numbers = text.split()
    low, high, middle_low, middle_high = map(float, numbers)
    return Levels(kind, low, high, middle_low, middle_high)


@dataclass(frozen=True)
class WidePixels:
    """Values `[H, W]` or `[H, W, 3]` of a kind.

    `alpha` is how opaque each pixel is, float32 `[H, W]` from 0 to 1; `missing` which values stand for none, bool. Each
    may be None.
    """

    values: Array
    kind: str
    alpha: Array | None = None
    missing: Array | None = None


def find_kind(content: bytes, image: Image.Image) -> str:
    """Returns what the values of a picture are that Pillow has opened, or "" for those of 8 bits without a sign."""
    if image.format == "TIFF":
        bits = max(_tag(image, _BITS, 1), default=1)
        kind = f"{_KINDS.get(_tag(image, _SAMPLE_FORMAT, 1)[0], 'uint')}{bits}"
        is_known = image.mode in ("I", "F", "RGB", "RGBA", "RGBX") or image.mode.startswith("I;")
        return kind if (bits > 8 and is_known) or (kind == "int8" and image.mode == "L") else ""
    if image.format == "PNG":
        return "uint16" if content[12:16] == b"IHDR" and content[24] == 16 else ""
    if image.format == "PPM" and (white := _read_header(content)[0]) > 255:
        return f"uint{white.bit_length()}"
    return ""


def read(content: bytes, image: Image.Image, kind: str) -> WidePixels:
    """Returns the values of a picture, loaded before by Pillow, which keeps 8 bits of several bands.

    Raises:
      ValueError: they cannot be read.
    """
    if kind == "int8":
        values, alpha = np.asarray(image).view(np.int8), None
    elif image.mode == "F" or (image.mode.startswith("I") and image.format != "PPM"):
        values, alpha = np.asarray(image), None
        values = values.view(np.uint32) if kind == "uint32" else values
        values = values.astype(np.uint16) if kind in ("uint12", "uint16") else values
    else:
        values, alpha = _read_bands(content, image)
    missing = _find_missing(values, kind, image)
    if image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1)[0] == _WHITE_IS_ZERO:
        most = find_full(kind)[1] if kind.startswith(("uint", "float")) else -1
        values = (most - values.astype(np.float64)).astype(values.dtype)
    key = image.info.get("transparency")
    if image.format == "PNG" and isinstance(key, (int, tuple)):
        is_key = values == np.array(key)
        alpha = 1 - (is_key if values.ndim == 2 else is_key.all(axis=2)).astype(np.float32)
    return WidePixels(values, kind, alpha, missing)


def _find_missing(values: Array, kind: str, image: Image.Image) -> Array | None:
    """Which values stand for none: no numbers, floats without bounds, and what maps say is their number for that."""
    missing: Array | None = ~(np.abs(values) < _NO_FLOAT) if kind.startswith("float") else None
    if image.format != "TIFF":
        return missing
    try:
        is_none: Array = np.asarray(values == float(image.tag_v2.get(_NO_DATA, "")))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return missing
    return is_none if missing is None else missing | is_none


def _tag(image: Image.Image, tag: int, default: int) -> tuple[int, ...]:
    found = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return found if isinstance(found, tuple) else (found,)


def _read_bands(content: bytes, image: Image.Image) -> tuple[Array, Array | None]:
    """Values `[H, W, 3]` or `[H, W]`, and the alpha; in files that Pillow has decoded without an error."""
    if image.format == "PPM":
        white, start = _read_header(content)
        if content[1:2] == b"2":  # Pillow has made 65535 of white
            return np.rint(np.asarray(image) * (white / 65535)).astype(np.uint16), None
        shape = (image.height, image.width, 3)[: 3 if content[1:2] == b"6" else 2]
        return np.frombuffer(content, ">u2", math.prod(shape), start).astype(np.uint16).reshape(shape), None
    plain = _strip_png(content) if image.format == "PNG" else content
    try:
        found = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found = None
    if found is None or found.shape[:2] != (image.height, image.width) or found.dtype != np.uint16:
        raise ValueError("its bands of more than 8 bits are not stored pixel by pixel")
    values = np.ascontiguousarray(found[:, :, 2::-1])
    if image.mode not in ("RGBA", "LA"):
        return values, None
    alpha = found[:, :, 3].astype(np.float32) / 65535
    if image.format == "TIFF" and _ASSOCIATED in _tag(image, _EXTRA, 0):
        values = (values / np.maximum(alpha, 1e-6)[:, :, None]).clip(0, 65535).astype(values.dtype)
    return (values[:, :, 0] if image.mode == "LA" else values), alpha


def _read_header(content: bytes) -> tuple[int, int]:
    """The number of white in a PPM or PGM that Pillow has opened, and where its pixels begin."""
    found = _PPM_HEADER.match(content)
    return (int(found[1]), found.end()) if found else (1, 0)


def _strip_png(content: bytes) -> bytes:
    """The header, the pixels and the end of a PNG alone: OpenCV reads no other chunk of a stranger's."""
    parts, position = [content[:8]], 8
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            parts.append(content[position : position + 12 + length])
        position += 12 + length
    return b"".join(parts)


def measure(pixels: WidePixels) -> Levels:
    """Returns what values there are; those that stand for none are left out.

    Raises:
      ValueError: there is none.
    """
    values = pixels.values.reshape(-1) if pixels.missing is None else pixels.values[~pixels.missing]
    if not len(values):
        raise ValueError("none of its values is a number")
    sampled = np.sort(values[:: -(-len(values) // _MOST_SAMPLED)])
    rest = len(sampled) // 1000
    numbers = (values.min(), values.max(), sampled[rest], sampled[len(sampled) - 1 - rest])
    low, high, middle_low, middle_high = map(float, numbers)
    return Levels(pixels.kind, low, high, middle_low, middle_high)


def find_full(kind: str) -> tuple[float, float]:
    """Returns the least and the greatest value that a kind can have; of floats they are 0 and 1."""
    if kind.startswith("float"):
        return 0.0, 1.0
    bits = int(kind.lstrip("uint"))
    return (0.0, 2.0**bits - 1) if kind.startswith("u") else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)


def is_clipped(levels: Levels, value_range: ValueRange) -> bool:
    """Whether values lie outside a range."""
    low, high = find_full(levels.kind) if value_range == "full" else value_range
    return levels.low < low or levels.high > high


def scale(pixels: WidePixels, value_range: ValueRange) -> Array:
    """Returns `uint8 [H, W, 3]`: black for the low end of a range, what lies below and no value; white for the high."""
    low, high = find_full(pixels.kind) if value_range == "full" else value_range
    values, step = pixels.values, 255 / (high - low) if high > low else 0.0
    scaled: Array = np.empty(values.shape, np.uint8)
    source, target = values.reshape(-1), scaled.reshape(-1)
    for start in range(0, len(source), _PART_VALUES):
        part = (source[start : start + _PART_VALUES].astype(np.float64) - low) * step
        target[start : start + _PART_VALUES] = np.rint(np.nan_to_num(part, nan=0.0).clip(0, 255))
    if pixels.missing is not None:
        scaled[pixels.missing] = 0
    return np.repeat(scaled[:, :, None], 3, axis=2) if scaled.ndim == 2 else scaled


def loses_levels(pixels: WidePixels, scaled: Array) -> bool:
    """Whether `scaled`, which `scale` returned, shows few levels where there are many values."""
    counts = [cv2.calcHist([scaled], [band], None, [256], [0, 256]) for band in range(scaled.shape[2])]
    num = np.count_nonzero(np.sum(counts, axis=0))
    if num >= _FEW:
        return False
    values = pixels.values.reshape(-1)
    return bool(len(np.unique(values[:: -(-len(values) // _MOST_SAMPLED)])) >= _LOST * num)


def lay_on_white(rgb: Array, alpha: Array | None) -> Array:
    """Lays pixels `uint8 [H, W, 3]` on white as far as they are not opaque; returns them."""
    if alpha is None:
        return rgb
    for row, shares in zip(rgb, alpha):
        row[:] = np.rint(255 - (255 - row) * shares[:, None])
    return rgb
