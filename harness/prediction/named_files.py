"""The files that a command line names: themselves, by their folder, by a pattern, or in a list on the standard input.

What is asked for twice is answered twice, but for the files of folders that overlap. It opens none of the files.
"""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from harness.base.errors import ConfigError, DataError
from harness.base.text import count, shorten
from harness.dataset.listing import junk
from harness.dataset.listing.walk import LinkedFolder, describe_linked, walk

log = logging.getLogger("harness")
LIST = "-"  # stands for the list on the standard input
_MOST_BYTES = 4096  # of a path: PATH_MAX of Linux
_MOST_FILES = 10_000_000


def list_files(
    names: Sequence[str], *, follow_links: bool, file: BinaryIO | None = None, separator: bytes = b"\n"
) -> list[str]:
    """Returns the path of each file, in the order in which they are named; says what is left out.

    A folder stands for all files below it but junk. A name with * ? or [ that is no file is a pattern, as a shell
    expands it, ** included; one that nothing matches stays as it is, for whoever opens it to refuse.

    Args:
      names: files, folders, patterns, and LIST.
      follow_links: whether to walk into links to folders.
      file: where the list is read from.
      separator: what ends each path of the list: a line feed or a NUL byte.

    Raises:
      ConfigError: a name is empty.
      DataError: the list is none of paths, or there are more than ten million files.
    """
    walked = _Walked(follow_links)
    found: list[str] = []
    for path in _expand(names, file, separator):
        found += walked.list_files(path) if Path(path).is_dir() else [path]
        if len(found) > _MOST_FILES:
            raise DataError(f"more than {_MOST_FILES:,} files are named, at last {shorten(path)}. Give them in parts.")
    walked.tell()
    return found


def _expand(names: Sequence[str], file: BinaryIO | None, separator: bytes) -> Iterator[str]:
    for name in names:
        if not name:
            raise ConfigError("an empty text was given for a file. Give the path of a picture or of a folder.")
        if name == LIST and file is not None:
            yield from read_list(file, separator)
        elif glob.has_magic(name) and not os.path.lexists(name):
            matched = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - it may be absolute, or lead up
            if not matched:
                log.warning("no file is called like the pattern %s", name)
            yield from matched or [name]
        else:
            yield name


def read_list(file: BinaryIO, separator: bytes) -> Iterator[str]:
    """Yields the paths of a list, of whatever bytes they are; what is blank between line ends is none.

    Of lines the end may be that of Windows, and the first may begin with a byte order mark.

    Raises:
      DataError: what is read is no list of paths.
    """
    is_lines = separator == b"\n"
    for number, part in enumerate(_split(file, separator), start=1):
        mark, end = (b"\xef\xbb\xbf" if number == 1 else b"", b"\r") if is_lines else (b"", b"")
        entry = part.removeprefix(mark).removesuffix(end)
        if not entry or (is_lines and not entry.strip()):
            continue
        if len(entry) > _MOST_BYTES:
            raise DataError(
                f"path {number} on the standard input has more than {_MOST_BYTES} bytes. Give a list of paths, one a "
                "line; or of paths with a NUL byte after each, and the flag -0."
            )
        if b"\0" in entry:
            raise DataError(
                f"line {number} on the standard input holds a NUL byte. Give the flag -0 if these end the paths, or "
                "save the list as UTF-8 if it is text of Windows in UTF-16."
            )
        yield os.fsdecode(entry)


def _split(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """Yields what lies between separators; of a part that is too long for a path only its beginning, as the last."""
    rest = b""
    while block := file.read(1 << 16):
        *entries, rest = (rest + block).split(separator)
        yield from entries
        if len(rest) > _MOST_BYTES:
            break
    if rest:
        yield rest


class _Walked:
    """The files of folders, each of them once, and what was left out of these."""

    def __init__(self, follow_links: bool) -> None:
        self._follow_links = follow_links
        self._met: set[str] = set()
        self._linked: list[LinkedFolder] = []
        self._num_junk = self._num_twice = 0

    def list_files(self, folder: str) -> list[str]:
        """Returns the files below a folder that no folder before it had."""
        found = []
        root, place = Path(folder), os.path.realpath(folder)
        num_files = 0
        for item in walk(root, follow_links=self._follow_links):
            num_files += 1
            if isinstance(item, LinkedFolder):
                self._linked.append(item)
                continue
            inner = item.relative_to(root)
            if junk.find_junk(inner.parts):
                self._num_junk += 1
                continue
            key = os.path.join(place, inner)  # noqa: PTH118 - a Path for each takes ten times the memory
            if key in self._met:
                self._num_twice += 1
                continue
            self._met.add(key)
            found.append(str(item))
        if not num_files:
            log.warning("%s holds no file", folder)
        return found

    def tell(self) -> None:
        """Says what was left out of all folders."""
        if self._num_junk:
            log.info("left out as junk by their names: %s", count(self._num_junk, "file"))
        if self._num_twice:
            twice = count(self._num_twice, "file")
            log.info("taken once of folders that were given twice, or lie in one another: %s", twice)
        if self._linked:
            linked = [(item.path, item.what) for item in self._linked]
            log.warning("%s", describe_linked(linked, is_followed=self._follow_links))
