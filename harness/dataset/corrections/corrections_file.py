"""The table of corrected labels that the setting `clean.labels` names: in each row a picture, its label, and why.

It knows no picture and no class; what the rows change is found in corrected_listing.py.
"""

import difflib
from dataclasses import dataclass
from typing import NamedTuple

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import list_names, shorten
from harness.dataset.listing import table
from harness.dataset.listing.table import Table

PATH, LABEL, REASON = COLUMNS = ("path", "label", "reason")
_HEADER = "path,label or path,label,reason"


class Correction(NamedTuple):
    """A row, as written: `label` is "" where the picture is to be left out. `line` is that of the file."""

    line: int
    path: str
    label: str
    reason: str


@dataclass(frozen=True)
class Corrections:
    """The rows of the table in their order; `name` is what to call it."""

    name: str
    rows: tuple[Correction, ...]


def read(labels: str, folder: Folder) -> Corrections:
    """Reads the table.

    Args:
      labels: the setting `clean.labels`.
      folder: the images folder, where the table is looked for first.

    Raises:
      DataError: it cannot be read, lacks a column or has one more, or a row names no place in the images folder.
    """
    listed = table.read(table.locate(labels, folder), "clean.labels", folder)
    places = _find_columns(listed)
    table.check_width(listed)
    rows = tuple(
        Correction(row.line, *(row.cells[place] if place is not None else "" for place in places))
        for row in listed.rows
    )
    for row in rows:
        _check_path(row, listed.name)
    return Corrections(listed.name, rows)


def _find_columns(listed: Table) -> list[int | None]:
    """Returns the places of the columns, None for reasons if there are none.

    A column of another name is refused: it may be one of these, misspelt, which nobody would miss.
    """
    places = [table.find_column(listed, name) for name in COLUMNS]
    if places[0] is None or places[1] is None:
        raise DataError(
            f"{listed.name} has no header path,label: its first line has {listed.describe_columns()}. Put {_HEADER} "
            "above the other lines."
        )
    unknown = [column for place, column in enumerate(listed.columns) if place not in places]
    if unknown:
        nearest = difflib.get_close_matches(unknown[0].lower(), COLUMNS, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise DataError(
            f"{listed.name} has the column {list_names([*map(repr, unknown)], separator=', ')} in its first line: "
            f"expected {_HEADER}. Rename or remove it.{hint}"
        )
    return places


def _check_path(row: Correction, name: str) -> None:
    if not row.path:
        raise DataError(f"{name}, line {row.line}, has an empty path. Write the picture's there, or remove the line.")
    if row.path.startswith("/") or ".." in row.path.split("/"):
        raise DataError(
            f"{name}, line {row.line}: {shorten(row.path, 200)!r} leads out of the images folder. Write the path below "
            "that folder, as cleaning.csv has it."
        )
