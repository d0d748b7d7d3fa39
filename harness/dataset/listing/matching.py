"""Which picture a row of a user's table speaks of, however the row spells its path. It reads no files.

Paths are compared in one form: `/` between the parts, without `.` and blanks around a part, in NFC. A path may say more
than where the picture is below the images folder, such as `data/flowers/` in front, or less: a file name that only one
picture has. Its ending may be missing, and its case may differ where that leaves one picture. A path that may mean
several is refused.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import list_names, shorten, visible
from harness.dataset.listing.table import Row, Table, check_width

Parts = tuple[str, ...]
_NUM_EXAMPLES = 3


@dataclass(frozen=True)
class Matched:
    """What the rows of a table say of pictures.

    Attributes:
      values: picture -> the cells that were asked for, of the row or rows that name it.
      lines: picture -> the line of the file that names it first.
      unmatched: the rows that name no picture.
      prefixes: what was taken off the front of paths besides the images folder's own place, and of how many.
    """

    values: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, int]
    unmatched: tuple[Row, ...]
    prefixes: Mapping[str, int]

    def list_unmatched(self, path_column: int) -> str:
        """Returns the first rows that name no picture, for a sentence."""
        return list_examples(self.unmatched, path_column)

    def describe_prefixes(self) -> str:
        """Returns what to say of what was taken off, behind other things that are said; "" if there is nothing."""
        if not self.prefixes:
            return ""
        shown = list_names([repr(prefix) for prefix in self.prefixes], separator=", ")
        return f"; {shown} in front of {sum(self.prefixes.values()):,} paths was not looked at"


def list_examples(rows: Sequence[Row], path_column: int) -> str:
    """Returns the first of the rows' paths with their lines, for a sentence."""
    shown = [f"line {row.line}: {shorten(row.cells[path_column])!r}" for row in rows[:_NUM_EXAMPLES]]
    return ", ".join(shown)


def match_rows(
    table: Table, path_column: int, value_columns: Sequence[int], pictures: Iterable[str], folder: Folder
) -> Matched:
    """Finds the picture of each row.

    Args:
      table: the table.
      path_column: where its rows name pictures.
      value_columns: where the cells are that are wanted.
      pictures: paths below `folder`, in POSIX form.
      folder: the images folder.

    Raises:
      DataError: a row has more cells than there are columns, none names a picture, one may mean several, or two say
        different things of one.
    """
    check_width(table)
    pictures = list(pictures)
    own = _own_names(folder)
    found = _find(table, path_column, pictures, own)
    if not found:
        rows = list_examples(table.rows, path_column) or "no rows"
        shown = ", ".join(repr(shorten(path)) for path in pictures[:_NUM_EXAMPLES])
        raise DataError(
            f"{table.name} names none of the {len(pictures):,} pictures of {folder}. Its column "
            f"{visible(table.columns[path_column])} has {rows}; the pictures are {shown}. Write the paths as the "
            "pictures have them, or name the right table."
        )
    foreign = {index for index, (_, prefix) in found.items() if not _is_own(prefix, own)}
    lines: dict[str, int] = {}
    values: dict[str, tuple[str, ...]] = {}
    sure = {picture for index, (picture, _) in found.items() if index not in foreign}
    for index, (picture, _) in sorted(found.items()):
        if index in foreign and picture in sure:
            del found[index]  # it is a picture of another folder
            continue
        row = table.rows[index]
        cells = tuple(row.cells[column] for column in value_columns)
        before = values.get(picture, cells)
        for column, old, new in zip(value_columns, before, cells):
            if old and new and old != new:
                raise DataError(
                    f"{table.name} names {picture} twice: its {table.columns[column]} is {shorten(old)!r} in line "
                    f"{lines[picture]} and {shorten(new)!r} in line {row.line}. Correct or remove one of the lines."
                )
        values[picture] = tuple(old or new for old, new in zip(before, cells))
        lines.setdefault(picture, row.line)
    return Matched(
        values,
        lines,
        tuple(row for index, row in enumerate(table.rows) if index not in found),
        Counter("/".join((*found[index][1], "")) for index in sorted(foreign & found.keys())),
    )


