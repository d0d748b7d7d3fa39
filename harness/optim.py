"""The loss, the learning rate and the optimizer."""

from collections.abc import Callable

import keras
import tensorflow as tf

from harness.config import OptimConfig

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_loss(*, num_outputs: int, label_smoothing: float) -> Loss:
    """Returns a function of labels int32 [batch] and logits float32 [batch, num_outputs] to losses float32 [batch].

    One output is a sigmoid's, for two classes (binary cross-entropy); several are a softmax's (categorical
    cross-entropy).
    """
    num_classes = max(2, num_outputs)

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, num_classes) * (1.0 - label_smoothing) + label_smoothing / num_classes
        if num_outputs == 1:
            return tf.nn.sigmoid_cross_entropy_with_logits(targets[:, 1], logits[:, 0])
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    return loss


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns class probabilities `float32 [batch, num_classes]`; one logit stands for the second of two classes."""
    if logits.shape[1] == 1:
        positive = tf.sigmoid(logits)
        return tf.concat([1.0 - positive, positive], axis=1)
    return tf.nn.softmax(logits)


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from zero, then a constant or half a cosine down to zero (Loshchilov and Hutter, 2017)."""

    def __init__(self, config: OptimConfig, steps_per_epoch: int, epochs: int) -> None:
        self.config, self.total_steps = config, steps_per_epoch * epochs
        self.warmup_steps = round(config.warmup_epochs * steps_per_epoch)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rise = tf.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps)) if self.warmup_steps else 1.0
        if self.config.schedule == "constant":
            return self.config.learning_rate * rise * tf.ones_like(step)
        done = tf.clip_by_value((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0, 1.0)
        return self.config.learning_rate * rise * 0.5 * (1.0 + tf.cos(3.14159265 * done))


def make_learning_rate(config: OptimConfig, *, steps_per_epoch: int, epochs: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the learning rate as a function of the step."""
    return _Schedule(config, steps_per_epoch, epochs)


def make_optimizer(config: OptimConfig, learning_rate: Callable, *, precision: str) -> keras.Optimizer:
    """Returns the optimizer; in mixed_float16 its loss is scaled dynamically, so that small gradients survive.

    Biases and the scales and shifts of normalisation do not decay.
    """
    if config.name == "sgd":
        optimizer = keras.optimizers.SGD(
            learning_rate, momentum=config.momentum, weight_decay=config.weight_decay or None
        )
    elif config.name == "adamw":
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=config.weight_decay)
    else:
        optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer
