"""The key that keeps pictures on one side of the split: the same person, the same object, the same drawing.

Which side a group goes to is decided in splits.py.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import ConfigError, DataError
from harness.base.storage import Folder
from harness.base.text import shorten, visible
from harness.dataset.listing import matching, table
from harness.dataset.listing.listed import Listing

AUTO_FILE, AUTO_COLUMN = "groups.csv", "group"
FOLDER = "folder"
BY_ITSELF = "every picture by itself"  # the rule where nothing groups them
_FEW = 0.01  # share of the pictures that may be in no group without a warning
_NUM_EXAMPLES = 3
_SHORT_LIST = 4  # pictures of which half are no large group


@dataclass(frozen=True)
class Groups:
    """The group key of every picture, the rule in words, and what a user should look at before training."""

    keys: dict[str, str]
    rule: str
    warnings: tuple[str, ...] = ()


def assign_groups(
    paths: Sequence[str],
    folder: Folder,
    group_by: str,
    *,
    listing: Listing | None = None,
) -> Groups:
    """Returns the group key of every path. A picture that the rule says nothing about is a group of its own.

    Args:
      paths: pictures relative to `folder`, in POSIX form.
      folder: the images folder, where a table of groups is looked for first.
      group_by: the setting `split.group_by`: "auto", "none", "folder", "FILE.csv:COLUMN" or a regular expression with
        one group. That is searched in the file name, and if it is not there in the whole path.
      listing: all pictures, which a table may name too, with the groups that the table of labels gives: these count
        with "auto". None: there are no others, in class folders.

    Raises:
      ConfigError: the expression is not valid or has no group.
      DataError: the table is missing, lacks a column or says two things of a picture; or the rule names no picture.
    """
    listing = listing or Listing((), ())
    given = {path: listed.group for path in paths if (listed := listing.by_path.get(path)) and listed.group}
    is_given = group_by == "auto" and bool(listing.group_rule)
    group_by = _resolve(folder, group_by)
    warnings: list[str] = []
    if is_given and group_by != "none":
        raise DataError(
            f"both {folder / AUTO_FILE} and the {listing.group_rule} name groups. Say which count: split.group_by: "
            f"{group_by}, or FILE.csv:COLUMN with the table of labels."
        )
    if not paths or (group_by == "none" and not is_given):
        return Groups({path: path for path in paths}, BY_ITSELF)
    if is_given:
        keys, rule = given, listing.group_rule
    elif group_by == FOLDER:
        keys = _name_folders(paths, folder, listing.depth)
        rule = "the folder below the class" if listing.depth else "the first folder of the path"
    elif named := table.parse_name(group_by):
        keys, rule = _read_keys(*named, paths, listing.by_path, folder)
    else:
        keys, warnings = _search_keys(paths, group_by, listing.depth)
        rule = f"what {group_by!r} matches in the path"
    keys = {path: keys[path] for path in paths if path in keys}
    alone = [path for path in paths if path not in keys]
    if alone:
        rule += f"; {len(alone):,} of {len(paths):,} pictures are in no group"
    warnings += _find_faults(keys, alone)
    return Groups({path: keys.get(path, path) for path in paths}, rule, tuple(warnings))


def _resolve(folder: Folder, group_by: str) -> str:
    if group_by != "auto":
        return group_by
    return f"{AUTO_FILE}:{AUTO_COLUMN}" if (folder / AUTO_FILE).is_file() else "none"


def group_file(folder: Folder, group_by: str) -> Folder | None:
    """Returns the table that the setting `split.group_by` names, or None."""
    named = table.parse_name(_resolve(folder, group_by))
    return table.locate(named[0], folder) if named else None


def _read_keys(
    name: str, column: str, paths: Sequence[str], others: Iterable[str], folder: Folder
) -> tuple[dict[str, str], str]:
    """Returns the group of every picture that a table gives one, and the rule in words."""
    path = table.locate(name, folder)
    listed = table.read(path, "split.group_by", folder)
    path_column = table.find_path_column(listed)
    place = table.find_column(listed, column) if column else table.guess_column(listed, table.GROUP_NAMES)
    if not listed.rows or path_column is None or place is None:
        found = listed.describe_columns() if listed.rows else "nothing"
        raise DataError(
            f"{path} must have the columns path and {column or AUTO_COLUMN}; it has {found}. Correct it or "
            "split.group_by, such as FILE.csv:COLUMN."
        )
    pictures = dict.fromkeys([*paths, *others])
    matched = matching.match_rows(listed, path_column, (place,), pictures, folder)
    rule = f"column {listed.columns[place]!r} of {listed.name}"
    if listed.columns[path_column] != "path":
        rule += f", whose column {listed.columns[path_column]!r} names the pictures"
    if matched.unmatched:
        counts = f"{len(matched.unmatched):,} of its {len(listed.rows):,} rows"
        rule += f"; {counts} name no picture here, such as {matched.list_unmatched(path_column)}"
    rule += matched.describe_prefixes()
    keys = {picture: unicodedata.normalize("NFC", key) for picture, (key,) in matched.values.items() if key}
    if not keys:
        raise DataError(f"{path}: the column {listed.columns[place]!r} is empty for every picture. Fill it in.")
    return keys, visible(rule)


def _name_folders(paths: Sequence[str], folder: Folder, depth: int) -> dict[str, str]:
    """Returns the first folder below the class of every picture that lies in one."""
    below = {path: path.split("/")[depth:-1] for path in paths}
    keys = {path: folders[0] for path, folders in below.items() if folders}
    if paths and not keys:
        raise DataError(
            f"split.group_by is folder, but no class in {folder} has a folder for each person or object with pictures "
            f"in it; the pictures are {_show(paths)}. Expected CLASS/PERSON/PICTURE."
        )
    return keys


def _search_keys(paths: Sequence[str], expression: str, depth: int) -> tuple[dict[str, str], list[str]]:
    """Returns what the expression matches in every path where it matches, and a warning if that is hardly meant."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"split.group_by is {expression!r}, which is no regular expression: {error}.") from None
    if pattern.groups != 1:
        raise ConfigError(
            f"split.group_by is {expression!r} with {pattern.groups} groups: expected one, such as '_([0-9a-f]+)[.]'."
        )

    def search(text: str) -> str:
        found = pattern.search(text)
        return (found.group(1) or "") if found else ""

    keys, doubtful = {}, []
    for path in paths:
        *folders, name = path.split("/")
        in_name = search(name)
        if key := in_name or search(path):
            keys[path] = key
        in_folder = search("".join(f"{part}/" for part in folders[depth:])) if in_name else ""
        if in_folder not in ("", in_name):
            doubtful.append((path, in_name, in_folder))
    if paths and not keys:
        raise DataError(
            f"split.group_by is {expression!r}, which matches no picture: they are {_show(paths)}. Correct it, or set "
            "split.group_by: none to have every picture by itself."
        )
    warnings = []
    if doubtful:
        path, in_name, in_folder = doubtful[0]
        warnings.append(
            f"of {len(doubtful):,} pictures split.group_by {expression!r} matches both the name and a folder: of "
            f"{shorten(path)!r} {shorten(in_name)!r} and {shorten(in_folder)!r}. The name counts. If the folder is "
            "meant, end the expression with a /, such as '([0-9]+)/'."
        )
    return keys, warnings


