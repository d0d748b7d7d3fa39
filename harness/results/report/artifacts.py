"""What a finished run leaves: export, plots, report, TensorBoard's pictures and curves, and the figures, last."""

import dataclasses
import io
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import keras
import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from harness.base import figures, files
from harness.base.storage import Folder
from harness.base.text import count
from harness.config.schema import Config
from harness.dataset.curation import findings
from harness.dataset.curation.findings import Finding
from harness.dataset.records.manifest import Manifest
from harness.input import decoding
from harness.input.loaded_split import Split
from harness.input.placement import Inputs
from harness.results import evaluation, explanation, predictions, verdict
from harness.results.evaluation import Answers, Evaluation
from harness.results.export import exported, exporter, loader, model_card
from harness.results.export.exported import Exports
from harness.results.export.exporter import Probe
from harness.results.export.formats import Source
from harness.results.export.model_card import RunFigures
from harness.results.kept_epoch import KeptEpoch
from harness.results.metrics import Metrics
from harness.results.predictions import Predictions
from harness.results.report import charts, page, pictures
from harness.results.report.facts import DataReport, Pictures, RunFacts
from harness.results.statistics import baselines, calibration
from harness.results.statistics.baselines import HogClassifier
from harness.results.verdict import Verdict
from harness.runs import identity, tensorboard
from harness.runs.checkpoint import Progress
from harness.runs.tensorboard import Tracker
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_NUM_MISTAKES = 12  # shown in TensorBoard
_MOST_INDENTED = 100  # classes, whose confusion matrix is read by programs only beyond


@dataclass(frozen=True)
class Finished:
    """A run whose best weights are in the model, and its splits: train, validation, and test where there is one."""

    config: Config
    workdir: Workdir
    data: Manifest
    model: keras.Model
    precision: str
    splits: Mapping[str, Split]
    inputs: Inputs
    progress: Progress


def write_results(run: Finished, labels: np.ndarray, chances: np.ndarray, tracker: Tracker) -> None:
    """Writes everything, and metrics.json last.

    Args:
      run: what has finished.
      labels: int [n], of the validation split in the order of the records.
      chances: float32 [n, num_classes], what the best weights answer.
      tracker: takes the same as TensorBoard's pictures and curves.
    """
    workdir, measured = run.workdir, _measure_validation(run, labels, chances)
    export = _export(run, labels)
    test = _measure_test(run, measured) if "test" in run.splits else None
    judged = verdict.judge(
        test or measured.validation,
        chose_weights=test is None and run.config.train.keep == "best",
        train_accuracy=_find_train_accuracy(run.progress),
    )
    values = _list_values(run, measured.validation, export, test=test, judged=judged)
    model_card.write(
        workdir,
        run.config,
        run.data,
        TypeAdapter(RunFigures).validate_python(values),
        export.exports,
        num_weights=export.model.count_params(),
    )
    confusion = _draw_charts(run, measured.validation.metrics)
    files.write_text(workdir.report, page.render(_gather_facts(run, measured, export, test=test, judged=judged)))
    _track(tracker, run, measured, confusion)
    predictions.write(workdir.predictions, measured.rows)
    predictions.write_probabilities(workdir.probabilities, chances)
    indent = 2 if len(run.data.class_names) <= _MOST_INDENTED else None
    files.write_json(workdir.metrics, values, indent=indent)


@dataclass(frozen=True)
class _Measured:
    """What the kept weights say of the validation pictures, by label and by name, and what that comes to."""

    answers: Answers
    rows: Predictions
    classifier: HogClassifier
    validation: Evaluation


def _measure_validation(run: Finished, labels: np.ndarray, chances: np.ndarray) -> _Measured:
    rows = predictions.collect(run.splits["validation"], run.data.class_names, labels, chances)
    answers, classifier = Answers(labels, chances, [row.group for row in rows]), baselines.train(run.splits["train"])
    found = evaluation.evaluate(
        "validation",
        answers,
        run.data.class_names,
        choices=calibration.choose(labels, chances),
        classifier=classifier,
        of_baseline=baselines.predict(classifier, run.splits["validation"]),
    )
    return _Measured(answers, rows, classifier, found)


class _Exported(NamedTuple):
    """The model in float32, the largest difference of a probability that its file gives, and what became of others."""

    model: keras.Model
    difference: float
    exports: Exports


def _export(run: Finished, labels: np.ndarray) -> _Exported:
    """Writes the model in all formats that were asked for."""
    config, data, workdir, split = run.config, run.data, run.workdir, run.splits["validation"]
    pictures = decoding.read_pictures(split.shards, split.expected, exporter.NUM_COMPARED)
    plain, difference = exporter.export_keras(
        run.model,
        config,
        workdir,
        class_names=data.class_names,
        preparation=data.preparation,
        precision=run.precision,
        pictures=pictures,
    )
    probe = Probe(pictures, labels[: len(pictures)])
    source = Source(plain, config.model.name, data.class_names, data.preparation, config.clean.max_pixels, pictures[:0])
    exports = exporter.export_formats(source, workdir, config.runtime.exports, probe)
    for item in exports.left_out:
        log.warning("export: %s was left out: %s", item.format, item.reason)
    shown = exported.describe_difference(difference)
    log.info("exported %s; read back, its probabilities differ by %s at most", workdir.export, shown)
    return _Exported(plain, difference, exports)


