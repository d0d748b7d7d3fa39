"""The key that keeps pictures on one side of the split: the same person, the same object, the same drawing.

Which side a group goes to is decided in splits.py.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.base import csv_files
from harness.base.errors import ConfigError, DataError
from harness.base.storage import Folder

AUTO_FILE, AUTO_COLUMN = "groups.csv", "group"


def assign_groups(paths: Sequence[str], folder: Folder, group_by: str) -> tuple[dict[str, str], str]:
    """Returns the group key of every path, and the rule in words.

    Args:
      paths: pictures relative to `folder`, in POSIX form.
      folder: the images folder, where a CSV file of groups lies.
      group_by: the setting `split.group_by`: "auto", "none", "FILE.csv:COLUMN" or a regular expression with one group
        that is searched in the file name. A picture that the rule says nothing about is a group of its own.

    Raises:
      ConfigError: the expression is not valid or has no group.
      DataError: the CSV file is missing or lacks a column.
    """
    group_by = _resolve(folder, group_by)
    if group_by == "none":
        return {path: path for path in paths}, "every picture by itself"
    file = group_file(folder, group_by)
    if file is not None:
        column = group_by.rpartition(":")[2]
        keys = _read_keys(file, column)
        rule = f"column '{column}' of {file.name}"
    else:
        keys = _search_keys(paths, group_by)
        rule = f"what {group_by!r} matches in the file name"
    return {path: keys.get(path, path) for path in paths}, rule


def _resolve(folder: Folder, group_by: str) -> str:
    if group_by != "auto":
        return group_by
    return f"{AUTO_FILE}:{AUTO_COLUMN}" if (folder / AUTO_FILE).is_file() else "none"


def group_file(folder: Folder, group_by: str) -> Folder | None:
    """Returns the CSV file that the setting `split.group_by` names, or None."""
    name = _resolve(folder, group_by).rpartition(":")[0]
    return folder / name if name.endswith(".csv") else None


def _read_keys(path: Folder, column: str) -> dict[str, str]:
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            raise FileNotFoundError("there is no such file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv_files.read_rows(file) if row] or [[]]
    except (OSError, ValueError) as error:
        raise DataError(f"split.group_by needs {path}, which cannot be read: {error}.") from None
    places = {name: place for place, name in enumerate(header)}
    if not rows or "path" not in places or column not in places:
        found = ", ".join(header) if rows else "nothing"
        raise DataError(
            f"{path} must have the columns path and {column}; it has {found}. Correct it or split.group_by."
        )
    named, key = places["path"], places[column]
    return {row[named]: row[key] for row in rows if len(row) > max(named, key) and row[key]}


def _search_keys(paths: Sequence[str], expression: str) -> dict[str, str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"split.group_by is {expression!r}, which is no regular expression: {error}.") from None
    if pattern.groups != 1:
        raise ConfigError(
            f"split.group_by is {expression!r} with {pattern.groups} groups: expected one, such as '_([0-9a-f]+)[.]'."
        )
    matches = {path: pattern.search(path.rsplit("/", maxsplit=1)[-1]) for path in paths}
    return {path: match.group(1) for path, match in matches.items() if match and match.group(1)}


def join_groups(
    keys: Mapping[str, str], links: Iterable[tuple[str, str]], *, order: Callable[[str], bytes]
) -> dict[str, str]:
    """Joins the groups of linked pictures.

    Args:
      keys: path -> group key.
      links: pairs of paths that must be on one side; a path without a key is left out.
      order: of the keys of joined groups, the first by this order names them all, so that a picture that joins later
        seldom changes the name.

    Returns:
      Path -> the key of its joined group.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.get(key, key) != key:
            parent[key] = parent.get(parent[key], parent[key])
            key = parent[key]
        return key

    for first, second in links:
        if first in keys and second in keys:
            ends = sorted((root(keys[first]), root(keys[second])), key=order)
            parent[ends[1]] = ends[0]
    return {path: root(key) for path, key in keys.items()}
