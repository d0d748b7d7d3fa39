"""Files on s3:// as paths: the part of pathlib.Path that is used here, over TensorFlow's file systems.

TensorFlow and tensorflow-io are imported on the first access, not before, so that addresses can be read from settings,
printed and handed to worker processes without them. It knows nothing of pictures or records.
"""

import atexit
import errno
import functools
import importlib
import importlib.util
import io
import logging
import multiprocessing
import os
import re
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, NoReturn, TextIO, overload

from harness.base import tf_import
from harness.base.errors import ConfigError, DataError

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger("harness")
_SCHEME = "s3://"
_NUM_LISTED = 16  # entries asked about at a time: each costs a round trip or two
_BLOCK_BYTES = 8 << 20
# Without these an address where nobody answers takes minutes for every question. A user's own values stay.
_PATIENCE = {
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "3",
    "S3_CONNECT_TIMEOUT_MSEC": "5000",
    "S3_REQUEST_TIMEOUT_MSEC": "15000",
}
_NEEDS = "pip install -e '.[io]' in an environment with Python 3.10 to 3.12 brings the pair that goes together"


@dataclass(frozen=True)
class Status:
    """What is known of a file or folder, under the names that os.stat_result has for it."""

    st_mode: int
    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder on s3://; relative parts are joined with `/`.

    What is not there raises FileNotFoundError, as for a Path. Every other failure is a DataError: the storage itself
    reports a server that is down and keys that are refused as files that are missing, so each such answer is confirmed.
    """

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.key}"

    def __fspath__(self) -> NoReturn:
        raise TypeError(f"{self} is no path of the local file system")

    def __truediv__(self, part: str | PurePosixPath) -> "RemotePath":
        return RemotePath(self.bucket, f"{self.key}/{part}".strip("/"))

    @property
    def name(self) -> str:
        """The last part, or the bucket."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def parent(self) -> "RemotePath":
        """The folder this is in; a bucket is in itself, as the root folder is."""
        return RemotePath(self.bucket, self.key.rpartition("/")[0])

    def as_posix(self) -> str:
        """Returns the address."""
        return str(self)

    def resolve(self) -> "RemotePath":
        """Returns itself: addresses are absolute, and there are no links."""
        return self

    def relative_to(self, folder: "Folder") -> PurePosixPath:
        """Returns the part below `folder`.

        Raises:
          ValueError: it is not below `folder`.
        """
        if isinstance(folder, RemotePath) and self.bucket == folder.bucket:
            start = f"{folder.key}/" if folder.key else ""
            if self.key.startswith(start):
                return PurePosixPath(self.key[len(start) :])
        raise ValueError(f"{self} is not below {folder}")

    def stat(self) -> Status:
        """Returns kind, size in bytes and time of change, which s3:// keeps in whole seconds."""
        tf = _connect(self)
        try:
            found = tf.io.gfile.stat(str(self))
        except tf.errors.NotFoundError:
            _confirm_missing(self)
            raise FileNotFoundError(errno.ENOENT, "there is no such file", str(self)) from None
        except tf.errors.OpError as error:
            raise explain(self, error) from None
        mode = stat.S_IFDIR | 0o755 if found.is_directory else stat.S_IFREG | 0o644
        return Status(mode, found.length, found.mtime_nsec)

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Whether there is something below it."""
        tf = _connect(self)
        if tf.io.gfile.isdir(str(self)):
            return True
        _confirm_missing(self)
        return False

    def is_file(self) -> bool:
        """Whether it is a file."""
        try:
            return stat.S_ISREG(self.stat().st_mode)
        except FileNotFoundError:
            return False

    def lstat(self) -> Status:
        """Returns what `stat` does: there are no links."""
        return self.stat()

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what is in the folder, in the order of the names."""
        tf = _connect(self)
        try:
            names = tf.io.gfile.listdir(str(self))
        except tf.errors.NotFoundError:
            _confirm_missing(self)
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(self)) from None
        except tf.errors.OpError as error:
            raise explain(self, error) from None
        yield from (self / name for name in sorted({name.strip("/") for name in names} - {""}))

    def walk_files(self) -> Iterator["RemotePath"]:
        """Yields every file below the folder, in the order of its address."""
        found: list[RemotePath] = []
        waiting = [self]
        with ThreadPoolExecutor(_NUM_LISTED) as pool:
            while waiting:
                entries = list(waiting.pop().iterdir())
                for path, status in zip(entries, pool.map(RemotePath.stat, entries)):
                    (waiting if stat.S_ISDIR(status.st_mode) else found).append(path)
        yield from sorted(found, key=RemotePath.as_posix)

    @overload
    def open(self, mode: Literal["rb"]) -> BinaryIO: ...

    @overload
    def open(self, mode: Literal["r"] = "r", *, encoding: str | None = None, newline: str | None = None) -> TextIO: ...

    def open(self, mode: str = "r", *, encoding: str | None = None, newline: str | None = None) -> BinaryIO | TextIO:
        """Opens the file for reading; all of it is in memory then: many small reads would be a request each."""
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding=encoding, newline=newline)

    def read_bytes(self) -> bytes:
        """Returns all bytes of the file."""
        tf = _connect(self)
        try:
            content: bytes = tf.io.read_file(str(self)).numpy()
        except tf.errors.NotFoundError:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", str(self)) from None
        except tf.errors.OpError as error:
            raise explain(self, error) from None
        return content

    def read_text(self, encoding: str) -> str:
        """Returns the text of the file."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Writes the file; it appears complete or not at all."""
        self._write(io.BytesIO(content))

    def upload(self, source: Path) -> None:
        """Writes the bytes of a local file; they appear complete or not at all."""
        with source.open("rb") as file:
            self._write(file)

    def _write(self, source: IO[bytes]) -> None:
        tf = _connect(self)
        try:
            # What is written is sent when the file is closed, so the storage's complaint comes at the end of `with`.
            with tf.io.gfile.GFile(str(self), "wb") as file:
                shutil.copyfileobj(source, file, _BLOCK_BYTES)
        except tf.errors.OpError as error:
            raise explain(self, error, verb="written") from None

    def unlink(self) -> None:
        """Removes the file."""
        tf = _connect(self)
        try:
            tf.io.gfile.remove(str(self))
        except tf.errors.OpError as error:
            raise explain(self, error, verb="removed") from None


