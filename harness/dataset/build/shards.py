"""Which pictures go into which shard, and writing a shard, or reusing one that an earlier build wrote from the same.

records/tfrecord.py lays out the bytes of a shard.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from harness.base import files, json_files
from harness.config.dataset_sections import RecordsConfig
from harness.dataset.build.build_folder import BuildFolder
from harness.dataset.curation import build_cache, splits
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.plan import Plan
from harness.dataset.records import tfrecord
from harness.dataset.records.manifest import ShardInfo

_FEWEST = 8  # pictures of a shard: with fewer it is not worth opening a file


@dataclass(frozen=True)
class PlannedShard:
    """A shard to be: its file name, its pictures in order, and a digest of all that its bytes follow from."""

    file: str
    items: tuple[Finding, ...]
    inputs_sha256: str


Layout = Mapping[str, tuple[PlannedShard, ...]]  # by split


@dataclass(frozen=True)
class Shard:
    """A shard that is there, and where each encoded picture lies in it, in bytes."""

    info: ShardInfo
    offsets: tuple[int, ...]


_FORM = TypeAdapter(Shard)


def plan_shards(made: Plan, config: RecordsConfig, rules_sha256: str) -> Layout:
    """Returns the shards of every split.

    Counts are even; the order mixes the classes and depends on the pictures' paths alone.

    Args:
      made: which pictures are kept, and in which split.
      config: size and number of shards.
      rules_sha256: a digest of the rules that encoded pictures are made by.
    """
    kept = [item for item in made.findings if item.is_kept]
    return {
        split: _divide(
            [item for item in kept if item.split == split], split, config, (rules_sha256, list(made.class_names))
        )
        for split in splits.SPLITS
    }


def obtain(
    work: BuildFolder,
    shard: PlannedShard,
    class_names: Sequence[str],
    config: RecordsConfig,
    previous: ShardInfo | None,
) -> Shard:
    """Puts one shard into the folder of the build, and a note of it beside.

    Args:
      work: the folder of the build.
      shard: what to write.
      class_names: the class of each label.
      config: how the pictures are encoded.
      previous: a whole shard of the records that are replaced, if it was made from the same.
    """
    done = read_done(work, shard)
    if done is not None and files.digest_file(work.root / shard.file) == done.info.sha256:
        return done
    if previous is not None and all(item.file == previous.file for item in shard.items):
        files.link_or_copy(work.place / previous.file, work.root / shard.file)
        done = Shard(replace(previous, file=shard.file), tuple(item.offset for item in shard.items))
    else:
        done = _write(work, shard, class_names, config)
    files.write_json(_note_of(work, shard.file), asdict(done))
    return done


def _divide(
    items: Sequence[Finding], split: str, config: RecordsConfig, rules: Sequence[object]
) -> tuple[PlannedShard, ...]:
    if not items:
        return ()
    by_size = -(-sum(item.length for item in items) // config.shard_bytes)
    num_shards = min(max(by_size, min(config.min_shards, -(-len(items) // _FEWEST))), len(items))
    mixed = sorted(items, key=lambda item: hashlib.sha256(item.path.encode()).digest())
    bounds = [len(items) * index // num_shards for index in range(num_shards + 1)]
    planned = []
    for index in range(num_shards):
        chosen = tuple(mixed[bounds[index] : bounds[index + 1]])
        made_of = [*rules, [_name_inputs(item) for item in chosen]]
        name = tfrecord.shard_name(split, index, num_shards)
        planned.append(PlannedShard(name, chosen, files.digest_json(made_of)))
    return tuple(planned)


def _name_inputs(item: Finding) -> list[str]:
    return [item.path, item.class_name, item.sha256, item.group, *([item.range] if item.range else [])]


def read_done(work: BuildFolder, shard: PlannedShard) -> Shard | None:
    """Returns the shard if an earlier start of this build has finished it."""
    note = _note_of(work, shard.file)
    try:
        done = json_files.read(note, _FORM)
        is_same = done.info.file == shard.file and done.info.inputs_sha256 == shard.inputs_sha256
        return done if is_same and (work.root / shard.file).stat().st_size == done.info.num_bytes else None
    except (json_files.WrongForm, OSError):
        return None


def _note_of(work: BuildFolder, file_name: str) -> Path:
    return work.done / f"{file_name}.json"


def _write(work: BuildFolder, shard: PlannedShard, class_names: Sequence[str], config: RecordsConfig) -> Shard:
    labels = {name: label for label, name in enumerate(class_names)}
    places: list[int] = []

    def examples() -> Iterator[bytes]:
        """Yields the pictures as serialized examples, and notes where the encoded picture begins in each."""
        for item in shard.items:
            file = build_cache.locate(item, work.cache, work.place)
            encoded = build_cache.read_encoded(file, item.offset, item.length)
            example = tfrecord.encode_example(
                {
                    tfrecord.IMAGE: encoded,
                    tfrecord.FORMAT: config.encoding.encode(),
                    tfrecord.HEIGHT: config.image_size,
                    tfrecord.WIDTH: config.image_size,
                    tfrecord.LABEL: labels[item.class_name],
                    tfrecord.TEXT: item.class_name.encode(),
                    tfrecord.FILENAME: item.path.encode(),
                    tfrecord.SHA256: item.sha256.encode(),
                    tfrecord.GROUP: item.group.encode(),
                }
            )
            places.append(tfrecord.find_value(example, encoded))
            yield example

    written = tfrecord.write_shard(work.root / shard.file, examples())
    info = ShardInfo(shard.file, len(shard.items), written.num_bytes, written.sha256, shard.inputs_sha256)
    return Shard(info, tuple(start + place for start, place in zip(written.starts, places)))