def _find_faults(keys: Mapping[str, str], alone: Sequence[str]) -> list[str]:
    """Returns a sentence for each sign that groups are not what was meant."""
    num_paths, sizes = len(keys) + len(alone), Counter(keys.values())
    warnings = []
    if len(alone) > _FEW * num_paths:
        warnings.append(
            f"{len(alone):,} of {num_paths:,} pictures are in no group, e.g. {_show(alone)}: each of them is placed by "
            "itself. If they belong together, name their groups too (split.group_by)."
        )
    largest, size = sizes.most_common(1)[0] if sizes else ("", 0)
    if num_paths >= _SHORT_LIST and size == num_paths:
        warnings.append(
            f"all {num_paths:,} pictures are in one group, {shorten(largest)!r}: they cannot be split. Correct "
            "split.group_by."
        )
    elif num_paths >= _SHORT_LIST and 2 * size >= num_paths:
        warnings.append(
            f"the group {shorten(largest)!r} has {size:,} of {num_paths:,} pictures, all on one side of the split. If "
            "that is not one person or object, correct split.group_by."
        )
    alike: dict[str, str] = {}
    for key in sizes:
        other = alike.setdefault(" ".join(unicodedata.normalize("NFKC", key).casefold().split()), key)
        if other != key:
            warnings.append(
                f"the groups {shorten(other)!r} and {shorten(key)!r} differ in case or blanks only, and are two. If "
                "that is not meant, write them alike."
            )
            break
    return warnings


def _show(paths: Sequence[str]) -> str:
    return ", ".join(repr(shorten(path)) for path in paths[:_NUM_EXAMPLES])


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
