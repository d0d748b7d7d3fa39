"""Files that appear complete or not at all, and digests of their bytes. It knows no format."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from harness.base.errors import StorageError

if TYPE_CHECKING:
    from harness.base.storage import Folder

_BUFFER_BYTES = 1 << 20  # of many small writes each costs the file system more than twice its share of a large one

# A file in the place of a folder; /proc, or a folder that was removed.
_NO_FOLDER = (FileExistsError, FileNotFoundError, NotADirectoryError)


@contextmanager
def open_new(path: Path) -> Iterator[BinaryIO]:
    """Opens a file under a temporary name; if all goes well it is synced to disk and renamed to `path`.

    Raises:
      StorageError: no file can be made there.
      OSError: the file cannot be written.
    """
    temporary = path.with_name(_name_temporary(path, os.getpid()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = temporary.open("wb", buffering=_BUFFER_BYTES)
    except _NO_FOLDER:
        raise _takes_none(path) from None
    try:
        with naming(path), opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_new(path: Path) -> None:
    """Looks whether a file can be made there, before the work whose result it is to hold. It leaves nothing behind.

    Raises:
      StorageError: no file can be made there.
      OSError: none may be made there.
    """
    known = next(folder for folder in (path.parent, *path.parent.parents) if folder.is_symlink() or folder.exists())
    temporary = known / _name_temporary(path, os.getpid())
    try:
        temporary.touch(exist_ok=False)
    except _NO_FOLDER:
        raise _takes_none(path) from None
    except OSError as error:
        error.filename = str(path)
        raise
    temporary.unlink()


def _takes_none(path: Path) -> StorageError:
    return StorageError(f"{path} cannot be written: {path.parent} takes no files. Give another place.")


def _name_temporary(path: Path, writer: int | str) -> str:
    return f".{path.name}.{writer}.tmp"


def remove_unfinished(path: Path) -> None:
    """Removes what writers of a file left who were killed. It is for whoever is the only one that may write it now."""
    for left in path.parent.glob(_name_temporary(path, "*")):
        left.unlink(missing_ok=True)


def sync(*paths: Path) -> None:
    """Has the contents of files, or the names in folders, written to disk: a crash of the machine would lose them."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with naming(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an OSError that names no file the name of this one: a write to a full disk says only that it is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def open_plain(folder: Path) -> Iterator[str]:
    """Yields another path of a folder, made of plain characters: TensorFlow takes [ ] * ? in a path for a pattern.

    An OSError that names the folder so gets its own name.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    plain = f"/proc/self/fd/{descriptor}"
    try:
        yield plain
    except OSError as error:
        if isinstance(error.filename, str):
            error.filename = error.filename.replace(plain, str(folder), 1)
        raise
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, in the place of what had it; where it cannot have one, it is copied."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, temporary)
        temporary.replace(target)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, complete or not at all."""
    with open_new(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, complete or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Writes `value` as JSON, complete or not at all; without an `indent` on one line, which is a third as long."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def digest_json(value: object) -> str:
    """Returns the sha256 of `value` as canonical JSON: the same for equal values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_file(path: "Folder") -> str:
    """Returns the sha256 of a file's bytes, read a mebibyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def measure(folder: Path) -> int:
    """Returns how many bytes the files of a folder have together; 0 if it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
