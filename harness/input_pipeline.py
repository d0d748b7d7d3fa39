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
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from harness import augment_host, order, reader, transforms
from harness.config import Config
from harness.order import Share
from harness.pictures import Split

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
            total = context.num_replicas_in_sync
            each = total // context.num_input_pipelines
            return make(share=Share(context.input_pipeline_id * each, each, total))

        self.iterator = iter(strategy.distribute_datasets_from_function(make_own))
        self.resident = split.resident

    def __next__(self) -> Batch:
        return {**next(self.iterator), **self.resident}

    def take(self, num: int) -> Iterator[Batch]:
        """Yields the next `num` batches."""
        for _ in range(num):
            yield next(self)


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

    def draw(number: int) -> dict[str, dict[str, np.ndarray]]:
        return _draw_epoch(split, config, epoch=number, first_step=first_step if number == epoch else 0, share=share)

    def describe(values: np.ndarray) -> tf.TensorSpec:
        return tf.TensorSpec([None, *values.shape[1:]], tf.as_dtype(values.dtype))

    epochs = tf.data.Dataset.from_generator(
        lambda: map(draw, itertools.count(epoch)), output_signature=tf.nest.map_structure(describe, draw(epoch))
    )
    deal = _deal_rows if split.labels is not None else functools.partial(_deal_records, split, config, share)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return _finish(split, epochs.flat_map(deal).apply(endless), engine)


@tf.autograph.experimental.do_not_convert
def _deal_rows(tables: Mapping[str, Batch]) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(tables["rows"])


@tf.autograph.experimental.do_not_convert
def _deal_records(split: Split, config: Config, share: Share, tables: Mapping[str, Batch]) -> tf.data.Dataset:
    """The rows of an epoch, each with its serialized examples; of the steps that are left out nothing is decoded."""
    batch_size = config.train.batch_size
    num_streams = order.count_streams(split.shards, batch_size)
    each = batch_size // num_streams
    first, last = order.streams_of(share, num_streams, batch_size)
    blocks = reader.read_streams(
        tables["streams"], num_streams=last - first, block_length=each, is_remote=reader.is_remote(split.paths)
    )
    joined = blocks.batch(each * (last - first), drop_remainder=True)
    bounds = [bound - first * each for bound in share.bounds(batch_size)]
    return _with_serialized(tables["rows"], _part(joined, bounds, batch_size // share.total))


def _part(batches: tf.data.Dataset, bounds: Sequence[int], each: int) -> tf.data.Dataset:
    """The positions of a share, in elements of one replica's batch."""
    start, stop = bounds
    if (start, stop) != (0, batches.element_spec.shape[0]):
        batches = batches.map(functools.partial(_cut, start=start, stop=stop))
    return batches if stop - start == each else batches.unbatch().batch(each, drop_remainder=True)


@tf.autograph.experimental.do_not_convert
def _cut(batch: tf.Tensor, *, start: int, stop: int) -> tf.Tensor:
    return batch[start:stop]


def _with_serialized(rows: Batch, serialized: tf.data.Dataset) -> tf.data.Dataset:
    return tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices({**rows}), serialized).map(_join)


@tf.autograph.experimental.do_not_convert
def _join(row: Batch, serialized: tf.Tensor) -> Batch:
    return {**row, "serialized": serialized}


def _draw_epoch(
    split: Split, config: Config, *, epoch: int, first_step: int, share: Share
) -> dict[str, dict[str, np.ndarray]]:
    """The tables of an epoch: a row for each replica and step, and if the pictures are streamed, each stream's too."""
    batch_size, seed = config.train.batch_size, config.train.seed
    if split.labels is None:
        streams, weights = order.draw_streams(split.shards, batch_size, seed=seed, epoch=epoch)
        tables = {"weight": weights}
    else:
        indices, weights = order.lay_out(order.draw_permutation(split.num_examples, seed=seed, epoch=epoch), batch_size)
        tables = {"weight": weights} | _look_up(split, indices)
    if config.augment.enabled:
        drawn = transforms.draw_transforms(
            config.augment, np.random.default_rng([seed, epoch, 1]), num=weights.size, size=split.image_size
        )
        tables |= {name: values.reshape(*weights.shape, *values.shape[1:]) for name, values in drawn.items()}
    rows = {name: share.take(table[first_step:]) for name, table in tables.items()}
    if split.labels is not None:
        return {"rows": rows}
    each = batch_size // len(streams)
    first, last = order.streams_of(share, len(streams), batch_size)
    table = reader.as_table(
        streams[first:last], num_files=len(split.shards), first=first_step * each, stop=len(weights) * each
    )
    return {"rows": rows, "streams": table}


def eval_batches(split: Split, batch_size: int, *, share: Share = _EVERYTHING) -> tf.data.Dataset:
    """Returns every example once in the order of the records, again and again; `share` as in `train_batches`."""
    indices, weights = order.lay_out(np.arange(split.num_examples), batch_size)
    tables = {"weight": weights} if split.labels is None else {"weight": weights} | _look_up(split, indices)
    rows = {name: share.take(table) for name, table in tables.items()}
    if split.labels is not None:
        return _finish(split, _deal_rows({"rows": rows}).repeat(), "host")
    records = reader.read_records(split.paths).repeat().take(weights.size).batch(batch_size, drop_remainder=True)
    serialized = _part(records, share.bounds(batch_size), batch_size // share.total)
    return _finish(split, _with_serialized(rows, serialized).repeat(), "host")


def _look_up(split: Split, indices: np.ndarray) -> dict[str, np.ndarray]:
    return {"index": indices, "label": split.labels[indices]}


def _finish(split: Split, rows: tf.data.Dataset, engine: str) -> tf.data.Dataset:
    """Adds the pictures to the rows of the tables, and hides the time that takes behind the steps."""
    if not split.resident:
        applied = tuple(name for name in _APPLIED_ON_HOST if name in rows.element_spec and engine == "host")
        return reader.map_in_threads(rows, functools.partial(_make_pictures, split, applied))
    return reader.map_in_threads(rows, dict)


@tf.autograph.experimental.do_not_convert
def _make_pictures(split: Split, applied: tuple[str, ...], row: Batch) -> Batch:
    """Adds `image` to a row, from memory or from the records, with the transforms applied that are named."""
    row = dict(row)
    if split.labels is not None:
        source = row.pop("index")
    else:
        fields = reader.parse_batch(row.pop("serialized"))
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
