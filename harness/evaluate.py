"""python -m harness.evaluate RUN: measures an exported model on a split of the records or on a folder of pictures."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, TypeAdapter

from harness.base import app, json_files, storage, tf_import
from harness.base.errors import CheckpointError, ConfigError, DataError, ExitCode
from harness.base.storage import Folder
from harness.base.text import list_names
from harness.config import flags
from harness.config.schema import Config
from harness.dataset.images import rejection
from harness.dataset.records import manifest
from harness.input import evaluation_set
from harness.input.evaluation_set import Batch, Skipped
from harness.runs import metrics_file, versions
from harness.runs.workdir import Workdir

if TYPE_CHECKING:
    import keras

    from harness.results.evaluation import Evaluation
    from harness.results.statistics.baselines import HogClassifier
    from harness.results.statistics.calibration import Choices

log = logging.getLogger("harness")
_CHOSEN_ON = "validation"  # the split by which a run keeps its weights, and chooses temperature and thresholds
_LEARNT = "train"
DESCRIPTION = """\
Measures the exported model of a run.

  python -m harness.evaluate runs/emotion_cnn                      on the validation split of its records
  python -m harness.evaluate runs/emotion_cnn --images data/new    on class folders of pictures (data/new/happy, ...)
  python -m harness.evaluate runs/emotion_cnn --images data/new --data.labels labels.csv    on a folder with a table
