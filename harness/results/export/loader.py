"""The exported model of a run as Keras reads it: loaded, checked against its signature, and asked."""

import keras
import numpy as np

from harness.config.preparation import Preparation
from harness.models.network import LOGITS
from harness.results.export import keras_files, signature
from harness.results.export.signature import Signature
from harness.runs import metrics_file
from harness.runs.workdir import Workdir


def load_model(workdir: Workdir) -> tuple[keras.Model, tuple[str, ...], Preparation]:
    """Returns the exported model, with an output for every class, its class names, and how to prepare pictures for it.

    Raises:
      CheckpointError: as of `load_stored`.
    """
    model, said = load_stored(workdir)
    try:
        return answer_all_classes(model), said.class_names, said.preparation
    except ValueError:
        raise signature.refuse(workdir.keras_model, f"has no layer {LOGITS!r}") from None


def load_stored(workdir: Workdir) -> tuple[keras.Model, Signature]:
    """Returns the exported model as it is stored, perhaps with one output for two classes, and its signature.

    Raises:
      CheckpointError: the run has no exported model, or its files cannot be read or do not belong together.
    """
    for path in (workdir.keras_model, workdir.signature):
        if not path.is_file():
            metrics_file.check_complete(workdir)
            raise signature.refuse(path, "is missing")
    said = signature.read(workdir)
    model = keras_files.load(workdir.keras_model)
    _check_fit(model, said, workdir)
    return model, said


def _check_fit(model: keras.Model, said: Signature, workdir: Workdir) -> None:
    num_classes, size = len(said.class_names), said.image_size
    outputs = [(None, num_classes), *([(None, 1)] if num_classes == 2 else [])]
    found = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if found[0] != (None, size, size, 3) or found[1] not in outputs:
        raise signature.refuse(
            workdir.signature,
            f"says {num_classes} classes and pictures of {size}x{size}, but {workdir.keras_model.name} takes "
            f"{found[0]} and gives {found[1]}",
        )


def answer_all_classes(model: keras.Model) -> keras.Model:
    """Gives a model of one output both probabilities, each from the logit: 1 less the other would be inexact.

    Raises:
      ValueError: it has one output, and no layer of logits.
    """
    if model.output_shape[1] > 1:
        return model
    logits = model.get_layer(LOGITS).output
    chances = keras.layers.Activation("sigmoid")(keras.layers.Concatenate()([keras.ops.negative(logits), logits]))
    return keras.Model(model.inputs[0], chances)


def predict(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """Returns class probabilities, float32 [n, num_classes], for pictures uint8 [n, size, size, 3].

    Args:
      model: as `load_model` returns it.
      pictures: uint8 [n, size, size, 3].
    """
    return np.asarray(model.predict_on_batch(pictures.astype(np.float32)))
