"""The convolutional networks of our own, from pixels to features, and the kernels that they start from."""

import itertools
import math

import keras
import numpy as np

from harness.config.training_sections import ModelConfig

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_EDGE_GAIN = 4.0  # a full step from black to white answers with 2
_EDGE_NOISE = 0.02
_NUM_DIRECTIONS = 8  # over half a turn, since the magnitude has no sign
_WEAK_EDGE = 0.15


def oriented_edges(num_filters: int, random: np.random.Generator) -> np.ndarray:
    """Returns kernels that answer to edges of evenly spread directions, in grey: float32 [3, 3, 3, num_filters].

    A little noise tells equal filters apart. They are only where training starts: a network that starts from edges
    learns shapes, and those carry over to styles of drawing that it never saw, where colours do not.
    """
    kernels = _edge_kernels(num_filters, size=3, turn=2 * math.pi)[:, :, None] * _LUMA[:, None]
    return (_EDGE_GAIN * kernels + random.normal(0, _EDGE_NOISE, kernels.shape)).astype(np.float32)


def _edge_kernels(num_filters: int, *, size: int, turn: float) -> np.ndarray:
    """First derivatives of a Gaussian in directions spread over `turn` radians: [size, size, num_filters].

    Freeman and Adelson, "The design and use of steerable filters", 1991. The weights of each sum to zero, and their
    magnitudes to one.
    """
    offsets = np.arange(size) - size // 2
    x, y = np.meshgrid(offsets, offsets)
    angles = turn * np.arange(num_filters) / num_filters
    kernels = np.cos(angles) * x[..., None] + np.sin(angles) * y[..., None]
    kernels *= np.exp(-(x**2 + y**2) / 2)[..., None]
    return kernels / np.abs(kernels).sum(axis=(0, 1))


def _emotion_cnn(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """Convolution, pooling, dropout, three times; then one dense layer that still knows where things are."""
    pool = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[config.pooling]
    x = _scale(x, precision)
    for index, width in enumerate(config.widths):
        kernel = keras.initializers.GlorotUniform(next(seeds))
        x = keras.layers.Conv2D(
            width, 3, activation="relu", kernel_initializer=kernel, dtype=precision, name=f"conv{index + 1}"
        )(x)
        x = pool(2, dtype=precision, name=f"pool{index + 1}")(x)
        x = keras.layers.Dropout(config.dropout, seed=next(seeds), dtype=precision, name=f"dropout{index + 1}")(x)
    x = keras.layers.Flatten(dtype=precision, name="flatten")(x)
    kernel = keras.initializers.GlorotUniform(next(seeds))
    x = keras.layers.Dense(
        config.dense_units, activation="relu", kernel_initializer=kernel, dtype=precision, name="dense"
    )(x)
    return keras.layers.Dropout(config.dense_dropout, seed=next(seeds), dtype=precision, name="dense_dropout")(x)


def _residual_cnn(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """Fixed oriented edges with contrast normalised, as in HOG; residual blocks; a head that knows the four quarters.

    After Dalal and Triggs, "Histograms of oriented gradients for human detection", 2005, and He et al., "Deep residual
    learning", 2015. The picture is averaged down to 64 pixels first; `widths` are the filters of the stages.
    """
    layers = keras.layers
    x = _scale(x, precision)
    x = layers.AveragePooling2D(max(1, x.shape[1] // 64), dtype=precision, name="shrink")(x)
    x = layers.Conv2D(1, 1, use_bias=False, trainable=False, dtype=precision, name="gray")(x)
    x = layers.Conv2D(_NUM_DIRECTIONS + 1, 5, trainable=False, dtype=precision, name="edges")(x)
    x = layers.Maximum(dtype=precision, name="magnitude")([x, layers.Rescaling(-1.0, dtype=precision)(x)])
    x = layers.AveragePooling2D(2, padding="same", dtype=precision)(x)
    x = layers.UnitNormalization(axis=-1, dtype=precision, name="contrast")(x)

    def convolve(x, width: int, size: int, strides: int = 1):
        kernel = keras.initializers.HeNormal(next(seeds))
        x = layers.Conv2D(
            width, size, strides, padding="same", use_bias=False, kernel_initializer=kernel, dtype=precision
        )(x)
        return layers.BatchNormalization(momentum=0.9, dtype=precision)(x)

    x = layers.ReLU(dtype=precision)(convolve(x, config.widths[0], 3, 2))
    for index, width in enumerate(config.widths):
        strides = 2 if index else 1
        shortcut = layers.AveragePooling2D(2, padding="same", dtype=precision)(x) if index else x
        if shortcut.shape[-1] != width:
            shortcut = convolve(shortcut, width, 1)
        x = convolve(layers.ReLU(dtype=precision)(convolve(x, width, 3, strides)), width, 3)
        x = layers.ReLU(dtype=precision)(layers.Add(dtype=precision)([shortcut, x]))
    x = layers.AveragePooling2D(2, padding="same", dtype=precision)(x)
    x = layers.Flatten(dtype=precision, name="flatten")(x)
    return layers.Dropout(config.dense_dropout, seed=next(seeds), dtype=precision, name="dense_dropout")(x)


def _set_edge_front(model: keras.Model) -> None:
    """Sets the kernels that are not trained; the last is a constant, against which weak edges count as none."""
    model.get_layer("gray").set_weights([_LUMA.reshape(1, 1, 3, 1)])
    kernels = np.zeros((5, 5, 1, _NUM_DIRECTIONS + 1), np.float32)
    kernels[:, :, 0, :_NUM_DIRECTIONS] = 2 * _edge_kernels(_NUM_DIRECTIONS, size=5, turn=math.pi)
    biases = np.zeros(_NUM_DIRECTIONS + 1, np.float32)
    biases[-1] = _WEAK_EDGE
    model.get_layer("edges").set_weights([kernels, biases])


def _scale(x, precision: str):
    return keras.layers.Rescaling(1 / 255, dtype=precision, name="scale")(x)


# Functions of pixels [batch, H, W, 3] in [0, 255], the config, seeds and the layers' dtype policy; to features
# [batch, n].
FEATURES = {"emotion_cnn": _emotion_cnn, "residual_cnn": _residual_cnn}


def set_kernels(model: keras.Model, config: ModelConfig, seed: int) -> None:
    """Sets the kernels that start from something else than noise, or are never trained."""
    if config.name == "residual_cnn":
        _set_edge_front(model)
    elif config.name == "emotion_cnn" and config.first_kernels == "edges":
        kernel = model.get_layer("conv1").kernel
        kernel.assign(oriented_edges(kernel.shape[-1], np.random.default_rng(seed)))
