"""A network in training on several replicas: what they must have in common.

Left as Keras builds them, layers of batch normalisation go by the pictures of their own replica and keep statistics of
their own, of which a checkpoint holds those of the first replica only. Nothing of this is saved: an exported model
holds the layers as they were built.
"""

import keras

from harness.models.network import walk_layers


def share_training(model: keras.Model, num_replicas: int) -> None:
    """Prepares a model, before it is traced, for replicas that train it together; with one nothing changes.

    Batch normalisation takes the statistics of the global batch, so that all copies of its variables stay equal and
    several devices learn what one does.
    """
    if num_replicas == 1:
        return
    for layer in walk_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
