"""From shards to batches: read, cache, shuffle, batch, prefetch.

A batch is a dictionary:
  image: uint8 [batch, size, size, 3]
  label: int32 [batch]
  weight: float32 [batch], 1/n for each of the n examples of the batch and 0 for padding, so that a sum is a mean
  warp, colour, erase, mix: the drawn augmentation, see transforms.py (training with augmentation only)

Every batch has the same shape: the last one is filled up with pictures of weight 0. What is in batch k of epoch e is a
function of the seed, e and k, so an epoch can start at any step.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from harness import manifest, records, remote, stored
from harness.config import Config
from harness.errors import DataError
from harness.manifest import Manifest
from harness.remote import Folder, RemotePath
from harness.transforms import draw_transforms

Batch = Mapping[str, tf.Tensor]
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
_CYCLE_LENGTH = 8  # shards read at a time
_REMOTE_READ_BYTES = 8 << 20  # from s3:// at a time: every read is a round trip, whatever its size
_SHUFFLE_BUFFER = 4096  # serialized examples, about 30 kB each


@dataclass(frozen=True)
class Split:
    """One split, in memory as decoded tensors or to be streamed from its shards."""

    num_examples: int
    image_size: int
    encoding: str
    shard_paths: tuple[str, ...]
    images: tf.Tensor | None = None  # uint8 [n, size, size, 3]
    labels: tf.Tensor | None = None  # int32 [n]

    def num_batches(self, batch_size: int) -> int:
        """Batches an epoch has, the last padded one included."""
        return -(-self.num_examples // batch_size)


def open_split(data: Manifest, folder: Folder, split: str, *, cache: str) -> Split:
    """Opens a split, decoding it into memory if `cache` says so or is "auto" and it takes under half of what is free.

    Raises:
      DataError: there is no such split.
    """
    paths = tuple(str(path) for path in data.shard_paths(folder, split))
    info = Split(data.splits[split].num_examples, data.image_size, data.encoding, paths)
    num_bytes = info.num_examples * info.image_size**2 * 3
    if cache == "none" or (cache == "auto" and num_bytes > 0.5 * _free_bytes()):
        return info
    parse_example = make_parser(info.encoding, info.image_size)
    dataset = _read_records(paths).map(parse_example, num_parallel_calls=tf.data.AUTOTUNE)
    images = np.empty((info.num_examples, info.image_size, info.image_size, 3), np.uint8)
    labels = np.empty(info.num_examples, np.int32)
    for index, (image, label) in enumerate(dataset.prefetch(64).as_numpy_iterator()):
        images[index], labels[index] = image, label
    with tf.device("CPU"):
        return replace(info, images=tf.convert_to_tensor(images), labels=tf.convert_to_tensor(labels))


def _free_bytes() -> int:
    """Memory that can be had without swapping; what the file cache holds counts as free."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


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


