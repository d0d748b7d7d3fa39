"""The way from pixels to logits in training, with less work on a CPU than the layers one after another.

It has no parameters, and nothing of it is saved: it reads the variables of the Keras model, whose function it computes.
"""

import functools
import itertools
from collections.abc import Callable

import keras
import tensorflow as tf

_KNOWN = {
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Conv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Dense,
}
_NEAR = 1 / 50  # of the rarer outcome: how far 8 bits may miss a dropout rate
_BITS_OF_SEED = 32


def make_forward(logits_model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function of pixels, float32 [batch, H, W, 3] in [0, 255], to logits as dropout makes them in training.

    The largest of four sums is found before the bias is added and what is negative cut off, which come to the same for
    finite numbers and take a quarter of the work. TensorFlow's pooling on CPUs passes over NaN, so a sum that is none
    shows in the validation after the epoch and not in the loss. Dropout draws 8 or 16 bits for a number where Keras
    draws 32; see `find_lots`. Networks of other layers than a plain chain of convolutions has are called as they are.
    """
    layers = logits_model.layers
    if not {type(layer) for layer in layers} <= _KNOWN:
        return functools.partial(logits_model, training=True)

    def forward(x: tf.Tensor) -> tf.Tensor:
        """The logits, float32 [batch, num_classes], of pixels, float32 [batch, H, W, 3]."""
        convolution = None  # whose bias and activation wait for the pooling
        for layer, following in itertools.zip_longest(layers[1:], layers[2:]):
            if _waits(layer, following):
                convolution = layer
                x = layer.convolution_op(x, tf.cast(layer.kernel.value, layer.compute_dtype))
            elif convolution is not None:
                x = tf.nn.relu(tf.nn.bias_add(layer(x), tf.cast(convolution.bias.value, x.dtype)))
                convolution = None
            elif isinstance(layer, keras.layers.Dropout):
                x = _drop(x, layer)
            else:
                x = layer(x)
        return x

    return forward


def _waits(layer: keras.layers.Layer, following: keras.layers.Layer | None) -> bool:
    """The maximum is the only pooling that gives the same before and after a function that never falls."""
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.activation is keras.activations.relu
        and layer.use_bias
        and isinstance(following, keras.layers.MaxPooling2D)
    )


def _drop(x: tf.Tensor, layer: keras.layers.Dropout) -> tf.Tensor:
    """Drops as the layer does, by its own seed, which is in the checkpoint."""
    num_bits, num_dropped = find_lots(layer.rate)
    if not num_dropped:
        return x
    seed = layer.seed_generator.next()
    num, num_each = tf.size(x), _BITS_OF_SEED // num_bits
    drawn = tf.random.stateless_uniform([-(-num // num_each)], seed, minval=None, maxval=None, dtype=tf.int32)
    lots = tf.reshape(tf.bitcast(drawn, {8: tf.uint8, 16: tf.uint16}[num_bits]), [-1])[:num]
    is_kept = tf.reshape(lots >= num_dropped, tf.shape(x))
    scale = 2**num_bits / (2**num_bits - num_dropped)
    return x * (tf.cast(is_kept, x.dtype) * tf.cast(scale, x.dtype))  # a select takes twice the time


def find_lots(rate: float) -> tuple[int, int]:
    """Returns the bits a number's lot has, and how many of all lots drop it: (8, 26) for a rate of 0.1, or 10.2 %.

    It is 8 bits where these come within 2 % of the rate and of one minus the rate, else 16. What is kept is scaled by
    what the lots come to and not by the rate, so that the mean stays the same, as far as the bits of a number go.
    """
    for num_bits in (8, 16):
        num_dropped = min(round(rate * 2**num_bits), 2**num_bits - 1)
        if abs(num_dropped / 2**num_bits - rate) <= _NEAR * min(rate, 1.0 - rate):
            break
    return num_bits, num_dropped
