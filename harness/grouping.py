"""The key that keeps pictures on one side of the split: the same person, the same object, the same drawing."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError, DataError

AUTO_FILE, AUTO_COLUMN = "groups.csv", "group"


def assign_groups(paths: Sequence[str], folder: Path, group_by: str) -> tuple[dict[str, str], str]:
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
    if group_by == "auto":
        group_by = f"{AUTO_FILE}:{AUTO_COLUMN}" if (folder / AUTO_FILE).is_file() else "none"
    if group_by == "none":
        return {path: path for path in paths}, "every picture by itself"
    file_name, _, column = group_by.rpartition(":")
    if file_name.endswith(".csv"):
        keys = _read_keys(folder / file_name, column)
        rule = f"column '{column}' of {file_name}"
    else:
        keys = _search_keys(paths, group_by)
        rule = f"what {group_by!r} matches in the file name"
    return {path: keys.get(path, path) for path in paths}, rule


def _read_keys(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"split.group_by needs {path}, which cannot be read: {error}.") from None
    missing = [name for name in ("path", column) if rows and name not in rows[0]]
    if missing or not rows:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise DataError(
            f"{path} must have the columns path and {column}; it has {found}. Correct it or split.group_by."
        )
    return {row["path"]: row[column] for row in rows if row[column]}


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
