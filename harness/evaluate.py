"""python -m harness.evaluate RUN: measures an exported model on a split of the records or on a folder of pictures."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.base import app, tf_import
from harness.base.errors import ConfigError, DataError, ExitCode
from harness.base.storage import Folder
from harness.base.text import cap_rows, format_table, list_names, shorten
from harness.config import flags
from harness.config.preparation import Preparation, describe_preparation, describe_range
from harness.config.schema import Config, DataConfig
from harness.dataset.images import rejection, sources
from harness.dataset.images.rejection import Rejected
from harness.dataset.listing import class_names as listing_names
from harness.dataset.listing import pictures, split_folders
from harness.dataset.records import manifest
from harness.runs import identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_BATCH = 64
_MOST_SQUARE = 10  # classes up to which each has a column for each
DESCRIPTION = """\
Measures the exported model of a run.

  python -m harness.evaluate runs/emotion_cnn                      on the validation split of its records
  python -m harness.evaluate runs/emotion_cnn --images data/new    on class folders of pictures (data/new/happy, ...)
  python -m harness.evaluate runs/emotion_cnn --images data/new --data.labels labels.csv    on a folder with a table
"""


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
    config = flags.override(identity.load_config(Workdir(arguments.run)), arguments)
    folder = arguments.records or config.data.records_folder
    # The table of the run speaks of its own pictures.
    changes = {"images": arguments.images} | ({} if "data.labels" in given else {"labels": None})
    paths = _list_paths(config.data.model_copy(update=changes), folder) if arguments.images else {}
    data = None if arguments.images else manifest.load(folder, config.data.images)
    if data is not None:
        data.shard_paths(folder, arguments.split)
    tf_import.import_tensorflow()
    from harness.results.export import loader

    model, class_names, preparation = loader.load_model(Workdir(arguments.run))
    if data is None:
        batches = _read_folder(arguments.images, paths, class_names, preparation, config)
    else:
        _check_fit(data, class_names, preparation, folder)
        batches = _read_split(data, folder, arguments.split)
    found = _measure(model, class_names, batches, source=arguments.images or folder)
    app.show(json.dumps(dataclasses.asdict(found)) if arguments.json else describe(found))
    return ExitCode.DONE


# Labels int [n], pixels uint8 [n, size, size, 3], and pictures that were skipped.
Batch = tuple[np.ndarray, np.ndarray, Sequence[tuple[Folder, Rejected]]]


def _measure(model, class_names: Sequence[str], batches: Iterable[Batch], *, source: Folder):
    from harness.results import metrics
    from harness.results.export import loader

    labels, chances = [], []
    skipped: list[tuple[Folder, Rejected]] = []
    for label, pixels, rejected in batches:
        skipped += rejected
        if len(label):
            labels.append(label)
            chances.append(loader.predict(model, pixels))
    if not labels:
        raise DataError(f"{source} has no usable picture: {rejection.summarise(skipped)}")
    return metrics.measure(np.concatenate(labels), np.concatenate(chances), class_names, skipped=len(skipped))


def _check_fit(data: manifest.Manifest, class_names: Sequence[str], preparation: Preparation, folder: Folder) -> None:
    known = dataclasses.replace(preparation, range=preparation.range or "full")
    # Records without pictures of more than 8 bits have no range, and fit every one.
    found = dataclasses.replace(data.preparation, range=data.range or known.range)
    if data.class_names == tuple(class_names) and found == known:
        return
    message = (
        f"{folder} holds {list_names(data.class_names)} of {describe_preparation(data.preparation)}, the model knows "
        f"{list_names(class_names)} of {describe_preparation(preparation)}. "
    )
    if data.class_names == tuple(class_names) and dataclasses.replace(found, range=known.range) == known:
        raise DataError(
            f"{message}Pixels of more than 8 bits are brighter or darker there than the model was trained on: build "
            f"the records with --clean.range '{describe_range(known.range or 'full')}'"
        )
    raise DataError(f"{message}Give fitting records: --records DIR")


def _read_split(data: manifest.Manifest, folder: Folder, name: str) -> Iterator[Batch]:
    from harness.input import decoding, loaded_split, pipeline

    with decoding.damage_named():
        split = loaded_split.open_split(data, folder, name, cache="none")
        for batch in pipeline.eval_batches(split, _BATCH).take(split.num_batches(_BATCH)).as_numpy_iterator():
            counted = batch["weight"] > 0
            yield batch["label"][counted], batch["image"][counted], ()


def _list_paths(data: DataConfig, records: Folder) -> dict[str, Iterable[Folder]]:
    """Returns the files of each class, merged as in the records of the run; says what is left out."""
    classes = listing_names.also_merged(data.classes or manifest.read_classes(records))
    listing = pictures.list_pictures(data.model_copy(update={"classes": classes}), is_partial=True)
    found = sorted({item.split for item in listing.pictures} - {""})
    if data.labels and len(found) > 1:
        raise DataError(
            f"{data.labels} names several splits ({', '.join(found)}): the model may know some of these pictures. Give "
            "a table of those to measure on."
        )
    if found and not data.labels:
        first, _, last = listing.folders[0].rpartition("/")
        advice = ": --images FOLDER" if split_folders.split_of(last) else f", such as --images {data.images / first}"
        raise DataError(
            f"{data.images} has pictures of several splits ({', '.join(found)}). Give a folder with those of "
            f"one{advice}"
        )
    for line in listing.lines:
        log.info("%s", line)
    for warning in listing.warnings:
        log.warning("%s", warning)
    paths: dict[str, list[Folder]] = {}
    for item in listing.pictures:
        paths.setdefault(item.class_name, []).append(data.images / item.path)
    return dict(paths)


def _read_folder(
    folder: Folder,
    found: Mapping[str, Iterable[Folder]],
    class_names: Sequence[str],
    preparation: Preparation,
    config: Config,
) -> Iterator[Batch]:
    """Reads the files of each class with the decoder of the build; says what it skips."""
    unknown = [name for name in found if name not in class_names]
    if unknown or not found:
        raise DataError(
            f"{folder} must hold folders named after the model's classes, {list_names(class_names)}; found "
            f"{list_names(list(found)) or 'none'}. Labels may also stand in a table: --data.labels FILE.csv"
        )
    labelled = [(class_names.index(name), path) for name, paths in found.items() for path in paths]
    labels: list[int] = []
    pixels: list[np.ndarray] = []
    skipped = []
    read = sources.read_all((path for _, path in labelled), config.clean, preparation)
    for (label, _), (path, picture) in zip(labelled, read, strict=True):  # which has read_all say its last words
        if isinstance(picture, Rejected):
            log.warning("%s skipped: %s", path, picture)
            skipped.append((path, picture))
            continue
        labels.append(label)
        pixels.append(picture)
        if len(pixels) == _BATCH:
            yield np.array(labels), np.stack(pixels), ()
            labels, pixels = [], []
    yield np.array(labels, int), np.stack(pixels) if pixels else np.empty(0), skipped


def describe(found) -> str:
    """Returns the figures as text for a person: of many classes the worst, and what they are taken for."""
    low, high = found.accuracy_ci95
    auc = "not defined (one class only)" if found.auc is None else f"{found.auc:.3f}"
    skipped = f", {found.skipped} skipped" if found.skipped else ""
    tables = (
        [_class_table(found)]
        if len(found.class_names) <= _MOST_SQUARE
        else [_worst_classes(found), _worst_pairs(found)]
    )
    return "\n\n".join(
        [
            f"accuracy {found.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}), loss {found.loss:.4f}, AUC {auc}, "
            f"calibration error {found.ece:.3f}, {found.num_examples} pictures{skipped}",
            *tables,
        ]
    )


def _class_table(found) -> str:
    header = ("class", "pictures", "precision", "recall", "F1", *(f"as {shorten(name)}" for name in found.class_names))
    rows = [(*_describe_class(found, name), *counts) for name, counts in zip(found.class_names, found.confusion)]
    return format_table([header, *rows])


def _describe_class(found, name: str) -> tuple[object, ...]:
    figures = found.per_class[name]
    shown = ["-" if figures[key] is None else f"{figures[key]:.3f}" for key in ("precision", "recall", "f1")]
    return shorten(name), figures["num_examples"], *shown


def _worst_classes(found) -> str:
    present = [name for name in found.class_names if found.per_class[name]["num_examples"]]
    worst = sorted(present, key=lambda name: found.per_class[name]["f1"] or 0)
    rows, more = cap_rows([_describe_class(found, name) for name in worst])
    title = f"the classes with the lowest F1{more and f' ({more}; all of them: --json)'}"
    return f"{title}\n{format_table([('class', 'pictures', 'precision', 'recall', 'F1'), *rows])}"


def _worst_pairs(found) -> str:
    names, counts = [shorten(name) for name in found.class_names], np.array(found.confusion)
    np.fill_diagonal(counts, 0)
    pairs = np.argwhere(counts)
    if not len(pairs):
        return "no picture was taken for another class"
    order = np.argsort(-counts[tuple(pairs.T)], kind="stable")
    totals = np.array(found.confusion).sum(axis=1)
    rows, more = cap_rows(
        [(names[i], names[j], counts[i, j], f"{counts[i, j] / totals[i]:.0%}") for i, j in pairs[order].tolist()]
    )
    title = f"most often taken for another class{more and f' ({more} pairs; all of them: --json)'}"
    return f"{title}\n{format_table([('class', 'taken for', 'pictures', 'of the class'), *rows], num_left=2)}"


if __name__ == "__main__":
    raise SystemExit(app.run(main))
