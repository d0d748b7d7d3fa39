"""Class folders: which there are, links that would give pictures twice, names that hardly differ."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.base import storage
from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath


def list_classes(folder: Folder) -> list[str]:
    """Returns the names of the class folders, sorted.

    Raises:
      DataError: there are fewer than two, one's name is not valid, or the folder cannot be read.
    """
    names = list_folders(folder)
    if len(names) < 2:
        raise DataError(
            f"{folder} needs a sub-folder for each of two classes or more, such as happy/ and sad/; found "
            f"{', '.join(names) or 'none'}."
        )
    return names


def list_folders(folder: Folder) -> list[str]:
    """Returns the names of the folders in a folder of pictures, sorted; hidden ones are none.

    Raises:
      DataError: one's name is not valid, or the folder cannot be read.
    """
    try:
        if not folder.is_dir():
            raise DataError(
                f"there is no images folder {folder}. Give one with a sub-folder for each class: --images FOLDER"
                f"{storage.advice(folder)}"
            )
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"the images folder {folder} cannot be listed: {error.strerror or error}. Change its permissions, or give "
            "another: --images FOLDER"
        ) from None
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of the class folder {name!r} in {folder} is not valid UTF-8: rename it."
            ) from None
    return names


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


def describe_alike(names: Iterable[str]) -> list[str]:
    """Returns a sentence for each set of names that look alike: they differ in case, blanks or Unicode form only."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        alike[" ".join(folded.split())].append(name)
    return [
        f"the class names {', '.join(map(ascii, found))} look alike: they are {len(found)} classes. If that is not "
        "meant, put their pictures into one folder."
        for found in alike.values()
        if len(found) > 1
    ]
