"""The exported model of a finished run in further formats: what they are compared on is read from its records."""

import numpy as np

from harness.base.storage import Folder
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.input import decoding, loaded_split
from harness.results.export import exported, exporter, loader, model_card
from harness.results.export.exported import Exports
from harness.results.export.exporter import Probe
from harness.results.export.formats import FORMATS, Source
from harness.runs import metrics_file
from harness.runs.workdir import Workdir

_NUM_JUDGED = 512  # where the accuracy of a file decides
_NUM_CALIBRATING = 128  # training pictures


def export(workdir: Workdir, config: Config, data: Manifest, records: Folder, formats: tuple[str, ...]) -> Exports:
    """Writes the exported model of a run in further formats, and its card anew; returns what became of them.

    Args:
      workdir: the run folder, which the caller owns.
      config: the settings of the run.
      data: the records that it was trained on.
      records: their folder.
      formats: to write.

    Raises:
      CheckpointError: the run has no exported model, or that cannot be used.
      DataError: the records are damaged.
    """
    figures, known = metrics_file.read(workdir, model_card.RunFigures), exported.read(workdir)
    model, said = loader.load_stored(workdir)
    decides = [name for name in formats if FORMATS[name].most_lost is not None]
    with decoding.damage_named():
        pictures, labels = _read(data, records, "validation", _NUM_JUDGED if decides else exporter.NUM_COMPARED)
        calibration = _read(data, records, "train", _NUM_CALIBRATING)[0] if decides else pictures[:0]
    source = Source(model, config.model.name, said.class_names, said.preparation, config.clean.max_pixels, calibration)
    exports = exporter.export_formats(source, workdir, formats, Probe(pictures, labels))
    model_card.write(workdir, config, data, figures, known.renew(exports), num_weights=model.count_params())
    return exports


def _read(data: Manifest, records: Folder, split: str, num: int) -> tuple[np.ndarray, np.ndarray]:
    opened = loaded_split.open_split(data, records, split, cache="none")
    return decoding.read_examples(opened.shards, opened.expected, num)
