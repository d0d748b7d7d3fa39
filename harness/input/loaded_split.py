"""The pictures of a split: where they are kept, decoded or not, and which engine will augment them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from harness.base import memory
from harness.base.errors import ConfigError, MemoryLimitError
from harness.base.storage import Folder
from harness.config.schema import Config
from harness.dataset.records.encoding import decode_pixels_into
from harness.dataset.records.manifest import Manifest
from harness.distribute.strategy import Devices, exchange
from harness.input import decoding, sampler
from harness.input.record_reader import Reading
from harness.input.sampler import Streams

log = logging.getLogger("harness")
KEPT_SPLITS = ("train", "validation")
_LOADED_AT_ONCE = 64  # pictures decoded by one call while a split is loaded


@dataclass(frozen=True)
class Inputs:
    """How pictures reach the devices: where they are kept, and which engine augments them.

    `reasons` say of "cache" and "engine" why they are so.
    """

    cache: memory.Mode
    engine: str  # "host" or "device"
    reasons: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, object]:
        """Returns what is in force as plain values."""
        return {"cache": self.cache, "engine": self.engine}


@dataclass(frozen=True)
class Split:
    """One split: streamed from its shards, in memory, or on every device."""

    num_examples: int
    image_size: int
    encoding: str
    shards: tuple[tuple[str, int], ...]  # path, examples
    images: np.ndarray | None = None  # uint8 [n, size, size, 3]
    labels: np.ndarray | None = None  # int32 [n]
    resident: Mapping[str, tf.Tensor] = field(default_factory=dict)  # what lies on every device

    def num_batches(self, batch_size: int) -> int:
        """Batches an epoch has, the filled-up one included."""
        return sampler.count_steps(self.num_examples, batch_size)


def plan_inputs(
    config: Config, data: Manifest, devices: Devices, *, earlier: Mapping[str, object] | None = None
) -> Inputs:
    """Decides from measured sizes and free memory where pictures are kept, and which engine augments them.

    Args:
      config: its sections `data` and `augment` are used.
      data: the records; the training and the validation split are kept together.
      devices: where to train.
      earlier: what `describe` returned when the run was started, if it goes on: where that was decided here, it is
        decided alike, since streamed pictures come in another order, and another engine rounds otherwise.

    Raises:
      ConfigError: the host's engine is asked for with pictures that never leave the device.
      MemoryLimitError: the pictures shall be kept where they do not fit.
    """
    earlier = earlier or {}
    cache, engine = config.data.cache, config.augment.engine
    if engine == "host" and cache == "device":
        raise ConfigError(
            "augment.engine is host, but data.cache is device: pictures that are kept on the device are augmented "
            "there. Use --data.cache memory, or --augment.engine auto."
        )
    if cache == "auto" and "cache" in earlier:
        placement = _place_as_before(str(earlier["cache"]), data, devices)
    else:
        placement = _place(cache, data, devices)
    mode, reasons = placement.mode, {"cache": placement.reason}
    if engine == "auto":
        engine, reasons["engine"] = _choose_engine(str(earlier.get("engine", "")), mode, devices)
    if engine == "host" and mode == "device":
        mode, reasons["cache"] = "memory", "augment.engine host cannot reach pictures on the device"
    cv2.setNumThreads(1)  # several pictures at a time leave no core to OpenCV's own threads
    return _agree(Inputs(mode, engine, reasons), devices)


def _place_as_before(before: str, data: Manifest, devices: Devices) -> memory.Placement:
    try:
        placement = _place(before, data, devices)
    except MemoryLimitError as error:
        placement = _place("auto", data, devices)
        reason = f"{placement.reason}; the run goes on, but not to the same bits: {error}"
        return replace(placement, reason=reason)
    return replace(placement, reason=placement.reason.replace("as data.cache asks", "as they were before"))


def _choose_engine(before: str, mode: memory.Mode, devices: Devices) -> tuple[str, str]:
    """Returns the engine and why."""
    if before:
        return before, "as when the run was started"
    if devices.is_gpu:
        return "device", "it takes a GPU hardly any time"
    if mode == "device":
        return "device", "pictures are kept on the device"
    return "host", "OpenCV takes a sixth of the CPU time"


def _agree(inputs: Inputs, devices: Devices) -> Inputs:
    """What all workers can afford: pictures that are kept elsewhere come in another order."""
    told = [text.split() for text in exchange(devices, f"{inputs.cache} {inputs.engine}")]
    mode = min((cache for cache, _ in told), key=("none", "memory", "device").index)
    if mode == inputs.cache:
        return replace(inputs, engine=told[0][1])
    reason = f"another worker can keep pictures in {mode} only" if mode == "memory" else "another worker has to stream"
    return Inputs(mode, told[0][1], inputs.reasons | {"cache": reason})


def _place(asked: str, data: Manifest, devices: Devices) -> memory.Placement:
    free = memory.measure_free()
    return memory.place(
        asked,
        need_bytes=sum(data.splits[name].num_examples for name in KEPT_SPLITS) * data.image_size**2 * 3,
        free_bytes=free.num_bytes,
        device_free_bytes=devices.free_bytes(),
        has_gpu=devices.is_gpu,
        num_replicas=len(devices.names),
        num_sharing=devices.num_local,
        limit=free.limit,
    )


def open_split(
    data: Manifest, folder: Folder, name: str, *, cache: memory.Mode, devices: Devices | None = None
) -> Split:
    """Opens a split, and decodes it if it is to be kept in memory or on the devices, which are then needed.

    Raises:
      DataError: there is no such split.
    """
    info = data.splits[name]
    paths = [str(path) for path in data.shard_paths(folder, name)]
    shards = tuple((path, shard.num_examples) for path, shard in zip(paths, info.shards))
    split = Split(info.num_examples, data.image_size, data.encoding, shards)
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
    reading = Reading(Streams(split.shards, (0, split.num_examples)), np.arange(split.num_examples))

    def decode(indices: np.ndarray) -> np.int64:
        for index, (content, label) in zip(indices, reading.take(indices)):
            decode_pixels_into(content, split.encoding, images[index])
            labels[index] = label
        return np.int64(len(indices))

    @tf.autograph.experimental.do_not_convert
    def load(indices: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(decode, [indices], tf.int64)

    batches = decoding.map_in_threads(tf.data.Dataset.range(split.num_examples).batch(_LOADED_AT_ONCE), load)
    with tqdm(
        total=split.num_examples,
        desc=f"decoding {name}",
        unit=" images",
        leave=False,
        delay=2,
        disable=None if log.isEnabledFor(logging.INFO) else True,
    ) as bar:
        for num in batches.as_numpy_iterator():
            bar.update(int(num))
    return replace(split, images=images, labels=labels)
