"""Folders that harness itself has made: records and runs. Whoever keeps them beside pictures means no class by them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath
from harness.dataset.listing import junk

# What lies in records, in runs, in runs that were just begun, in searches: all of one row is there.
_SIGNS = (
    ("manifest.json", "cleaning.csv"),
    ("config.yaml", "environment.json"),
    ("config.yaml", "checkpoints"),
    ("oracle.json",),
)
_OF_BUILD = re.compile(r"\.(building|lock(\.\d+-of-\d+)?)$")  # as build/build_folder.py names it
_DEEPEST = 2  # folders of records and runs lie in others: runs/search/trial


def is_output(folder: Folder) -> bool:
    """Whether a folder is one of records or of a run, or holds such folders and neither pictures nor other folders."""
    try:
        return _is_made(folder) or (not isinstance(folder, RemotePath) and _holds_made(folder, _DEEPEST))
    except OSError:
        return False


def _is_made(folder: Folder) -> bool:
    return any(all((folder / name).exists() for name in names) for names in _SIGNS)


def _holds_made(folder: Path, deepest: int) -> bool:
    num_made = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                num_made += _OF_BUILD.search(entry.name) is not None
            elif entry.is_dir():
                if not (_is_made(path) or (deepest > 1 and _holds_made(path, deepest - 1))):
                    return False
                num_made += 1
            elif junk.is_picture_name(entry.name):
                return False
    return num_made > 0


def find_within(images: Folder, paths: Iterable[str]) -> str:
    """Returns the folder of the first records or run whose files are among those of the pictures, or ""."""
    signs = tuple(f"/{names[0]}" for names in _SIGNS)
    parents = (path.rpartition("/")[0] for path in paths if path.endswith(signs))
    return next((parent for parent in parents if _is_made(images / parent)), "")


def check_target(images: Folder, target: Folder, folders: Iterable[str] = ()) -> None:
    """Looks whether records would lie among the pictures that they are made from.

    Args:
      images: the images folder.
      target: the folder of the records.
      folders: the folders below the images folder that hold the pictures.

    Raises:
      DataError: `target` is the images folder, holds it, or is in a folder of pictures.
    """
    if isinstance(images, RemotePath) or isinstance(target, RemotePath):
        inside = _as_text(target) == _as_text(images) or _as_text(images).startswith(f"{_as_text(target)}/")
        below = [name for name in folders if _as_text(target).startswith(f"{_as_text(images)}/{name}/")]
    else:
        place, root = target.resolve(), images.resolve()
        inside = place == root or place in root.parents
        above = {place, *place.parents}
        below = [name for name in folders if (images / name).resolve() in above]
    if inside:
        raise DataError(
            f"the records would lie in {target}, which holds the pictures ({images}). Give another folder: "
            "--records FOLDER"
        )
    if below:
        raise DataError(
            f"the records would lie in {target}, among the pictures of {images / below[0]}, and be taken for some of "
            "them the next time. Give another folder: --records FOLDER"
        )


def _as_text(folder: Folder) -> str:
    return folder.as_posix().rstrip("/")
