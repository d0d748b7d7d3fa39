"""The networks of keras.applications inside a model: built without their top, and their weights from a file."""

import contextlib
import itertools
import random as python_random
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from harness.base.errors import ConfigError
from harness.config import networks
from harness.config.training_sections import ModelConfig

_TO_BGR = "to_bgr"
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # BGR, in pixels


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


def make_features(x, config: ModelConfig, seeds: itertools.count, precision: str):
    """Returns features [batch, n] of pixels [batch, H, W, 3] in [0, 255], by a network without its top.

    It is given the pixels it knows; its features are averaged over the picture.

    Raises:
      ConfigError: the network does not take pictures of that size.
    """
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


def set_channel_order(model: keras.Model, config: ModelConfig) -> None:
    """Sets the layer that makes of RGB what ImageNet's older networks take: BGR less ImageNet's mean."""
    if networks.APPLICATIONS[config.name] == "caffe":
        swap = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
        model.get_layer(_TO_BGR).set_weights([swap, -_CAFFE_MEAN])
