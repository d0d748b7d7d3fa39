"""The model as a TensorFlow Lite file, for phones and boards, in numbers of 32, 16 or 8 bits."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from harness.base import files, tf_import
from harness.results.export.conversion import saved_model


def save(model: keras.Model, path: Path) -> None:
    """Writes one in float32."""
    _convert(model, path, lambda converter: None)


def save_float16(model: keras.Model, path: Path) -> None:
    """Writes one whose weights are stored in float16, at half the size; it computes in float32."""

    def set_up(converter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    _convert(model, path, set_up)


def save_dynamic(model: keras.Model, path: Path) -> None:
    """Writes one whose weights are stored in 8 bits, at a quarter of the size; it takes and gives float32."""

    def set_up(converter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    _convert(model, path, set_up)


def save_int8(model: keras.Model, path: Path, calibration: np.ndarray) -> None:
    """Writes one that computes in 8 bits alone, and takes pixels and gives probabilities as uint8.

    Args:
      model: in float32.
      path: where.
      calibration: training pictures that say how large values become, uint8 [n, size, size, 3].
    """

    def draw() -> Iterator[list[np.ndarray]]:
        for picture in calibration:
            yield [picture[None].astype(np.float32)]

    def set_up(converter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = draw
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8

    _convert(model, path, set_up)


def _convert(model: keras.Model, path: Path, set_up) -> None:
    """Converts by way of a SavedModel: from a concrete function TensorFlow wrote files without their weights."""
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as folder:
        saved_model.save_plain(model, Path(folder) / "plain")
        with files.open_plain(Path(folder)) as parent:
            converter = tf.lite.TFLiteConverter.from_saved_model(f"{parent}/plain", signature_keys=["serving_default"])
            set_up(converter)
            with tf_import.hide_start_up_lines():  # of the converter, which knows no log level
                path.write_bytes(converter.convert())
