"""Reads examples of shards in sequence, and hands them out in another order: encoded pictures and labels.

It reads local files and files on s3:// alike, in large pieces. Which example comes when, sampler.py says; what shards
and examples are compared with is in expected.py; the pictures are decoded in decoding.py.
"""

import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from harness.base import storage
from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath, Status
from harness.dataset.records import manifest, tfrecord
from harness.input.expected import Expected
from harness.input.sampler import Streams

_BUFFER_BYTES = 1 << 20  # read at a time
_REMOTE_BUFFER_BYTES = 8 << 20  # from s3://: every read is a round trip, whatever its size
_TRAINED_ON = (tfrecord.IMAGE, tfrecord.LABEL)
_TEXTS = (tfrecord.FILENAME, tfrecord.TEXT, tfrecord.GROUP)  # UTF-8
Shards = Sequence[tuple[str, int]]  # files with the number of examples in each, which are numbered through
Fields = tuple[bytes | int | str, ...]


class Reading:
    """One way through streams, from which each wanted example is taken in whatever order. Threads may share it.

    What lies between the first example that is needed and the last one is held in memory until it is taken.
    """

    def __init__(self, streams: Streams, indices: np.ndarray, expected: Expected) -> None:
        """Opens nothing yet. `indices` are the examples that will be taken, in rows; an example may be in several."""
        self.expected, self._shards = expected, streams.shards
        self._bounds = np.array(streams.bounds)
        wanted, counts = np.unique(indices, return_counts=True)
        again = frozenset(wanted[counts > 1].tolist())
        parts = np.split(wanted, np.searchsorted(wanted, self._bounds[1:-1]))
        self._sources = [_Source(read_examples(streams.shards, part, expected), again) for part in parts]

    def take(self, indices: np.ndarray) -> list[Fields]:
        """Returns the encoded picture and the label of each example of a row.

        Raises:
          DataError: a record is damaged or not what is expected, or its shard cannot be read.
        """
        found: list[Fields] = []
        sources = np.searchsorted(self._bounds, indices, side="right") - 1
        for source, group in itertools.groupby(zip(sources.tolist(), indices.tolist()), key=lambda pair: pair[0]):
            found += self._sources[source].take([index for _, index in group])
        return found

    def name(self, index: int) -> str:
        """Returns what an error calls an example."""
        return name_record(self._shards, index)


