"""The records that a training would read: whether they are there, of the right sizes, and on request every byte."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.base.errors import ConfigError, DataError
from harness.base.storage import Folder
from harness.base.text import count, format_bytes, list_names
from harness.dataset.records import manifest, staging
from harness.diagnostics.checks import storage
from harness.diagnostics.checks.finding import Finding, from_error

GROUP = "records"
_REBUILD = "Build them: python -m harness.build_records"


def check_records(folder: Folder, images: Folder, *, is_asked: bool) -> Iterator[Finding]:
    """Yields what the manifest says, and whether every shard has its size.

    Args:
      folder: the records.
      images: what they can be built from.
      is_asked: whether they were named, so that they should be there.
    """
    if not isinstance(folder, Path):
        yield Finding(GROUP, "manifest", "unknown", f"{folder} is read with TensorFlow, below")
        return
    try:
        data = manifest.load(folder, images)
        for split in ("train", "validation"):
            data.shard_paths(folder, split)
    except DataError as error:
        is_broken = is_asked or (folder / manifest.FILE_NAME).exists()
        yield from_error(GROUP, "manifest", error, fix=_REBUILD, status="problem" if is_broken else "warning")
    else:
        yield describe(data, folder)


def describe(data: manifest.Manifest, folder: object) -> Finding:
    """Returns what records hold, with the digest by which nodes are compared."""
    shards = [shard for split in data.splits.values() for shard in split.shards]
    num_bytes = sum(shard.num_bytes for shard in shards)
    words = f"{folder}: {count(data.num_examples, 'picture')} of {list_names(data.class_names, separator=', ')}; "
    words += f"{count(len(shards), 'shard')} with {format_bytes(num_bytes)}, all of the right size"
    values = {"folder": str(folder), "num_examples": data.num_examples, "num_bytes": num_bytes, "digest": data.digest}
    return Finding(GROUP, "manifest", "ok", words, values=values)


def check_stage(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yields what the disk is like to which the records would be copied; nothing is.

    Args:
      path: the setting data.stage.
      environment: the variables that it may begin with.
    """
    try:
        folder = staging.expand(path, environment)
    except ConfigError as error:
        yield from_error(storage.GROUP, "stage", error, fix="Leave data.stage out.")
    else:
        yield from storage.check_folder("stage", folder, is_kept=False)


def check_bytes(folder: Folder) -> Iterator[Finding]:
    """Yields whether every byte of the records is as it was written, which takes as long as to read them.

    Args:
      folder: the records.
    """
    try:
        data = manifest.load(folder)
        shards = [shard for split in data.splits.values() for shard in split.shards]
        num_records = sum(manifest.verify_shard(shard, folder) for shard in shards)
    except DataError as error:
        yield from_error(GROUP, "every byte", error, fix=_REBUILD)
    else:
        yield Finding(GROUP, "every byte", "ok", f"{count(num_records, 'record')} are as they were written")
