"""The Example schema and shards of TFRecords. It writes and checks them; input/record_reader.py parses them.

The few lines of the protocol buffer and TFRecord formats stand here so that the processes that write shards need no
TensorFlow, whose import costs each of them seconds:
https://protobuf.dev/programming-guides/encoding and
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/io/record_writer.h
"""

import hashlib
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from harness.base import files

# The keys of ImageNet's TFRecords, so that other readers know them.
IMAGE, FORMAT, HEIGHT, WIDTH = "image/encoded", "image/format", "image/height", "image/width"
LABEL, TEXT = "image/class/label", "image/class/text"
FILENAME, SHA256, GROUP = "image/filename", "image/sha256", "image/group"

_HEADER_BYTES = 12  # the length and its checksum
_FOOTER_BYTES = 4  # the checksum of the example
FRAME_BYTES = _HEADER_BYTES + _FOOTER_BYTES  # what a record takes beside its example
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of tensorflow.Feature's oneof
_PROBE_BYTES = 32
_SHORT = tuple(bytes([value]) for value in range(0x80))


def shard_name(split: str, index: int, num_shards: int) -> str:
    """Returns the file name of one shard, such as train-00003-of-00016.tfrecord."""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord"


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Returns a serialized tf.train.Example; the same features give the same bytes, whatever their order.

    Integers must not be negative.
    """
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(features[name]))) for name in sorted(features)
    )
    return _field(1, entries)


def find_value(example: bytes, value: bytes) -> int:
    """Returns where a value begins in a serialized example; bytes.index would first study the whole of a long value.

    Raises:
      ValueError: it is not in there.
    """
    start = example.index(value[:_PROBE_BYTES])
    while not example.startswith(value, start):
        start = example.index(value[:_PROBE_BYTES], start + 1)
    return start


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(_BYTES_LIST, _field(1, value))
    return _field(_INT64_LIST, _field(1, _varint(value)))  # packed


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 0x80:  # nearly all of them
        return _SHORT[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@dataclass(frozen=True)
class Written:
    """A written shard: its size, its sha256, and the byte at which each example begins."""

    num_bytes: int
    sha256: str
    starts: tuple[int, ...]


class ShardWriter:
    """Writes serialized examples to an open file, one after another."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self._num_bytes = file, hashlib.sha256(), 0
        self._starts: list[int] = []

    def add(self, example: bytes) -> None:
        """Writes one example."""
        length = struct.pack("<Q", len(example))
        framed = length + _masked_crc(length) + example + _masked_crc(example)
        self._file.write(framed)
        self._digest.update(framed)
        self._starts.append(self._num_bytes + _HEADER_BYTES)
        self._num_bytes += len(framed)

    @property
    def written(self) -> Written:
        """What has been written so far."""
        return Written(self._num_bytes, self._digest.hexdigest(), tuple(self._starts))


def write_shard(path: Path, examples: Iterable[bytes]) -> Written:
    """Writes serialized examples as one TFRecord file, complete or not at all."""
    with files.open_new(path) as file:
        writer = ShardWriter(file)
        for example in examples:
            writer.add(example)
    return writer.written


class DamagedRecord(ValueError):
    """A record of a shard whose bytes are not those that were written: its index and where it begins, in bytes."""

    def __init__(self, index: int, start: int, what: str) -> None:
        super().__init__(f"record {index} at byte {start}: {what}")
        self.index = index


def read_shard(file: BinaryIO, num_bytes: int, positions: Iterable[int] | None = None) -> Iterator[bytes]:
    """Yields serialized examples of an open shard after comparing their checksums.

    Args:
      file: the shard, at its beginning.
      num_bytes: its size; no record that claims to be longer than the rest is believed, nor memory taken for it.
      positions: which examples, in increasing order; all if None. Of those between them nothing is compared but the
        length.

    Raises:
      DamagedRecord: a record is cut off, changed or missing.
    """
    index, start = 0, 0
    for position in itertools.count() if positions is None else positions:
        while (length := _read_length(file, num_bytes, index, start)) is not None and index < position:
            file.read(length + _FOOTER_BYTES)
            index, start = index + 1, start + _HEADER_BYTES + length + _FOOTER_BYTES
        if length is not None:
            yield _read_content(file, length, index, start)
            index, start = index + 1, start + _HEADER_BYTES + length + _FOOTER_BYTES
        elif positions is None:
            return
        else:
            raise DamagedRecord(index, start, "the file ends before it")


def _read_length(file: BinaryIO, num_bytes: int, index: int, start: int) -> int | None:
    """The bytes of the next example; None at the end."""
    header = file.read(_HEADER_BYTES)
    if not header:
        return None
    if len(header) < _HEADER_BYTES or _masked_crc(header[:8]) != header[8:]:
        raise DamagedRecord(index, start, "its length is damaged")
    length = int.from_bytes(header[:8], "little")
    if length > num_bytes - start - _HEADER_BYTES - _FOOTER_BYTES:
        raise DamagedRecord(index, start, "the file ends within it")
    return length


def _read_content(file: BinaryIO, length: int, index: int, start: int) -> bytes:
    example, checksum = file.read(length), file.read(_FOOTER_BYTES)
    if len(example) + len(checksum) < length + _FOOTER_BYTES:
        raise DamagedRecord(index, start, "the file ends within it")
    if _masked_crc(example) != checksum:
        raise DamagedRecord(index, start, "its checksum is wrong")
    return example
