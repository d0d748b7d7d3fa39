"""The formats a model is exported in: the name of each file, how it is written, and by how much it may differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from harness.config.preparation import Preparation
from harness.results.export import keras_files
from harness.results.export.conversion import onnx_file, saved_model, tflite_files
from harness.results.export.loader import answer_all_classes


class Unsuitable(Exception):
    """A model that a format cannot hold."""


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
      model: in float32, as Keras stores it: with one output or one for every class.
      network: its `model.name`.
      class_names: the class of each label.
      preparation: how the pictures were prepared that it was trained on.
      max_pixels: the largest picture that it decodes itself.
      calibration: training pictures, uint8 [n, size, size, 3], for what computes in 8 bits; empty where nothing does.
    """

    model: keras.Model
    network: str
    class_names: tuple[str, ...]
    preparation: Preparation
    max_pixels: int
    calibration: np.ndarray

    @property
    def answering(self) -> keras.Model:
        """The model with an output for every class."""
        return answer_all_classes(self.model)


@dataclass(frozen=True)
class Format:
    """A file's name, how it is written, the largest difference of a probability, and what accuracy it may cost.

    `tolerance` is some ten times what was measured on the project's own networks. Where `most_lost` is given, the file
    may answer so large a share of the validation pictures wrong that model.keras answers right.
    """

    file: str
    tolerance: float
    write: Callable[[Source, Path], None]
    most_lost: float | None = None


def _write_h5(source: Source, path: Path) -> None:
    if not keras_files.fits_hdf5(source.network):
        raise Unsuitable(f"HDF5 cannot hold {source.network}")
    keras_files.save(source.model, path)


def _write_saved_model(source: Source, path: Path) -> None:
    saved_model.save(
        source.answering,
        path,
        class_names=source.class_names,
        preparation=source.preparation,
        max_pixels=source.max_pixels,
    )


def _answering(save: Callable[[keras.Model, Path], None]) -> Callable[[Source, Path], None]:
    return lambda source, path: save(source.answering, path)


FORMATS: Mapping[str, Format] = {
    "h5": Format("emotion_cnn_model.h5", 1e-4, _write_h5),
    "saved_model": Format("saved_model", 1e-4, _write_saved_model),
    "tflite": Format("model.tflite", 1e-3, _answering(tflite_files.save)),
    "tflite_float16": Format("model_float16.tflite", 0.01, _answering(tflite_files.save_float16)),
    "tflite_dynamic": Format("model_dynamic.tflite", 0.05, _answering(tflite_files.save_dynamic)),
    "tflite_int8": Format(
        "model_int8.tflite",
        0.2,
        lambda source, path: tflite_files.save_int8(source.answering, path, source.calibration),
        most_lost=0.01,
    ),
    "onnx": Format("model.onnx", 1e-3, _answering(onnx_file.save)),
}
