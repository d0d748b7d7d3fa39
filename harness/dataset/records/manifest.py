"""The manifest of a records folder: what is in it, and whether that is still there. Readers trust nothing else."""

import dataclasses
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.base import files, json_files
from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import as_word
from harness.config.preparation import Preparation
from harness.config.values import Classes, Color, Fit, ImageSize, ValueRange
from harness.dataset.records import missing_records, tfrecord

FILE_NAME = "manifest.json"
_ASKED = ("validation", "test")  # splits whose share is a setting
FORMAT: Literal[2] = 2
_STRICT = ConfigDict(extra="forbid")  # what `load` compares the file with
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
_FileName = Annotated[str, Field(pattern=r"^\w+-\d{5}-of-\d{5}\.tfrecord$")]  # as tfrecord.shard_name gives


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its file name, what must be in it, and a digest of all that its bytes follow from."""

    __pydantic_config__ = _STRICT
    file: _FileName
    num_examples: _Count
    num_bytes: _Count
    sha256: _Sha256
    inputs_sha256: _Sha256 = ""


@dataclass(frozen=True)
class SplitInfo:
    """One split: counts, and its shards in order."""

    __pydantic_config__ = _STRICT
    num_examples: _Count
    num_groups: _Count
    class_counts: Mapping[str, _Count]
    shards: tuple[ShardInfo, ...]


@dataclass(frozen=True)
class Manifest:
    """What a records folder holds. `class_names[i]` is the class of label i."""

    __pydantic_config__ = _STRICT
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    image_size: ImageSize
    encoding: Literal["jpeg", "png", "raw"]
    splits: Mapping[str, SplitInfo]
    rejected: Mapping[str, _Count]
    images: str
    sources_sha256: _Sha256
    config_sha256: _Sha256
    rules_sha256: _Sha256
    config: Mapping[str, object]
    format: Literal[2] = FORMAT
    fit: Fit = "stretch"
    pad_color: Color = (0, 0, 0)
    range: ValueRange | None = None
    findings_sha256: _Sha256 = ""  # of cleaning.csv
    warnings: tuple[str, ...] = ()  # what a person should know before training

    @property
    def num_examples(self) -> int:
        """Pictures in all splits together."""
        return sum(split.num_examples for split in self.splits.values())

    @property
    def preparation(self) -> Preparation:
        """How the pictures were prepared; of records that do not say so they were stretched."""
        return Preparation(self.image_size, self.fit, self.pad_color, self.range)

    @property
    def digest(self) -> str:
        """A sha256 that changes whenever one byte of one record does."""
        return files.digest_json(
            {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()}
        )

    def has_split(self, name: str) -> bool:
        """Whether there are pictures in a split."""
        return name in self.splits and self.splits[name].num_examples > 0

    def shard_paths(self, folder: Folder, split: str) -> list[Folder]:
        """Returns the shards of a split.

        Raises:
          DataError: there is no such split, or it is empty.
        """
        if not self.has_split(split):
            known = ", ".join(name for name, info in self.splits.items() if info.num_examples)
            cure = f" Build it with --split.{split} above 0; if it was, its report says why." if split in _ASKED else ""
            raise DataError(f"{folder} has no pictures in a split '{split}'; it has {known}.{cure}")
        return [folder / shard.file for shard in self.splits[split].shards]


def read_classes(folder: Folder) -> Classes | None:
    """Returns the setting `data.classes` that records were built with; None also if they cannot be read."""
    try:
        return list_classes(json_files.read(folder / FILE_NAME, _FORM))
    except (json_files.WrongForm, DataError):
        return None


def list_classes(manifest: Manifest) -> Classes | None:
    """Returns the setting `data.classes` that records were built with.

    Raises:
      DataError: the manifest has something else in its place.
    """
    try:
        return _Built.model_validate(manifest.config).data.classes
    except ValidationError:
        raise DataError("the manifest of the records states data.classes that are none. Build them again.") from None


class _Data(BaseModel):
    classes: Classes | None = None


class _Built(BaseModel):
    data: _Data = _Data()


def save(manifest: Manifest, folder: Path) -> None:
    """Writes manifest.json; everything it lists must be on disk already."""
    files.write_json(folder / FILE_NAME, dataclasses.asdict(manifest))


def load(folder: Folder, images: Folder | str = "FOLDER") -> Manifest:
    """Reads manifest.json and checks that every shard is there with the listed size.

    Args:
      folder: the records folder.
      images: what an error says the records can be built from.

    Raises:
      DataError: there is no manifest, it cannot be read, or a shard is missing or has another size.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise DataError(
            f"there are no records in {folder} (no {FILE_NAME}). {missing_records.advise(folder, images, FILE_NAME)}"
        )
    manifest = _read(folder)
    for split in manifest.splits.values():
        for shard in split.shards:
            _check_size(folder, shard)
    return manifest


