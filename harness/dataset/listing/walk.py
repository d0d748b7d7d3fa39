"""All files below a folder, in order. It only reads."""

import os
from collections.abc import Iterator
from pathlib import Path

from harness.base.storage import Folder, RemotePath


def walk_files(folder: Folder) -> Iterator[Folder]:
    """Yields everything below `folder` that is no folder, in the order of its path's text.

    A link is yielded and never walked into; a folder that cannot be listed is yielded in place of its files.
    """
    if isinstance(folder, RemotePath):
        yield from folder.walk_files()
        return
    found: list[str] = []
    waiting = [os.fspath(folder)]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:  # these know what is a folder: to ask for each takes a network long
                listed = list(entries)
        except OSError:
            found.append(current)
            continue
        for entry in listed:
            (waiting if _is_folder(entry) else found).append(entry.path)
    yield from map(Path, sorted(found))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
