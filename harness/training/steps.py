"""The model in training, and the steps that use it: those that learn from global batches, and one that answers."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import keras
import tensorflow as tf

from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.distribute.devices import Devices
from harness.input import augment_device
from harness.models import cpu_forward, replicas
from harness.models.applications import load_backbone
from harness.models.network import build_model, logits_of, still_frozen_dropout
from harness.training import gradients
from harness.training.gradients import Turn, Updater
from harness.training.learning_rate import LearningRate
from harness.training.loss import Loss, balance_classes, make_loss, probabilities
from harness.training.optimizer import average_weights, make_optimizer
from harness.training.steps_per_loop import MOST_STEPS

Batch = Mapping[str, tf.Tensor]
_LEARNT_FROM = ("label", "weight", "mix")
TrainStep = Callable[[Batch, int], tf.Tensor]  # the batch, and its number in the epoch
TakeTurn = Callable[[Batch, tf.Tensor, bool], tf.Tensor]  # the batch, its share of the turn, and whether it ends it
PredictStep = Callable[[Batch], tf.Tensor]
Forward = Callable[[tf.Tensor], tf.Tensor]  # pixels to logits


class Batches(Protocol):
    """Batches without end: an iterator of a tf.data.Dataset, distributed or not."""

    def get_next(self) -> Batch:
        """Returns the next batch, also within a compiled function."""


TrainSteps = Callable[[Batches, Batch, int, int, tf.Tensor], tf.Tensor]  # see _make_train_steps


@dataclass(frozen=True)
class Trainee:
    """The model in training with everything that changes it.

    `kept_model` is what is measured, kept and exported: the model itself, or one with an average of its weights.
    """

    model: keras.Model
    kept_model: keras.Model
    optimizer: keras.Optimizer
    updater: Updater
    learning_rate: LearningRate
    train_step: TrainStep
    train_steps: TrainSteps
    predict_step: PredictStep
    count_traces: Callable[[], int]  # of the two compiled trainings together

    @property
    def num_updates(self) -> int:
        """Steps the optimizer has taken, which waits for them; fewer than were tried where float16 left some out."""
        return int(self.optimizer.iterations.numpy())  # Keras' own int() knows no mirrored variable


def make_trainee(config: Config, devices: Devices, data: Manifest) -> Trainee:
    """Builds model, optimizer and steps under the strategy."""
    with devices.strategy.scope():
        learning_rate = _make_learning_rate(config, data)
        model, kept_model = _build_models(config, devices, data)
        optimizer = make_optimizer(config.optim, learning_rate, precision=devices.precision)
        optimizer.build(model.trainable_variables)
        updater = Updater(optimizer, model.trainable_variables, config.optim)
    loss_of = _make_loss(config, model, data)
    take_turn = _make_turn(model, _make_forward(model, devices), loss_of, updater, devices, xla=config.runtime.xla)
    if config.optim.ema:
        take_turn = _averaging(take_turn, kept_model, model, optimizer, devices, decay=config.optim.ema)
    find_turn = functools.partial(
        gradients.find_turn,
        num_examples=data.splits["train"].num_examples,
        batch_size=config.train.batch_size,
        accumulate_steps=config.optim.accumulate_steps,
    )
    train_step, count_single = _make_train_step(take_turn, find_turn)
    train_steps, count_several = _make_train_steps(take_turn, find_turn, config)
    return Trainee(
        model=model,
        kept_model=kept_model,
        optimizer=optimizer,
        updater=updater,
        learning_rate=learning_rate,
        train_step=train_step,
        train_steps=train_steps,
        predict_step=_make_predict_step(kept_model, devices),
        count_traces=lambda: count_single() + count_several(),
    )


def _make_learning_rate(config: Config, data: Manifest) -> LearningRate:
    num_examples = data.splits["train"].num_examples
    batch_size = config.train.batch_size * config.optim.accumulate_steps  # of a step of the optimizer
    return LearningRate(
        config.optim,
        batch_size=batch_size,
        steps_per_epoch=-(-num_examples // batch_size),
        epochs=config.train.epochs,
    )


def _build_models(config: Config, devices: Devices, data: Manifest) -> tuple[keras.Model, keras.Model]:
    """The model in training, and the one that is kept: the same, or one for the average of its weights."""

    def build() -> keras.Model:
        """Builds the network of the config, with the same first weights each time."""
        return build_model(
            config.model,
            num_classes=len(data.class_names),
            image_size=data.image_size,
            seed=config.train.seed,
            precision=devices.precision,
        )

    model = build()
    replicas.share_training(model, devices.num_replicas)
    still_frozen_dropout(model)
    if config.model.weights is not None:
        load_backbone(model, config.model.weights)
    if not config.optim.ema:
        return model, model
    average = build()
    average.set_weights(model.get_weights())
    return model, average


def _make_loss(config: Config, model: keras.Model, data: Manifest) -> Loss:
    class_weights = None
    if config.train.class_weights == "balanced":
        counts = data.splits["train"].class_counts
        class_weights = balance_classes([counts[name] for name in data.class_names])
    return make_loss(
        num_outputs=logits_of(model).output.shape[1],
        label_smoothing=config.optim.label_smoothing,
        class_weights=class_weights,
    )


def _make_forward(model: keras.Model, devices: Devices) -> Forward:
    """Returns a function of pixels to logits in training; GPUs draw random numbers fast, and run the layers as such."""
    logits_model = logits_of(model)
    return functools.partial(logits_model, training=True) if devices.is_gpu else cpu_forward.make_forward(logits_model)


def _make_turn(
    model: keras.Model,
    forward_in_training: Forward,
    loss_of: Loss,
    updater: Updater,
    devices: Devices,
    *,
    xla: bool,
) -> TakeTurn:
    """Returns a step of a global batch to float64 [5]: the sums of loss and of right answers, and the examples; the
    norm of the gradient, see `Updater.apply`, and 1, or 0 and 0 if it is not finite or the gradient waits.

    Of a mixed picture the right answer is its own label, whatever its share.
    """

    def learn(images: tf.Tensor, batch: Batch, share: tf.Tensor, is_last: bool) -> tf.Tensor:
        """One replica's part, of images uint8 or float32 [batch, H, W, 3] in [0, 255]."""
        images = tf.cast(images, tf.float32)
        with tf.GradientTape() as tape:
            logits = forward_in_training(images)
            losses = _mixed_loss(loss_of, batch, logits)
            # The weights of the global batch sum to one and the optimizer sums over replicas: this is the global mean.
            loss = updater.scale_loss(tf.reduce_sum(losses * batch["weight"]))
        norm = updater.apply(tape.gradient(loss, model.trainable_variables), share, is_last=is_last)
        counted = tf.cast(batch["weight"] > 0, tf.float32)
        predicted = tf.argmax(probabilities(logits), axis=1, output_type=tf.int32)
        is_correct = tf.cast(predicted == batch["label"], tf.float32)
        sums = [tf.reduce_sum(losses * counted), tf.reduce_sum(is_correct * counted), tf.reduce_sum(counted)]
        return tf.cast(tf.stack([*sums, *_count_norm(norm)]), tf.float64)

    if xla:
        learn = tf.function(learn, autograph=False, jit_compile=True)

    def replica_step(batch: Batch, share: tf.Tensor, is_last: bool) -> tf.Tensor:
        images = _pictures_of(batch)
        if "warp" in batch:  # else the pictures come augmented, or stay as they are
            images = augment_device.augment_batch(images, batch)  # XLA knows no warp
        return learn(images, {name: batch[name] for name in _LEARNT_FROM if name in batch}, share, is_last)

    def take_turn(batch: Batch, share: tf.Tensor, is_last: bool) -> tf.Tensor:
        figures = devices.strategy.run(replica_step, args=(batch, share, is_last))
        return devices.strategy.reduce(tf.distribute.ReduceOp.SUM, figures, axis=None)

    return take_turn


