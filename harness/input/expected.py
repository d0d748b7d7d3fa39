"""What readers of a split expect of its shards and examples, since its manifest promised it.

It says of what was read whether it is so; record_reader.py and decoding.py read.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.base import files
from harness.base.errors import DataError
from harness.base.storage import Folder, Status
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest

Stamp = tuple[int, int, int]  # what changes when a file is replaced or written to: inode, size and time of change


@dataclass(frozen=True)
class Expected:
    """The form of the examples of a split, and the identity of its shards.

    `sha256` and `stamps` are known by a shard's path. Shards without a stamp are not compared.
    """

    image_size: int
    encoding: str
    class_names: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)

    def check_shard(self, path: Folder, status: Status | os.stat_result) -> None:
        """Looks whether a shard is still the one that was there when the split was opened.

        One that was copied or touched, and holds the same bytes, counts as the same.

        Raises:
          DataError: it is another.
        """
        name, found = str(path), make_stamp(status)
        if self.stamps.get(name, found) == found:
            return
        if files.digest_file(path) != self.sha256[name]:
            raise DataError(manifest.explain_change(path))
        self.stamps[name] = found

    def check_label(self, label: int, text: bytes | None) -> str:
        """Returns what is wrong with a label and the name that the record itself gives its class; "" if nothing is."""
        if not 0 <= label < len(self.class_names):
            return f"has label {label}, but there are {len(self.class_names)} classes"
        if text is not None and text != self.class_names[label].encode():
            return f"calls label {label} {text[:60]!r}, but the manifest {self.class_names[label][:60]!r}"
        return ""


def make_stamp(status: Status | os.stat_result) -> Stamp:
    """Returns the stamp of a file; what lies on s3:// has no inode."""
    return getattr(status, "st_ino", 0), status.st_size, status.st_mtime_ns


def expect(data: Manifest, folder: Folder, split: str) -> Expected:
    """Returns what is expected of a split, whose records are those in the folder now.

    Raises:
      DataError: they are gone, or not those of the manifest any more.
    """
    shards = {str(folder / shard.file): shard for shard in data.splits[split].shards}
    try:
        stamps = {str(folder / shard.file): make_stamp((folder / shard.file).stat()) for shard in shards.values()}
    except OSError as error:
        raise DataError(f"{manifest.explain_change(folder)} ({error.strerror}: {error.filename})") from None
    manifest.check_unchanged(data, folder)  # the stamps could be of others that were put there since it was read
    digests = {name: shard.sha256 for name, shard in shards.items()}
    return Expected(data.image_size, data.encoding, data.class_names, digests, stamps)