"""


@dataclasses.dataclass(frozen=True)
class _OfTraining:
    """What metrics.json says of the training."""

    train_accuracy: float | None = None


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser("evaluate", DESCRIPTION, sections=(), of_run=(*flags.OF_READING, "data.labels"))
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, such as runs/emotion_cnn")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--split", default="validation", help="split of the records (default: validation)")
    source.add_argument(
        "--images", type=flags.folder, metavar="DIR", help="class folders of pictures, instead of a split"
    )
    parser.add_argument("--records", type=flags.folder, metavar="DIR", help="records folder (default: the run's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    app.start_logging(quiet=arguments.quiet)
    given = flags.read_given(arguments)
    if given and not arguments.images:
        raise ConfigError(f"--{next(iter(given))} is about picture files: give it with --images DIR.")
    workdir = Workdir(arguments.run)
    with versions.naming(workdir):
        config = flags.override(versions.load_reading(workdir), arguments)
    folder = arguments.records or config.data.records_folder
    # The table of the run speaks of its own pictures.
    changes = {"images": arguments.images} | ({} if "data.labels" in given else {"labels": None})
    paths = evaluation_set.list_paths(config.data.model_copy(update=changes), folder) if arguments.images else {}
    data = None if arguments.images else manifest.load(folder, config.data.images)
    if data is not None:
        data.shard_paths(folder, arguments.split)
    tf_import.import_tensorflow()
    from harness.results import tables, verdict
    from harness.results.export import loader

    with versions.naming(workdir):
        model, class_names, preparation = loader.load_model(workdir)
    if data is None:
        read = partial(evaluation_set.read_folder, arguments.images, paths, class_names, preparation, config.clean)
        found = _evaluate_files(model, class_names, read, workdir, folder=arguments.images, records=folder)
    else:
        evaluation_set.check_fit(data, class_names, preparation, folder)
        found = _evaluate_split(model, data, folder, arguments.split, workdir)
    is_of_run = data is not None and _is_of_run(data, workdir)
    if is_of_run:
        num_learnt = found.metrics.num_examples if arguments.split == _LEARNT else 0
    elif data is not None:
        num_learnt = None if storage.is_same(config.data.images, storage.parse(data.images)) else 0
    else:
        num_learnt = _count_learnt(config, arguments.images, paths, workdir)
    judged = verdict.judge(
        found,
        chose_weights=is_of_run and arguments.split == _CHOSEN_ON and config.train.keep == "best",
        num_learnt=num_learnt,
        train_accuracy=_read_train_accuracy(workdir) if is_of_run else None,
    )
    values = {**found.as_values(), "verdict": dataclasses.asdict(judged)}
    place = f"the {arguments.split} split of {folder}" if data is not None else f"the pictures in {arguments.images}"
    text = f"{tables.describe(found, judged)}\n\nmeasured: {workdir.root} on {place}"
    app.show(json.dumps(values) if arguments.json else text)
    return ExitCode.DONE


def _is_of_run(data: manifest.Manifest, workdir: Workdir) -> bool:
    """Whether these are the records that a run was trained on, as far as is known."""
    return versions.read_records(workdir) in (data.digest, "")


def _read_train_accuracy(workdir: Workdir) -> float | None:
    """What a run says of its training pictures, for the verdict; it decides nothing else."""
    with contextlib.suppress(CheckpointError):
        return metrics_file.read(workdir, _OfTraining).train_accuracy
    return None


def _count_learnt(
    config: Config, folder: Folder, paths: Mapping[str, Sequence[Folder]], workdir: Workdir
) -> int | None:
    """How many of the files the run was trained on, by what its records say of each picture; None: maybe some."""
    learnt = evaluation_set.find_learnt(paths, config.data.records_folder, versions.read_records(workdir))
    if learnt is None:
        return None if storage.is_same(config.data.images, folder) else 0
    if learnt:
        log.info("learnt by the model, and among these pictures: %s", list_names([str(path) for path in learnt]))
    return len(learnt)


def _evaluate_split(
    model: "keras.Model", data: manifest.Manifest, folder: Folder, name: str, workdir: Workdir
) -> "Evaluation":
    from harness.input import decoding, loaded_split
    from harness.results import evaluation
    from harness.results.statistics import calibration

    # On what it has learnt from a baseline says nothing.
    classifier = _train_baseline(data, folder) if name != _LEARNT else None
    with decoding.damage_named():
        split = loaded_split.open_split(data, folder, name, cache="none")
        labels, chances, of_baseline = evaluation.answer(model, classifier, evaluation.read_batches(split))
        groups = evaluation.read_groups(split)
    is_chosen_on = name == _CHOSEN_ON and _is_of_run(data, workdir)
    return evaluation.evaluate(
        name,
        evaluation.Answers(labels, chances, groups),
        data.class_names,
        choices=calibration.choose(labels, chances) if is_chosen_on else _read_choices(workdir),
        classifier=classifier,
        of_baseline=of_baseline,
    )


def _evaluate_files(
    model: "keras.Model",
    class_names: Sequence[str],
    read: Callable[..., Iterator[Batch]],
    workdir: Workdir,
    *,
    folder: Folder,
    records: Folder,
) -> "Evaluation":
    """Measures on picture files. What they have in common is not known, so each counts as a group of its own."""
    from harness.results import evaluation

    skipped: list[Skipped] = []
    classifier = None
    try:
        data = manifest.load(records)
        if data.class_names == tuple(class_names):
            classifier = _train_baseline(data, records)
    except DataError as error:
        log.info("no baseline: %s", error)
    labels, chances, of_baseline = evaluation.answer(model, classifier, read(skipped=skipped))
    if not len(labels):
        raise DataError(f"{folder} has no usable picture: {rejection.summarise(skipped)}")
    return evaluation.evaluate(
        f"{folder}/",  # which is the name of no split
        evaluation.Answers(labels, chances, skipped=len(skipped)),
        class_names,
        choices=_read_choices(workdir),
        classifier=classifier,
        of_baseline=of_baseline,
    )


def _train_baseline(data: manifest.Manifest, folder: Folder) -> "HogClassifier | None":
    from harness.input import decoding, loaded_split
    from harness.results.statistics import baselines

    try:
        with decoding.damage_named():
            return baselines.train(loaded_split.open_split(data, folder, "train", cache="none"))
    except DataError as error:  # the figures of the model do not depend on it
        log.warning("no baseline: %s", error)
        return None


def _read_choices(workdir: Workdir) -> "Choices":
    from harness.results.statistics.calibration import NOT_CHOSEN, Choices

    class Calibration(BaseModel):
        choices: Choices

    class Figures(BaseModel):
        calibration: Calibration

    try:
        return json_files.read(workdir.metrics, TypeAdapter(Figures)).calibration.choices
    except json_files.WrongForm as error:
        log.info("no temperature and no thresholds: %s", error)
        return NOT_CHOSEN


if __name__ == "__main__":
    raise SystemExit(app.run(main))