def _averaging(
    take_turn: TakeTurn,
    average: keras.Model,
    model: keras.Model,
    optimizer: keras.Optimizer,
    devices: Devices,
    *,
    decay: float,
) -> TakeTurn:
    """Returns what also moves the averaged weights after each step of the optimizer."""

    def take_turn_and_average(batch: Batch, share: tf.Tensor, is_last: bool) -> tf.Tensor:
        """As `take_turn`; the average moves only if the optimizer has taken the step, which float16 may skip."""
        num_before = tf.identity(optimizer.iterations)
        figures = take_turn(batch, share, is_last)
        if is_last:
            is_taken = optimizer.iterations > num_before
            average_weights(
                average, model, devices.strategy, decay=decay, num_steps=optimizer.iterations, is_taken=is_taken
            )
        return figures

    return take_turn_and_average


def _make_train_step(take_turn: TakeTurn, find_turn: Callable[[int], Turn]) -> tuple[TrainStep, Callable[[], int]]:
    """Returns a step of one batch to what `_make_turn` says, and a count of its traces."""
    compiled = tf.function(take_turn, autograph=False)

    def train_step(batch: Batch, step_in_epoch: int) -> tf.Tensor:
        turn = find_turn(step_in_epoch)
        return compiled(batch, tf.constant(turn.share), turn.is_last)

    return train_step, compiled.experimental_get_tracing_count


