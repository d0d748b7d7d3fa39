"""Exported models of runs, asked about the same pictures one after another, on this machine."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.comparison.comparison import Measured
from harness.comparison.finished_run import Figures, FinishedRun
from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import rejection
from harness.dataset.images.arrays import Array
from harness.dataset.records.manifest import Manifest
from harness.input import decoding, evaluation_set, loaded_split
from harness.input.evaluation_set import Skipped
from harness.results import evaluation, metrics, predictions
from harness.results.export import answering, loader
from harness.results.predictions import Prediction, Predictions

log = logging.getLogger("harness")


def measure_split(runs: Sequence[FinishedRun], data: Manifest, folder: Folder, name: str) -> list[Measured]:
    """Returns what each run does on a split of records.

    Raises:
      CheckpointError: a run has no exported model.
      DataError: a model takes other pictures or classes, or the records are damaged.
    """
    measured = []
    with decoding.damage_named():
        split = loaded_split.open_split(data, folder, name, cache="none")
        for run in runs:
            log.info("asking %s", run.name)
            model, class_names, preparation = loader.load_model(run.workdir)
            evaluation_set.check_fit(data, class_names, preparation, folder)
            labels, chances, _ = evaluation.answer(model, None, evaluation.read_batches(split))
            rows = predictions.collect(split, class_names, labels, chances)
            groups = [row.group for row in rows]
            measured.append(Measured(run, _measure(labels, chances, class_names, groups), rows, _time(model)))
            keras.utils.clear_session()
    return measured


def measure_folder(
    runs: Sequence[FinishedRun], folder: Folder, paths: Mapping[str, Sequence[Folder]], limits: CleanConfig
) -> tuple[list[Measured], int]:
    """Returns what each run does on picture files, and how many files could not be read.

    Each picture counts as a group of its own.

    Args:
      runs: whose models are asked.
      folder: where the pictures are.
      paths: the files of each class.
      limits: what is refused.

    Raises:
      CheckpointError: a run has no exported model.
      DataError: no file can be read, or there are classes that a model does not know.
    """
    measured: list[Measured] = []
    skipped: list[Skipped] = []
    for run in runs:
        log.info("asking %s", run.name)
        model, class_names, preparation = loader.load_model(run.workdir)
        read = evaluation_set.read_folder(folder, paths, class_names, preparation, limits, skipped=skipped)
        labels, chances, _ = evaluation.answer(model, None, read)
        if not len(labels):
            raise DataError(f"{folder} has no usable picture: {rejection.summarise(skipped)}")
        bad = {path for path, _ in skipped}
        paths = {name: [path for path in found if path not in bad] for name, found in paths.items()}  # told once
        names = [str(path).removeprefix(f"{folder}/") for found in paths.values() for path in found]
        rows = _list_predictions(names, class_names, labels, chances)
        measured.append(Measured(run, _measure(labels, chances, class_names), rows, _time(model)))
        keras.utils.clear_session()
    return measured, len(skipped)


def _measure(labels: Array, chances: Array, class_names: Sequence[str], groups: Sequence[str] | None = None) -> Figures:
    found = metrics.measure(labels, chances, class_names, groups=groups)
    return Figures(**{field.name: getattr(found, field.name) for field in dataclasses.fields(Figures)})


def _list_predictions(paths: Iterable[str], names: Sequence[str], labels: Array, chances: Array) -> Predictions:
    return tuple(
        Prediction(path, path, names[label], names[int(row.argmax())], float(row.max()), float(row[label]))
        for path, label, row in zip(paths, labels.tolist(), chances, strict=True)
    )


def _time(model: keras.Model) -> float:
    """Returns the median of what a single picture takes, in milliseconds, whatever it shows."""
    picture = np.zeros((1, *model.input_shape[1:]), np.uint8)
    return answering.time_single(functools.partial(loader.predict, model), picture)
