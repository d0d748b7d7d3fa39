"""Tables that users bring, as spreadsheets and scripts write them: encoding, delimiter, columns and rows.

It knows columns by their names, or by cells that are called like pictures. Which picture a row speaks of is found in
matching.py.
"""

import codecs
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.base import csv_files, storage
from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import list_names, shorten, visible
from harness.dataset.listing import junk

# What columns of pictures and groups are called, letters and digits alone, those that say most first.
PATH_NAMES = (
    *("path", "filepath", "imagepath", "imgpath", "picturepath", "relativepath", "file", "filename", "imagefile"),
    *("imagename", "imgname", "image", "img", "picture", "photo", "imageid", "imgid", "imageindex", "idcode", "name"),
    *("id", "uid"),
)
GROUP_NAMES = (
    *("group", "groupid", "patient", "patientid", "subject", "subjectid", "person", "personid", "identity"),
    *("participant", "participantid", "lesionid"),
)
_TABLE = re.compile(r"(?P<file>.+\.(?:csv|tsv|txt))(?::(?P<column>[^/\\]+))?", re.IGNORECASE | re.DOTALL)
_AS_UTF8 = "save it as CSV in UTF-8 (in Excel: CSV UTF-8)"
_MARKS = (  # those of UTF-32 first: they begin with those of UTF-16
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig")),
)
_DELIMITERS = (",", ";", "\t", "|")
_MOST_PICTURES = 0.9  # of the cells of a column, called like pictures: it names them
_NUM_SNIFFED = 200  # rows by which the delimiter is told
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # of .xlsx and .ods, and of .xls


class Row(NamedTuple):
    """The cells of a row, without blanks around them, and the line of the file on which it begins."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table as it was read: `name` is what to call it, every row has a cell for each of `columns`, or more."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def describe_columns(self) -> str:
        """Returns the columns' names for a sentence."""
        return list_names(self.columns, separator=", ") or "nothing"


def parse_name(text: str) -> tuple[str, str] | None:
    """Returns file and column of a setting such as "people.csv:person", the column "" if none is named; None if the
    text names no table.
    """
    found = _TABLE.fullmatch(text)
    return (found["file"], found["column"] or "") if found else None


def locate(name: str, folder: Folder) -> Folder:
    """Returns the file of this name in the images folder, or else as the current folder has it."""
    if "://" in name:
        return storage.parse(name)
    inside = folder / name
    return storage.parse(name) if not inside.exists() and storage.parse(name).exists() else inside


def read(path: Folder, setting: str, folder: Folder) -> Table:
    """Reads a table: UTF-8, or UTF-16 with a mark; separated by commas, semicolons, tabs or bars, which is found out.

    Args:
      path: the file.
      setting: the setting that names it, for what is said of a file that cannot be read.
      folder: the images folder; a table that lies in it is called by its name alone.

    Raises:
      DataError: it cannot be read.
    """
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            raise FileNotFoundError("there is no such file")
        with path.open("rb") as file:
            text = _decode(file.read())
        skipped, delimiter = _sniff(text)
        rows = csv_files.read_numbered(io.StringIO(text[len(skipped) :], newline=""), delimiter=delimiter)
        numbered = [(line + bool(skipped), _strip(cells)) for line, cells in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"{setting} needs {path}, which cannot be read: {error}.") from None
    is_here = str(path) == path.name  # in the current folder, which its name alone would not say
    name = path.name if path.parent == folder else f"./{path}" if is_here else str(path)
    numbered = [(line, cells) for line, cells in numbered if any(cells)]
    if not numbered:
        return Table(name, (), ())
    columns = _trim(numbered[0][1])
    return Table(name, columns, tuple(Row(line, _fit(cells, len(columns))) for line, cells in numbered[1:]))


def _decode(content: bytes) -> str:
    if content.startswith(_WORKBOOKS):
        raise ValueError(f"it is a workbook of a spreadsheet program: {_AS_UTF8}")
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        cure = f"{_AS_UTF8}, or: iconv -f WINDOWS-1252 -t UTF-8 TABLE > NEW"
        raise ValueError(f"line {line} is not valid {encoding.upper()}: {cure}") from None
    if "\0" in text:
        raise ValueError(f"it holds null characters: {_AS_UTF8}")
    return text


