"""The learning rate as a function of the step: warm-up, schedule, scaling with the batch, falls at plateaus."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from harness.config.training_sections import OptimConfig

BACK_OFF_FACTOR = 0.1  # of the learning rate after a divergence, which comes from a rate that is far too high
_BASE_BATCH = 16  # what optim.learning_rate is for when it is scaled; the default of train.batch_size


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate as a function of the step.

    A linear rise from zero, then a constant, half a cosine down to zero (Loshchilov and Hutter, 2017), or a fall
    whenever the validation has not got better for a while; all of it times a tenth after each divergence. Must be made
    under the strategy.
    """

    def __init__(self, config: OptimConfig, *, batch_size: int, steps_per_epoch: int, epochs: int) -> None:
        self.peak = scale_learning_rate(config, batch_size)
        self.config, self.total_steps = config, steps_per_epoch * epochs
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

    def of_step(self, step: int) -> float:
        """Returns the rate of a step, counted from 0."""
        return float(self(tf.constant(step)))

    def follow(self, costs: Sequence[float], *, num_back_offs: int = 0) -> bool:
        """Sets the rate by the validation of all epochs and the divergences so far; returns whether it changed.

        It needs no state of its own in a checkpoint, which holds both.
        """
        before, scale = self._scale.numpy(), BACK_OFF_FACTOR**num_back_offs
        if self.config.schedule == "plateau":
            scale *= scale_at_plateaus(costs, self.config)
        self._scale.assign(scale)
        return bool(self._scale.numpy() != before)


def scale_learning_rate(config: OptimConfig, batch_size: int) -> float:
    """Returns the peak learning rate for steps of so many pictures.

    `linear` is the rule of Goyal et al., "Accurate, large minibatch SGD", 2017; `sqrt` that of Krizhevsky, "One weird
    trick", 2014, which Malladi et al., 2022, derive for Adam.
    """
    growth = batch_size / _BASE_BATCH
    return config.learning_rate * {"none": 1.0, "linear": growth, "sqrt": math.sqrt(growth)}[config.scale_with_batch]


def scale_at_plateaus(costs: Sequence[float], config: OptimConfig) -> float:
    """Returns what the learning rate is multiplied by after epochs whose validation has come to this.

    Epochs of the warm-up do not count. After a fall there is the whole patience again.

    Args:
      costs: train.monitor of each epoch, its sign such that lower is better.
      config: says how long to wait, and by how much to fall.
    """
    scale, lowest, num_waited = 1.0, math.inf, 0
    for cost in costs[math.ceil(config.warmup_epochs) :]:
        num_waited = 0 if cost < lowest else num_waited + 1
        lowest = min(lowest, cost)
        if num_waited == config.plateau_epochs:
            scale, num_waited = scale * config.plateau_factor, 0
    return scale
