"""Class activation maps: which places of a picture speak for the class that a network gives it.

HiResCAM after Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020: the gradient of the class's logit times the activation, summed over the channels of a convolutional
map, and what speaks against the class left out. Grad-CAM averages the gradient over the map first, which is wrong where
a network flattens its last map, as its weights then depend on the place; after global averaging the two are the same.

overlay.py draws them. A map is no proof: docs/predicting.md says what it cannot tell.
"""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from harness.models.network import LOGITS

_LEAST_SIDE = 7  # of a map, where there is one: that of ImageNet's networks on their 224 pixels
# They repeat what the map before them holds, with fewer places or with gaps.
_REPEATING = (
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.MaxPooling2D,
    keras.layers.Reshape,
    keras.layers.ZeroPadding2D,
)

# From pixels, uint8 or float32 [n, size, size, 3] in [0, 255], and classes, int [n], to maps, float32 [n, h, w].
Explainer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_explainer(model: keras.Model) -> Explainer:
    """Returns a function of pixels and classes to class activation maps, of zero and more; it is compiled once.

    Args:
      model: of `models.network.build_model`, or as `loader.load_model` returns it; its backbone may be frozen.

    Raises:
      ValueError: the model has no convolutional map, or no layer of logits.
    """
    mapping = _expose_map(model)
    size = model.input_shape[1]

    @tf.function(
        input_signature=[tf.TensorSpec([None, size, size, 3]), tf.TensorSpec([None], tf.int32)], autograph=False
    )
    def explain(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns what speaks for the labels at each place of the explained map, float32 [N, height, width]."""
        with tf.GradientTape() as tape:
            tape.watch(pixels)  # a frozen network records nothing by itself
            activations, logits = mapping(pixels, training=False)
            if logits.shape[1] == 1:  # of the second class; what speaks for the first speaks against it
                score = logits[:, 0] * tf.cast(2 * labels - 1, logits.dtype)
            else:
                score = tf.gather(logits, labels, batch_dims=1)
        gradients = tape.gradient(score, activations)
        products = tf.cast(gradients, tf.float32) * tf.cast(activations, tf.float32)
        return tf.nn.relu(tf.reduce_sum(products, axis=-1))

    return lambda pixels, labels: explain(pixels.astype(np.float32), labels.astype(np.int32)).numpy()


def _expose_map(model: keras.Model) -> keras.Model:
    """Returns the same layers as a model of pixels to the map that is explained and the logits."""
    logits = model.get_layer(LOGITS)
    backbone = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    if backbone is None:
        return keras.Model(model.inputs[0], [_choose_map(model), logits.output])
    # What is inside a network that is a layer itself is not connected to the outer one, which is a plain chain.
    inner = keras.Model(backbone.inputs[0], [_choose_map(backbone), backbone.output])
    x, activations = model.inputs[0], None
    for layer in _chain(model, logits):
        if layer is backbone:
            activations, x = inner(x, training=False)
        else:
            x = layer(x)
    return keras.Model(model.inputs[0], [activations, x])


def _chain(model: keras.Model, last: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields the layers after the input, up to the last that is wanted."""
    for layer in model.layers[1:]:
        yield layer
        if layer is last:
            return


def _choose_map(model: keras.Model) -> keras.KerasTensor:
    """Returns the last map that has a few places to a side; the largest of the last, where pictures are tiny."""
    maps = [
        layer.output
        for layer in model.layers[1:]
        if not isinstance(layer, _REPEATING) and len(getattr(layer.output, "shape", ())) == 4
    ]
    if not maps:
        raise ValueError(f"{model.name} has no convolutional map")
    side = min(_LEAST_SIDE, max(min(each.shape[1:3]) for each in maps))
    return [each for each in maps if min(each.shape[1:3]) >= side][-1]
