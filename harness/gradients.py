"""The gradient of one step of the optimizer: summed over the replicas, and clipped. It computes none."""

import keras
import tensorflow as tf

from harness.config import OptimConfig


class Updater:
    """Gives the optimizer the gradient of the global batch.

    Keras' own `global_clipnorm` clips what each replica has before the sum, so that two replicas would learn something
    else than one.
    """

    def __init__(self, optimizer: keras.Optimizer, config: OptimConfig) -> None:
        self._optimizer, self._config = optimizer, config

    def apply(self, gradients: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        """Takes a step along one replica's part of the gradient; all replicas call it."""
        if self._config.clip_norm:
            replicas = tf.distribute.get_replica_context()
            gradients = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            limit = self._optimizer.scale_loss(self._config.clip_norm)  # the gradients are scaled as the loss is
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
            # The optimizer sums over replicas, each of which has the whole sum by now.
            gradients = [gradient / replicas.num_replicas_in_sync for gradient in gradients]
        self._optimizer.apply(gradients, variables)