def _read(folder: Folder) -> Manifest:
    path = folder / FILE_NAME
    try:
        manifest = json_files.read(path, _FORM)
        _check_sums(manifest)
    except json_files.WrongForm as error:
        raise DataError(
            f"{path} cannot be read as a manifest of format {FORMAT}: {error}. {_rebuild(folder)}"
        ) from None
    return manifest


_FORM = TypeAdapter(Manifest)


def _check_sums(manifest: Manifest) -> None:
    """Looks whether the parts of a manifest agree.

    Raises:
      WrongForm: two of them do not.
    """
    names = manifest.class_names
    if "" in names or len(set(names)) < len(names):
        raise json_files.WrongForm(f"class_names is {json_files.show(names)}: every class needs a name of its own")
    for name, split in manifest.splits.items():
        where, total = f"splits.{json_files.cut(name)}", split.num_examples
        in_classes = sum(split.class_counts.values())
        in_shards = sum(shard.num_examples for shard in split.shards)
        for key, found in (("class_counts", in_classes), ("shards", in_shards)):
            if found != total:
                raise json_files.WrongForm(f"{where}.num_examples is {total}, but its {key} sum up to {found}")
        if set(split.class_counts) != set(names) or split.num_groups > total:
            raise json_files.WrongForm(f"{where} does not count the classes or groups there are")
        for shard in split.shards:
            if shard.num_examples * tfrecord.FRAME_BYTES > shard.num_bytes:  # memory is taken for what is promised
                raise json_files.WrongForm(
                    f"{shard.file} cannot hold {shard.num_examples} examples in {shard.num_bytes} bytes"
                )
    listed = Counter(shard.file for split in manifest.splits.values() for shard in split.shards)
    if listed and max(listed.values()) > 1:
        raise json_files.WrongForm(f"it lists {listed.most_common(1)[0][0]} more than once")


def check_unchanged(manifest: Manifest, folder: Folder) -> None:
    """Looks whether a folder still holds the records of a manifest that was read earlier.

    Raises:
      DataError: it holds others, or none that can be read.
    """
    if _read(folder).digest != manifest.digest:
        raise DataError(explain_change(folder))


def explain_change(path: Folder) -> str:
    """Returns what a user can do about records that were replaced while they were in use."""
    return (
        f"{path} is not what it was when it was first read: the records were built again, or changed, in the meantime. "
        "Give the records as they were to go on, or start anew with these, in another run folder."
    )


def _check_size(folder: Folder, shard: ShardInfo) -> None:
    path = folder / shard.file
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is missing but the manifest lists it. {_rebuild(folder)}")
    if status.st_size != shard.num_bytes:
        raise DataError(
            f"{path} has {status.st_size} bytes but the manifest says {shard.num_bytes}: it was cut short or "
            f"changed. {_rebuild(folder)}"
        )


def _rebuild(folder: Folder) -> str:
    command = f"python -m harness.build_records --images FOLDER --records {as_word(folder)} --overwrite"
    return f"Build the records again: {command}"


def explain(path: Folder, damage: tfrecord.DamagedRecord) -> DataError:
    """Returns what a user can do about a damaged record of a shard."""
    return DataError(f"{path} is damaged in {damage}. {_rebuild(path.parent)}")


def verify_shard(shard: ShardInfo, folder: Folder) -> int:
    """Compares one shard with the manifest: size, sha256, the checksum of every record, and their number.

    Returns:
      The number of records.

    Raises:
      DataError: it differs; the first bad record is named.
    """
    _check_size(folder, shard)
    path, num_records = folder / shard.file, 0
    try:
        with path.open("rb") as file:
            for _ in tfrecord.read_shard(file, shard.num_bytes):
                num_records += 1
    except tfrecord.DamagedRecord as damage:
        raise explain(path, damage) from None
    if num_records != shard.num_examples:
        raise DataError(
            f"{path} has {num_records} records but the manifest says {shard.num_examples}. {_rebuild(folder)}"
        )
    if files.digest_file(path) != shard.sha256:
        raise explain_digest(path, " every record is whole, but")
    return num_records


def explain_digest(path: Folder, known: str = "") -> DataError:
    """Returns what a user can do about a shard whose sha256 is another; `known` is what was found out before."""
    return DataError(f"{path} is not what was written:{known} the sha256 differs. {_rebuild(path.parent)}")