def _find(table: Table, path_column: int, pictures: Sequence[str], own: set[str]) -> dict[int, tuple[str, Parts]]:
    """Returns for the index of each row that names a picture that picture, and what was in front of its path."""
    known = set(pictures)
    written = [row.cells[path_column] for row in table.rows]
    found: dict[int, tuple[str, Parts]] = {index: (path, ()) for index, path in enumerate(written) if path in known}
    waiting = {index: parts for index, path in enumerate(written) if index not in found and (parts := _split(path))}
    if not waiting:
        return found
    places = [(path, _split(path)) for path in pictures]
    folders = {part for _, parts in places for part in parts[:-1]}
    common = _count_common(map(_split, written), folders)
    for change_picture, change_row in _FORMS:
        for is_whole in (True, False):
            starts = {
                index: [change_row(parts[start:]) for start in range(len(parts) if is_whole else common + 1)]
                for index, parts in waiting.items()
            }
            wanted = {parts for listed in starts.values() for parts in listed}
            at = _index(places, change_picture, wanted, is_whole=is_whole)
            for index, listed in starts.items():
                start = next((start for start, parts in enumerate(listed) if parts in at), None)
                if start is None or _is_elsewhere(waiting[index][:start], own):
                    continue
                candidates = at[listed[start]]
                if len(candidates) > 1:
                    raise DataError(
                        f"{table.name}, line {table.rows[index].line}: {shorten(written[index])!r} may be "
                        f"{candidates[0]!r} or {candidates[1]!r}. Write the whole path, as the picture has it."
                    )
                found[index] = (candidates[0], waiting.pop(index)[:start])
    return found


def _split(path: str) -> Parts:
    """The parts of a path in the form that paths are compared in."""
    parts: list[str] = []
    for part in unicodedata.normalize("NFC", path).replace("\\", "/").split("/"):
        name = part.strip()
        if name == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif name not in ("", "."):
            parts.append(name)
    return tuple(parts)


def _same(parts: Parts) -> Parts:
    return parts


def _without_ending(parts: Parts) -> Parts:
    return (*parts[:-1], parts[-1].rpartition(".")[0] or parts[-1]) if parts else parts


def _fold(parts: Parts) -> Parts:
    return tuple(unicodedata.normalize("NFC", part.casefold()) for part in parts)


# What is done to the parts of a picture's path, and to those of a row's, before they are compared: strict first.
_FORMS: Sequence[tuple[Callable[[Parts], Parts], Callable[[Parts], Parts]]] = (
    (_same, _same),
    (_without_ending, _same),
    (_fold, _fold),
    (lambda parts: _fold(_without_ending(parts)), _fold),
)


def _index(
    places: Sequence[tuple[str, Parts]], change: Callable[[Parts], Parts], wanted: set[Parts], *, is_whole: bool
) -> dict[Parts, list[str]]:
    """The wanted paths, or ends of paths, with the pictures that have them: two of these at most."""
    at: dict[Parts, list[str]] = {}
    for path, parts in places:
        changed = change(parts)
        for start in range(1 if is_whole else len(changed)):
            if (end := changed[start:]) in wanted and len(at.setdefault(end, [])) < 2:
                at[end].append(path)
    return at


def _count_common(written: Iterable[Parts], folders: set[str]) -> int:
    """How many folders all the paths begin with that are none of the pictures': these say nothing of any picture."""
    shortest, *others = sorted({parts[:-1] for parts in written if parts}, key=len) or [()]
    for count, part in enumerate(shortest):
        if part in folders or any(parts[count] != part for parts in others):
            return count
    return len(shortest)


_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


def _own_names(folder: Folder) -> set[str]:
    """The names of the images folder, folded: the one that was given, and that of the folder it leads to."""
    return {name for place in (folder, folder.resolve()) for name in _fold((place.name,)) if name}


def _is_own(prefix: Parts, own: set[str]) -> bool:
    """Whether what stands in front of a path leads to the images folder, as far as it says."""
    named = [part for part in _fold(prefix) if part != ".."]
    return not named or named[-1] in own


def _is_elsewhere(prefix: Parts, own: set[str]) -> bool:
    """Whether it names another split than that which the images folder is named after."""
    return bool(own & _SPLIT_NAMES) and not _is_own(prefix, own) and bool(_SPLIT_NAMES & {*_fold(prefix)})
