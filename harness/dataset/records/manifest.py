"""The manifest of a records folder: what is in it, and whether that is still there. Readers trust nothing else."""

import dataclasses
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import files, storage
from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.dataset.records import tfrecord

FILE_NAME = "manifest.json"
FORMAT = 2


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its file name, what must be in it, and a digest of all that its bytes follow from."""

    file: str
    num_examples: int
    num_bytes: int
    sha256: str
    inputs_sha256: str = ""


@dataclass(frozen=True)
class SplitInfo:
    """One split: counts, and its shards in order."""

    num_examples: int
    num_groups: int
    class_counts: Mapping[str, int]
    shards: tuple[ShardInfo, ...]


@dataclass(frozen=True)
class Manifest:
    """What a records folder holds. `class_names[i]` is the class of label i."""

    class_names: tuple[str, ...]
    image_size: int
    encoding: str
    splits: Mapping[str, SplitInfo]
    rejected: Mapping[str, int]
    images: str
    sources_sha256: str
    config_sha256: str
    rules_sha256: str
    config: Mapping[str, object]
    format: int = FORMAT

    @property
    def num_examples(self) -> int:
        """Pictures in all splits together."""
        return sum(split.num_examples for split in self.splits.values())

    @property
    def digest(self) -> str:
        """A sha256 that changes whenever one byte of one record does."""
        return files.digest_json(
            {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()}
        )

    def shard_paths(self, folder: Folder, split: str) -> list[Folder]:
        """Returns the shards of a split.

        Raises:
          DataError: there is no such split, or it is empty.
        """
        if split not in self.splits or not self.splits[split].num_examples:
            known = ", ".join(name for name, info in self.splits.items() if info.num_examples)
            raise DataError(f"{folder} has no pictures in a split '{split}'; it has {known}.")
        return [folder / shard.file for shard in self.splits[split].shards]


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
            f"there are no records in {folder} (no {FILE_NAME}). Build them first: python -m harness.build_records "
            f"--images {images} --records {folder}{storage.advice(folder)}"
        )
    try:
        manifest = _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as a manifest of format {FORMAT} ({error!r}). {_rebuild(folder)}"
        ) from None
    for split in manifest.splits.values():
        for shard in split.shards:
            _check_size(folder, shard)
    return manifest


def _from_json(value: Mapping[str, Any]) -> Manifest:
    if value["format"] != FORMAT:
        raise ValueError(f"its format is {value['format']}")
    splits = {
        name: SplitInfo(**{**split, "shards": tuple(ShardInfo(**shard) for shard in split["shards"])})
        for name, split in value["splits"].items()
    }
    for split in splits.values():
        for shard in split.shards:
            if Path(shard.file).name != shard.file:
                raise ValueError(f"the shard {shard.file!r} lies outside the folder")
    return Manifest(**{**value, "class_names": tuple(value["class_names"]), "splits": splits})


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
    return f"Build the records again: python -m harness.build_records --images FOLDER --records {folder} --overwrite"


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
            for _ in tfrecord.read_shard(file):
                num_records += 1
    except tfrecord.DamagedRecord as damage:
        raise explain(path, damage) from None
    if num_records != shard.num_examples:
        raise DataError(
            f"{path} has {num_records} records but the manifest says {shard.num_examples}. {_rebuild(folder)}"
        )
    if files.digest_file(path) != shard.sha256:
        raise DataError(
            f"{path} is not what was written: every record is whole, but the sha256 differs. {_rebuild(folder)}"
        )
    return num_records
