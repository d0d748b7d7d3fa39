"""Reads shards: serialized examples in sequence or in streams, their fields, and the pixels of stored forms.

Which example comes when is the matter of order.py, and what is done with the pixels that of input_pipeline.py.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from harness import manifest, records, remote, stored
from harness.errors import DataError
from harness.manifest import Manifest
from harness.order import Stream
from harness.remote import Folder, RemotePath

_STORAGE_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnauthenticatedError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_REMOTE_READ_BYTES = 8 << 20  # from s3:// at a time: every read is a round trip, whatever its size
_PREFETCHED = 2  # batches ready beside those that are being made
_MOST_THREADS = 16
_ALIGNMENT = 64  # bytes; tensors begin at whole cache lines
_SHUFFLE_WINDOW = 128  # serialized examples of each stream: more leave the caches, and cost a tenth of a decoding
_FIELDS = {records.IMAGE: tf.io.FixedLenFeature([], tf.string), records.LABEL: tf.io.FixedLenFeature([], tf.int64)}


@contextmanager
def damage_named(data: Manifest, folder: Folder) -> Iterator[None]:
    """Turns TensorFlow's error about a damaged record into one that names the shard, and the storage's into a sentence.

    Raises:
      DataError: a record could not be read.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        manifest.verify(data, folder)
        raise DataError(f"a record in {folder} cannot be read: {error.message}") from None
    except _STORAGE_ERRORS as error:
        if not isinstance(folder, RemotePath):
            raise
        raise remote.explain(folder, error) from None


def read_records(paths: Sequence[str]) -> tf.data.Dataset:
    """Returns the serialized examples of shards, one after another."""
    return tf.data.TFRecordDataset(list(paths), buffer_size=_REMOTE_READ_BYTES if is_remote(paths) else None)


def is_remote(paths: Sequence[str]) -> bool:
    """Whether shards lie on s3://."""
    return isinstance(remote.parse(paths[0]), RemotePath)


def as_table(streams: Sequence[Stream], *, num_files: int, first: int, stop: int) -> dict[str, np.ndarray]:
    """Returns what `read_streams` wants: for each stream its files, filled up to `num_files`, and its numbers.

    Of each stream the examples from `first` to `stop` are read; after its last one it begins anew in the same order.
    """
    files = [[*stream.files, *[""] * (num_files - len(stream.files))] for stream in streams]
    return {
        "files": np.array(files, dtype=np.bytes_),
        "num_files": np.array([len(stream.files) for stream in streams], np.int64),
        "skip": np.array([stream.skip for stream in streams], np.int64),
        "num_examples": np.array([stream.num_examples for stream in streams], np.int64),
        "seed": np.array([stream.seed for stream in streams], np.int64),
        "first": np.full(len(streams), first, np.int64),
        "stop": np.full(len(streams), stop, np.int64),
    }


def read_streams(
    table: Mapping[str, tf.Tensor], *, num_streams: int, block_length: int, is_remote: bool
) -> tf.data.Dataset:
    """Returns serialized examples of each stream in turn, in blocks of so many, each stream shuffled within a window.

    Args:
      table: of `as_table`, as tensors.
      num_streams: how many streams it lists.
      block_length: examples in a block.
      is_remote: whether the files lie on s3://.
    """
    buffer_size = _REMOTE_READ_BYTES if is_remote else None

    @tf.autograph.experimental.do_not_convert
    def read(row: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        files = tf.data.TFRecordDataset(row["files"][: row["num_files"]], buffer_size=buffer_size)
        examples = files.skip(row["skip"]).take(row["num_examples"])
        shuffled = examples.shuffle(_SHUFFLE_WINDOW, seed=row["seed"], reshuffle_each_iteration=False)
        return shuffled.repeat().take(row["stop"]).skip(row["first"])

    return tf.data.Dataset.from_tensor_slices(table).interleave(
        read, cycle_length=num_streams, block_length=block_length, num_parallel_calls=num_streams, deterministic=True
    )


@tf.autograph.experimental.do_not_convert
def parse_batch(serialized: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """Returns the stored forms, string [batch], and labels, int32 [batch], of serialized examples, string [batch]."""
    fields = tf.io.parse_example(serialized, _FIELDS)
    return {"stored": fields[records.IMAGE], "label": tf.cast(fields[records.LABEL], tf.int32)}


def new_pixels(num: int, size: int) -> np.ndarray:
    """Returns new memory for pixels, uint8 [num, size, size, 3], that TensorFlow takes over without a copy."""
    num_bytes = num * size * size * 3
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + num_bytes].reshape(num, size, size, 3)


def decode_batch(forms: Sequence[bytes], encoding: str, size: int) -> np.ndarray:
    """Returns the pixels of stored forms: uint8 [len(forms), size, size, 3]. Threads may do so side by side."""
    pixels = new_pixels(len(forms), size)
    for content, out in zip(forms, pixels):
        stored.decode_into(content, encoding, out)
    return pixels


def read_pictures(paths: Sequence[str], encoding: str, size: int, num: int) -> np.ndarray:
    """Returns the pixels of the first examples, uint8 [num or fewer, size, size, 3]."""
    fields = [parse_batch(serialized) for serialized in read_records(paths).take(num).batch(num)]
    return decode_batch(fields[0]["stored"].numpy(), encoding, size)


def read_jpegs(
    paths: Sequence[str], encoding: str, size: int, positions: Sequence[int]
) -> dict[int, tuple[str, bytes]]:
    """Returns the file name and a JPEG of the examples at these positions in the order of the records."""
    fields = {key: tf.io.FixedLenFeature([], tf.string) for key in (records.FILENAME, records.IMAGE)}
    wanted, found = set(positions), {}
    for index, serialized in enumerate(read_records(paths)):
        if index in wanted:
            example = tf.io.parse_single_example(serialized, fields)
            content = example[records.IMAGE].numpy()
            if encoding != "jpeg":
                content = stored.encode_jpeg(stored.decode(content, encoding, size), 95)
            found[index] = example[records.FILENAME].numpy().decode(), content
    return found


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
