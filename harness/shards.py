"""Which pictures go into which shard, and writing one from the stored forms that the cleaner left."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import records
from harness.cleaner import Examined
from harness.config import RecordsConfig
from harness.manifest import ShardInfo


def plan_shards(items: Sequence[Examined], split: str, config: RecordsConfig) -> list[tuple[str, list[Examined]]]:
    """Returns file name and pictures of each shard of a split.

    Counts are even; the order mixes the classes and depends on the pictures' paths alone.
    """
    if not items:
        return []
    by_size = -(-sum(item.length for item in items) // config.shard_bytes)
    num_shards = min(max(by_size, config.min_shards), len(items))
    mixed = sorted(items, key=lambda item: hashlib.sha256(item.finding.path.encode()).digest())
    bounds = [len(items) * index // num_shards for index in range(num_shards + 1)]
    return [
        (records.shard_name(split, index, num_shards), mixed[bounds[index] : bounds[index + 1]])
        for index in range(num_shards)
    ]


def write_from_spool(
    work: Path, file_name: str, items: Sequence[Examined], class_names: Sequence[str], size: int
) -> ShardInfo:
    """Writes one shard.

    Args:
      work: the folder of the build: the stored forms are below `spool`, the shard goes into it.
      file_name: of the shard.
      items: the pictures, in order.
      class_names: the class of each label.
      size: height and width of the stored pictures, in pixels.
    """

    def examples() -> Iterator[bytes]:
        for item in items:
            with (work / "spool" / item.spool).open("rb") as spool:
                spool.seek(item.offset)
                stored = spool.read(item.length)
            yield records.encode_example(
                {
                    records.IMAGE: stored,
                    records.FORMAT: b"jpeg",
                    records.HEIGHT: size,
                    records.WIDTH: size,
                    records.LABEL: class_names.index(item.finding.class_name),
                    records.TEXT: item.finding.class_name.encode(),
                    records.FILENAME: item.finding.path.encode(),
                    records.SHA256: item.finding.sha256.encode(),
                    records.GROUP: item.finding.group.encode(),
                }
            )

    num_bytes, digest = records.write_shard(work / file_name, examples())
    return ShardInfo(file_name, len(items), num_bytes, digest)
