"""CSV as harness writes and reads it: whatever a cell holds comes back, and no spreadsheet runs it. It knows no column.

Rows end with a line feed. A text that a spreadsheet would take for a formula gets an apostrophe in front, which
`read_rows` takes away again.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from harness.base import files

ANY_NAME = "surrogatepass"  # a name may hold half a surrogate pair
# One apostrophe more than the text has, so that texts that begin with apostrophes of their own come back too.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_BEGINNINGS = frozenset("'=+-@\t\r\n")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")


class Writable(Protocol):
    """A file that takes text."""

    def write(self, text: str, /) -> object:
        """Adds text."""


class _LineFeeds:
    """Ends rows with a line feed where csv ends them with two characters, both of which it quotes only for that."""

    def __init__(self, file: Writable) -> None:
        self._file = file

    def write(self, row: str) -> object:
        return self._file.write(row[:-2] + "\n")


def write_rows(file: Writable, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows to a file that was opened with `newline=""`."""
    writer = csv.writer(_LineFeeds(file), lineterminator="\r\n")
    writer.writerows([_escape(cell) for cell in row] for row in rows)


def write(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows to a file as UTF-8, complete or not at all; names are read back with `errors=ANY_NAME`.

    Raises:
      OSError: it cannot be written.
    """
    with files.open_new(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors=ANY_NAME, newline="")
        write_rows(text, rows)
        text.detach()  # flushed, and not closed: the file is synced first


def _escape(cell: object) -> object:
    # The first comparison spares nearly all cells the others.
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in _BEGINNINGS and _FORMULA.match(cell) else cell


def read_rows(file: Iterable[str]) -> Iterator[list[str]]:
    """Yields the rows of a file that was opened with `newline=""`.

    Raises:
      ValueError: it is no CSV.
    """
    try:
        for row in csv.reader(file):
            yield _unescape(row)
    except csv.Error as error:
        raise ValueError(f"{error}") from None


def read_numbered(file: Iterable[str], *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a file that others have written, each with the number of the line on which it begins.

    Raises:
      ValueError: it is no CSV; a quote that opens a cell and does not close it is an error too.
    """
    rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for row in rows:
            yield line, _unescape(row)
            line = rows.line_num + 1
    except csv.Error as error:
        raise ValueError(f"line {line}: {error}") from None


def _unescape(row: Sequence[str]) -> list[str]:
    return [cell[1:] if cell[:1] == "'" and _ESCAPED.match(cell) else cell for cell in row]
