"""The Example schema and shards of TFRecords. It writes them; input_pipeline.py parses them.

The few lines of the protocol buffer and TFRecord formats stand here so that the processes that write shards need no
TensorFlow, whose import costs each of them seconds:
https://protobuf.dev/programming-guides/encoding and
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/io/record_writer.h
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c

# The keys of ImageNet's TFRecords, so that other readers know them.
IMAGE, FORMAT, HEIGHT, WIDTH = "image/encoded", "image/format", "image/height", "image/width"
LABEL, TEXT = "image/class/label", "image/class/text"
FILENAME, SHA256, GROUP = "image/filename", "image/sha256", "image/group"

_BYTES_LIST, _INT64_LIST = 1, 3  # fields of tensorflow.Feature's oneof


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


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(_BYTES_LIST, _field(1, value))
    return _field(_INT64_LIST, _field(1, _varint(value)))  # packed


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_shard(path: Path, examples: Iterable[bytes]) -> tuple[int, str]:
    """Writes serialized examples as one TFRecord file, complete or not at all; returns its size in bytes and sha256."""
    temporary = path.with_name(f".{path.name}.tmp")
    digest, num_bytes = hashlib.sha256(), 0
    with temporary.open("wb") as file:
        for example in examples:
            length = struct.pack("<Q", len(example))
            framed = length + _masked_crc(length) + example + _masked_crc(example)
            file.write(framed)
            digest.update(framed)
            num_bytes += len(framed)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return num_bytes, digest.hexdigest()
