"""Examines picture files: each ends as a finding, kept or rejected with a reason, and a stored form if it is kept.

It looks at one file at a time and deletes nothing; copies of each other are the matter of duplicates.py.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness import files, images
from harness.config import Config
from harness.images import Reason, Rejected
from harness.tables import format_table

_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Finding:
    """What was found about one file. `path` is relative to the images folder, in POSIX form."""

    path: str
    class_name: str
    verdict: str = "kept"
    reason: str = ""
    measured: str = ""
    limit: str = ""
    notes: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    num_bytes: int = 0
    sha256: str = ""
    group: str = ""
    split: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the picture goes into the records."""
        return self.verdict == "kept"

    def rejected(self, reason: Reason, measured: str, limit: str) -> "Finding":
        """Returns this finding as a rejection."""
        return replace(self, verdict="rejected", reason=str(reason), measured=measured, limit=limit)


@dataclass(frozen=True)
class Examined:
    """A finding with the digest of the upright pixels and where the stored form lies in the spool file."""

    finding: Finding
    pixels_sha256: str = ""
    spool: str = ""
    offset: int = 0
    length: int = 0


def examine(folder: Path, paths: Sequence[str], config: Config, spool: Path) -> list[Examined]:
    """Decodes, checks, resizes and encodes pictures; appends the stored forms of the good ones to `spool`.

    Args:
      folder: the images folder.
      paths: files below it, in POSIX form; the first part is the class.
      config: its sections `clean` and `records` are used.
      spool: file to create; one worker writes one file.
    """
    results = []
    with spool.open("wb") as output:
        for path in paths:
            examined, stored = _examine_one(folder, path, config)
            if stored:
                examined = replace(examined, spool=spool.name, offset=output.tell(), length=len(stored))
                output.write(stored)
            results.append(examined)
    return results


def _examine_one(folder: Path, path: str, config: Config) -> tuple[Examined, bytes]:
    finding = Finding(path, class_name=path.split("/", maxsplit=1)[0])
    name = path.rsplit("/", maxsplit=1)[-1]
    if name.startswith(".") or name.lower() in _SYSTEM_FILES:
        return Examined(finding.rejected(Reason.SYSTEM_FILE, name, "a picture")), b""
    try:
        content = (folder / path).read_bytes()
    except OSError as error:
        return Examined(finding.rejected(Reason.UNREADABLE, error.strerror or str(error), "a readable file")), b""
    finding = replace(finding, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    try:
        picture = images.decode(content, config.clean)
    except Rejected as rejection:
        return Examined(finding.rejected(rejection.reason, rejection.measured, rejection.limit)), b""
    height, width = picture.pixels.shape[:2]
    finding = replace(finding, format=picture.format, width=width, height=height, notes=" ".join(picture.notes))
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(picture.pixels.tobytes())
    stored = images.encode_jpeg(images.resize(picture.pixels, config.records.image_size), config.records.jpeg_quality)
    return Examined(finding, pixels_sha256=digest.hexdigest()), stored


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Writes cleaning.csv: one row a file, in the order of the paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Finding)]
    writer.writerow(names)
    writer.writerows([getattr(finding, name) for name in names] for finding in findings)
    files.write_text(path, text.getvalue())


def summarise(findings: Sequence[Finding]) -> str:
    """Returns a table of classes against kept and each reason of rejection, with totals."""
    reasons = [reason for reason in Reason if any(finding.reason == reason for finding in findings)]
    classes = sorted({finding.class_name for finding in findings})
    counts = Counter((finding.class_name, finding.reason or "kept") for finding in findings)
    rows: list[list[object]] = []
    for name in classes:
        columns = [counts[name, column] for column in ("kept", *reasons)]
        rows.append([name, sum(columns), *columns])
    header = ["class", "found", "kept", *(reason.replace("_", " ") for reason in reasons)]
    total = ["total", *(sum(row[i] for row in rows) for i in range(1, len(header)))]
    return format_table([header, *rows, total])
