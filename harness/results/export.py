"""The trained model as files that need no harness: written, read back and compared before they count.

Exports are in float32 whatever the training precision was, and take raw pixels: float32 [batch, size, size, 3] in
[0, 255], RGB.
"""

import logging
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from pydantic import Field, TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError
from harness.config.preparation import Preparation
from harness.config.schema import Config
from harness.config.values import Color, Fit, ValueRange
from harness.models.network import LOGITS, build_model
from harness.runs.workdir import Workdir

# The same weights in another precision give other probabilities; in the same precision only other sums' orders.
_TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 0.1, "mixed_float16": 0.02}
# Keras stores weights as they are, and the rest of an archive describes the layers.
_MOST_DESCRIPTION_BYTES = 16 << 20
_BYTES_A_WEIGHT, _LAYOUT_BYTES = 4.4, 1 << 20  # of an HDF5 file, which is some kilobytes a layer more than its weights


@dataclass(frozen=True)
class Signature:
    """What an exported model takes and gives, as signature.json says it."""

    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    image_size: Annotated[int, Field(ge=1, le=1 << 16)]
    pixels: str = "RGB, 0 to 255"
    fit: Fit = "stretch"
    pad_color: Color = (0, 0, 0)
    range: ValueRange | None = None

    @property
    def preparation(self) -> Preparation:
        """How pictures are to be prepared for the model."""
        return Preparation(self.image_size, self.fit, self.pad_color, self.range)


_FORM = TypeAdapter(Signature)


def export_model(
    model: keras.Model,
    config: Config,
    workdir: Workdir,
    *,
    class_names: tuple[str, ...],
    preparation: Preparation,
    precision: str,
    probe: np.ndarray,
) -> float:
    """Writes model.keras, the HDF5 file and signature.json; returns the largest difference seen on reading them back.

    Networks that HDF5 cannot hold get no such file.

    Args:
      model: the trained model with its best weights.
      config: its section `model` is used.
      workdir: the run folder.
      class_names: the class of each label.
      preparation: how the pictures were prepared that it was trained on.
      precision: the precision the model was trained in.
      probe: pictures to compare on, uint8 [n, size, size, 3].

    Raises:
      CheckpointError: an exported file does not give the probabilities of the trained model.
    """
    plain = build_model(
        config.model,
        num_classes=len(class_names),
        image_size=preparation.image_size,
        seed=config.train.seed,
        precision="float32",
    )
    plain.set_weights(model.get_weights())
    pictures = probe.astype(np.float32)
    trained = np.asarray(model(pictures, training=False))
    difference = 0.0
    for path in (workdir.keras_model, *([workdir.h5_model] if fits_hdf5(config.model.name) else [])):
        _save(plain, path)
        reread = np.asarray(_load(path)(pictures, training=False))
        difference = max(difference, float(np.abs(reread - trained).max()))
        if not difference <= _TOLERANCE[precision]:
            raise CheckpointError(
                f"{path} gives probabilities that differ by {difference:.2g} from the trained model's; expected at "
                f"most {_TOLERANCE[precision]}. The checkpoints in {workdir.best} are unharmed."
            )
    files.write_json(workdir.signature, asdict(Signature(class_names, **asdict(preparation))))
    return difference


def _save(model: keras.Model, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")  # Keras chooses the format by the suffix
    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras advises against HDF5, which some readers still need
    try:
        with files.naming(path):
            if path.suffix == ".h5":
                _check_room(temporary, model)
            model.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_room(path: Path, model: keras.Model) -> None:
    """Takes as much room as the weights will, for a moment: HDF5 ends the process where a disk is full.

    Raises:
      OSError: there is not so much.
    """
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(_BYTES_A_WEIGHT * model.count_params()) + _LAYOUT_BYTES)
    path.unlink()


def _load(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False, safe_mode=True)


def load_model(workdir: Workdir) -> tuple[keras.Model, tuple[str, ...], Preparation]:
    """Returns the exported model, with an output for every class, its class names, and how to prepare pictures for it.

    Raises:
      CheckpointError: the run has no exported model, or its files cannot be read or do not belong together.
    """
    for path in (workdir.keras_model, workdir.signature):
        if not path.is_file():
            raise CheckpointError(
                f"{workdir.root} has no exported model ({path.name} is missing). Train it to the end: "
                f"python -m harness.train --run {workdir.root}"
            )
    try:
        signature = json_files.read(workdir.signature, _FORM)
    except json_files.WrongForm as error:
        raise _refuse(workdir.signature, f"cannot be read: {error}") from None
    _check_archive(workdir.keras_model)
    try:
        model = _load(workdir.keras_model)
    except Exception as error:  # Keras builds whatever the file describes, which fails in every way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _refuse(workdir.keras_model, f"cannot be read: {reason}") from None
    _check_fit(model, signature, workdir)
    return _answer_all_classes(model, workdir.keras_model), signature.class_names, signature.preparation


def _check_archive(path: Path) -> None:
    """Refuses an archive that unpacks to far more than it has, before any of it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise _refuse(path, f"cannot be read: {error}") from None
    most = path.stat().st_size + _MOST_DESCRIPTION_BYTES
    if num_bytes > most:
        raise _refuse(path, f"unpacks to {num_bytes:,} bytes, expected at most {most:,}")


def _check_fit(model: keras.Model, signature: Signature, workdir: Workdir) -> None:
    num_classes, size = len(signature.class_names), signature.image_size
    outputs = [(None, num_classes), *([(None, 1)] if num_classes == 2 else [])]
    found = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if found[0] != (None, size, size, 3) or found[1] not in outputs:
        raise _refuse(
            workdir.signature,
            f"says {num_classes} classes and pictures of {size}x{size}, but {workdir.keras_model.name} takes "
            f"{found[0]} and gives {found[1]}",
        )


def _refuse(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} {reason}. To have it written again, remove metrics.json of the run and repeat its training command."
    )


def _answer_all_classes(model: keras.Model, path: Path) -> keras.Model:
    """Gives a model of one output both probabilities, each from the logit: 1 less the other would be inexact."""
    if model.output_shape[1] > 1:
        return model
    try:
        logits = model.get_layer(LOGITS).output
    except ValueError:
        raise _refuse(path, f"has no layer {LOGITS!r}") from None
    chances = keras.layers.Activation("sigmoid")(keras.layers.Concatenate()([keras.ops.negative(logits), logits]))
    return keras.Model(model.inputs, chances)


def predict(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """Returns class probabilities, float32 [n, num_classes], for pictures uint8 [n, size, size, 3].

    Args:
      model: as `load_model` returns it.
      pictures: uint8 [n, size, size, 3].
    """
    return np.asarray(model.predict_on_batch(pictures.astype(np.float32)))


def fits_hdf5(name: str) -> bool:
    """Returns whether Keras can read a network back from the older HDF5 format.

    Some hold layers that format has no name for, or a bare number where it expects a tensor.
    """
    return not name.startswith(("ConvNeXt", "InceptionResNet", "MobileNetV3"))
