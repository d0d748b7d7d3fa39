"""The loss, the learning rate and the optimizer."""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from harness.config.schema import OptimConfig

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
BACK_OFF_FACTOR = 0.1  # of the learning rate after a divergence, which comes from a rate that is far too high
_BASE_BATCH = 16  # what optim.learning_rate is for when it is scaled; the default of train.batch_size


def make_loss(*, num_outputs: int, label_smoothing: float, class_weights: Sequence[float] | None = None) -> Loss:
    """Returns a function of labels int32 [batch] and logits float32 [batch, num_outputs] to losses float32 [batch].

    One output is a sigmoid's, for two classes (binary cross-entropy); several are a softmax's (categorical
    cross-entropy). With `class_weights` an example's loss is multiplied by the weight of its class.
    """
    num_classes = max(2, num_outputs)

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, num_classes) * (1.0 - label_smoothing) + label_smoothing / num_classes
        if num_outputs == 1:
            return tf.nn.sigmoid_cross_entropy_with_logits(targets[:, 1], logits[:, 0])
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    def weighted_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return loss(labels, logits) * tf.gather(tf.constant(class_weights), labels)

    return loss if class_weights is None else weighted_loss


def balance_classes(counts: Sequence[int]) -> tuple[float, ...]:
    """Returns a weight for each class, so that all classes weigh the same in the loss and an example 1 on average.

    The weight is n / (k * n_c) for n examples of k classes, n_c of them of this one (King and Zeng, 2001).
    """
    return tuple(sum(counts) / (len(counts) * count) if count else 0.0 for count in counts)


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns class probabilities `float32 [batch, num_classes]`; one logit stands for the second of two classes."""
    if logits.shape[1] == 1:
        positive = tf.sigmoid(logits)
        return tf.concat([1.0 - positive, positive], axis=1)
    return tf.nn.softmax(logits)


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate as a function of the step.

    A linear rise from zero, then a constant, half a cosine down to zero (Loshchilov and Hutter, 2017), or a fall
    whenever the validation loss has not fallen for a while; all of it times a tenth after each divergence. Must be made
    under the strategy.
    """

    def __init__(self, config: OptimConfig, *, batch_size: int, steps_per_epoch: int, epochs: int) -> None:
        self.peak = scale_learning_rate(config, batch_size)
        self.config, self.steps_per_epoch, self.total_steps = config, steps_per_epoch, steps_per_epoch * epochs
        self.warmup_steps = round(config.warmup_epochs * steps_per_epoch)
        self._scale = tf.Variable(1.0, trainable=False)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a step, float32, counted from 0."""
        step = tf.cast(step, tf.float32)
        rise = tf.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps)) if self.warmup_steps else 1.0
        if self.config.schedule == "constant":
            return self.peak * rise * self._scale * tf.ones_like(step)
        if self.config.schedule == "plateau":
            return self.peak * rise * self._scale
        done = tf.clip_by_value((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0, 1.0)
        return self.peak * rise * self._scale * 0.5 * (1.0 + tf.cos(3.14159265 * done))

    def last_of(self, epoch: int) -> float:
        """Returns the rate of the last step of an epoch, counted from 1."""
        return float(self(tf.constant(epoch * self.steps_per_epoch - 1)))

    def follow(self, losses: Sequence[float], *, num_back_offs: int = 0) -> bool:
        """Sets the rate by the validation losses of all epochs and the divergences so far; returns whether it changed.

        It needs no state of its own in a checkpoint, which holds both.
        """
        before, scale = self._scale.numpy(), BACK_OFF_FACTOR**num_back_offs
        if self.config.schedule == "plateau":
            scale *= scale_at_plateaus(losses, self.config)
        self._scale.assign(scale)
        return bool(self._scale.numpy() != before)


def scale_learning_rate(config: OptimConfig, batch_size: int) -> float:
    """Returns the peak learning rate for steps of so many pictures.

    `linear` is the rule of Goyal et al., "Accurate, large minibatch SGD", 2017; `sqrt` that of Krizhevsky, "One weird
    trick", 2014, which Malladi et al., 2022, derive for Adam.
    """
    growth = batch_size / _BASE_BATCH
    return config.learning_rate * {"none": 1.0, "linear": growth, "sqrt": math.sqrt(growth)}[config.scale_with_batch]


def scale_at_plateaus(losses: Sequence[float], config: OptimConfig) -> float:
    """Returns what the learning rate is multiplied by after epochs of these validation losses.

    Epochs of the warm-up do not count. After a fall the loss has the whole patience again.
    """
    scale, lowest, num_waited = 1.0, math.inf, 0
    for loss in losses[math.ceil(config.warmup_epochs) :]:
        num_waited = 0 if loss < lowest else num_waited + 1
        lowest = min(lowest, loss)
        if num_waited == config.plateau_epochs:
            scale, num_waited = scale * config.plateau_factor, 0
    return scale


def make_optimizer(config: OptimConfig, learning_rate: Callable, *, precision: str) -> keras.Optimizer:
    """Returns the optimizer; in mixed_float16 its loss is scaled dynamically, so that small gradients survive.

    Each replica has to give it the sum of the gradients of all.
    Biases and the scales and shifts of normalisation do not decay.
    """
    if config.name == "sgd":
        optimizer = SummedSGD(learning_rate, momentum=config.momentum, weight_decay=config.weight_decay or None)
    elif config.name == "adamw":
        optimizer = FusedAdamW(learning_rate, weight_decay=config.weight_decay)
    else:
        optimizer = FusedAdam(learning_rate)
    if config.name != "adam":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


class _Summed:
    """Leaves the sum over replicas to whoever has it already; a second one would cost what the first does."""

    def _all_reduce_sum_gradients(self, grads_and_vars: list[tuple]) -> list[tuple]:
        return grads_and_vars  # in Keras' place


class _Fused(_Summed):
    """Adam's step by one operation of TensorFlow, where Keras' dozen go through the memory of all weights each."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Takes Keras' place in moving one variable along its gradient, both of one shape."""
        index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class SummedSGD(_Summed, keras.optimizers.SGD):
    """SGD; Keras names an optimizer after its class, and TensorFlow wants a letter first."""


class FusedAdam(_Fused, keras.optimizers.Adam):
    """Adam."""


class FusedAdamW(_Fused, keras.optimizers.AdamW):
    """AdamW."""


def average_weights(
    average: keras.Model, model: keras.Model, strategy: tf.distribute.Strategy, *, decay: float, num_steps: tf.Tensor
) -> None:
    """Moves the weights of `average` towards those of `model`, which has taken so many steps, on all replicas.

    The first steps count more, so that a short run does not keep its initial weights (as in TensorFlow's
    ExponentialMovingAverage). The statistics of batch normalisation are averaged too: those of other weights would not
    fit. Keras' `use_ema` does neither, and lends the average by overwriting the weights that are in training.
    """
    num_steps = tf.cast(num_steps, tf.float32)
    rate = 1.0 - tf.minimum(decay, (1.0 + num_steps) / (10.0 + num_steps))

    def move(variable: tf.Variable, target: tf.Variable) -> None:
        variable.assign_add(rate * (target - variable))

    for variable, target in zip(average.weights, model.weights):
        if variable.dtype == "float32":  # Keras' Normalization counts in integers
            strategy.extended.update(variable.value, move, args=(target.value,))
