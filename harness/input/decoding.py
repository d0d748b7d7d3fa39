"""Decodes the pictures of shards into memory that TensorFlow takes over, by threads beside the steps.

record_reader.py reads the shards; pipeline.py makes batches of the pixels.
"""

import ctypes
import os
import re
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from harness.base.errors import DataError
from harness.dataset.records import tfrecord
from harness.dataset.records.encoding import decode_pixels, decode_pixels_into, encode_jpeg
from harness.input import record_reader
from harness.input.expected import Expected
from harness.input.record_reader import Reading, Shards
from harness.input.sampler import Streams

_PREFETCHED = 2  # batches ready beside those that are being made
_MOST_THREADS = 16
_ALIGNMENT = 64  # bytes; tensors begin at whole cache lines
_ERROR = re.compile(rf"\b{DataError.__name__}: (.*)")


@contextmanager
def damage_named() -> Iterator[None]:
    """Takes a DataError of a thread of the pipeline out of TensorFlow's error, where it stands as text.

    Raises:
      DataError: a record could not be read.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _ERROR.search(error.message)
        if found is None:
            raise
        raise DataError(found[1]) from None


def new_pixels(num: int, size: int) -> np.ndarray:
    """Returns new memory for pixels, uint8 [num, size, size, 3], that TensorFlow takes over without a copy."""
    num_bytes = num * size * size * 3
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + num_bytes].reshape(num, size, size, 3)


class PixelMemory:
    """Memory for the batches of a pipeline, each lent until nothing looks at it any more, and then lent again.

    Memory that is new to the process is cleared before it is handed out, which costs a sixth of a decoding.
    """

    def __init__(self, num: int, size: int) -> None:
        self._num, self._size = num, size
        self._free: deque[np.ndarray] = deque()

    def lend(self) -> np.ndarray:
        """Returns pixels, uint8 [num, size, size, 3], of whatever value. Arrays and tensors made of them count too."""
        try:
            pixels = self._free.pop()
        except IndexError:
            pixels = new_pixels(self._num, self._size)
        # Views of an array hold the array that owns the memory, views of other objects the object: so one that knows
        # its own end stands between.
        loan = (ctypes.c_uint8 * pixels.size).from_buffer(pixels)
        weakref.finalize(loan, self._free.append, pixels).atexit = False
        return np.frombuffer(loan, np.uint8).reshape(pixels.shape)


def decode_examples(reading: Reading, indices: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Writes the pixels of examples to `out`, uint8 [n, size, size, 3]; returns their labels, int32 [n].

    Threads may do so side by side.

    Raises:
      DataError: a record is damaged or not what is expected, or its shard cannot be read.
    """
    encoded, labels = zip(*reading.take(indices))
    for index, content, pixels in zip(indices.tolist(), encoded, out):
        try:
            decode_pixels_into(content, reading.expected.encoding, pixels)
        except ValueError as error:
            raise _explain(reading.name(index), error) from None
    return np.array(labels, np.int32)


def _explain(name: str, error: ValueError) -> DataError:
    return DataError(f"{name} cannot be decoded: {error}. Build the records again.")


def read_pictures(shards: Shards, expected: Expected, num: int) -> np.ndarray:
    """Returns the pixels of the first examples, uint8 [num or fewer, size, size, 3]."""
    return read_examples(shards, expected, num)[0]


def read_examples(shards: Shards, expected: Expected, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels of the first examples, uint8 [num or fewer, size, size, 3], and their labels, int32 [n]."""
    indices = np.arange(min(num, sum(count for _, count in shards)))
    out = new_pixels(len(indices), expected.image_size)
    reading = Reading(Streams(tuple(shards), (0, len(indices))), indices, expected)
    return out, decode_examples(reading, indices, out=out)


def read_jpegs(shards: Shards, expected: Expected, positions: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    """Returns the file name and a JPEG of the examples at these positions in the order of the records."""
    keys, found = (tfrecord.FILENAME, tfrecord.IMAGE), {}
    for position, (name, content) in record_reader.read_examples(shards, np.unique(positions), expected, keys):
        try:
            pixels = decode_pixels(content, expected.encoding, expected.image_size)
        except ValueError as error:
            raise _explain(record_reader.name_record(shards, position), error) from None
        found[position] = name, content if expected.encoding == "jpeg" else encode_jpeg(pixels, 95)
    return found


def hold_weakly(function: Callable) -> Callable:
    """Returns a function that does what another does for as long as that one is held elsewhere.

    What is given to tf.numpy_function, with all pictures that hang on it, TensorFlow holds in a graph that outlives the
    training; one process trains many times in a search.
    """
    reference = weakref.ref(function)

    def call(*arguments: object) -> object:
        return reference()(*arguments)

    return call


def map_in_threads(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Returns the results of a function in order, some of them made beforehand by threads of their own.

    As many threads as cores: pictures are changed without the interpreter's lock.
    """
    num_threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    options = tf.data.Options()
    options.deterministic = True
    # Python functions would otherwise hold the threads that the steps run on.
    options.threading.private_threadpool_size = num_threads
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.map(function, num_parallel_calls=num_threads).prefetch(_PREFETCHED).with_options(options)
