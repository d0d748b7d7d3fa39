"""A network in training on several replicas: what they must have in common, and what each has to itself.

Left as Keras builds them, layers of batch normalisation go by the pictures of their own replica and keep statistics of
their own, of which a checkpoint holds those of the first replica only; and dropout drops the same units on every
replica. Nothing of this is saved: an exported model holds the layers as they were built.
"""

import functools

import keras
import tensorflow as tf

from harness.models.network import walk_layers


def share_training(model: keras.Model, num_replicas: int) -> None:
    """Prepares a model, before it is traced, for replicas that train it together; with one nothing changes.

    Batch normalisation takes the statistics of the global batch, so that all copies of its variables stay equal and
    several devices learn what one does. Dropout draws a mask for each replica from the one seed that all count on.
    """
    if num_replicas == 1:
        return
    for layer in walk_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        elif generator := getattr(layer, "seed_generator", None):
            generator.next = functools.partial(_draw_seed, generator)


def _draw_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Takes the place of the generator's `next`: what that returns, with the replica's number folded in."""
    seed = type(generator).next(generator)
    return tf.random.experimental.stateless_fold_in(seed, tf.distribute.get_replica_context().replica_id_in_sync_group)
