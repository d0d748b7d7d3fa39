"""The networks: raw pixels in, class probabilities out; scaling is a layer, so a model takes pictures as they are."""

import contextlib
import itertools
import math
import random as python_random
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from harness.base.errors import ConfigError
from harness.config import networks
from harness.config.schema import ModelConfig

LOGITS = "logits"
_TO_BGR = "to_bgr"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_EDGE_GAIN = 4.0  # a full step from black to white answers with 2
_EDGE_NOISE = 0.02
_NUM_DIRECTIONS = 8  # over half a turn, since the magnitude has no sign
_WEAK_EDGE = 0.15
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # BGR, in pixels


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

    Raises:
      ConfigError: a network of keras.applications does not take pictures of that size.
    """
    seeds = itertools.count(seed * 1000)
    num_outputs = 1 if num_classes == 2 and config.head != "softmax" else num_classes
    inputs = keras.Input((image_size, image_size, 3), name="pixels")
    if config.name in networks.APPLICATIONS:
        features = _backbone(inputs, config, seeds, precision)
    else:
        body = {"emotion_cnn": _emotion_cnn, "residual_cnn": _residual_cnn}[config.name]
        scaled = keras.layers.Rescaling(1 / 255, dtype=precision, name="scale")(inputs)
        features = body(scaled, config, seeds, precision)
    logits = keras.layers.Dense(
        num_outputs, dtype="float32", name=LOGITS, kernel_initializer=keras.initializers.GlorotUniform(next(seeds))
    )(features)
    head = "sigmoid" if num_outputs == 1 else "softmax"
    outputs = keras.layers.Activation(head, dtype="float32", name="probabilities")(logits)
    model = keras.Model(inputs, outputs, name=config.name)
    if config.name == "residual_cnn":
        _set_edge_front(model)
    elif networks.APPLICATIONS.get(config.name) == "caffe":
        swap = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
        model.get_layer(_TO_BGR).set_weights([swap, -_CAFFE_MEAN])
    elif config.name == "emotion_cnn" and config.first_kernels == "edges":
        kernel = model.get_layer("conv1").kernel
        kernel.assign(oriented_edges(kernel.shape[-1], np.random.default_rng(seed)))
    return model


def logits_of(model: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, from which a loss is computed without loss of precision."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def seed_states(model: keras.Model) -> list:
    """Returns the variables that dropout draws its masks from; Keras saves them in no checkpoint."""
    dropouts = [layer for layer in _walk_layers(model) if isinstance(layer, keras.layers.Dropout)]
    return [layer.seed_generator.state.value for layer in dropouts if layer.rate > 0]  # without a rate it has none


def _walk_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk_layers(layer)
        else:
            yield layer


def load_backbone(model: keras.Model, path: Path) -> None:
    """Loads weights into the network of keras.applications inside a model; reads arrays only, and runs no code.

    Raises:
      ConfigError: the file cannot be read, or is of another network.
    """
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras warns of what it leaves at random
            network.load_weights(str(path))
    except (OSError, ValueError, KeyError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"model.weights {path} cannot be loaded into {model.name}: {reason}. Give a file that "
            f"keras.applications.{model.name}(include_top=False) saved."
        ) from None


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


def _backbone(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """A network of keras.applications without its top, on the pixels it knows; then the mean over the picture."""
    layers, pixels = keras.layers, networks.APPLICATIONS[config.name]
    image_size, seed = x.shape[1], next(seeds)
    if pixels == "signed":
        x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scale")(x)
    elif pixels == "normalised":
        scale, offset = 1 / (255 * _IMAGENET_DEVIATION), -_IMAGENET_MEAN / _IMAGENET_DEVIATION
        x = layers.Rescaling(scale.tolist(), offset=offset.tolist(), dtype="float32", name="scale")(x)
    elif pixels == "caffe":  # an operation such as x[..., ::-1] cannot be read back from HDF5
        x = layers.Conv2D(3, 1, trainable=False, dtype="float32", name=_TO_BGR)(x)
    elif config.weights is not None and config.name.startswith("EfficientNetB"):
        # ImageNet's weights want one more division, which Keras adds only to what it downloads itself:
        # https://github.com/tensorflow/tensorflow/issues/49930
        scale = 1 / np.sqrt(_IMAGENET_DEVIATION)
        offset = 255 * _IMAGENET_MEAN * (1 - scale)
        x = layers.Rescaling(scale.tolist(), offset=offset.tolist(), dtype="float32", name="scale")(x)
    with _defaults_set(precision, seed):
        try:
            network = getattr(keras.applications, config.name)(
                include_top=False, weights=None, input_shape=(image_size, image_size, 3)
            )
        except ValueError as error:
            raise ConfigError(
                f"model.name is {config.name}, which does not take pictures of {image_size} pixels: "
                f"{' '.join(str(error).split())[:200]}. Build records with another --records.image_size."
            ) from None
    if config.freeze_backbone:
        network.trainable = False
        x = network(x, training=False)
    else:
        x = network(x)
    x = layers.GlobalAveragePooling2D(dtype=precision, name="mean")(x)
    return layers.Dropout(config.dense_dropout, seed=next(seeds), dtype=precision, name="dense_dropout")(x)


@contextlib.contextmanager
def _defaults_set(precision: str, seed: int) -> Iterator[None]:
    """Sets what keras.applications takes no arguments for: the dtype policy, and what layers draw their seeds from."""
    policy, state = keras.config.dtype_policy(), python_random.getstate()
    keras.config.set_dtype_policy(precision)
    python_random.seed(seed)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        python_random.setstate(state)


def _emotion_cnn(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """Convolution, pooling, dropout, three times; then one dense layer that still knows where things are."""
    pool = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[config.pooling]
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


def count_flops(model: keras.Model) -> tuple[int, int]:
    """Returns the floating-point operations a picture takes: to answer, and in a training step.

    Counted are convolutions and dense layers, two operations for a multiplication and an addition. A training step
    adds the gradients of their trainable kernels, and those of their inputs after the first trainable layer.
    """
    answer = training = 0
    is_below_trained = False
    for layer in model.layers:
        kernels = [weight for weight in layer.weights if "kernel" in weight.name]
        flops = 2 * sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(layer.output.shape[1:-1])
        is_trained = any(kernel.trainable for kernel in kernels)
        answer += flops
        training += flops * (1 + is_trained + is_below_trained)
        is_below_trained |= is_trained
    return answer, training
