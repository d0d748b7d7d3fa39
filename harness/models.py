"""The networks: raw pixels in, class probabilities out; scaling is a layer, so a model takes pictures as they are."""

import itertools

import keras

from harness.config import ModelConfig

LOGITS = "logits"


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
    return keras.Model(inputs, outputs, name=config.name)


def logits_of(model: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, from which a loss is computed without loss of precision."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def seed_states(model: keras.Model) -> list:
    """Returns the variables that dropout draws its masks from; Keras saves them in no checkpoint."""
    return [layer.seed_generator.state.value for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


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
