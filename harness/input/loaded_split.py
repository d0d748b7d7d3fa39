"""The pictures of a split, opened: streamed from the records, decoded in memory, or on every device.

Which of the three it is, placement.py decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from harness.base import progress
from harness.base.storage import Folder
from harness.dataset.records.manifest import Manifest
from harness.distribute.devices import Devices
from harness.input import decoding, expected, placement, sampler
from harness.input.expected import Expected
from harness.input.record_reader import Reading
from harness.input.sampler import Streams

_LOADED_AT_ONCE = 64  # pictures decoded by one call while a split is loaded


@dataclass(frozen=True)
class Split:
    """One split: streamed from its shards, in memory, or on every device."""

    num_examples: int
    shards: tuple[tuple[str, int], ...]  # path, examples
    expected: Expected
    images: np.ndarray | None = None  # uint8 [n, size, size, 3]
    labels: np.ndarray | None = None  # int32 [n]
    resident: Mapping[str, tf.Tensor] = field(default_factory=dict)  # what lies on every device

    @property
    def image_size(self) -> int:
        """Height and width of a picture in pixels."""
        return self.expected.image_size

    def num_batches(self, batch_size: int) -> int:
        """Batches an epoch has, the filled-up one included."""
        return sampler.count_steps(self.num_examples, batch_size)


def open_split(
    data: Manifest, folder: Folder, name: str, *, cache: placement.Mode, devices: Devices | None = None
) -> Split:
    """Opens a split, and decodes it if it is to be kept in memory or on the devices, which are then needed.

    Raises:
      DataError: there is no such split, or its records are damaged or not those of the manifest any more.
    """
    paths = [str(path) for path in data.shard_paths(folder, name)]
    info = data.splits[name]
    shards = tuple((path, shard.num_examples) for path, shard in zip(paths, info.shards))
    split = Split(info.num_examples, shards, expected.expect(data, folder, name))
    if cache == "none":
        return split
    split = _load(split, name)
    if cache == "memory":
        return split
    pixels = tf.experimental.dlpack.from_dlpack(split.images.__dlpack__())  # one copy less than tf.constant makes

    def place(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        with tf.device(devices.names[context.replica_id_in_sync_group % len(devices.names)]):
            return tf.identity(pixels)

    resident = {"pixels": devices.strategy.experimental_distribute_values_from_function(place)}
    return replace(split, images=None, resident=resident)


def _load(split: Split, name: str) -> Split:
    """Decodes all pictures of a split into one array."""
    images = decoding.new_pixels(split.num_examples, split.image_size)
    labels = np.empty(split.num_examples, np.int32)
    reading = Reading(Streams(split.shards, (0, split.num_examples)), np.arange(split.num_examples), split.expected)

    def decode(indices: np.ndarray) -> np.int64:
        here = slice(indices[0], indices[-1] + 1)
        labels[here] = decoding.decode_examples(reading, indices, out=images[here])
        return np.int64(len(indices))

    called = decoding.hold_weakly(decode)

    @tf.autograph.experimental.do_not_convert
    def load(indices: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(called, [indices], tf.int64)

    batches = decoding.map_in_threads(tf.data.Dataset.range(split.num_examples).batch(_LOADED_AT_ONCE), load)
    with progress.open_bar(split.num_examples, f"decoding {name}", "images") as bar:
        for num in batches.as_numpy_iterator():
            bar.update(int(num))
    return replace(split, images=images, labels=labels)
