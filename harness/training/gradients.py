"""The gradient of one step of the optimizer: summed over the replicas, accumulated over batches, and clipped.

It computes none.
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from harness.config.training_sections import OptimConfig


@dataclass(frozen=True)
class Turn:
    """The part of one batch in a step of the optimizer: its share of the step's pictures, and whether it ends it."""

    share: float
    is_last: bool


def find_turn(step_in_epoch: int, *, num_examples: int, batch_size: int, accumulate_steps: int) -> Turn:
    """Returns the turn of a batch of an epoch, whose last batches end a step however few they are."""
    first = step_in_epoch - step_in_epoch % accumulate_steps
    start, stop = first * batch_size, min((first + accumulate_steps) * batch_size, num_examples)
    seen, now_seen = step_in_epoch * batch_size, min((step_in_epoch + 1) * batch_size, num_examples)
    return Turn((now_seen - seen) / (stop - start), now_seen == stop)


class Updater:
    """Gives the optimizer the gradient of the global batch, or of several. Must be made under the strategy.

    It sums over replicas, which the optimizers of optimizer.py do not do again.

    Keras' own ways do not hold under a strategy: `global_clipnorm` clips what each replica has before the sum, so that
    two replicas would learn something else than one, and `gradient_accumulation_steps` puts a merge_call into a
    conditional, which MirroredStrategy refuses; it also goes on across the end of an epoch. LossScaleOptimizer asks the
    first replica alone whether its gradients are finite, so it must be given the sum of all.

    Attributes:
      sums: of the gradients so far, one a variable; empty if every batch is a step.
    """

    def __init__(self, optimizer: keras.Optimizer, variables: list[keras.Variable], config: OptimConfig) -> None:
        self._optimizer, self._variables, self._clip_norm = optimizer, variables, config.clip_norm
        self.sums = []
        if config.accumulate_steps > 1:
            self.sums = [
                tf.Variable(
                    tf.zeros(variable.shape),
                    trainable=False,
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # all have the same
                )
                for variable in variables
            ]

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the loss whose gradient `apply` takes: float16 needs it scaled."""
        return self._optimizer.scale_loss(loss)

    def apply(self, gradients: list[tf.Tensor], share: tf.Tensor, *, is_last: bool) -> tf.Tensor | None:
        """Takes a step along one replica's part of the gradient, or adds it to what waits; all replicas call it.

        Returns:
          The norm of the step's gradient, float32 [], all weights together: of the global batch, not scaled, and before
          it is clipped. It is not finite where float16 overflowed, which is no step. None if the gradient waits.
        """
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.sums:
            gradients = [waiting + share * gradient for waiting, gradient in zip(self.sums, gradients)]
            for waiting, gradient in zip(self.sums, gradients):
                waiting.assign(tf.zeros_like(gradient) if is_last else gradient)
        if not is_last:
            return None
        scaled_norm = tf.linalg.global_norm(gradients)
        norm = scaled_norm / self._optimizer.scale_loss(1.0)  # before a step changes the scale
        if self._clip_norm:
            limit = self._optimizer.scale_loss(self._clip_norm)
            gradients, _ = tf.clip_by_global_norm(gradients, limit, use_norm=scaled_norm)
        self._optimizer.apply(gradients, self._variables)
        return norm
