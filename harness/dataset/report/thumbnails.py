"""Small JPEGs for the data report: of encoded pictures, and of rejected files as far as they can be read.

selection.py decides which pictures are shown. A thumbnail is an ornament: whatever fails here leaves a blank.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from harness.base.storage import Folder
from harness.config.dataset_sections import CleanConfig, RecordsConfig
from harness.dataset.curation import build_cache
from harness.dataset.curation.findings import Finding
from harness.dataset.images import decoder, sources
from harness.dataset.images.arrays import Array
from harness.dataset.images.rejection import Reason
from harness.dataset.records.encoding import decode_pixels, encode_jpeg
from harness.dataset.report import facts

# Rejected files of which something can be seen.
_VISIBLE = (Reason.LEFT_OUT, Reason.CUT_OFF, Reason.CORRUPT, Reason.SALVAGED, Reason.TOO_SMALL)
_MOST_PIXELS = 5_000_000  # of a rejected file
_CPU_TIME_S = 5.0  # for decoding a rejected file: its pixels take a tenth of that


@dataclass(frozen=True)
class Origins:
    """Where encoded pictures lie: in the build cache, and in the records that are replaced."""

    images: Folder
    cache: Path
    records: Path


def is_visible_reject(item: Finding) -> bool:
    """Whether a rejected file may show something: not one that the decoder does not read at all."""
    return not item.file and item.reason in _VISIBLE


def draw(found: Sequence[Finding], origins: Origins, config: RecordsConfig) -> list[bytes | None]:
    """Draws pictures as small JPEGs, stretched ones in their own proportions; None where nothing can be shown.

    A picture that was refused is shown as a forgiving decoder reads it, which is often half of it. If that takes too
    long, the process is ended: call it in a worker process, with such a picture alone.
    """
    return [_draw_one(item, origins, config) for item in found]


def _draw_one(item: Finding, origins: Origins, config: RecordsConfig) -> bytes | None:
    try:
        if item.file:
            place = build_cache.locate(item, origins.cache, origins.records)
            encoded = build_cache.read_encoded(place, item.offset, item.length)
            pixels = decode_pixels(encoded, config.encoding, config.image_size)
            return _shrink(pixels, *((item.width, item.height) if config.fit == "stretch" else (1, 1)))
        content = sources.read_bytes(origins.images / item.path, CleanConfig())
        with _limit_cpu_time(_CPU_TIME_S):
            pixels = decoder.peek(content, CleanConfig(), most_pixels=_MOST_PIXELS)
        return _shrink(pixels, pixels.shape[1], pixels.shape[0])
    except Exception:  # of damaged files Pillow raises anything
        return None


@contextmanager
def _limit_cpu_time(seconds: float) -> Iterator[None]:
    """Ends the process after so much CPU time, whatever library it is in: the default action of SIGPROF."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _shrink(pixels: Array, width: int, height: int) -> bytes:
    scale = facts.THUMBNAIL_SIDE / max(width, height)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_jpeg(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), 75)
