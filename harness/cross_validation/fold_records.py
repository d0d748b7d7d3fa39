"""Records folders of folds, made from one records folder: examples are copied as they stand, no picture is decoded.

Each fold lies in a few shards of its own. The records of one training are links to those of all folds but one, its
training split, and to those of that one, its validation split: so a training is none but that of any records.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from harness.base import files, json_files, progress
from harness.base.errors import CheckpointError, DataError
from harness.base.storage import Folder
from harness.base.text import list_names
from harness.cross_validation.folds import NUM_PARTS, Assignment, Pictures
from harness.dataset.records import manifest, tfrecord
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo
from harness.dataset.records.tfrecord import ShardWriter
from harness.input import expected, record_reader
from harness.input.loaded_split import Split

SPLITS = ("train", "validation")  # whose pictures are measured; a test split is looked at by nobody
_SHARDS, _LAYOUT = "shards", "layout.json"
_KEYS = (tfrecord.FILENAME, tfrecord.LABEL, tfrecord.GROUP)


@dataclass(frozen=True)
class _Part:
    """A shard: the fold and the part of it whose pictures it holds."""

    fold: int
    part: int
    num_groups: int
    class_counts: dict[str, int]
    shard: ShardInfo


@dataclass(frozen=True)
class _Layout:
    """All shards of one division, and a digest of what they were made from."""

    made_of: str
    parts: tuple[_Part, ...]


_FORM = TypeAdapter(_Layout)


def read_pictures(data: Manifest, folder: Folder) -> Pictures:
    """Returns the pictures that are measured: those of the training and the validation split, in this order.

    Raises:
      DataError: the records are damaged, or have none.
    """
    paths: list[str] = []
    labels: list[int] = []
    groups: list[str] = []
    for name in SPLITS:
        if not data.has_split(name):
            continue
        shards, promised = _list_shards(data, folder, name)
        everything = np.arange(data.splits[name].num_examples)
        for _, (path, label, group) in record_reader.read_examples(shards, everything, promised, _KEYS):
            paths.append(str(path))
            labels.append(int(label))
            groups.append(str(group))
    if not paths:
        raise DataError(f"{folder} has no picture to train on or to validate. Build records with some.")
    return Pictures(paths, np.array(labels), groups, data.class_names)


def _list_shards(data: Manifest, folder: Folder, split: str) -> tuple[record_reader.Shards, expected.Expected]:
    shards = [(str(folder / shard.file), shard.num_examples) for shard in data.splits[split].shards]
    return shards, expected.expect(data, folder, split)


def open_all(data: Manifest, folder: Folder) -> Split:
    """Returns all pictures that are measured as one split, in the order of `read_pictures`.

    Raises:
      DataError: the records are gone, or not those of the manifest any more.
    """
    opened = [_list_shards(data, folder, name) for name in SPLITS if data.has_split(name)]
    shards = tuple(shard for listed, _ in opened for shard in listed)
    first = opened[0][1]
    promised = dataclasses.replace(
        first,
        sha256={path: digest for _, one in opened for path, digest in one.sha256.items()},
        stamps={path: stamp for _, one in opened for path, stamp in one.stamps.items()},
    )
    return Split(sum(count for _, count in shards), shards, promised)


def divide(data: Manifest, folder: Folder, target: Path, pictures: Pictures, assignment: Assignment) -> None:
    """Writes the shards of all folds, unless they are there in their size; for one process at a time.

    Args:
      data: of the records.
      folder: where they lie.
      target: the folder for the shards and the records of trainings.
      pictures: as `read_pictures` returns them.
      assignment: of these pictures.

    Raises:
      DataError: the records are damaged.
      OSError: the shards cannot be written.
    """
    made_of = files.digest_json([data.digest, assignment.folds.tolist(), assignment.parts.tolist()])
    with contextlib.suppress(CheckpointError):
        layout = _read_layout(target)
        if layout.made_of == made_of and all(_is_whole(target, part.shard) for part in layout.parts):
            return
    numbers = assignment.folds * NUM_PARTS + assignment.parts
    present = np.unique(numbers).tolist()
    names = {number: tfrecord.shard_name("fold", place, len(present)) for place, number in enumerate(present)}
    writers: dict[int, ShardWriter] = {}
    if target.exists():  # of a process that was killed before its layout, or of other folds
        shutil.rmtree(target)
    with contextlib.ExitStack() as stack:
        for number in present:
            file = stack.enter_context(files.open_new(target / _SHARDS / names[number]))
            writers[number] = ShardWriter(file)
        _copy(data, folder, numbers, writers)
    parts = tuple(_describe(number, writers[number], names[number], pictures, numbers) for number in present)
    files.write_json(target / _LAYOUT, asdict(_Layout(made_of, parts)))


def _is_whole(target: Path, shard: ShardInfo) -> bool:
    try:
        return (target / _SHARDS / shard.file).stat().st_size == shard.num_bytes
    except OSError:
        return False


def _copy(data: Manifest, folder: Folder, numbers: np.ndarray, writers: dict[int, ShardWriter]) -> None:
    places = iter(numbers.tolist())
    with progress.open_bar(len(numbers), "dividing into folds", "images") as bar:
        for name in SPLITS:
            if not data.has_split(name):
                continue
            shards, promised = _list_shards(data, folder, name)
            everything = np.arange(data.splits[name].num_examples)
            for _, example in record_reader.read_serialized(shards, everything, promised):
                writers[next(places)].add(example)
                bar.update()


def _describe(number: int, writer: ShardWriter, name: str, pictures: Pictures, numbers: np.ndarray) -> _Part:
    inside = numbers == number
    counts = np.bincount(pictures.labels[inside], minlength=len(pictures.class_names)).tolist()
    written = writer.written
    return _Part(
        fold=number // NUM_PARTS,
        part=number % NUM_PARTS,
        num_groups=len(np.unique(pictures.members[inside])),
        class_counts=dict(zip(pictures.class_names, counts)),
        shard=ShardInfo(name, int(inside.sum()), written.num_bytes, written.sha256),
    )


def _read_layout(target: Path) -> _Layout:
    path = target / _LAYOUT
    try:
        return json_files.read(path, _FORM)
    except json_files.WrongForm as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Remove {target}, and it is made anew.") from None


def make_records(data: Manifest, target: Path, fold: int, *, num_parts: int = NUM_PARTS) -> Path:
    """Returns the records of the training that is measured on a fold; for one process at a time.

    Args:
      data: of the records that were divided.
      target: as of `divide`, which has been called.
      fold: the one that is not trained on.
      num_parts: how many parts of the other folds are trained on.

    Raises:
      CheckpointError: what `divide` has written cannot be read.
      DataError: a class has no picture to train on.
    """
    layout = _read_layout(target)
    name = f"fold-{fold}" if num_parts == NUM_PARTS else f"fold-{fold}-of-{num_parts}-parts"
    folder = target / name
    chosen = {
        "train": [part for part in layout.parts if part.fold != fold and part.part < num_parts],
        "validation": [part for part in layout.parts if part.fold == fold],
    }
    whole = _count_classes(layout.parts, data.class_names)
    learnt = _count_classes(chosen["train"], data.class_names)
    if missing := [name for name in data.class_names if whole[name] and not learnt[name]]:
        raise DataError(
            f"all pictures of {list_names(missing)} are in fold {fold + 1}, so that there is none to train on. Give "
            "other --folds, or another --seed."
            if num_parts == NUM_PARTS
            else f"without fold {fold + 1}, {num_parts} of {NUM_PARTS} parts of the groups have no picture of "
            f"{list_names(missing)} to train on. There are too few groups for --learning-curve."
        )
    with contextlib.suppress(DataError):
        manifest.load(folder)
        return folder
    if folder.exists():  # of a process that was killed, or damaged since
        shutil.rmtree(folder)
    folder.mkdir()
    splits = {split: _link(split, parts, target, folder, data.class_names) for split, parts in chosen.items()}
    manifest.save(dataclasses.replace(data, splits=splits, findings_sha256=""), folder)
    return folder


def _link(split: str, parts: Sequence[_Part], target: Path, folder: Path, class_names: Sequence[str]) -> SplitInfo:
    shards = []
    for place, part in enumerate(parts):
        name = tfrecord.shard_name(split, place, len(parts))
        files.link_or_copy(target / _SHARDS / part.shard.file, folder / name)
        shards.append(dataclasses.replace(part.shard, file=name))
    return SplitInfo(
        num_examples=sum(shard.num_examples for shard in shards),
        num_groups=sum(part.num_groups for part in parts),
        class_counts=_count_classes(parts, class_names),
        shards=tuple(shards),
    )


def _count_classes(parts: Sequence[_Part], class_names: Sequence[str]) -> dict[str, int]:
    return {name: sum(part.class_counts[name] for part in parts) for name in class_names}
