"""Small JPEGs for the data report: of encoded pictures, and of rejected files as far as they can be read.

Which pictures the report shows is decided in survey.py.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile

from harness.base.arrays import Array
from harness.base.storage import Folder
from harness.config.schema import CleanConfig
from harness.dataset.curation import build_cache
from harness.dataset.curation.findings import Finding
from harness.dataset.images import sources
from harness.dataset.images.rejection import Rejected
from harness.dataset.records.encoding import decode_pixels, encode_jpeg
from harness.dataset.report import facts

_MOST_LENIENT_PIXELS = 25_000_000


@dataclass(frozen=True)
class Origins:
    """Where encoded pictures lie: in the build cache, and in the records that are replaced."""

    images: Folder
    cache: Path
    records: Path


def draw(found: Sequence[Finding], origins: Origins, encoding: str, size: int) -> list[bytes | None]:
    """Draws pictures as small JPEGs in their own proportions; None where nothing can be shown.

    A picture that was refused is shown as a forgiving decoder reads it, which is often half of it.
    """
    return [_draw_one(item, origins, encoding, size) for item in found]


def _draw_one(item: Finding, origins: Origins, encoding: str, size: int) -> bytes | None:
    if item.file:
        place = build_cache.locate(item, origins.cache, origins.records)
        pixels = decode_pixels(build_cache.read_encoded(place, item.offset, item.length), encoding, size)
        width, height = item.width, item.height
    else:
        readable = _read_leniently(origins.images / item.path)
        if readable is None:
            return None
        pixels = readable
        height, width = pixels.shape[:2]
    scale = facts.THUMBNAIL_SIDE / max(width, height)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_jpeg(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), 75)


def _read_leniently(path: Folder) -> Array | None:
    """The pixels that a forgiving decoder makes of a file; this runs in a process of one thread."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        content = sources.read_bytes(path, CleanConfig())
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MOST_LENIENT_PIXELS:
                return None
            return np.asarray(image.convert("RGB"))
    except (Rejected, OSError, ValueError, SyntaxError, TypeError, IndexError, struct.error, zlib.error):
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
