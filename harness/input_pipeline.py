"""From records to the batches of a training or an evaluation: read, keep, shuffle, batch, augment, prefetch.

A batch is a dictionary, and what is said of [batch] is said of each replica's part:
  image: uint8 [batch, size, size, 3], with the host's engine already augmented
  label: int32 [batch]
  weight: float32 [batch], 1/n for each of the n examples of the global batch and 0 for those that fill it up
  warp, colour, erase: drawn transforms that are still to be applied on the device, see transforms.py
  mix: float32 [batch], the share of the own label where pictures are mixed

With the pictures on the device, `index` int64 [batch] and `pixels` uint8 [n, size, size, 3] stand for `image`.

What is in step k of an epoch is a function of the seed, the epoch and k, see order.py; an epoch can start at any step.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from harness import augment_host, memory, order, reader, transforms
from harness.config import Config
from harness.distribute import Devices
from harness.errors import ConfigError, MemoryLimitError
from harness.manifest import Manifest
from harness.order import Share
from harness.remote import Folder

log = logging.getLogger("harness")
Batch = Mapping[str, tf.Tensor]
KEPT_SPLITS = ("train", "validation")
_EVERYTHING = Share()
_APPLIED_ON_HOST = ("warp", "colour", "erase", "mix")
_PREFETCHED = 2  # batches ready beside those that are being made
_MOST_THREADS = 16
_LOADED_AT_ONCE = 64  # pictures decoded by one call while a split is loaded


@dataclass(frozen=True)
class Inputs:
    """How pictures reach the devices: where they are kept, and which engine augments them."""

    cache: memory.Mode
    engine: str  # "host" or "device"
    notes: tuple[str, ...] = ()

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

    @property
    def paths(self) -> tuple[str, ...]:
        """The shards in order."""
        return tuple(path for path, _ in self.shards)

    def num_batches(self, batch_size: int) -> int:
        """Batches an epoch has, the filled-up one included."""
        return order.count_steps(self.num_examples, batch_size)


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
    notes = []
    if cache == "auto" and "cache" in earlier:
        try:
            placement = _place(str(earlier["cache"]), data, devices)
        except MemoryLimitError as error:
            notes.append(f"the run goes on, but not to the same bits: {error}")
            placement = _place("auto", data, devices)
    else:
        placement = _place(cache, data, devices)
    mode = placement.mode
    if engine == "auto":
        engine = earlier.get("engine") or ("device" if devices.is_gpu or mode == "device" else "host")
    if engine == "host" and mode == "device":
        mode = "memory"
    cv2.setNumThreads(1)  # several pictures at a time leave no core to OpenCV's own threads
    return Inputs(mode, str(engine), (*notes, placement.reason))


def _place(asked: str, data: Manifest, devices: Devices) -> memory.Placement:
    free = memory.measure_free()
    return memory.place(
        asked,
        need_bytes=sum(data.splits[name].num_examples for name in KEPT_SPLITS) * data.image_size**2 * 3,
        free_bytes=free.num_bytes,
        device_free_bytes=devices.free_bytes(),
        has_gpu=devices.is_gpu,
        num_replicas=devices.num_replicas,
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
    images = reader.new_pixels(split.num_examples, split.image_size)
    labels = np.empty(split.num_examples, np.int32)
    decode = functools.partial(reader.decode_batch, encoding=split.encoding, size=split.image_size)

    @tf.autograph.experimental.do_not_convert
    def load(serialized: tf.Tensor) -> Batch:
        fields = reader.parse_batch(serialized)
        return {"image": tf.numpy_function(decode, [fields["stored"]], tf.uint8), "label": fields["label"]}

    batches = reader.read_records(split.paths).batch(_LOADED_AT_ONCE)
    batches = _map(batches, load).prefetch(_PREFETCHED).with_options(_options())
    start = 0
    with tqdm(
        total=split.num_examples,
        desc=f"decoding {name}",
        unit=" images",
        leave=False,
        delay=2,
        disable=None if log.isEnabledFor(logging.INFO) else True,
    ) as bar:
        for batch in batches.as_numpy_iterator():
            stop = start + len(batch["label"])
            images[start:stop], labels[start:stop] = batch["image"], batch["label"]
            bar.update(stop - start)
            start = stop
    return replace(split, images=images, labels=labels)


class Batches:
    """Global batches as the strategy wants them, over and over, with what lies on every device."""

    def __init__(
        self, split: Split, strategy: tf.distribute.Strategy, make: Callable[[Share], tf.data.Dataset]
    ) -> None:
        def make_own(context: tf.distribute.InputContext) -> tf.data.Dataset:
            total = context.num_replicas_in_sync
            each = total // context.num_input_pipelines
            return make(Share(context.input_pipeline_id * each, each, total))

        self._batches = strategy.distribute_datasets_from_function(make_own)
        self._resident = split.resident

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield {**batch, **self._resident}


def train_batches(
    split: Split, config: Config, *, engine: str, epoch: int, first_step: int = 0, share: Share = _EVERYTHING
) -> tf.data.Dataset:
    """Returns the shuffled, augmented batches of one epoch, from step `first_step` of the epoch on.

    Args:
      split: what to read.
      config: its sections `train` and `augment` are used.
      engine: "host" augments here; "device" leaves drawn transforms in the batch.
      epoch: from 0.
      first_step: the first batch is that of this step.
      share: the replicas to feed; every step gives one batch for each of them, in turn.
    """
    batch_size, seed = config.train.batch_size, config.train.seed
    if split.labels is None:
        streams, weights = order.draw_streams(split.shards, batch_size, seed=seed, epoch=epoch)
    else:
        drawn_order = order.draw_permutation(split.num_examples, seed=seed, epoch=epoch)
        indices, weights = order.lay_out(drawn_order, batch_size)
    tables = {"weight": weights}
    if config.augment.enabled:
        drawn = transforms.draw_transforms(
            config.augment, np.random.default_rng([seed, epoch, 1]), num=weights.size, size=split.image_size
        )
        tables |= {name: values.reshape(*weights.shape, *values.shape[1:]) for name, values in drawn.items()}
    if split.labels is None:
        serialized = _read_streams(streams, batch_size, len(weights), first_step, share)
        return _finish(split, _slice(tables, first_step, share), serialized, engine)
    return _finish(split, _slice(_look_up(split, indices) | tables, first_step, share), None, engine)


def eval_batches(split: Split, batch_size: int, *, share: Share = _EVERYTHING) -> tf.data.Dataset:
    """Returns every example once, in the order of the records; `share` as in `train_batches`."""
    indices, weights = order.lay_out(np.arange(split.num_examples), batch_size)
    if split.labels is not None:
        return _finish(split, _slice(_look_up(split, indices) | {"weight": weights}, 0, share), None, "host")
    start, stop = share.bounds(batch_size)
    records = reader.read_records(split.paths).repeat().take(weights.size).batch(batch_size, drop_remainder=True)
    if stop - start < batch_size:
        records = records.map(functools.partial(_cut, start=start, stop=stop))
    serialized = _part(records, batch_size, share)
    return _finish(split, _slice({"weight": weights}, 0, share), serialized, "host")


def _look_up(split: Split, indices: np.ndarray) -> dict[str, np.ndarray]:
    return {"index": indices, "label": split.labels[indices]}


def _slice(tables: Mapping[str, np.ndarray], first_step: int, share: Share) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices({name: share.take(table[first_step:]) for name, table in tables.items()})


def _read_streams(
    streams: list[order.Stream], batch_size: int, num_steps: int, first_step: int, share: Share
) -> tf.data.Dataset:
    """The serialized examples of each replica's batch; of the steps that are left out nothing is decoded."""
    each = batch_size // len(streams)
    first, last = order.streams_of(share, len(streams), batch_size)
    blocks = reader.read_streams(streams[first:last], each, first=first_step * each, stop=num_steps * each)
    joined = blocks.batch(each * (last - first), drop_remainder=True)
    start, stop = (bound - first * each for bound in share.bounds(batch_size))
    if stop - start < each * (last - first):
        joined = joined.map(functools.partial(_cut, start=start, stop=stop))
    return _part(joined, batch_size, share)


