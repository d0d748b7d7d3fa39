"""Corrects the labels of a listing: a picture that is named has another class, or is left out.

It is done before anything is judged, so that a corrected picture counts as of its new class everywhere. No file of a
user's is touched.
"""

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.base.errors import DataError
from harness.base.text import list_names, shorten
from harness.config.dataset_sections import DataConfig
from harness.dataset.corrections import corrections_file
from harness.dataset.corrections.corrections_file import Correction, Corrections
from harness.dataset.images.rejection import Reason, advise
from harness.dataset.listing import class_names
from harness.dataset.listing.listed import LeftOut, Listed, Listing

_MOST_CHARS = 200  # of a path or a reason in a sentence


def correct(listing: Listing, labels: str, data: DataConfig) -> Listing:
    """Returns the listing with the labels that a table gives.

    Args:
      listing: all pictures, with the classes of folders or of a table of labels.
      labels: the setting `clean.labels`.
      data: what was listed, and how.

    Raises:
      DataError: the table cannot be read, names what is no picture or no class, says two things of a picture, or leaves
        a class without any.
    """
    corrections = corrections_file.read(labels, data.images)
    chosen = _choose(corrections, listing, data)
    pictures, left_out = [], []
    for picture in listing.pictures:
        row = chosen.get(picture.path)
        if row is None:
            pictures.append(picture)
            continue
        named = picture._replace(label_was=picture.class_name, label_reason=row.reason)
        if row.label:
            pictures.append(named._replace(class_name=row.label))
        else:
            left_out.append(_leave_out(named, row, corrections.name))
    _check_classes(listing, pictures, left_out, corrections.name)
    num_confirmed = sum(item.label_was == item.class_name for item in pictures)
    num_changed = sum(item.label_was not in ("", item.class_name) for item in pictures)
    counted = describe_counts(num_changed, num_confirmed, len(left_out))
    return replace(
        listing,
        pictures=tuple(pictures),
        left_out=(*listing.left_out, *left_out),
        lines=(*listing.lines, f"labels by {corrections.name}: {counted}"),
    )


def describe_counts(num_changed: int, num_confirmed: int, num_left_out: int) -> str:
    """Returns what corrections came to, in words."""
    pictures = "picture" if num_left_out == 1 else "pictures"
    return f"{num_changed:,} changed, {num_confirmed:,} confirmed, {num_left_out:,} {pictures} left out"


def _choose(corrections: Corrections, listing: Listing, data: DataConfig) -> dict[str, Correction]:
    """Returns the row of each picture that is named, with the whole names of picture and class."""
    pictures, classes = _Names(listing.by_path), _Names(listing.class_names)
    chosen: dict[str, Correction] = {}
    for row in corrections.rows:
        where = f"{corrections.name}, line {row.line}"
        path = _only(pictures.find(row.path), row.path, where)
        if not path:
            raise _unknown_picture(row, where, listing, data)
        label = row.label and _only(classes.find(row.label), row.label, where)
        if row.label and not label:
            raise _unknown_class(row.label, where, listing.class_names, class_names.invert(data.classes))
        before = chosen.setdefault(path, row._replace(path=path, label=label))
        if before.label != label:
            raise DataError(
                f"{where}: {shorten(path, _MOST_CHARS)!r} has the label {shorten(label)!r} here and "
                f"{shorten(before.label)!r} in line {before.line}. Remove one of the lines."
            )
        if not before.reason:
            chosen[path] = before._replace(reason=row.reason)
    return chosen


class _Names:
    """Names that are found by what a table leaves of them: without blanks around, and in any Unicode form."""

    def __init__(self, names: Iterable[str]) -> None:
        self._bare: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._bare[name.strip()].append(name)
        self._composed: dict[str, list[str]] | None = None

    def find(self, cell: str) -> list[str]:
        """Returns the names that a cell may mean."""
        if cell in self._bare:
            return self._bare[cell]
        if self._composed is None:
            self._composed = defaultdict(list)
            for bare, names in self._bare.items():
                self._composed[_compose(bare)] += names
        return self._composed.get(_compose(cell), [])


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _only(found: list[str], cell: str, where: str) -> str:
    """Returns the one name that was found, or ""; refuses a cell that may mean two."""
    if len(found) > 1:
        raise DataError(
            f"{where}: {shorten(cell, _MOST_CHARS)!r} may be {found[0]!r} or {found[1]!r}. Rename one of them."
        )
    return found[0] if found else ""


def _unknown_picture(row: Correction, where: str, listing: Listing, data: DataConfig) -> DataError:
    shown = f"{where}: {shorten(row.path, _MOST_CHARS)!r}"
    for item in listing.left_out:
        if item.file.path == row.path:
            return DataError(
                f"{shown} has no label that could be corrected: it is {item.reason.replace('_', ' ')} "
                f"({item.measured}). {advise(item.reason, item.measured)}"
            )
    nearest = _find_nearest_path(row.path, listing.by_path)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    taken = ", of a class that data.classes takes" if data.classes else ""
    return DataError(
        f"{shown} is no picture in {data.images}: expected a path below it{taken}, as cleaning.csv has it. Correct or "
        f"remove the line.{hint}"
    )


def _find_nearest_path(path: str, pictures: Iterable[str]) -> str:
    """Returns a picture whose path is the same but for its case, slashes and what stands in front; "" if none is."""
    wanted = path.replace("\\", "/").removeprefix("./").casefold()
    name = wanted.rpartition("/")[2]
    same_name = [other for other in pictures if other.casefold().rpartition("/")[2] == name]
    ends = [other for other in same_name if wanted.endswith(f"/{other}".casefold()) or other.casefold() == wanted]
    return next(iter(ends or same_name), "")


def _unknown_class(label: str, where: str, names: tuple[str, ...], merged: Mapping[str, str]) -> DataError:
    if label in merged:
        hint = f" data.classes merges it into {merged[label]!r}: write that."
    else:
        folded = {name.casefold(): name for name in names}
        nearest = difflib.get_close_matches(label.casefold(), folded, n=1, cutoff=0.5)
        hint = f" Did you mean {folded[nearest[0]]!r}?" if nearest else ""
    return DataError(
        f"{where}: {shorten(label)!r} is no class: expected {list_names(names)}, or an empty cell to leave the picture "
        f"out.{hint}"
    )


def _leave_out(picture: Listed, row: Correction, name: str) -> LeftOut:
    why = f": {shorten(row.reason, _MOST_CHARS)}" if row.reason else ""
    return LeftOut(picture, Reason.LEFT_OUT, f"no label in line {row.line} of {name}{why}", "a label")


def _check_classes(listing: Listing, pictures: list[Listed], left_out: list[LeftOut], name: str) -> None:
    """Refuses that a class loses all it had."""
    before = {picture.class_name for picture in listing.pictures}
    after = {picture.class_name for picture in pictures}
    empty = next((class_name for class_name in listing.class_names if class_name in before - after), None)
    if empty is None:
        return
    num_changed = sum(picture.label_was == empty for picture in pictures)
    num_left_out = sum(item.file.label_was == empty for item in left_out)
    raise DataError(
        f"{name} leaves the class {empty!r} without a picture: {describe_counts(num_changed, 0, num_left_out)}. Remove "
        "lines of it, or merge the class into another with data.classes."
    )
