"""Which columns of a user's table hold the label, the split and the group: by name, or one column a class.

It knows no picture; labels.py makes a listing of the cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.base.errors import DataError
from harness.base.text import as_word, list_names, shorten
from harness.dataset.listing import junk, table
from harness.dataset.listing.split_folders import split_of
from harness.dataset.listing.table import Row, Table

# What columns of labels and splits are called, letters and digits alone.
LABEL_NAMES = (
    *("label", "labels", "class", "classname", "classlabel", "classid", "category", "categoryid", "target", "species"),
    *("breed", "emotion", "expression", "diagnosis", "dx", "finding", "findings", "findinglabels", "tag", "tags"),
)
SPLIT_NAMES = ("split", "subset", "partition", "set", "usage", "phase")
_LEAST_CLASSES = 2
_ON, _OFF = ("1", "1.0", "true"), ("0", "0.0", "false", "")


@dataclass(frozen=True)
class Columns:
    """Where the cells are; split and group are None if there are none. `label_of` tells a row's label, "" if none."""

    path: int
    label_of: Callable[[Row], str]
    split: int | None
    group: int | None
    said: str  # in words, which columns these are


def find_columns(listed: Table, wanted: str) -> Columns:
    """Finds the columns of a table of labels.

    Args:
      listed: the table.
      wanted: the column of labels, "" to find out.

    Raises:
      DataError: there is no column of paths or labels, or several might be it.
    """
    path = table.find_path_column(listed)
    if not listed.rows or path is None:
        is_headless = any(map(junk.is_picture_name, listed.columns))
        found = "no rows" if not listed.rows else f"the columns {listed.describe_columns()}"
        if listed.rows and len(listed.columns) == 1:
            raise DataError(
                f"{listed.name} has one column, {listed.describe_columns()}, by its first line: expected columns "
                "separated by commas, semicolons, tabs or bars, below a first line with their names, such as "
                "path,label. Save it so."
            )
        raise DataError(
            f"{listed.name} needs a column path that names the pictures, under a first line that names the columns; it "
            f"has {found}. "
            + ("Put a first line such as path,label above it." if is_headless else "Rename the column that does.")
        )
    table.check_width(listed)
    split, ignored = _find_split(listed, path)
    group = table.guess_column(listed, table.GROUP_NAMES)
    taken = {path, split, group}
    names = {place: name for place, name in enumerate(listed.columns) if place not in taken and name}
    if wanted:
        place = table.find_column(listed, wanted)
        if place is None:
            raise DataError(
                f"{listed.name} has no column {wanted!r} for data.labels; it has {listed.describe_columns()}."
            )
        split, group = (None if found == place else found for found in (split, group))
    else:
        place = _guess_label(listed, names)
    said = [f"pictures by {listed.columns[path]!r}"]
    said += [f"splits by {listed.columns[split]!r}"] if split is not None else []
    said += [f"groups by {listed.columns[group]!r}"] if group is not None else []
    said += [ignored] if ignored else []
    if place is not None:
        column = place
        what = f"column {listed.columns[column]!r} of {listed.name}"
        return Columns(path, lambda row: row.cells[column], split, group, ", ".join([what, *said]))
    one_hot = _find_one_hot(listed, names)
    names_of_classes = list_names(list(one_hot.values()), separator=", ")
    what = f"{len(one_hot)} columns of {listed.name} with a 1 for the class ({names_of_classes})"
    return Columns(
        path,
        lambda row: next((name for place, name in one_hot.items() if row.cells[place].lower() in _ON), ""),
        split,
        group,
        ", ".join([what, *said]),
    )


def _find_split(listed: Table, path: int) -> tuple[int | None, str]:
    """Returns the column of splits, None if there is none, and what to say of one that only seems to be it."""
    place = table.guess_column(listed, SPLIT_NAMES)
    if place is None or place == path:
        return None, ""
    other = next((row for row in listed.rows if row.cells[place] and not split_of(row.cells[place])), None)
    if other is None:
        return place, ""
    name, word = listed.columns[place], shorten(other.cells[place])
    if name.casefold() == SPLIT_NAMES[0]:
        raise DataError(
            f"{listed.name}, line {other.line}: the column {name!r} has {word!r}; expected train, validation or test. "
            "Rename the column if it holds something else."
        )
    return None, f"{name!r} is no split, as it has {word!r}"


def _guess_label(listed: Table, names: dict[int, str]) -> int | None:
    """Returns the column of labels, None if there is one for each class."""
    letters = {place: table.keep_letters(name) for place, name in names.items()}
    found = [place for place in names if letters[place] in LABEL_NAMES]
    if len(found) > 1 and _say_the_same(listed, found):
        found = [next((place for place in found if not _is_numeric(listed, place)), found[0])]
    if len(found) > 1:
        raise DataError(
            f"{listed.name} has several columns that may be the label: {list_names([names[p] for p in found])}. Say "
            f"which: --data.labels {as_word(f'{listed.name}:{names[found[0]]}')}"
        )
    if found or _find_binary(listed, names):
        return found[0] if found else None
    others = [place for place in names if letters[place] not in table.PATH_NAMES] or list(names)
    if len(others) != 1:
        likeliest = names[_find_likeliest(listed, others)] if others else "COLUMN"
        raise DataError(
            f"{listed.name} has no column that is plainly the label; it has {listed.describe_columns()}. Say which: "
            f"--data.labels {as_word(f'{listed.name}:{likeliest}')}"
        )
    return others[0]


def _find_likeliest(listed: Table, places: Sequence[int]) -> int:
    """Returns the column of the fewest values, which has two or more if one has: so classes look."""
    numbers = {place: len({row.cells[place] for row in listed.rows} - {""}) for place in places}
    return min(places, key=lambda place: (numbers[place] < _LEAST_CLASSES, numbers[place]))


def _say_the_same(listed: Table, places: Sequence[int]) -> bool:
    """Whether each value of a column always stands beside the same value of every other."""
    rows = {tuple(row.cells[place] for place in places) for row in listed.rows}
    return all(len({cells[i] for cells in rows}) == len(rows) for i in range(len(places)))


def _is_numeric(listed: Table, place: int) -> bool:
    return all(row.cells[place].replace(".", "", 1).isdigit() for row in listed.rows if row.cells[place])


def _find_binary(listed: Table, names: dict[int, str]) -> dict[int, str]:
    """Returns the columns of nothing but 0 and 1, if there are two or more."""
    found = {
        place: name
        for place, name in names.items()
        if all(row.cells[place].lower() in (*_ON, *_OFF) for row in listed.rows)
        and any(row.cells[place] for row in listed.rows)
    }
    return found if len(found) > 1 else {}


def _find_one_hot(listed: Table, names: dict[int, str]) -> dict[int, str]:
    """Returns the columns of which each row has a 1 in exactly one, or is empty in all."""
    found = _find_binary(listed, names)
    for row in listed.rows:
        cells = [row.cells[place] for place in found]
        num_on = sum(cell.lower() in _ON for cell in cells)
        if num_on != 1 and any(cells):
            raise DataError(
                f"{listed.name}, line {row.line}, has a 1 in {num_on} of the columns "
                f"{list_names(list(found.values()), separator=', ')}: expected exactly one, its class. Remove columns "
                f"that are no classes, or say which column is the label: --data.labels {as_word(listed.name)}:COLUMN"
            )
    return found
