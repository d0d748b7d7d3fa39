"""The model as a SavedModel, which TensorFlow alone can load and TensorFlow Serving can serve.

It is written through a tf.Module: Keras' own archive stores every weight twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from harness.config.preparation import Preparation
from harness.results.export.conversion import graph_preprocessing


def save(
    model: keras.Model, folder: Path, *, class_names: Sequence[str], preparation: Preparation, max_pixels: int
) -> None:
    """Writes a SavedModel with two signatures, each answering `probabilities`, float32 [n, classes], and `label`.

    `serving_default` takes `pixels`, float32 [n, size, size, 3] in [0, 255], RGB. `serve_bytes` takes `image_bytes`,
    string [n], the bytes of JPEG or PNG files, and prepares them as `predict` does.

    Args:
      model: in float32, with an output for every class.
      folder: where; it must not exist.
      class_names: the class of each output.
      preparation: how the pictures were prepared that it was trained on.
      max_pixels: the largest picture `serve_bytes` decodes.
    """
    names = tf.constant(list(class_names))

    def answer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        chances = model(pixels, training=False)
        return {"probabilities": chances, "label": tf.gather(names, tf.argmax(chances, axis=1))}

    def answer_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(graph_preprocessing.prepare_all(image_bytes, preparation, max_pixels=max_pixels))

    content = tf.TensorSpec([None], tf.string, name="image_bytes")
    _write(
        model,
        folder,
        {"serving_default": trace(answer, pixels_of(model)), "serve_bytes": trace(answer_bytes, content)},
    )


def save_plain(model: keras.Model, folder: Path) -> None:
    """Writes one for converters: `serving_default` alone, and `probabilities` alone, without texts."""

    def answer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model(pixels, training=False)}

    _write(model, folder, {"serving_default": trace(answer, pixels_of(model))})


def pixels_of(model: keras.Model) -> tf.TensorSpec:
    """Returns what a model takes: float32 [n, size, size, 3]."""
    return tf.TensorSpec(model.input_shape, tf.float32, name="pixels")


def trace(function: Callable, taken: tf.TensorSpec):
    """Returns a concrete function of one tensor; only what TensorFlow does is in it."""
    return tf.function(function, input_signature=[taken], autograph=False).get_concrete_function()


def _write(model: keras.Model, folder: Path, signatures: dict) -> None:
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(folder), signatures=signatures)
