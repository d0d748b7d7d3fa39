"""Digests of what records follow from besides settings: pictures, tables of groups, labels and corrections, and a
split that is kept.

They tell whether records are up to date.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.base import files
from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.curation import plan
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import group_file
from harness.dataset.listing import labels, table
from harness.dataset.listing.listed import Listing


@dataclass(frozen=True)
class Inputs:
    """What the records of a build follow from besides settings, as it was when the build began."""

    listing: Listing
    left_out: Sequence[Finding]
    lists: Sequence[str]  # digests of the files beside the pictures
    doubts: Sequence[str]  # what speaks against the classes

    def digest(self, examined: Iterable[Finding]) -> str:
        """Returns a digest of every file that the records follow from."""
        return digest_sources([*examined, *self.left_out], [*self.lists, *digest_given(self.listing)])


def digest_sources(found: Sequence[Finding], lists: Sequence[str]) -> str:
    """Returns a digest of every file that the records follow from: the pictures, the groups, the split that is kept."""
    pictures = sorted((item.path, item.sha256 or f"{item.num_bytes} bytes") for item in found)
    return files.digest_json([pictures, lists])


def digest_given(listing: Listing) -> list[str]:
    """Returns a digest of the classes, splits and groups that no folder is called after; none if there are none."""
    given = [list(item[:4]) for item in listing.pictures if item[1:4] != (item.path.partition("/")[0], "", "")]
    return [files.digest_json(sorted(given))] if given else []


def digest_lists(config: Config) -> list[str]:
    """Returns the digests of the files beside the pictures that the records follow from.

    Raises:
      DataError: one of them cannot be read.
    """
    listed = [group_file(config.data.images, config.split.group_by)]
    # A folder that keeps its own split follows from the pictures alone.
    if config.split.previous and config.split.previous.resolve() != config.data.records_folder.resolve():
        listed.append(plan.file_of_previous(config.split.previous))
    if config.data.labels:
        listed.append(labels.locate(config.data.labels, config.data.images)[0])
    if config.clean.labels:
        listed.append(table.locate(config.clean.labels, config.data.images))
    try:
        return [files.digest_file(path) for path in listed if path and path.is_file()]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}. Make it readable.") from None
