"""The model as files of Keras: its own format, and HDF5 for older readers. Each is written complete or not at all."""

import logging
import os
import zipfile
from pathlib import Path

import keras

from harness.base import files
from harness.results.export import signature

# Keras stores weights as they are, and the rest of an archive describes the layers.
_MOST_DESCRIPTION_BYTES = 16 << 20
_BYTES_A_WEIGHT, _LAYOUT_BYTES = 4.4, 1 << 20  # of an HDF5 file, which is some kilobytes a layer more than its weights


def save(model: keras.Model, path: Path) -> None:
    """Writes a model in the format that the suffix of the path says.

    Raises:
      OSError: there is no room for it.
    """
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


def load(path: Path) -> keras.Model:
    """Returns the model of a file; no code that it names is run.

    Raises:
      CheckpointError: it cannot be read.
    """
    if path.suffix == ".keras":
        _check_archive(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras builds whatever the file describes, which fails in every way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise signature.refuse(path, f"cannot be read: {reason}") from None


def _check_archive(path: Path) -> None:
    """Refuses an archive that unpacks to far more than it has, before any of it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise signature.refuse(path, f"cannot be read: {error}") from None
    most = path.stat().st_size + _MOST_DESCRIPTION_BYTES
    if num_bytes > most:
        raise signature.refuse(path, f"unpacks to {num_bytes:,} bytes, expected at most {most:,}")


def fits_hdf5(name: str) -> bool:
    """Returns whether Keras can read a network back from the older HDF5 format.

    Some hold layers that format has no name for, or a bare number where it expects a tensor.
    """
    return not name.startswith(("ConvNeXt", "InceptionResNet", "MobileNetV3"))
