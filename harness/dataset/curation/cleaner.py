"""Examines picture files: each becomes a finding, kept with an encoded picture or rejected with a reason.

It looks at one file at a time and changes none. Comparing pictures with each other is done in duplicates.py.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import google_crc32c

from harness.base import files
from harness.base.storage import Folder
from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import describe_range, find_preparation
from harness.config.schema import Config
from harness.config.values import ValueRange
from harness.dataset.curation import build_cache, fingerprints
from harness.dataset.curation.build_cache import Examined
from harness.dataset.curation.findings import Finding
from harness.dataset.images import decoder, formats, quality, sources
from harness.dataset.images.costs import Costly
from harness.dataset.images.decoder import Picture, Unscaled
from harness.dataset.images.fitting import find_inner, prepare
from harness.dataset.images.formats import FORMATS
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.images.wide_pixels import parse_levels
from harness.dataset.listing.listed import LeftOut, Listed
from harness.dataset.records.encoding import encode_pixels

# Raised whenever the same file would get another finding or another encoded picture.
VERSION = 6
# Settings of `clean` that say nothing of a file by itself.
_JUDGED_LATER = ("near_copies", "label_conflicts", "near_conflicts", "labels")


def digest_rules(config: Config) -> str:
    """Returns one sha256 for everything but the file itself that a finding and an encoded picture follow from."""
    sections = config.sections("clean", "records")
    used = {name: value for name, value in sections["clean"].items() if name not in _JUDGED_LATER}
    stored = {
        name: sections["records"][name] for name in ("image_size", "encoding", "jpeg_quality", "fit", "pad_color")
    }
    return files.digest_json([VERSION, FORMATS, used, stored])


@dataclass(frozen=True)
class Postponed:
    """Stands for the finding of a picture whose decoding takes so many bytes of memory, and that was left alone."""

    num_bytes: int


def examine(
    folder: Folder, known: Sequence[tuple[str, str]], config: Config, cache_folder: Path, budget: int | None
) -> list[Finding | Postponed | None]:
    """Decodes, checks, measures, resizes and encodes pictures; writes the good ones to the build cache.

    Args:
      folder: the images folder.
      known: files below it in POSIX form, each with the sha256 it was examined with before or "".
      config: its sections `clean` and `records` are used.
      cache_folder: where the chunk is written.
      budget: bytes of memory that decoding a picture may take; None: what it takes.

    Returns:
      A finding for each file, None for one that still has the sha256 it had, or that it takes more than `budget`.
      None of them knows a class: `as_listed` gives it.
    """
    looked_at = [_look_at(folder, path, digest, config, budget) for path, digest in known]
    # Measured only when all are decoded: what decodes and what measures would drive each other out of the caches.
    results = [_describe(item) if isinstance(item, _Usable) else item for item in looked_at]
    new = [item for item in results if isinstance(item, Examined)]
    located = iter(build_cache.write_chunk(cache_folder, new) if new else ())
    return [next(located) if isinstance(item, Examined) else item for item in results]


def find_range(found: Iterable[Finding], config: CleanConfig) -> ValueRange | None:
    """Returns the values that become black and white of pixels of more than 8 bits; None if there are none such."""
    all_levels = [parse_levels(item.levels) for item in found if item.levels]
    if not all_levels or config.range != "auto":
        return None if not all_levels or config.range == "auto" else config.range
    low = min(levels.low for levels in all_levels)
    return low, max(*(levels.high for levels in all_levels), math.nextafter(low, math.inf))


def is_scaled(finding: Finding, value_range: ValueRange | Literal["auto"]) -> bool:
    """Whether a finding holds as it is where these values become black and white; auto: they are not known yet."""
    return not finding.levels or value_range == "auto" or finding.range == describe_range(value_range)


def refuse(path: str, rejection: Rejected) -> Finding:
    """Returns the finding of a file that was not decoded for want of means; it has no digest, as nobody knows it."""
    return Finding(path).rejected(rejection.reason, rejection.measured, rejection.limit)


def as_listed(finding: Finding, picture: Listed) -> Finding:
    """Returns the finding with the class, split and group that its picture is listed with now, corrected or not.

    They are no part of what is examined: another listing of the same files costs no examination.
    """
    return finding._replace(
        class_name=picture.class_name,
        split=picture.split,
        group=picture.group,
        label_was=picture.label_was,
        label_reason=picture.label_reason,
    )


def leave_out(item: LeftOut) -> Finding:
    """Returns the finding of a file that is no picture by its name or its place."""
    file = item.file
    finding = Finding(file.path, file.class_name, label_was=file.label_was, label_reason=file.label_reason)
    return finding.rejected(item.reason, item.measured, item.limit)


@dataclass(frozen=True)
class _Usable:
    """A usable picture that is still to be measured: its pixels made small, and a checksum of the encoded ones."""

    finding: Finding
    mtime_ns: int
    encoded: bytes
    picture: Picture
    checksum: int


def _look_at(
    folder: Folder, path: str, known_sha256: str, config: Config, budget: int | None
) -> Examined | _Usable | Postponed | None:
    finding, source = Finding(path), folder / path
    status, is_link = sources.find_status(source)
    mtime_ns = status.st_mtime_ns if status else 0
    try:
        content = sources.read_bytes(source, config.clean, status)
    except Rejected as rejection:
        if status and rejection.reason == Reason.TOO_LARGE:  # follows from the size, so that nothing is read
            finding = finding._replace(num_bytes=status.st_size)
        return Examined(finding.rejected(rejection.reason, rejection.measured, rejection.limit), mtime_ns)
    digest = hashlib.sha256(content).hexdigest()
    if digest == known_sha256:
        return None
    finding = Finding(path, num_bytes=len(content), sha256=digest)
    if is_link:
        finding = finding.noted("symbolic_link")
    try:
        picture = decoder.decode(content, config.clean, least_side=config.records.image_size, budget=budget)
    except Costly as costly:
        return Postponed(costly.num_bytes)
    except Unscaled as unscaled:
        return Examined(finding._replace(levels=str(unscaled.levels)), mtime_ns)
    except Rejected as rejection:
        if rejection.reason == Reason.UNREADABLE:
            return Examined(refuse(path, rejection), mtime_ns)
        return Examined(finding.rejected(rejection.reason, rejection.measured, rejection.limit), mtime_ns)
    preparation = find_preparation(config.records)
    pixels = prepare(picture.pixels, preparation)
    inner = find_inner(picture.pixels.shape[0], picture.pixels.shape[1], preparation)
    small = replace(picture, pixels=quality.shrink(pixels[inner]))
    checksum = google_crc32c.value(pixels.tobytes())
    if picture.levels and config.clean.range != "auto":
        finding = finding._replace(range=describe_range(config.clean.range))
    return _Usable(finding, mtime_ns, encode_pixels(pixels, config.records), small, checksum)


def _describe(usable: _Usable) -> Examined:
    """Adds to the finding all that the pixels tell.

    The digest for exact copies covers the encoded picture, a checksum of the pixels it was made from, and the picture's
    own size. A digest of the decoded pixels would cost half as much as decoding.
    """
    finding, picture = usable.finding, usable.picture
    found = quality.measure(picture.pixels)
    digest = hashlib.sha256(usable.encoded)
    digest.update(f"{picture.height}x{picture.width} {usable.checksum}".encode())
    notes = (
        *finding.notes.split(),
        *picture.notes,
        *formats.note_of_name(finding.path, picture.format),
        *quality.flags(found, picture.width, picture.height),
    )
    described = finding._replace(
        format=picture.format,
        width=picture.width,
        height=picture.height,
        notes=" ".join(notes),
        pixels_sha256=digest.hexdigest(),
        fingerprint=_fingerprint(picture),
        levels=str(picture.levels or ""),
        **vars(found),
    )
    return Examined(described, usable.mtime_ns, usable.encoded)


def _fingerprint(picture: Picture) -> bytes:
    if min(picture.width, picture.height) < fingerprints.LEAST_SIDE:
        return bytes(fingerprints.FINGERPRINT_BYTES)
    return fingerprints.fingerprint(picture.pixels)