@tf.autograph.experimental.do_not_convert
def _cut(batch: tf.Tensor, *, start: int, stop: int) -> tf.Tensor:
    return batch[start:stop]


def _part(serialized: tf.data.Dataset, batch_size: int, share: Share) -> tf.data.Dataset:
    """One element for each replica."""
    if share.count == 1:
        return serialized
    return serialized.unbatch().batch(batch_size // share.total, drop_remainder=True)


def _finish(split: Split, rows: tf.data.Dataset, serialized: tf.data.Dataset | None, engine: str) -> tf.data.Dataset:
    """Adds the pictures to the rows of the tables, and hides the time that takes behind the steps."""
    names = rows.element_spec.keys()
    if split.resident:
        batches = rows
    else:
        applied = tuple(name for name in _APPLIED_ON_HOST if name in names and engine == "host")
        make = functools.partial(_make_pictures, split, applied)
        batches = _map(rows, make) if serialized is None else _map(tf.data.Dataset.zip(rows, serialized), make)
    return batches.prefetch(_PREFETCHED).with_options(_options())


@tf.autograph.experimental.do_not_convert
def _make_pictures(split: Split, applied: tuple[str, ...], row: Batch, serialized: tf.Tensor | None = None) -> Batch:
    """Adds `image` to a row, from memory or from the records, with the transforms applied that are named."""
    row = dict(row)
    if serialized is None:
        source = row.pop("index")
    else:
        fields = reader.parse_batch(serialized)
        source, row["label"] = fields["stored"], tf.ensure_shape(fields["label"], row["weight"].shape)
    values = [row[name] for name in applied]
    image = tf.numpy_function(functools.partial(_draw_batch, split, applied), [source, *values], tf.uint8)
    image = tf.ensure_shape(image, [*row["weight"].shape, split.image_size, split.image_size, 3])
    kept = {name: value for name, value in row.items() if name not in applied or name == "mix"}  # for the loss
    return {"image": image, **kept}


def _draw_batch(split: Split, applied: tuple[str, ...], source: np.ndarray, *values: np.ndarray) -> np.ndarray:
    """The pixels of a batch: `source` are indices into memory, or stored forms."""
    drawn = dict(zip(applied, values))
    out = reader.new_pixels(len(source), split.image_size)
    if split.images is None:
        pixels = reader.decode_batch(source, split.encoding, split.image_size)
        return augment_host.augment_batch(pixels, range(len(pixels)), drawn, out=out) if drawn else pixels
    if drawn:
        return augment_host.augment_batch(split.images, source, drawn, out=out)
    return np.take(split.images, source, axis=0, out=out, mode="clip")  # other modes copy twice


def _map(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=_num_threads())


def _num_threads() -> int:
    """As many as cores: pictures are changed without the interpreter's lock."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Python functions would otherwise hold the threads that the steps run on.
    options.threading.private_threadpool_size = _num_threads()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