def _read_records(paths: Sequence[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(list(paths), buffer_size=_buffer_bytes(paths))


def _buffer_bytes(paths: Sequence[str]) -> int | None:
    return _REMOTE_READ_BYTES if isinstance(remote.parse(paths[0]), RemotePath) else None


def make_parser(encoding: str, size: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a function from a serialized example to pixels, uint8 [size, size, 3], and label, int32."""
    features = {records.IMAGE: tf.io.FixedLenFeature([], tf.string), records.LABEL: tf.io.FixedLenFeature([], tf.int64)}

    @tf.autograph.experimental.do_not_convert
    def parse_example(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(serialized, features)
        content = example[records.IMAGE]
        if encoding == "raw":
            image = tf.io.decode_raw(content, tf.uint8)
        elif encoding == "png":
            image = tf.io.decode_png(content, channels=3)
        else:
            image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.reshape(image, [size, size, 3]), tf.cast(example[records.LABEL], tf.int32)

    return parse_example


def make_train_batches(split: Split, config: Config, *, epoch: int, first_step: int = 0) -> tf.data.Dataset:
    """Returns the shuffled, augmented batches of one epoch, from batch `first_step` of the epoch on."""
    batch_size, seed = config.train.batch_size, config.train.seed
    if split.images is not None:
        order = np.random.default_rng([seed, epoch]).permutation(split.num_examples)
        batches = _gather_batches(split, order, batch_size, first_step)
    else:
        batches = _stream_batches(split, batch_size, first_step, shuffle_seed=(seed, epoch))
    if config.augment.enabled:
        num_batches = split.num_batches(batch_size)
        drawn = draw_transforms(
            config.augment, np.random.default_rng([seed, epoch, 1]), num=num_batches * batch_size, size=split.image_size
        )
        by_batch = {name: values.reshape(num_batches, batch_size, *values.shape[1:]) for name, values in drawn.items()}
        transforms = tf.data.Dataset.from_tensor_slices(
            {name: values[first_step:] for name, values in by_batch.items()}
        )
        batches = tf.data.Dataset.zip(batches, transforms).map(_merge)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(_options())


@tf.autograph.experimental.do_not_convert
def _merge(batch: Batch, transforms: Batch) -> Batch:
    return {**batch, **transforms}


def make_eval_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """Returns every example once, in the order of the records."""
    if split.images is not None:
        batches = _gather_batches(split, np.arange(split.num_examples), batch_size, 0)
    else:
        batches = _stream_batches(split, batch_size, 0, shuffle_seed=None)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(_options())


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _gather_batches(split: Split, order: np.ndarray, batch_size: int, first_step: int) -> tf.data.Dataset:
    num_batches = split.num_batches(batch_size)
    positions = np.arange(num_batches * batch_size).reshape(num_batches, batch_size)
    weights = np.where(positions < split.num_examples, 1.0, 0.0).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    indices = order[positions % split.num_examples]

    @tf.autograph.experimental.do_not_convert
    def gather(index: tf.Tensor, weight: tf.Tensor) -> Batch:
        return {"image": tf.gather(split.images, index), "label": tf.gather(split.labels, index), "weight": weight}

    sliced = tf.data.Dataset.from_tensor_slices((indices[first_step:], weights[first_step:]))
    return sliced.map(gather, num_parallel_calls=tf.data.AUTOTUNE)


def _stream_batches(
    split: Split, batch_size: int, first_step: int, *, shuffle_seed: tuple[int, int] | None
) -> tf.data.Dataset:
    serialized = _read_records(split.shard_paths)
    if shuffle_seed is not None:
        serialized = _shuffle_shards(split.shard_paths, np.random.default_rng(shuffle_seed))
    parse_example = make_parser(split.encoding, split.image_size)
    examples = serialized.skip(first_step * batch_size).map(parse_example, num_parallel_calls=tf.data.AUTOTUNE)

    @tf.autograph.experimental.do_not_convert
    def pad(image: tf.Tensor, label: tf.Tensor) -> Batch:
        num_valid = tf.shape(label)[0]
        index = tf.range(batch_size) % num_valid
        weight = tf.where(tf.range(batch_size) < num_valid, 1.0 / tf.cast(num_valid, tf.float32), 0.0)
        image = tf.ensure_shape(tf.gather(image, index), [batch_size, split.image_size, split.image_size, 3])
        return {"image": image, "label": tf.gather(label, index), "weight": weight}

    return examples.batch(batch_size).map(pad, num_parallel_calls=tf.data.AUTOTUNE)


def _shuffle_shards(paths: Sequence[str], random: np.random.Generator) -> tf.data.Dataset:
    """Reads the shards several at a time in a drawn order, and shuffles what comes out."""
    dataset = tf.data.Dataset.from_tensor_slices(random.permutation(np.array(paths)))
    dataset = dataset.interleave(
        functools.partial(tf.data.TFRecordDataset, buffer_size=_buffer_bytes(paths)),
        cycle_length=min(_CYCLE_LENGTH, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return dataset.shuffle(_SHUFFLE_BUFFER, seed=int(random.integers(2**31)))


def read_jpegs(split: Split, positions: Sequence[int]) -> dict[int, tuple[str, bytes]]:
    """Returns the file name and a JPEG of the examples at these positions in the order of the records."""
    features = {key: tf.io.FixedLenFeature([], tf.string) for key in (records.FILENAME, records.IMAGE)}
    wanted, found = set(positions), {}
    for index, serialized in enumerate(_read_records(split.shard_paths)):
        if index in wanted:
            example = tf.io.parse_single_example(serialized, features)
            content = example[records.IMAGE].numpy()
            if split.encoding != "jpeg":
                content = stored.encode_jpeg(stored.decode(content, split.encoding, split.image_size), 95)
            found[index] = example[records.FILENAME].numpy().decode(), content
    return found
