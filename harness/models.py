"""The networks: raw pixels in, class probabilities out; scaling is a layer, so a model takes pictures as they are."""

import itertools
import math

import keras
import numpy as np

from harness.config import ModelConfig

LOGITS = "logits"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_EDGE_GAIN = 4.0  # a full step from black to white answers with 2
_EDGE_NOISE = 0.02  # tells equal filters apart


def build_model(
    config: ModelConfig, *, num_classes: int, image_size: int, seed: int, precision: str = "float32"
) -> keras.Model:
    """Returns a model of `float32 [batch, image_size, image_size, 3]` in [0, 255] to class probabilities in float32.

    A sigmoid head gives `[batch, 1]`, the probability of the second of two classes; a softmax head gives
    `[batch, num_classes]`. With the defaults and pictures of 256 pixels emotion_cnn has 3,696,625 parameters.

    Args:
      config: which network and its sizes.
      num_classes: two or more.
      image_size: height and width in pixels.
      seed: of the initial weights and of dropout.
      precision: the layers' dtype policy; the output layer stays in float32.
    """
    seeds = itertools.count(seed * 1000)
    body = {"emotion_cnn": _emotion_cnn}[config.name]
    num_outputs = 1 if num_classes == 2 and config.head != "softmax" else num_classes
    inputs = keras.Input((image_size, image_size, 3), name="pixels")
    features = body(keras.layers.Rescaling(1 / 255, dtype=precision, name="scale")(inputs), config, seeds, precision)
    logits = keras.layers.Dense(
        num_outputs, dtype="float32", name=LOGITS, kernel_initializer=keras.initializers.GlorotUniform(next(seeds))
    )(features)
    head = "sigmoid" if num_outputs == 1 else "softmax"
    outputs = keras.layers.Activation(head, dtype="float32", name="probabilities")(logits)
    model = keras.Model(inputs, outputs, name=config.name)
    if config.first_kernels == "edges":
        kernel = model.get_layer("conv1").kernel
        kernel.assign(oriented_edges(kernel.shape[-1], np.random.default_rng(seed)))
    return model


def logits_of(model: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, from which a loss is computed without loss of precision."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def seed_states(model: keras.Model) -> list:
    """Returns the variables that dropout draws its masks from; Keras saves them in no checkpoint."""
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    return [layer.seed_generator.state.value for layer in dropouts if layer.rate > 0]  # without a rate it has none


def oriented_edges(num_filters: int, random: np.random.Generator) -> np.ndarray:
    """Returns kernels that answer to edges of evenly spread directions, in grey: float32 [3, 3, 3, num_filters].

    First derivatives of a Gaussian (Freeman and Adelson, "The design and use of steerable filters", 1991) with a little
    noise. They are only where training starts: a network that starts from edges learns shapes, and those carry over to
    styles of drawing that it never saw, where colours do not.
    """
    offsets = np.arange(-1, 2)
    x, y = np.meshgrid(offsets, offsets)
    envelope = np.exp(-(x**2 + y**2) / 2)
    kernels = np.empty((3, 3, 3, num_filters), np.float32)
    for index in range(num_filters):
        angle = 2 * math.pi * index / num_filters
        kernel = (math.cos(angle) * x + math.sin(angle) * y) * envelope
        kernels[..., index] = _EDGE_GAIN * (kernel / np.abs(kernel).sum())[..., None] * _LUMA
    return kernels + random.normal(0, _EDGE_NOISE, kernels.shape).astype(np.float32)


def _emotion_cnn(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """Convolution, pooling, dropout, three times; then one dense layer that still knows where things are."""
    for index, width in enumerate(config.widths):
        kernel = keras.initializers.GlorotUniform(next(seeds))
        x = keras.layers.Conv2D(
            width, 3, activation="relu", kernel_initializer=kernel, dtype=precision, name=f"conv{index + 1}"
        )(x)
        x = keras.layers.MaxPooling2D(2, dtype=precision, name=f"pool{index + 1}")(x)
        x = keras.layers.Dropout(config.dropout, seed=next(seeds), dtype=precision, name=f"dropout{index + 1}")(x)
    x = keras.layers.Flatten(dtype=precision, name="flatten")(x)
    kernel = keras.initializers.GlorotUniform(next(seeds))
    x = keras.layers.Dense(
        config.dense_units, activation="relu", kernel_initializer=kernel, dtype=precision, name="dense"
    )(x)
    return keras.layers.Dropout(config.dense_dropout, seed=next(seeds), dtype=precision, name="dense_dropout")(x)
