"""The optimizers, and the average of the weights they make."""

from collections.abc import Callable

import keras
import tensorflow as tf

from harness.config.training_sections import OptimConfig


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
    average: keras.Model,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    *,
    decay: float,
    num_steps: tf.Tensor,
    is_taken: tf.Tensor,
) -> None:
    """Moves the weights of `average` towards those of `model`, which has taken so many steps, on all replicas.

    Nothing moves unless the last step `is_taken`: one whose gradient overflows float16 is left out.

    The first steps count more, so that a short run does not keep its initial weights (as in TensorFlow's
    ExponentialMovingAverage). The statistics of batch normalisation are averaged too: those of other weights would not
    fit. Keras' `use_ema` does neither, and lends the average by overwriting the weights that are in training.
    """
    num_steps = tf.cast(num_steps, tf.float32)
    rate = tf.where(is_taken, 1.0 - tf.minimum(decay, (1.0 + num_steps) / (10.0 + num_steps)), 0.0)

    def move(variable: tf.Variable, target: tf.Variable) -> None:
        variable.assign_add(rate * (target - variable))

    for variable, target in zip(average.weights, model.weights):
        if variable.dtype == "float32":  # Keras' Normalization counts in integers
            strategy.extended.update(variable.value, move, args=(target.value,))
