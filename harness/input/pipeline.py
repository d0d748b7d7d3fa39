"""From records to the batches of a training or an evaluation: read, keep, shuffle, batch, augment, prefetch.

A batch is a dictionary, and what is said of [batch] is said of each replica's part:
  image: uint8 [batch, size, size, 3], with the host's engine already augmented
  label: int32 [batch]
  weight: float32 [batch], 1/n for each of the n examples of the global batch and 0 for those that fill it up
  warp, colour, erase: drawn transforms that are still to be applied on the device, see augmentation.py
  mix: float32 [batch], the share of the own label where pictures are mixed

With the pictures on the device, `index` int64 [batch] and `pixels` uint8 [n, size, size, 3] stand for `image`.

What is in step k of an epoch is a function of the seed, the epoch and k, see sampler.py. An epoch can start at any
step.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from harness.config.schema import Config
from harness.input import augment_host, augmentation, decoding, sampler
from harness.input.decoding import PixelMemory
from harness.input.loaded_split import Split
from harness.input.record_reader import Readings
from harness.input.sampler import Share, Streams

Batch = Mapping[str, tf.Tensor]
_EVERYTHING = Share()
_APPLIED_ON_HOST = ("warp", "colour", "erase", "mix")


class Batches:
    """Global batches as the strategy wants them, with what lies on every device.

    `make` is a function of a keyword `share` to batches without end, as `train_batches` and `eval_batches` are.

    Attributes:
      iterator: the batches without what is resident; a compiled function may go on with it.
      resident: what lies on every device.
    """

    def __init__(self, split: Split, strategy: tf.distribute.Strategy, make: Callable[..., tf.data.Dataset]) -> None:
        def make_own(context: tf.distribute.InputContext) -> tf.data.Dataset:
            """Makes the batches of one process: its share of each global batch."""
            share = Share.of_process(
                context.input_pipeline_id,
                num_processes=context.num_input_pipelines,
                num_replicas=context.num_replicas_in_sync,
            )
            return make(share=share)

        self.iterator = iter(strategy.distribute_datasets_from_function(make_own))
        self.resident = split.resident

    def __next__(self) -> Batch:
        return {**next(self.iterator), **self.resident}

    def take(self, num: int) -> Iterator[Batch]:
        """Yields the next `num` batches."""
        for _ in range(num):
            yield next(self)


def open_training(
    split: Split, config: Config, strategy: tf.distribute.Strategy, *, engine: str, epoch: int, first_step: int = 0
) -> Batches:
    """Returns the global batches of a training without end, as `train_batches` describes them."""
    make = functools.partial(train_batches, split, config, engine=engine, epoch=epoch, first_step=first_step)
    return Batches(split, strategy, make)


def open_validation(split: Split, config: Config, strategy: tf.distribute.Strategy) -> Batches:
    """Returns the global batches of evaluations one after the other, as `eval_batches` describes them."""
    return Batches(split, strategy, functools.partial(eval_batches, split, config.train.batch_size))


def train_batches(
    split: Split, config: Config, *, engine: str, epoch: int, first_step: int = 0, share: Share = _EVERYTHING
) -> tf.data.Dataset:
    """Returns the shuffled, augmented batches of all epochs without end, from step `first_step` of `epoch` on.

    Batches of the next epoch are made while the last one is evaluated, and nothing is built anew for it.

    Args:
      split: what to read.
      config: its sections `train` and `augment` are used.
      engine: "host" augments here; "device" leaves drawn transforms in the batch.
      epoch: from 0.
      first_step: the first batch is that of this step.
      share: the replicas to feed; every step gives one batch for each of them, in turn.
    """

    def draw(number: int) -> Epoch:
        return _draw_epoch(split, config, epoch=number, first_step=first_step if number == epoch else 0, share=share)

    return _deal(split, draw, epoch=epoch, engine=engine)


def eval_batches(split: Split, batch_size: int, *, share: Share = _EVERYTHING) -> tf.data.Dataset:
    """Returns every example once in the order of the records, again and again; `share` as in `train_batches`."""
    indices, weights = sampler.lay_out(np.arange(split.num_examples), batch_size)
    rows = _share_rows(split, share, {"index": indices, "weight": weights})
    epoch = Epoch(rows, Streams(split.shards, (0, split.num_examples)) if split.labels is None else None)
    return _deal(split, lambda _: epoch, epoch=0, engine="host")


@dataclass(frozen=True)
class Epoch:
    """A row of every table for each replica and step, and how the examples are read that `index` names."""

    rows: Mapping[str, np.ndarray]
    streams: Streams | None


def _draw_epoch(split: Split, config: Config, *, epoch: int, first_step: int, share: Share) -> Epoch:
    batch_size, seed, streams = config.train.batch_size, config.train.seed, None
    if split.labels is None:
        streams, indices, weights = sampler.draw_streams(split.shards, batch_size, seed=seed, epoch=epoch)
    else:
        indices, weights = sampler.lay_out(
            sampler.draw_permutation(split.num_examples, seed=seed, epoch=epoch), batch_size
        )
    tables = {"index": indices, "weight": weights}
    if config.augment.enabled:
        drawn = augmentation.draw_transforms(
            config.augment, np.random.default_rng([seed, epoch, 1]), num=weights.size, size=split.image_size
        )
        tables |= {name: values.reshape(*weights.shape, *values.shape[1:]) for name, values in drawn.items()}
    return Epoch(_share_rows(split, share, {name: table[first_step:] for name, table in tables.items()}), streams)


def _share_rows(split: Split, share: Share, tables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of a share, with the labels where these are known before the pictures are read."""
    rows = {name: share.take(table) for name, table in tables.items()}
    return rows if split.labels is None else rows | {"label": split.labels[rows["index"]]}


