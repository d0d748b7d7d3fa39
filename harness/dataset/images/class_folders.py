"""Class folders that are not what they seem: links that would give pictures twice, names that hardly differ.

Which folders are classes is decided in sources.py.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath


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
