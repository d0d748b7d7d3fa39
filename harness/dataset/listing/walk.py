"""All files below a folder, in order, and the linked folders among them. It only reads."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness.base.storage import Folder, RemotePath
from harness.base.text import shorten, visible
from harness.dataset.listing import junk

_MOST_COUNTED = 10_000
Identity = tuple[int, int]  # of a folder: device and inode


class LinkedFolder(NamedTuple):
    """A folder whose files are left out, as a link leads to it: what it is in words, and how many files are there.

    `met_at` is where its files were taken, if they were.
    """

    path: Folder
    what: str
    num_files: int = 0
    met_at: str = ""


def walk_files(folder: Folder, *, follow_links: bool = False) -> Iterator[Folder]:
    """Yields everything below `folder` that is no folder, in the order of its path's text.

    A folder that cannot be listed is yielded in place of its files. Linked folders are left out, or their files taken
    once, as `walk` has it.
    """
    return (item for item in walk(folder, follow_links=follow_links) if not isinstance(item, LinkedFolder))


def walk(
    folder: Folder, *, follow_links: bool = False, met: dict[Identity, str] | None = None
) -> Iterator[Folder | LinkedFolder]:
    """Yields what `walk_files` yields, and each linked folder that is left out.

    Args:
      folder: where to begin; it may be a link itself.
      follow_links: whether to walk into links to folders. Each folder is walked once: a link to one above it, or to one
        that was met before, is left out.
      met: the folders that were met before, and where; those of this walk are added. Only with `follow_links`.
    """
    if isinstance(folder, RemotePath):
        yield from folder.walk_files()
        return
    met = {} if met is None else met
    start = os.fspath(folder)
    files, links = _walk_one(start, met if follow_links else None)
    found: list[tuple[str, LinkedFolder | None]] = [*files]
    while links:
        link = links.pop(0)
        if follow_links and not _is_above(link):
            files, more = _walk_one(link, met)
            found += files
            links += more
        else:
            found.append((link, _leave_out(link)))
    yield from (item or Path(path) for path, item in sorted(found, key=lambda pair: pair[0]))


def describe_linked(linked: Sequence[tuple[object, str]], *, is_followed: bool) -> str:
    """Returns a sentence on linked folders that are left out, each with what it is in words."""
    path, what = linked[0]
    number = f"{len(linked):,} linked folders are" if len(linked) > 1 else "1 linked folder is"
    advice = "" if is_followed else " To take what is in them: --data.follow_links true"
    return f"{number} left out, such as {shorten(path, 200)} ({visible(what)}).{advice}"


def _walk_one(start: str, met: dict[Identity, str] | None) -> tuple[list[tuple[str, LinkedFolder | None]], list[str]]:
    """Returns the files below a folder, and the links to folders in it; folders that were met already are left out."""
    found: list[tuple[str, LinkedFolder | None]] = []
    links: list[str] = []
    waiting = [start]
    while waiting:
        current = waiting.pop()
        try:
            if met is not None:
                status = Path(current).stat()
                before = met.setdefault((status.st_dev, status.st_ino), current)
                if before != current:
                    what = f"a folder that was listed as {before}"
                    found.append((current, LinkedFolder(Path(current), what, met_at=before)))
                    continue
            with os.scandir(current) as entries:  # these know what is a folder: to ask for each takes a network long
                listed = list(entries)
        except OSError:
            found.append((current, None))
            continue
        for entry in listed:
            if _is_folder(entry):
                waiting.append(entry.path)
            elif _is_link_to_folder(entry) and not junk.is_junk(entry.name):
                links.append(entry.path)
            else:
                found.append((entry.path, None))
    return found, sorted(links)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_link_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False


def _is_above(link: str) -> bool:
    place, leads_to = Path(link).parent.resolve(), Path(link).resolve()
    return leads_to in (place, *place.parents)


def _leave_out(link: str) -> LinkedFolder:
    if _is_above(link):
        return LinkedFolder(Path(link), "a link to a folder above it")
    files = (name for _, _, names in os.walk(link) for name in names if not junk.is_junk(name))
    num_files = sum(1 for _ in islice(files, _MOST_COUNTED))
    more = "more than " if num_files == _MOST_COUNTED else ""
    return LinkedFolder(Path(link), f"a link to a folder with {more}{num_files:,} files", num_files)
