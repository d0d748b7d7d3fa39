"""One picture: what it is, its pixels, its size and its stored form.

This is the only decoder: build_records, evaluate and predict all read pictures through `decode`, so that a model meets
the same pixels in training and in use. It imports no TensorFlow, so that worker processes start quickly.
"""

import io
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from harness.config import CleanConfig

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# Pillow's own guard against huge headers is replaced by `clean.max_pixels`, which is checked before any pixel is read.
Image.MAX_IMAGE_PIXELS = None

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"%PDF", "PDF"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"<svg", "SVG"),
)
# What Pillow's decoders are seen to raise on damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
)
_EXIF_ORIENTATION = 0x0112


class Reason(str, Enum):
    """Why a picture is rejected."""

    __str__ = str.__str__  # enum.StrEnum, which Python 3.10 lacks

    UNREADABLE = "unreadable"
    SYSTEM_FILE = "system_file"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CUT_OFF = "cut_off"
    CORRUPT = "corrupt"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    DUPLICATE = "duplicate"
    LABEL_CONFLICT = "label_conflict"


class Rejected(Exception):
    """A picture that cannot be used: the reason, what was measured, and the limit or expectation it missed."""

    def __init__(self, reason: Reason, measured: str, limit: str) -> None:
        super().__init__(f"{reason.replace('_', ' ')}: {measured}; expected {limit}")
        self.reason, self.measured, self.limit = reason, measured, limit


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright pixels `uint8 [H, W, 3]` in RGB, the format found, and what was converted."""

    pixels: np.ndarray
    format: str
    notes: tuple[str, ...]


def walk_files(folder: Path) -> Iterator[Path]:
    """Yields every file below `folder` in the order of its path's text, the same on every file system."""
    yield from sorted((path for path in folder.rglob("*") if path.is_symlink() or path.is_file()), key=Path.as_posix)


def sniff(content: bytes) -> str | None:
    """Returns the name of the format the first bytes show, or None for bytes of no known picture format."""
    for offset, magic, name in _SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return name
    return None


def decode(content: bytes, limits: CleanConfig) -> Picture:
    """Decodes every pixel of a picture file, whatever its name says it is.

    The EXIF orientation is applied; grey, palette, CMYK and 16-bit become RGB of 8 bits; alpha is laid on white; of
    several frames the first is taken.

    Raises:
      Rejected: the file is no picture, damaged, cut off, of another format, or outside the limits.
    """
    _check_file(content, limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about oddities that it reads correctly
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(image.width, image.height, limits)
                name, notes = image.format or "", _notes(image)
                image.load()
                pixels = _to_rgb(ImageOps.exif_transpose(image))
        except _DECODER_ERRORS as error:
            raise _damage(error, content) from None
    return Picture(pixels, name.lower(), notes)


def _check_file(content: bytes, limits: CleanConfig) -> None:
    if not content:
        raise Rejected(Reason.EMPTY, "0 bytes", "a picture")
    if len(content) > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{len(content)} bytes", f"at most {limits.max_bytes} bytes")
    found = sniff(content)
    if found is None:
        raise Rejected(Reason.NOT_AN_IMAGE, f"first bytes {content[:8]!r}", "one of " + ", ".join(FORMATS))
    if found not in FORMATS:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, found, "one of " + ", ".join(FORMATS))


def _check_size(width: int, height: int, limits: CleanConfig) -> None:
    if width * height > limits.max_pixels:
        raise Rejected(Reason.TOO_LARGE, f"{width}x{height} = {width * height} pixels", f"at most {limits.max_pixels}")
    if min(width, height) < limits.min_side:
        raise Rejected(Reason.TOO_SMALL, f"{width}x{height} pixels", f"sides of at least {limits.min_side}")


def _damage(error: Exception, content: bytes) -> Rejected:
    text = str(error) or type(error).__name__
    is_cut = any(word in text.lower() for word in ("truncated", "eof", "not enough", "unexpected end"))
    reason = Reason.CUT_OFF if is_cut else Reason.CORRUPT
    return Rejected(reason, f"{len(content)} bytes: {text}"[:200], "a file that decodes to its last pixel")


def _notes(image: Image.Image) -> tuple[str, ...]:
    """What `decode` converts, in words for the report."""
    found = {
        "exif_rotated": image.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1),
        "gray": image.mode in ("1", "L", "LA"),
        "palette": image.mode in ("P", "PA"),
        "alpha": image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info,
        "cmyk": image.mode == "CMYK",
        "16_bit": image.mode.startswith("I"),
        "several_frames": getattr(image, "n_frames", 1) > 1,
    }
    return tuple(note for note, is_true in found.items() if is_true)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        wide = np.asarray(image.convert("I")).clip(0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def read(path: Path, limits: CleanConfig) -> Picture:
    """Reads and decodes one file.

    Raises:
      Rejected: as `decode` does, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, error.strerror or str(error), "a readable file") from None
    return decode(content, limits)


def read_all(paths: Iterable[Path], limits: CleanConfig, size: int) -> Iterator[tuple[Path, np.ndarray | Rejected]]:
    """Yields for every path, in order, its pixels `uint8 [size, size, 3]` or why there are none.

    Files are decoded by a thread for each core, a bounded number ahead.
    """

    def read_one(path: Path) -> np.ndarray | Rejected:
        try:
            return resize(read(path, limits).pixels, size)
        except Rejected as rejection:
            return rejection

    ahead: deque[tuple[Path, Future]] = deque()
    num_threads = os.cpu_count() or 1
    with ThreadPoolExecutor(num_threads) as pool:
        for path in paths:
            ahead.append((path, pool.submit(read_one, path)))
            if len(ahead) > 4 * num_threads:
                done, future = ahead.popleft()
                yield done, future.result()
        for path, future in ahead:
            yield path, future.result()


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Returns `uint8 [size, size, 3]`; each axis is averaged when it shrinks (no aliasing) and cubic when it grows."""
    height, width = pixels.shape[:2]
    small = (min(width, size), min(height, size))
    if small != (width, height):
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    if small != (size, size):
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_CUBIC)
    return pixels


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encodes RGB pixels `uint8 [H, W, 3]` as a JPEG file."""
    is_encoded, buffer = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not is_encoded:
        raise ValueError(f"OpenCV could not encode pixels of shape {pixels.shape}")
    return buffer.tobytes()
