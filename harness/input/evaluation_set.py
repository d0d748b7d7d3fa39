"""What a model is measured on, apart from its own validation: another split of records, or a folder of pictures."""

import dataclasses
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import numpy as np

from harness.base import files, progress
from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import as_word, list_names
from harness.config.dataset_sections import CleanConfig, DataConfig
from harness.config.preparation import Preparation, describe_preparation, describe_range
from harness.dataset.curation import findings
from harness.dataset.curation.splits import TRAIN
from harness.dataset.images import sources
from harness.dataset.images.rejection import Rejected
from harness.dataset.listing import class_names as listing_names
from harness.dataset.listing import pictures, split_folders
from harness.dataset.records import manifest

log = logging.getLogger("harness")
_BATCH = 64
Batch = tuple[np.ndarray, np.ndarray]  # labels int [n], pixels uint8 [n, size, size, 3]
Skipped = tuple[Folder, Rejected]


def check_fit(data: manifest.Manifest, class_names: Sequence[str], preparation: Preparation, folder: Folder) -> None:
    """Looks whether records are those that a model takes.

    Raises:
      DataError: they have other classes, or other pixels.
    """
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


def list_paths(data: DataConfig, records: Folder) -> dict[str, list[Folder]]:
    """Returns the files of each class, merged as in the records of the run; says what is left out.

    Args:
      data: says where the pictures are and how they are labelled.
      records: of the run.

    Raises:
      DataError: the folder has no classes, or pictures of several splits.
    """
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
        advice = (
            ": --images FOLDER"
            if split_folders.split_of(last)
            else f", such as --images {as_word(data.images / first)}"
        )
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
    return paths


def find_learnt(found: Mapping[str, Iterable[Folder]], records: Folder, digest: str) -> list[Folder] | None:
    """Returns the files whose bytes are those of a picture in the training split of records.

    Args:
      found: the files of each class.
      records: that a model was trained on.
      digest: of their manifest, as it was then; "" if that is not known.

    Returns:
      None where these records are not there any more, or their cleaning.csv.
    """
    try:
        data = manifest.load(records)
        if digest not in (data.digest, "") or files.digest_file(records / findings.FILE_NAME) != data.findings_sha256:
            return None
        learnt = [row for row in findings.read(records / findings.FILE_NAME) if row.split == TRAIN]
    except (DataError, OSError, ValueError):
        return None
    digests, sizes = {row.sha256 for row in learnt}, {row.num_bytes for row in learnt}
    paths = [path for of_class in found.values() for path in of_class]
    return [path for path in paths if _has_size(path, sizes) and files.digest_file(path) in digests]


def _has_size(path: Folder, sizes: Container[int]) -> bool:
    status, _ = sources.find_status(path)
    return status is not None and status.st_size in sizes


def read_folder(
    folder: Folder,
    found: Mapping[str, Iterable[Folder]],
    class_names: Sequence[str],
    preparation: Preparation,
    limits: CleanConfig,
    *,
    skipped: list[Skipped],
) -> Iterator[Batch]:
    """Reads the files of each class with the decoder of the build, in order.

    Args:
      folder: where the pictures are.
      found: the files of each class.
      class_names: the class of each label, as the model knows them.
      preparation: how the model takes pictures.
      limits: what is refused.
      skipped: gets what cannot be read, of which is told.

    Raises:
      DataError: there are no classes, or some that the model does not know.
    """
    unknown = [name for name in found if name not in class_names]
    if unknown or not found:
        raise DataError(
            f"{folder} must hold folders named after the model's classes, {list_names(class_names)}; found "
            f"{list_names(list(found)) or 'none'}. Labels may also stand in a table: --data.labels FILE.csv"
        )
    labelled = [(class_names.index(name), path) for name, paths in found.items() for path in paths]
    labels: list[int] = []
    pixels: list[np.ndarray] = []
    read = sources.read_all((path for _, path in labelled), limits, preparation, num_ahead=2 * _BATCH)
    with progress.open_bar(len(labelled), "evaluating", "pictures") as bar:
        for (label, _), (path, picture) in zip(labelled, read, strict=True):  # which has read_all say its last words
            bar.update()
            if isinstance(picture, Rejected):
                bar.clear()
                log.warning("%s skipped: %s", path, picture)
                skipped.append((path, picture))
                continue
            labels.append(label)
            pixels.append(picture)
            if len(pixels) == _BATCH:
                yield np.array(labels), np.stack(pixels)
                labels, pixels = [], []
    if pixels:
        yield np.array(labels), np.stack(pixels)