class Readings:
    """Readings under way, each known by the ticket that stands in its rows, since these can hold numbers only."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._under_way: dict[int, Reading] = {}
        self._rows_left: dict[int, int] = {}
        self._tickets = itertools.count()
        self._lock = threading.Lock()

    def begin(self, streams: Streams, indices: np.ndarray) -> int:
        """Returns the ticket of a new reading, which ends when all rows of `indices` have been taken."""
        ticket = next(self._tickets)
        reading = Reading(streams, indices, self._expected)
        self._under_way[ticket], self._rows_left[ticket] = reading, len(indices)
        return ticket

    def find(self, ticket: int) -> Reading:
        """Returns the reading for one of its rows, to be asked for once a row; after its last row it is forgotten."""
        with self._lock:
            found = self._under_way[ticket]
            self._rows_left[ticket] -= 1
            if not self._rows_left[ticket]:
                del self._under_way[ticket], self._rows_left[ticket]
        return found


class _Source:
    """The examples of one stream: those that were read and not yet taken, and those to come."""

    def __init__(self, examples: Iterator[tuple[int, Fields]], again: frozenset[int]) -> None:
        self._examples = examples
        self._again = again
        self._held: dict[int, Fields] = {}
        self._last = -1
        self._failure: Exception | None = None
        self._lock = threading.Lock()

    def take(self, indices: Sequence[int]) -> list[Fields]:
        with self._lock:
            self._read_up_to(max(indices))
            return [self._held[index] if index in self._again else self._held.pop(index) for index in indices]

    def _read_up_to(self, index: int) -> None:
        while self._last < index:
            if self._failure is not None:
                raise self._failure  # an iterator that has failed is at its end, which would pass for the epoch's
            try:
                self._last, fields = next(self._examples)
            except Exception as error:
                self._failure = error
                raise
            self._held[self._last] = fields


def read_examples(
    shards: Shards, wanted: np.ndarray, expected: Expected, keys: Sequence[str] = _TRAINED_ON
) -> Iterator[tuple[int, Fields]]:
    """Yields examples of shards with their numbers; shards without a wanted one are not opened.

    Args:
      shards: files with the number of examples in each, which are numbered through.
      wanted: int64 [n], increasing numbers.
      expected: what shards and examples are compared with.
      keys: the fields of an example to give.

    Raises:
      DataError: a record is damaged or not what is expected, or its shard cannot be read.
    """
    for number, example in read_serialized(shards, wanted, expected):
        yield number, _parse(example, keys, expected, partial(name_record, shards, number))


def read_serialized(shards: Shards, wanted: np.ndarray, expected: Expected) -> Iterator[tuple[int, bytes]]:
    """Yields examples of shards with their numbers, as they stand there.

    Args:
      shards: as of `read_examples`.
      wanted: int64 [n], increasing numbers.
      expected: what shards are compared with.

    Raises:
      DataError: a record is damaged, or its shard cannot be read.
    """
    start = 0
    for path, count in shards:
        here = wanted[slice(*np.searchsorted(wanted, [start, start + count]))]
        if len(here):
            yield from zip(here.tolist(), _read_shard(storage.parse(path), (here - start).tolist(), expected))
        start += count


def name_record(shards: Shards, number: int) -> str:
    """Returns what an error calls the example of this number."""
    for path, count in shards:
        if number < count:
            return f"record {number} of {path}"
        number -= count
    raise IndexError(number)


def _read_shard(path: Folder, positions: Sequence[int], expected: Expected) -> Iterator[bytes]:
    try:
        file, status = _open(path)
        with file:
            expected.check_shard(path, status)
            examples = tfrecord.read_shard(file, status.st_size, positions)
            for position, example in zip(positions, examples):
                if position == positions[-1]:
                    file.close()  # whoever takes the last one does not come back
                yield example
    except tfrecord.DamagedRecord as damage:
        raise manifest.explain(path, damage) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Check that the records are still there.") from None
    except tf.errors.OpError as error:
        raise storage.explain(path, error) from None


def _open(path: Folder) -> tuple[BinaryIO, Status | os.stat_result]:
    """Returns the file, and the status of what was opened, whatever has the name by then."""
    if isinstance(path, RemotePath):
        status = path.stat()
        return io.BufferedReader(_Pieces(path, status.st_size), _REMOTE_BUFFER_BYTES), status
    file = path.open("rb", buffering=_BUFFER_BYTES)
    return file, os.fstat(file.fileno())


class _Pieces(io.RawIOBase):
    """A file on s3://, from its beginning to its end; the next piece is fetched while one is used."""

    def __init__(self, path: RemotePath, num_bytes: int) -> None:
        super().__init__()
        self._pieces = iter(fetch(str(path), num_bytes))
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        num_bytes = min(len(buffer), len(self._left))
        buffer[:num_bytes], self._left = self._left[:num_bytes], self._left[num_bytes:]
        return num_bytes


def fetch(address: str, num_bytes: int) -> Iterator[bytes]:
    """The bytes of a file in large pieces. TensorFlow's own file object asks for half a megabyte at a time."""
    num_rest = num_bytes % _REMOTE_BUFFER_BYTES
    sizes = {_REMOTE_BUFFER_BYTES: (0, num_rest), num_rest: (num_bytes - num_rest, 0)}  # header and footer left out
    for size, (header, footer) in sizes.items():
        if header + footer < num_bytes:
            pieces = tf.data.FixedLengthRecordDataset(address, size, header, footer, buffer_size=size)
            yield from pieces.prefetch(1).as_numpy_iterator()


def _parse(example: bytes, keys: Sequence[str], expected: Expected, name: Callable[[], str]) -> Fields:
    """The first value of each key, in whatever order and with whatever else they come; `name` is asked for an error."""
    try:
        features = tf.train.Example.FromString(example).features.feature
        fields = tuple(_first_value(features[key], key) for key in keys)
    except (DecodeError, IndexError):
        raise DataError(
            f"{name()} is no tf.train.Example with {' and '.join(keys)}. Build the records again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{name()} holds a name that is no UTF-8 text. Build the records again.") from None
    if tfrecord.LABEL in keys:
        text = features[tfrecord.TEXT].bytes_list.value
        wrong = expected.check_label(fields[keys.index(tfrecord.LABEL)], text[0] if text else None)
        if wrong:
            raise DataError(f"{name()} {wrong}. Build the records again.")
    return fields


def _first_value(feature: tf.train.Feature, key: str) -> bytes | int | str:
    if key == tfrecord.LABEL:
        return feature.int64_list.value[0]
    value = feature.bytes_list.value[0]
    return value.decode() if key in _TEXTS else value