def _deal(split: Split, draw: Callable[[int], Epoch], *, epoch: int, engine: str) -> tf.data.Dataset:
    """The batches of all epochs without end, the first of them `epoch`."""
    readings = Readings(split.expected)

    def draw_rows() -> Iterator[Mapping[str, np.ndarray]]:
        for drawn in map(draw, itertools.count(epoch)):
            yield drawn.rows if drawn.streams is None else drawn.rows | _begin(readings, drawn)

    def describe(values: np.ndarray) -> tf.TensorSpec:
        return tf.TensorSpec([None, *values.shape[1:]], tf.as_dtype(values.dtype))

    signature = tf.nest.map_structure(describe, dict(draw(epoch).rows))
    if split.labels is None:
        signature["ticket"] = tf.TensorSpec([None], tf.int64)
    epochs = tf.data.Dataset.from_generator(decoding.hold_weakly(draw_rows), output_signature=signature)
    epochs.draw_rows = draw_rows  # which is held by the batches so, and not for ever
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    rows = epochs.flat_map(tf.data.Dataset.from_tensor_slices).apply(endless)
    if split.resident:
        return decoding.map_in_threads(rows, dict)
    applied = tuple(name for name in _APPLIED_ON_HOST if name in signature and engine == "host")
    memory = PixelMemory(rows.element_spec["index"].shape[0], split.image_size)
    copy = functools.partial(_copy_batch, split, memory=memory, applied=applied)
    read = functools.partial(_read_batch, readings=readings, memory=memory, applied=applied)
    make = functools.partial(_make_pictures, split, applied, copy if split.labels is not None else read)
    return decoding.map_in_threads(rows, make)


def _begin(readings: Readings, epoch: Epoch) -> dict[str, np.ndarray]:
    indices = epoch.rows["index"]
    return {"ticket": np.full(len(indices), readings.begin(epoch.streams, indices))}


@tf.autograph.experimental.do_not_convert
def _make_pictures(split: Split, applied: tuple[str, ...], make: Callable, row: Batch) -> Batch:
    """Adds `image` and `label` to a row, with the transforms applied that are named."""
    row = dict(row)
    sources = [row.pop(name) for name in ("index", "label", "ticket") if name in row]
    image, label = tf.numpy_function(
        decoding.hold_weakly(make), [*sources, *(row[name] for name in applied)], [tf.uint8, tf.int32]
    )
    image = tf.ensure_shape(image, [*row["weight"].shape, split.image_size, split.image_size, 3])
    kept = {name: value for name, value in row.items() if name not in applied or name == "mix"}  # for the loss
    return {"image": image, "label": tf.ensure_shape(label, row["weight"].shape), **kept}


def _read_batch(
    index: np.ndarray,
    ticket: np.ndarray,
    *values: np.ndarray,
    readings: Readings,
    memory: PixelMemory,
    applied: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and labels of a row, from the records."""
    pixels = memory.lend()
    labels = decoding.decode_examples(readings.find(int(ticket)), index, out=pixels)
    if applied:
        drawn = dict(zip(applied, values))
        pixels = augment_host.augment_batch(pixels, range(len(pixels)), drawn, out=memory.lend())
    return pixels, labels


def _copy_batch(
    split: Split,
    index: np.ndarray,
    label: np.ndarray,
    *values: np.ndarray,
    memory: PixelMemory,
    applied: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """The same from memory."""
    if applied:
        drawn = dict(zip(applied, values))
        return augment_host.augment_batch(split.images, index, drawn, out=memory.lend()), label
    return np.take(split.images, index, axis=0, out=memory.lend(), mode="clip"), label  # other modes copy twice