def _measure_test(run: Finished, measured: _Measured) -> Evaluation:
    """Measures the exported model, which no choice has shown these pictures to."""
    split = run.splits["test"]
    model, class_names, _ = loader.load_model(run.workdir)
    labels, chances, of_baseline = evaluation.answer(model, measured.classifier, evaluation.read_batches(split))
    return evaluation.evaluate(
        "test",
        Answers(labels, chances, evaluation.read_groups(split)),
        class_names,
        choices=measured.validation.calibration.choices,
        classifier=measured.classifier,
        of_baseline=of_baseline,
    )


def _draw_charts(run: Finished, found: Metrics) -> bytes:
    """Writes the learning curves and the confusion matrix; returns the latter as PNG."""
    name, progress = run.workdir.root.name, run.progress
    kept = KeptEpoch(progress.history, progress.best_epoch, run.config.train)
    curves = charts.draw_curves(kept, title=f"{name}: learning curves")
    confusion = charts.draw_confusion(found, title=f"{name}: {count(found.num_examples, 'validation picture')}")
    files.write_bytes(run.workdir.curves, curves)
    files.write_bytes(run.workdir.confusion, confusion)
    return confusion


def _gather_facts(
    run: Finished, measured: _Measured, export: _Exported, *, test: Evaluation | None, judged: Verdict
) -> RunFacts:
    workdir, progress, records = run.workdir, run.progress, run.config.data.records_folder
    return RunFacts(
        name=workdir.root.name,
        verdict=judged,
        validation=measured.validation,
        test=test,
        answers=measured.answers,
        predictions=measured.rows,
        history=progress.history,
        best_epoch=progress.best_epoch,
        num_train=run.splits["train"].num_examples,
        num_parameters=run.model.count_params(),
        config=run.config,
        environment=identity.read_environment(workdir),
        run=str(workdir.root),
        finished=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        findings=read_findings(records, run.data, measured.rows),
        pictures=_collect_pictures(run, measured, export.model),
        data_report=find_data_report(records, run.data, workdir.root),
        exports=export.exports,
    )


def _list_values(
    run: Finished, found: Evaluation, export: _Exported, *, test: Evaluation | None, judged: Verdict
) -> dict[str, object]:
    """Returns what metrics.json holds."""
    progress = run.progress
    return {
        **found.as_values(),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "train_accuracy": _find_train_accuracy(progress),
        "kept_as": KeptEpoch(progress.history, progress.best_epoch, run.config.train).distinction,
        "num_parameters": run.model.count_params(),
        "images_per_s": float(np.median([row["images_per_s"] for row in progress.history])),
        "export_difference": export.difference,
        "exports": export.exports.as_json(),
        "test": test and test.as_values(),
        "verdict": dataclasses.asdict(judged),
    }


def _find_train_accuracy(progress: Progress) -> float:
    """The share of the training pictures, as augmented, that was right during the kept epoch."""
    return progress.history[progress.best_epoch - 1]["accuracy"]


def _collect_pictures(run: Finished, measured: _Measured, model: keras.Model) -> Pictures:
    explain = explanation.make_explainer(model)
    validation, train = run.splits["validation"], run.splits["train"]
    shown = pictures.collect(validation, train, measured.answers, measured.classifier, explain=explain)
    return dataclasses.replace(shown, augmented=pictures.draw_augmented(train, run.config, run.inputs))


def read_findings(records: Folder, data: Manifest, rows: Predictions) -> dict[str, Finding]:
    """Returns what the build of the records found about each of these pictures, by path.

    It is empty where cleaning.csv is not there, or is not that of these records: it tells more, and decides nothing.
    """
    path, wanted = records / findings.FILE_NAME, {row.path for row in rows}
    try:
        if files.digest_file(path) != data.findings_sha256:
            return {}
        return {item.path: item for item in findings.read(path) if item.path in wanted}
    except (OSError, ValueError):
        return {}


def find_data_report(records: Folder, data: Manifest, run: Path) -> DataReport:
    """Returns the warnings of the records, and how their report is reached from the run folder, if it can be."""
    path = records / "report.html"
    if not isinstance(path, Path) or not path.is_file():
        return DataReport(warnings=data.warnings)
    return DataReport(quote(os.fsencode(os.path.relpath(path.resolve(), run.resolve()))), data.warnings)


def _track(tracker: Tracker, run: Finished, measured: _Measured, confusion: bytes) -> None:
    """Shows confusion matrix, surest mistakes, curves and settings with their figures in TensorBoard."""
    step, split, names = run.progress.best_epoch, run.splits["validation"], run.data.class_names
    answers, found = measured.answers, measured.validation.metrics
    tracker.write_picture("validation", step, "confusion", confusion)
    if sheet := _draw_mistakes(split, answers, names):
        tracker.write_picture("validation", step, "mistakes", sheet)
    tracker.write_pr_curves(step, names, answers.labels, answers.chances)
    monitor = run.config.train.monitor
    kept: dict[str, float] = {"val_loss": found.loss, "val_accuracy": found.accuracy}
    kept[monitor] = run.progress.history[step - 1][monitor]
    tensorboard.write_hparams(run.workdir, run.config, kept, epoch=step)


def _draw_mistakes(split: Split, answers: Answers, names: Sequence[str]) -> bytes:
    """Returns a sheet of the surest mistakes as PNG, b"" where there are none."""
    places = pictures.rank_mistakes(answers)[:_NUM_MISTAKES]
    if not places:
        return b""
    stored = decoding.read_jpegs(split.shards, split.expected, places)
    captions = []
    for place in places:
        chances = answers.chances[place]
        label, predicted = figures.label(names[answers.labels[place]]), figures.label(names[chances.argmax()])
        captions.append(f"{label}\ntaken for {predicted} ({chances.max():.2f})")
    return charts.draw_sheet([_decode(stored[place][1]) for place in places], captions, title="the surest mistakes")


def _decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))