def _sniff(text: str) -> tuple[str, str]:
    """Returns what to skip and the delimiter: of a first line "sep=;", as Excel writes it, or the one that fits."""
    first = text.partition("\n")[0]
    if found := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):
        return f"{first}\n", found[1]
    fits = {delimiter: _measure_fit(text, delimiter) for delimiter in _DELIMITERS}
    return "", max(_DELIMITERS, key=lambda delimiter: fits[delimiter])


def _measure_fit(text: str, delimiter: str) -> tuple[float, int]:
    """Returns the share of the first rows with as many cells as the first of them, which has two or more; and these."""
    sizes = []
    try:
        for _, cells in csv_files.read_numbered(io.StringIO(text, newline=""), delimiter=delimiter):
            if any(cells):
                sizes.append(len(cells))
            if len(sizes) > _NUM_SNIFFED:
                break
    except ValueError:
        return 0.0, 0
    if not sizes or sizes[0] < 2:
        return 0.0, 0
    return sum(size == sizes[0] for size in sizes) / len(sizes), sizes[0]


def _strip(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in cells)


def _trim(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the cells without empty ones at the end."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _fit(cells: tuple[str, ...], num_cells: int) -> tuple[str, ...]:
    """Returns so many cells, the last of them empty; more if more are not."""
    return (*(trimmed := _trim(cells)), *[""] * (num_cells - len(trimmed)))


def check_width(table: Table) -> None:
    """Checks that no row has more cells than there are columns: nobody can tell which cell is which then.

    Raises:
      DataError: one has.
    """
    for row in table.rows:
        if len(row.cells) > len(table.columns):
            raise DataError(
                f"{table.name}, line {row.line}, has {len(row.cells)} cells and the first line names "
                f"{len(table.columns)} columns ({table.describe_columns()}): name every column, and put a cell that "
                f"holds the separator itself into double quotes. The line begins {shorten(' | '.join(row.cells))!r}."
            )


def find_column(table: Table, name: str) -> int | None:
    """Returns the place of the column of this name, whatever its case; None if there is none.

    Raises:
      DataError: several columns have the name.
    """
    exact = [place for place, column in enumerate(table.columns) if column == name]
    places = exact or [place for place, column in enumerate(table.columns) if _fold(column) == _fold(name)]
    if len(places) > 1:
        raise DataError(f"{table.name} has the column {visible(name)} {len(places)} times. Rename all but one.")
    return places[0] if places else None


def guess_column(table: Table, names: Sequence[str]) -> int | None:
    """Returns the place of the column with the first of these names that there is, whatever its case and blanks.

    Raises:
      DataError: several columns have this name.
    """
    letters = [keep_letters(column) for column in table.columns]
    found = next((name for name in names if name in letters), None)
    return None if found is None else find_column(table, table.columns[letters.index(found)])


def find_path_column(table: Table) -> int | None:
    """Returns the place of the column that names pictures: "path", or what else such columns are called.

    Where none is called so, it is the only one whose cells are called like pictures, whatever the language of its name.
    """
    place = find_column(table, "path")
    place = guess_column(table, PATH_NAMES) if place is None else place
    if place is not None or any(map(junk.is_picture_name, table.columns)):  # the latter: there is no line of names
        return place
    found = [place for place in range(len(table.columns)) if _names_pictures(table, place)]
    return found[0] if len(found) == 1 else None


def _names_pictures(table: Table, place: int) -> bool:
    cells = [row.cells[place] for row in table.rows if row.cells[place]]
    return bool(cells) and sum(map(junk.is_picture_name, cells)) >= _MOST_PICTURES * len(cells)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def keep_letters(name: str) -> str:
    """Returns the name's letters and digits alone, folded: what columns are told by."""
    return "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if char.isalnum())
