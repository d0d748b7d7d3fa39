"""What a finished run leaves: export, plots, report, TensorBoard's pictures and curves, and the figures, last."""

import dataclasses
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image

from harness.base import files
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.input import decoding
from harness.input.loaded_split import Split
from harness.results import charts, evaluation, predictions, report, verdict
from harness.results.evaluation import Answers, Evaluation
from harness.results.export import exporter, loader, model_card
from harness.results.export.exporter import Probe
from harness.results.export.formats import Source
from harness.results.export.model_card import Figures
from harness.results.metrics import Metrics
from harness.results.report import Mistake
from harness.results.statistics import baselines, calibration
from harness.results.statistics.baselines import HogClassifier
from harness.runs import identity, tensorboard
from harness.runs.checkpoint import Progress
from harness.runs.tensorboard import Tracker
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_NUM_MISTAKES = 12  # shown in the report
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
    progress: Progress


def write_results(run: Finished, labels: np.ndarray, chances: np.ndarray, tracker: Tracker) -> None:
    """Writes everything, and metrics.json last.

    Args:
      run: what has finished.
      labels: int [n], of the validation split in the order of the records.
      chances: float32 [n, num_classes], what the best weights answer.
      tracker: takes the same as TensorBoard's pictures and curves.
    """
    workdir, progress = run.workdir, run.progress
    rows = predictions.collect(run.splits["validation"], run.data.class_names, labels, chances)
    classifier = baselines.train(run.splits["train"])
    validation = _measure_validation(run, Answers(labels, chances, [row.group for row in rows]), classifier)
    found = validation.metrics
    summary = {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "num_parameters": run.model.count_params(),
        "images_per_s": float(np.median([row["images_per_s"] for row in progress.history])),
    }
    summary |= _export(run, found, labels)
    name = workdir.root.name
    curves = charts.draw_curves(progress.history, best_epoch=progress.best_epoch, title=f"{name}: learning curves")
    confusion = charts.draw_confusion(found, title=f"{name}: {found.num_examples} validation pictures")
    mistakes = _list_mistakes(run, labels, chances)
    page = report.render(
        name,
        found,
        summary=summary,
        curves=curves,
        confusion=confusion,
        mistakes=mistakes,
        config=run.config,
        environment=identity.read_environment(workdir).model_dump(mode="json", exclude_unset=True),
    )
    files.write_bytes(workdir.curves, curves)
    files.write_bytes(workdir.confusion, confusion)
    files.write_text(workdir.report, page)
    _track(tracker, progress.best_epoch, confusion, mistakes)
    tracker.write_pr_curves(progress.best_epoch, run.data.class_names, labels, chances)
    monitor = run.config.train.monitor
    kept: dict[str, float] = {"val_loss": found.loss, "val_accuracy": found.accuracy}
    kept[monitor] = progress.history[progress.best_epoch - 1][monitor]
    tensorboard.write_hparams(workdir, run.config, kept)
    predictions.write(workdir.predictions, rows)
    test = _measure_test(run, classifier, validation) if "test" in run.splits else None
    judged = verdict.judge(test or validation, chose_weights=test is None)
    judgement = {"test": test and test.as_values(), "verdict": dataclasses.asdict(judged)}
    indent = 2 if len(found.class_names) <= _MOST_INDENTED else None
    files.write_json(workdir.metrics, {**validation.as_values(), **summary, **judgement}, indent=indent)


def _measure_validation(run: Finished, answers: Answers, classifier: HogClassifier) -> Evaluation:
    return evaluation.evaluate(
        "validation",
        answers,
        run.data.class_names,
        choices=calibration.choose(answers.labels, answers.chances),
        classifier=classifier,
        of_baseline=baselines.predict(classifier, run.splits["validation"]),
    )


def _measure_test(run: Finished, classifier: HogClassifier, validation: Evaluation) -> Evaluation:
    """Measures the exported model, which no choice has shown these pictures to."""
    split = run.splits["test"]
    model, class_names, _ = loader.load_model(run.workdir)
    labels, chances, of_baseline = evaluation.answer(model, classifier, evaluation.read_batches(split))
    return evaluation.evaluate(
        "test",
        Answers(labels, chances, evaluation.read_groups(split)),
        class_names,
        choices=validation.calibration.choices,
        classifier=classifier,
        of_baseline=of_baseline,
    )


def _export(run: Finished, found: Metrics, labels: np.ndarray) -> dict[str, object]:
    """Writes the model in all formats that were asked for, and its card; returns what metrics.json says of them."""
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
    figures = Figures(found.num_examples, found.loss, found.accuracy, found.accuracy_ci95, found.auc)
    model_card.write(workdir, config, data, figures, exports, num_weights=plain.count_params())
    for item in exports.left_out:
        log.warning("export: %s was left out: %s", item.format, item.reason)
    log.info("exported %s; read back, its probabilities differ by %.1g at most", workdir.export, difference)
    return {"export_difference": difference, "exports": exports.as_json()}


def _list_mistakes(run: Finished, labels: np.ndarray, chances: np.ndarray) -> list[Mistake]:
    """The wrong answers the model was surest of."""
    predicted = chances.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-chances[wrong].max(axis=1), kind="stable")][:_NUM_MISTAKES].tolist()
    split = run.splits["validation"]
    stored = decoding.read_jpegs(split.shards, split.expected, worst)
    names = run.data.class_names
    return [
        Mistake(stored[i][0], names[labels[i]], names[predicted[i]], float(chances[i].max()), stored[i][1])
        for i in worst
    ]


def _track(tracker: Tracker, step: int, confusion: bytes, mistakes: list[Mistake]) -> None:
    tracker.write_picture("validation", step, "confusion", _decode(confusion))
    for rank, mistake in enumerate(mistakes, start=1):
        tag = f"mistakes/{rank:02d} {mistake.label} taken for {mistake.predicted} ({mistake.probability:.2f})"
        tracker.write_picture("validation", step, tag, _decode(mistake.jpeg))


def _decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))
