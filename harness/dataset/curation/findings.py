"""What was found about each picture file: one row of cleaning.csv. It opens no picture."""

import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.base import csv_files, files
from harness.base.text import MOST_ROWS, cap_rows, format_table, shorten
from harness.dataset.curation.fingerprints import FINGERPRINT_BYTES
from harness.dataset.curation.splits import SPLITS
from harness.dataset.images import rejection
from harness.dataset.images.rejection import Reason, Rejected

if TYPE_CHECKING:
    from harness.base.storage import Folder

FILE_NAME = "cleaning.csv"
KEPT, REJECTED = "kept", "rejected"
NO_CLASS = "(no class)"  # what stands for a class where a file has none


# Reasons that are found by comparing pictures, not by looking at one.
COPIES = (Reason.DUPLICATE, Reason.LABEL_CONFLICT)
# Notes of pictures that are kept though one that equals them, or nearly does, has another class.
CONFLICT_NOTES = ("label_conflict", "near_conflict")


class Finding(NamedTuple):
    """What was found about one file. `path` is relative to the images folder, in POSIX form.

    `red`, `green`, `blue` are means from 0 to 255. `dark`, `light`, `blurry` and `information` are scores from 0 (bad)
    to 1, see dataset/images/quality.py. `levels` are the values of pixels of more than 8 bits, see
    dataset/images/wide_pixels.py, and `range` those that are black and white in the encoded picture; it is empty as
    long as that is not known, and there is no encoded picture then. The encoded picture lies at `offset` of `file`, in
    `length` bytes. `label_was` is the class before `clean.labels` corrected or confirmed it, `label_reason` why.

    A build changes findings and sends them to other processes several times, which costs far less with a tuple than
    with a dataclass.
    """

    path: str
    class_name: str = ""
    verdict: str = KEPT
    reason: str = ""
    measured: str = ""
    limit: str = ""
    notes: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    num_bytes: int = 0
    split: str = ""
    group: str = ""
    near_copy_of: str = ""
    label_was: str = ""
    label_reason: str = ""
    red: float = 0.0
    green: float = 0.0
    blue: float = 0.0
    dark: float = 0.0
    light: float = 0.0
    blurry: float = 0.0
    information: float = 0.0
    levels: str = ""
    range: str = ""
    sha256: str = ""
    pixels_sha256: str = ""
    file: str = ""
    offset: int = 0
    length: int = 0
    fingerprint: bytes = b""

    @property
    def is_kept(self) -> bool:
        """Whether the picture goes into the records."""
        return self.verdict == KEPT

    def rejected(self, reason: Reason, measured: str, limit: str) -> "Finding":
        """Returns this finding as a rejection."""
        return self._replace(verdict=REJECTED, reason=str(reason), measured=measured, limit=limit)

    def noted(self, note: str) -> "Finding":
        """Returns this finding with one more note."""
        return self._replace(notes=f"{self.notes} {note}".strip())


_KINDS = Finding.__annotations__
_WORDS = {"verdict": {KEPT, REJECTED}, "reason": {"", *map(str, Reason)}, "split": {"", *SPLITS}}
COLUMNS = Finding._fields
_ADDED = ("label_was", "label_reason", "levels", "range")  # in their order; older files lack some
# Words that many findings share are kept in memory once.
_SHARED = {"range", "class_name", "label_was", "verdict", "reason", "limit", "notes", "format", "split", "file"}


def as_row(finding: Finding) -> list[object]:
    """Returns the values of a finding in the order of `COLUMNS`, bytes as hexadecimal digits."""
    *values, fingerprint = finding
    return [*values, fingerprint.hex()]


def from_row(row: Sequence[str]) -> Finding:
    """Returns the finding that `as_row` was made from.

    Raises:
      ValueError: the row has another form.
    """
    if len(row) != len(COLUMNS):
        raise ValueError(f"a row of {len(row)} columns: expected {len(COLUMNS)}")
    finding = Finding._make(_parse(name, kind, text) for (name, kind), text in zip(_KINDS.items(), row))
    for name, words in _WORDS.items():
        if getattr(finding, name) not in words:
            raise ValueError(f"{finding.path!r} has the {name} {getattr(finding, name)!r}")
    if finding.file and len(finding.fingerprint) != FINGERPRINT_BYTES:
        raise ValueError(f"{finding.path!r} has a fingerprint of {len(finding.fingerprint)} bytes")
    return finding


def _parse(name: str, kind: type, text: str) -> object:
    if kind is str:
        return sys.intern(text) if name in _SHARED else text
    return bytes.fromhex(text) if kind is bytes else kind(text)


def write(path: Path, findings: Iterable[Finding]) -> None:
    """Writes one row a file under a header, complete or not at all."""
    with files.open_new(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv_files.write_rows(text, chain([COLUMNS], map(as_row, findings)))
        text.detach()  # flushed, and not closed: the file is synced first


def read(path: "Folder") -> list[Finding]:
    """Reads what `write` wrote.

    Raises:
      ValueError: the file has another form.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv_files.read_rows(file)
        header = next(rows, None)
        missing = [name for name in _ADDED if header and name not in header]
        if header != [name for name in COLUMNS if name not in missing]:
            raise ValueError(f"{path} does not have the columns of this version")
        places = [COLUMNS.index(name) for name in missing]
        return [from_row(_fill(row, places)) for row in rows]


def _fill(row: list[str], places: Sequence[int]) -> list[str]:
    """The row with an empty cell at each of the places, which ascend."""
    for place in places:
        row.insert(place, "")
    return row


def summarise_rejects(findings: Iterable[Finding]) -> str:
    """Returns how many are rejected for each reason, with a file of the most frequent and what to do about it."""
    return rejection.summarise(
        (item.path, Rejected(Reason(item.reason), item.measured, item.limit)) for item in findings if not item.is_kept
    )


def summarise(findings: Sequence[Finding], class_names: Sequence[str] = ()) -> str:
    """Returns a table of classes against kept and each reason of rejection, with totals.

    They are in the order of their labels; of very many those are shown that lost most.
    """
    seen = {finding.reason for finding in findings}
    reasons = [reason for reason in Reason if reason in seen]
    counts = Counter((finding.class_name, finding.reason or KEPT) for finding in findings)
    names = [*class_names, *sorted({finding.class_name for finding in findings}.difference(class_names))]
    columns = {name: [counts[name, column] for column in (KEPT, *reasons)] for name in names}
    num_found = {name: sum(column) - counts[name, Reason.MISSING] for name, column in columns.items()}
    totals = [sum(numbers) for numbers in zip(*([num_found[name], *column] for name, column in columns.items()))]
    if len(names) > MOST_ROWS:
        names.sort(key=lambda name: -sum(columns[name][1:]))
    shown, more = cap_rows([(shorten(name) or NO_CLASS, num_found[name], *columns[name]) for name in names])
    rest = [(f"{more} classes", *[""] * len(totals))] if more else []
    header = ("class", "found", KEPT, *(reason.replace("_", " ") for reason in reasons))
    return format_table([header, *shown, *rest, ("total", *totals)])
