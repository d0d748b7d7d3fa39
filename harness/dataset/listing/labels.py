"""Lists pictures with the labels, splits and groups that a user's table gives them, wherever they lie.

Which picture a row speaks of is found in matching.py, which column is what in label_columns.py.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath
from harness.base.text import as_word, list_names, shorten, visible
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import class_folders, label_columns, matching, table
from harness.dataset.listing.class_names import sort_names
from harness.dataset.listing.label_columns import Columns
from harness.dataset.listing.listed import LeftOut, Listed, Listing, judge_files
from harness.dataset.listing.matching import Matched
from harness.dataset.listing.split_folders import split_of
from harness.dataset.listing.table import Row, Table
from harness.dataset.listing.walk import LinkedFolder, describe_linked, walk

_MOST_TRIED, _MOST_TRIED_BYTES = 4, 32 << 20  # tables beside class folders
_FEW = 10  # pictures of which nobody can tell whether their labels are classes
_ASKED = ("label", "split", "group")  # in the order of `_reduce`
_MISSING_CURE = "Put the files there, or correct the paths."
_UNLISTED_CURE, _UNLABELLED_CURE = "Add rows with their labels if they are meant.", "Write it there if they are meant."
_TABLES = (".csv", ".tsv", ".txt")  # may lie among the pictures


def locate(labels: str, folder: Folder) -> tuple[Folder, str]:
    """Returns the table that the setting `data.labels` names, and the column of labels, "" if none is named.

    Raises:
      DataError: it names no table.
    """
    named = table.parse_name(labels)
    if named is None:
        raise DataError(
            f"data.labels is {labels!r}: expected a table such as labels.csv, or labels.csv:COLUMN with the column of "
            "the labels."
        )
    return table.locate(named[0], folder), named[1]


def list_labelled(folder: Folder, labels: str, *, follow_links: bool = False) -> Listing:
    """Returns the pictures that a table gives a label, and the files and rows that it gives none.

    Args:
      folder: the images folder.
      labels: the setting `data.labels`.
      follow_links: whether to walk into links to folders.

    Raises:
      DataError: the table cannot be read or understood, or names no picture.
    """
    beside = class_folders.look_into(folder)
    path, wanted = locate(labels, folder)
    listed = table.read(path, "data.labels", folder)
    columns = label_columns.find_columns(listed, wanted)
    files = _judge_files(folder, beside.outputs, follow_links=follow_links)
    pictures = [item for item in files if isinstance(item, Listed)]
    left_out = [item for item in files if isinstance(item, LeftOut)]
    if not pictures:
        raise DataError(f"{folder} holds no file that may be a picture: --images FOLDER")
    rows = Table(
        listed.name, (listed.columns[columns.path], *_ASKED), tuple(_reduce(row, columns) for row in listed.rows)
    )
    hidden = [item.file.path for item in left_out if item.reason == Reason.SYSTEM_FILE]
    found = matching.match_rows(rows, 0, (1, 2, 3), [*(item.path for item in pictures), *hidden], folder)
    if columns.split is not None:
        _check_splits(pictures, found, listed, columns.split)
    given = [_give(picture, found, listed.name) for picture in pictures]
    labelled = [item for item in given if isinstance(item, Listed)]
    without = [item for item in given if isinstance(item, LeftOut)]
    unmatched = sorted(without, key=lambda item: item.reason != Reason.UNLISTED)  # those without a row come first
    class_names = _name_classes(labelled, listed, columns, folder)
    warnings = [*_warn(listed, found, unmatched)]
    if absent := sorted({row.cells[1] for row in rows.rows} - {*class_names, ""}):
        warnings.append(f"no picture is there of the classes {list_names(absent, separator=', ')} of {listed.name}.")
    linked = [(item.file.path, item.measured) for item in left_out if item.reason == Reason.LINKED_FOLDER]
    if linked:
        warnings.append(describe_linked(linked, is_followed=follow_links))
    lines = [f"labels: {columns.said}{found.describe_prefixes()}"]
    if beside.outputs:
        lines.append(f"left out, as made by harness: {list_names(beside.outputs, separator=', ')}")
    return Listing(
        pictures=tuple(labelled),
        class_names=class_names,
        left_out=(*left_out, *unmatched, *_list_missing(found.unmatched, listed.name)),
        lines=tuple(lines),
        warnings=tuple(warnings),
        depth=0,
        group_rule="" if columns.group is None else f"column {listed.columns[columns.group]!r} of {listed.name}",
    )


def _judge_files(folder: Folder, outputs: Sequence[str], *, follow_links: bool) -> list[Listed | LeftOut]:
    """The files below the images folder but for tables, and for what harness itself has made."""
    made = tuple(f"{folder / name}/" for name in outputs)
    walked = (
        item
        for item in walk(folder, follow_links=follow_links)
        if isinstance(item, LinkedFolder) or not (item.name.lower().endswith(_TABLES) or str(item).startswith(made))
    )
    return list(judge_files(folder, walked, Listed("", "")))


def _check_splits(pictures: Sequence[Listed], found: Matched, listed: Table, column: int) -> None:
    """Refuses a label without a split, where others have one."""
    for picture in pictures:
        label, split, _ = found.values.get(picture.path, ("", "", ""))
        if label and not split:
            raise DataError(
                f"{listed.name}, line {found.lines[picture.path]}: {shorten(picture.path)} has a label and no split. "
                f"Fill in {visible(listed.columns[column])} in every row, or remove the column."
            )


def _give(picture: Listed, found: Matched, name: str) -> Listed | LeftOut:
    """The picture with what its row says, or left out for want of a label or a row."""
    label, split, group = found.values.get(picture.path, ("", "", ""))
    if label:
        return Listed(picture.path, label, split, group)
    if line := found.lines.get(picture.path):
        return LeftOut(picture, Reason.UNLABELLED, f"line {line} of {name} has no label", "a label")
    return LeftOut(picture, Reason.UNLISTED, f"not in {name}", "a row with its label")


def _name_classes(labelled: Sequence[Listed], listed: Table, columns: Columns, folder: Folder) -> tuple[str, ...]:
    """The labels in order; refuses a column that holds no classes."""
    if not labelled:
        raise DataError(f"{listed.name} has no label for any picture in {folder}: {columns.said}.")
    class_names = tuple(sort_names({item.class_name for item in labelled}))
    if 2 * len(class_names) > len(labelled) > _FEW:
        raise DataError(
            f"there are {len(class_names):,} labels for {len(labelled):,} pictures ({columns.said}), such as "
            f"{list_names(class_names[:3], separator=', ')}: these are no classes. Say which column has the label: "
            f"--data.labels {as_word(listed.name)}:COLUMN"
        )
    return class_names


def _warn(listed: Table, found: Matched, unmatched: Sequence[LeftOut]) -> Iterator[str]:
    """Yields a sentence for rows without a picture, and for pictures without a row or a label."""
    unlisted = [item for item in unmatched if item.reason == Reason.UNLISTED]
    unlabelled = [item for item in unmatched if item.reason == Reason.UNLABELLED]
    told = (
        (f"rows of {listed.name} that name no picture", found.unmatched, found.list_unmatched(0), _MISSING_CURE),
        (f"files that are not in {listed.name}", unlisted, _show(unlisted), _UNLISTED_CURE),
        (f"pictures without a label in {listed.name}", unlabelled, _show(unlabelled), _UNLABELLED_CURE),
    )
    for what, some, examples, cure in told:
        if some:
            yield f"{what}: {len(some):,}, such as {examples}. {cure}"


def doubt_folders(folder: Folder, tables: Sequence[str], pictures: Sequence[Listed]) -> str:
    """Returns that a table beside class folders gives their pictures other labels than the folders do, or "".

    Args:
      folder: the images folder.
      tables: the names of files in it.
      pictures: what is in the class folders.
    """
    stems = {item.path.rpartition("/")[2].rpartition(".")[0] for item in pictures} if tables else set()
    for name in tables[:_MOST_TRIED]:
        try:
            if isinstance(folder, RemotePath) or (folder / name).stat().st_size > _MOST_TRIED_BYTES:
                continue
            listed = table.read(folder / name, "data.labels", folder)
            columns = label_columns.find_columns(listed, "")
            cells = [(_name(row.cells[columns.path]), columns.label_of(row)) for row in listed.rows]
        except (DataError, OSError):  # it is no table of labels
            continue
        found = {label for file, label in cells if label and not stems.isdisjoint({file, file.rpartition(".")[0]})}
        if len(found) > 1 and found.isdisjoint(item.class_name for item in pictures):
            labels = list_names(sort_names(found), separator=", ")
            return (
                f"the folders in {folder} are taken as the classes, but {name} beside them gives their pictures the "
                f"labels {labels}. If these are meant: --data.labels {as_word(name)}"
            )
    return ""


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _reduce(row: Row, columns: Columns) -> Row:
    """The row as path, label, split and group."""
    split = "" if columns.split is None else split_of(row.cells[columns.split])
    group = "" if columns.group is None else row.cells[columns.group]
    label, group = (unicodedata.normalize("NFC", cell) for cell in (columns.label_of(row), group))
    return Row(row.line, (row.cells[columns.path], label, split, group))


def _list_missing(unmatched: Sequence[Row], name: str) -> list[LeftOut]:
    """A file for each row that names one which is not there, once."""
    first: dict[str, Row] = {}
    for row in unmatched:
        first.setdefault(row.cells[0], row)
    return [
        LeftOut(Listed(path, row.cells[1]), Reason.MISSING, f"line {row.line} of {name}", "a file of this name")
        for path, row in first.items()
        if path
    ]


def _show(left_out: Sequence[LeftOut]) -> str:
    return ", ".join(repr(shorten(item.file.path)) for item in left_out[:3])
