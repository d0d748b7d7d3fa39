"""What an unfinished build has examined: findings and encoded pictures on disk, for the build that goes on with them.

A chunk is a file of encoded pictures and a CSV file of findings under their digest. The CSV file is written last, so
all that it lists is there. Where the chunks lie is set in build/build_folder.py.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from harness.base import csv_files, files
from harness.base.storage import Folder
from harness.dataset.curation import findings
from harness.dataset.curation.findings import Finding

_COLUMNS = [*findings.COLUMNS, "mtime_ns"]
_ENDING = ".stored"  # the old name stays: unfinished builds have such files


@dataclass(frozen=True)
class Examined:
    """A finding, the time its file was last changed, and the encoded picture, if it is usable."""

    finding: Finding
    mtime_ns: int
    encoded: bytes = b""


def write_chunk(folder: Path, examined: Sequence[Examined]) -> list[Finding]:
    """Writes a chunk; returns its findings, which now say where their encoded pictures lie."""
    digest = hashlib.sha256()
    for item in examined:
        digest.update(f"{item.finding.path}\0{item.finding.sha256}\n".encode())
    name = digest.hexdigest()[:24]
    located, offset = [], 0
    for item in examined:
        if item.encoded:
            located.append(item.finding._replace(file=name + _ENDING, offset=offset, length=len(item.encoded)))
            offset += len(item.encoded)
        else:
            located.append(item.finding)
    if offset:
        files.write_bytes(folder / (name + _ENDING), b"".join(item.encoded for item in examined))
    text = io.StringIO()
    rows = ([*findings.as_row(finding), item.mtime_ns] for finding, item in zip(located, examined))
    csv_files.write_rows(text, chain([_COLUMNS], rows))
    files.write_text(folder / f"{name}.csv", f"{_digest(text.getvalue())}\n{text.getvalue()}")
    return located


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(folder: Path) -> dict[str, tuple[Finding, int]]:
    """Returns finding and time of change for every file that was examined; a damaged chunk is left out."""
    found = {}
    for path in sorted(folder.glob("*.csv"), key=lambda path: path.stat().st_mtime_ns):
        try:
            with path.open(encoding="utf-8", newline="") as file:
                digest, _, text = file.read().partition("\n")
            rows = csv_files.read_rows(io.StringIO(text, newline=""))
            if digest == _digest(text) and next(rows, None) == _COLUMNS:
                found.update({row[0]: (findings.from_row(row[:-1]), int(row[-1])) for row in rows})
        except (ValueError, IndexError):
            continue
    return found


def is_unchanged(path: Folder, finding: Finding, mtime_ns: int) -> bool:
    """Whether a file still has the size and the time of change that it was examined with."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_mtime_ns == mtime_ns and status.st_size == finding.num_bytes


def is_shard(finding: Finding) -> bool:
    """Whether the encoded picture lies in a shard, not in the build cache."""
    return bool(finding.file) and not finding.file.endswith(_ENDING)


def locate(finding: Finding, folder: Path, records: Path) -> Path:
    """Returns the file that holds an encoded picture: a chunk of the build cache `folder`, or a shard in `records`."""
    return (records if is_shard(finding) else folder) / finding.file


def read_encoded(path: Path, offset: int, length: int) -> bytes:
    """Returns the bytes of one encoded picture.

    Raises:
      OSError: the file is shorter than that.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    if len(content) != length:
        raise OSError(5, "the file was cut short", str(path))
    return content