def _make_train_steps(
    take_turn: TakeTurn, find_turn: Callable[[int], Turn], config: Config
) -> tuple[TrainSteps, Callable[[], int]]:
    """Returns several steps in one call, and a count of its traces.

    A call takes batches without end, what lies on every device beside them, the number of the first step in the epoch,
    how many steps to take, up to MOST_STEPS, and totals, float64 [6]. It gives the totals with each step's figures
    added in turn, so that they are the same to the bit however many steps a call takes: what `_make_turn` says, and the
    seconds for which the step waited for its batch.
    """
    accumulates, read_clock = config.optim.accumulate_steps > 1, tf.timestamp
    if config.runtime.deterministic:  # TensorFlow refuses its own clock then

        def read_clock() -> tf.Tensor:
            return tf.ensure_shape(tf.numpy_function(time.perf_counter, [], tf.float64), [])

    @tf.function(autograph=False)
    def train_steps(
        batches: Batches, resident: Batch, turns: Mapping[str, tf.Tensor], num: tf.Tensor, totals: tf.Tensor
    ) -> tf.Tensor:
        """Takes `num` steps in one call; returns `totals`, float64 [NUM_SUMS], with their figures added."""

        def take_step(index: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Takes the step `index`, int32 []; returns the next index and `totals` with the step's figures added."""
            with tf.control_dependencies([totals]):
                asked = read_clock()
            with tf.control_dependencies([asked]):
                batch = batches.get_next()
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                waited_s = read_clock() - asked
            learn = functools.partial(take_turn, {**batch, **resident}, turns["share"][index])
            if accumulates:
                figures = tf.cond(turns["is_last"][index], lambda: learn(True), lambda: learn(False))
            else:
                figures = learn(True)
            return index + 1, totals + tf.concat([figures, [waited_s]], axis=0)

        return tf.while_loop(lambda index, _: index < num, take_step, (tf.constant(0), totals))[1]

    def take_steps(batches: Batches, resident: Batch, first_step: int, num_steps: int, totals: tf.Tensor) -> tf.Tensor:
        """Takes the steps `first_step` and on of an epoch by one trace, whatever their number up to MOST_STEPS."""
        turns = [find_turn(first_step + index) for index in range(num_steps)]
        turns += [Turn(0.0, False)] * (MOST_STEPS - num_steps)  # of one shape, since each is a trace
        table = {
            "share": tf.constant([turn.share for turn in turns], tf.float32),
            "is_last": tf.constant([turn.is_last for turn in turns]),
        }
        return train_steps(batches, resident, table, tf.constant(num_steps), totals)

    return take_steps, train_steps.experimental_get_tracing_count


def _count_norm(norm: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """The norm and 1, or zeros; a share of both, as all replicas have the same norm and their figures are summed."""
    if norm is None:
        return tf.constant(0.0), tf.constant(0.0)
    share = 1.0 / tf.distribute.get_replica_context().num_replicas_in_sync
    is_finite = tf.math.is_finite(norm)
    return tf.where(is_finite, norm * share, 0.0), tf.where(is_finite, share, 0.0)


def _pictures_of(batch: Batch) -> tf.Tensor:
    """Returns uint8 [batch, H, W, 3], from the batch or from what is kept on the device."""
    return tf.gather(batch["pixels"], batch["index"]) if "pixels" in batch else batch["image"]


def _mixed_loss(loss_of: Loss, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
    """Returns the losses float32 [batch], where pictures are mixed those of both labels in the pictures' shares."""
    losses = loss_of(batch["label"], logits)
    if "mix" not in batch:
        return losses
    return batch["mix"] * losses + (1.0 - batch["mix"]) * loss_of(augment_device.swap_pairs(batch["label"]), logits)


def _make_predict_step(model: keras.Model, devices: Devices) -> PredictStep:
    """Returns a step of a global batch to float32 [batch, num_classes + 2]: probabilities, label, and 0 for padding."""
    logits_model, strategy = logits_of(model), devices.strategy

    def replica_step(batch: Batch) -> tf.Tensor:
        chances = probabilities(logits_model(tf.cast(_pictures_of(batch), tf.float32), training=False))
        label, counted = tf.cast(batch["label"], tf.float32), tf.cast(batch["weight"] > 0, tf.float32)
        return tf.concat([chances, label[:, None], counted[:, None]], axis=1)

    @tf.function(autograph=False)
    def predict_step(batch: Batch) -> tf.Tensor:
        return strategy.gather(strategy.run(replica_step, args=(batch,)), axis=0)

    return predict_step
