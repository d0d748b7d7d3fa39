"""The folders in the images folder: which may be classes, and links among them that would give pictures twice.

What their names mean is decided in split_folders.py and class_names.py.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.base import storage
from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath
from harness.base.text import as_word, list_names, shorten
from harness.dataset.listing import junk, outputs

# A name that ends in a number, in the words of both re and sed: american_bulldog_10.jpg, cat.0.jpg, dog (1).jpg.
_NUMBERED = r"([^,\"]*[^,\"0-9. ()_-])[. _-]*[(]?[0-9]+[)]?[.][A-Za-z]+"
_NUM_ASKED = 16  # addresses on s3:// at a time


@dataclass(frozen=True)
class Contents:
    """What lies directly in a folder, by name and sorted: folders, files called like pictures, and what is left out.

    `tables` may name pictures and their labels.
    """

    folders: tuple[str, ...]
    pictures: tuple[str, ...]
    junk: tuple[str, ...]
    outputs: tuple[str, ...]
    tables: tuple[str, ...] = ()


def look_into(folder: Folder) -> Contents:
    """Returns what lies directly in the images folder, or in a folder below it.

    Raises:
      DataError: a folder's name is not valid, or the folder cannot be read.
    """
    try:
        if not folder.is_dir():
            is_there = folder.exists()
            what = f"{folder} is a file, no images folder" if is_there else f"there is no images folder {folder}"
            raise DataError(
                f"{what}. Give one with a sub-folder for each class: --images FOLDER{storage.advice(folder)}"
            )
        names, files = _list(folder)
    except OSError as error:
        raise DataError(
            f"the images folder {folder} cannot be listed: {error.strerror or error}. Change its permissions, or give "
            "another: --images FOLDER"
        ) from None
    shown = [name for name in names if not junk.is_junk(name)]
    for name in shown:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of the class folder {name!r} in {folder} is not valid UTF-8: rename it."
            ) from None
    made = [name for name in shown if outputs.is_output(folder / name)]
    return Contents(
        folders=tuple(name for name in shown if name not in made),
        pictures=tuple(sorted(name for name in files if junk.is_picture_name(name))),
        junk=tuple(name for name in names if junk.is_junk(name)),
        outputs=tuple(made),
        tables=tuple(sorted(name for name in files if junk.is_table_name(name))),
    )


def _list(folder: Folder) -> tuple[list[str], list[str]]:
    """The names of folders, sorted, and of files."""
    if isinstance(folder, RemotePath):
        paths = list(folder.iterdir())
        with ThreadPoolExecutor(_NUM_ASKED) as pool:
            entries = [(path.name, is_dir) for path, is_dir in zip(paths, pool.map(RemotePath.is_dir, paths))]
    else:
        with os.scandir(folder) as listed:  # a link to a folder is one here
            entries = [(entry.name, _is_folder(entry)) for entry in listed]
        for name in [name for name, is_dir in entries if is_dir][:1]:
            (folder / name).stat()  # a folder that can be listed and not entered gives no file
    return sorted(name for name, is_dir in entries if is_dir), [name for name, is_dir in entries if not is_dir]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def peek_into(folder: Folder) -> Contents:
    """Returns what lies directly in a folder, nothing if it cannot be read: that is told of its files."""
    try:
        return look_into(folder)
    except DataError:
        return Contents((), (), (), ())


def list_folders(folder: Folder) -> list[str]:
    """Returns the names of the folders in a folder of pictures, sorted; junk and what harness has made are none.

    Raises:
      DataError: as `look_into` does.
    """
    return list(look_into(folder).folders)


def check_apart(folder: Folder, names: Sequence[str]) -> None:
    """Checks that no two class folders share pictures. One may be a link to a folder elsewhere.

    Raises:
      DataError: one leads to the images folder, to a folder above or below it, or to another class folder.
    """
    if isinstance(folder, RemotePath):
        return
    root = folder.resolve()
    name_of: dict[Path, str] = {}
    for name in names:
        place = (folder / name).resolve()
        if place == root or place in root.parents:
            raise _twice(folder, name, f"{place}, which holds the class folders")
        if place in name_of:
            raise _twice(folder, name, f"{place}, as the class {name_of[place]!r} does")
        name_of[place] = name
    for place, name in name_of.items():
        above = next((name_of[parent] for parent in place.parents if parent in name_of), None)
        if above is not None:
            raise _twice(folder, name, f"{place}, which is a part of the class {above!r}")


def _twice(folder: Folder, name: str, where: str) -> DataError:
    return DataError(
        f"the class folder {folder / name} leads to {where}: pictures would be found twice. Remove the link."
    )


def explain_none(folder: Folder, found: Contents) -> DataError:
    """Returns what a user can do about an images folder that has fewer than two folders of classes."""
    if outputs.is_output(folder):
        return DataError(f"{folder} holds records or runs that harness has made, and no pictures: --images FOLDER")
    needs = f"{folder} needs a sub-folder for each of two classes or more, such as happy/ and sad/; found "
    below, inside = _descend(folder, found)
    if inside.pictures and not inside.folders:
        number = f"{len(inside.pictures):,} pictures" if len(inside.pictures) > 1 else "1 picture"
        number += f", such as {shorten(inside.pictures[0])}"
        what = (
            f"{number}, and no folders" if below == folder else f"{found.folders[0]} alone, with {number}, in {below}"
        )
        return DataError(
            f"{needs}{what}. Put the pictures of each class into a "
            f"folder of its own, or name a table of their labels: {_name_table(folder, found, below, inside)}"
            f"{'' if found.tables or inside.tables else _read_names(below, inside.pictures)}"
        )
    if len(inside.folders) > 1 and below != folder:
        return DataError(
            f"{needs}{list_names(found.folders)} alone, and {list_names(inside.folders, separator=', ')} in {below}. "
            f"If these are the classes, or splits: --images {as_word(below)}"
        )
    return DataError(f"{needs}{list_names(found.folders) or 'none'}.")


def _name_table(folder: Folder, found: Contents, below: Folder, inside: Contents) -> str:
    """The flags for the table of labels, which lies above the pictures or among them if there is one."""
    if not found.tables and inside.tables:
        return f"--images {as_word(below)} --data.labels {as_word(inside.tables[0])}"
    several = f" (or {list_names(found.tables[1:], separator=', ')})" if len(found.tables) > 1 else ""
    return f"--data.labels {as_word(found.tables[0]) if found.tables else 'labels.csv'}{several}"


def _read_names(folder: Folder, names: Sequence[str]) -> str:
    """What to do about pictures whose names begin with their classes, as cat.0.jpg and dog.0.jpg; "" if they do not."""
    found = [re.fullmatch(_NUMBERED, name) for name in names]
    counts = Counter(match[1] for match in found if match)
    if len(counts) < 2 or min(counts.values()) < 2 or not all(found):
        return ""
    return (
        f". If their names tell the classes ({list_names(sorted(counts), separator=', ')}), this makes the "
        f"table: (echo path,label; ls {shlex.quote(str(folder))} | sed -nE "
        f"'s/^{_NUMBERED}$/&,\\1/p') > classes.csv; then --data.labels classes.csv"
    )


def _descend(folder: Folder, found: Contents) -> tuple[Folder, Contents]:
    """Goes down as long as there is one folder and no picture."""
    for _ in range(8):
        if len(found.folders) != 1 or found.pictures:
            break
        folder = folder / found.folders[0]
        found = peek_into(folder)
    return folder, found
