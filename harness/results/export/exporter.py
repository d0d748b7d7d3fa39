"""The trained model as files that need no harness: written, read back and compared before they count.

Exports are in float32 whatever the training precision was, and take raw pixels: float32 [batch, size, size, 3] in
[0, 255], RGB.
"""

from dataclasses import asdict

import keras
import numpy as np

from harness.base import files
from harness.base.errors import CheckpointError
from harness.config.preparation import Preparation
from harness.config.schema import Config
from harness.models.network import build_model
from harness.results.export import keras_files
from harness.results.export.signature import Signature
from harness.runs.workdir import Workdir

# The same weights in another precision give other probabilities; in the same precision only other sums' orders.
_TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 0.1, "mixed_float16": 0.02}


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
    for path in (workdir.keras_model, *([workdir.h5_model] if keras_files.fits_hdf5(config.model.name) else [])):
        keras_files.save(plain, path)
        reread = np.asarray(keras_files.load(path)(pictures, training=False))
        difference = max(difference, float(np.abs(reread - trained).max()))
        if not difference <= _TOLERANCE[precision]:
            raise CheckpointError(
                f"{path} gives probabilities that differ by {difference:.2g} from the trained model's; expected at "
                f"most {_TOLERANCE[precision]}. The checkpoints in {workdir.best} are unharmed."
            )
    files.write_json(workdir.signature, asdict(Signature(class_names, **asdict(preparation))))
    return difference
