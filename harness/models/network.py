"""The networks: raw pixels in, class probabilities out; scaling is a layer, so a model takes pictures as they are."""

import itertools
import math
from collections.abc import Iterator

import keras

from harness.base.errors import ConfigError
from harness.config.training_sections import ModelConfig
from harness.models import applications, cnn

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

    Raises:
      ConfigError: a network of keras.applications does not take pictures of that size, or a sigmoid has no place for
        so many classes.
    """
    if config.head == "sigmoid" and num_classes > 2:
        raise ConfigError(
            f"model.head is sigmoid, which knows two classes, and the records have {num_classes:,}. Leave it out, or "
            "set it to softmax."
        )
    seeds = itertools.count(seed * 1000)
    num_outputs = 1 if num_classes == 2 and config.head != "softmax" else num_classes
    inputs = keras.Input((image_size, image_size, 3), name="pixels")
    is_own = config.name in cnn.FEATURES
    make_features = cnn.FEATURES[config.name] if is_own else applications.make_features
    features = make_features(inputs, config, seeds, precision)
    logits = keras.layers.Dense(
        num_outputs, dtype="float32", name=LOGITS, kernel_initializer=keras.initializers.GlorotUniform(next(seeds))
    )(features)
    head = "sigmoid" if num_outputs == 1 else "softmax"
    outputs = keras.layers.Activation(head, dtype="float32", name="probabilities")(logits)
    model = keras.Model(inputs, outputs, name=config.name)
    if is_own:
        cnn.set_kernels(model, config, seed)
    else:
        applications.set_channel_order(model, config)
    return model


def logits_of(model: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, from which a loss is computed without loss of precision."""
    return keras.Model(model.input, model.get_layer(LOGITS).output)


def seed_states(model: keras.Model) -> list:
    """Returns the variables that dropout draws its masks from; Keras saves them in no checkpoint."""
    return [layer.seed_generator.state.value for layer in walk_layers(model) if hasattr(layer, "seed_generator")]


def still_frozen_dropout(model: keras.Model) -> None:
    """Turns off the dropout of layers that are frozen, before a model is traced for training; its seeds stay.

    Calling a network inside with `training=False` does not: Keras lets the outer call's `training=True` win, and only
    batch normalisation minds being frozen.
    """
    for layer in walk_layers(model):
        if isinstance(layer, keras.layers.Dropout) and not layer.trainable:
            layer.rate = 0.0


def walk_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model, and those of the models inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from walk_layers(layer)
        else:
            yield layer


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