Folder = Path | RemotePath


def parse(text: str) -> Folder:
    """Returns the path that a text names: an address on s3://, or a path of the local file system.

    Raises:
      ValueError: it is an address of another kind, or names no bucket.
    """
    if "://" not in text:
        return Path(text)
    bucket, _, key = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not bucket:
        raise ValueError(f"it should be a local folder or {_SCHEME}BUCKET/FOLDER")
    return RemotePath(bucket, key.strip("/"))


def is_same(one: Folder, other: Folder) -> bool:
    """Returns whether two names are of one folder, by whatever links."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def explain(path: Folder, error: "tf.errors.OpError", *, verb: str = "read") -> DataError:
    """Returns what a user can do about TensorFlow's error on a file or folder of the storage."""
    kind = type(error).__name__
    said = re.sub(r"^(\{\{.*?\}\})?[\s:]*| ?\[Op:\w+\].*$", "", str(error.message).strip(), flags=re.DOTALL)
    endpoint = os.environ.get("S3_ENDPOINT")
    if kind == "NotFoundError":
        said, check = said.replace("No response body.", "") or "not found", "the bucket's name and S3_ENDPOINT"
    elif kind in ("PermissionDeniedError", "UnauthenticatedError"):
        said = said.replace("No response body.", "") or "access denied"
        check = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do in the bucket"
    else:
        check = "the network, S3_ENDPOINT and AWS_REGION"
    where = f" at {endpoint}" if endpoint else ""
    said = " ".join((said or kind).split())[:200].rstrip(".")
    return DataError(f"{path} cannot be {verb}{where}: {said}. Check {check}.")


def advice(path: Folder) -> str:
    """Returns how a sentence goes on where an address turns out empty; nothing for a local folder."""
    return ". Check the bucket's name and S3_ENDPOINT too" if isinstance(path, RemotePath) else ""


def was_used() -> bool:
    """Whether this process has loaded the storage's file system."""
    return _load.cache_info().currsize > 0


@functools.cache
def _load() -> ModuleType:
    """Imports TensorFlow with its file systems; returns TensorFlow.

    Raises:
      ConfigError: tensorflow-io is missing, or does not go with this TensorFlow.
    """
    if importlib.util.find_spec("tensorflow_io") is None:
        raise ConfigError(f"{_SCHEME} needs tensorflow-io, which is not installed: {_NEEDS}.")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        tf_import.import_tensorflow("tensorflow_io")
        tf = importlib.import_module("tensorflow")
        schemes = tf.io.gfile.get_registered_schemes()
    except (ImportError, NotImplementedError) as error:
        raise ConfigError(f"tensorflow-io does not load ({str(error).splitlines()[0][:200]}): {_NEEDS}.") from None
    if "s3" not in schemes:
        raise ConfigError(f"tensorflow-io brings no {_SCHEME} to TensorFlow {tf.__version__}: {_NEEDS}.")
    if multiprocessing.parent_process() is not None:
        atexit.register(os._exit, 0)  # a worker's way out would end in an abort; its results are handed over by then
    return tf


def _connect(path: RemotePath) -> ModuleType:
    """Returns TensorFlow, ready to reach the path; says where to before the first wait."""
    tf = _load()
    _announce(path.bucket)
    return tf


@functools.cache
def _announce(bucket: str) -> None:
    log.info("connecting to %s for %s%s", os.environ.get("S3_ENDPOINT") or "Amazon S3", _SCHEME, bucket)


def _confirm_missing(path: RemotePath) -> None:
    """Reads a byte, which unlike other questions fails with what the storage said.

    Raises:
      DataError: for another reason than that nothing is there.
    """
    tf = _load()
    address = str(path if path.key else path / "manifest.json")  # a bucket itself cannot be read
    try:
        with tf.io.gfile.GFile(address, "rb") as file:
            file.read(1)
    except tf.errors.NotFoundError:
        return
    except tf.errors.OpError as error:
        raise explain(path, error) from None
