"""What a listing holds: pictures with their classes, and files that are none by their names. It looks at no disk."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from harness.base.storage import Folder
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import junk
from harness.dataset.listing.walk import LinkedFolder


class Listed(NamedTuple):
    """One picture file. `path` is relative to the images folder, in POSIX form.

    `split` and `group` are "" unless folders or a table give them. `label_was` is the class that the picture had before
    its label was corrected, or confirmed, and `label_reason` why; both are "" of all others.
    """

    path: str
    class_name: str
    split: str = ""
    group: str = ""
    label_was: str = ""
    label_reason: str = ""


class LeftOut(NamedTuple):
    """A file that is no picture by its name or its place alone, and why; it gets a row in cleaning.csv."""

    file: Listed
    reason: Reason
    measured: str
    limit: str


@dataclass(frozen=True)
class Listing:
    """Which pictures there are, of which class and in which split.

    `class_names[i]` is the class of label i. `folders`, below the images folder, hold the pictures. `lines` say
    what was recognised, `warnings` what a user should look at. `depth` is how many folders of a path stand for its
    split and class, `group_rule` in words what gives the groups, "" if nothing does, `doubt` what speaks against the
    classes, if anything does.
    """

    pictures: tuple[Listed, ...]
    class_names: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    folders: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    depth: int = 1
    group_rule: str = ""
    doubt: str = ""

    @cached_property
    def by_path(self) -> Mapping[str, Listed]:
        """Every picture by its path."""
        return {picture.path: picture for picture in self.pictures}


def judge_files(
    folder: Folder, found: Iterable[Folder | LinkedFolder], like: Listed, *, below: str = ""
) -> Iterator[Listed | LeftOut]:
    """Yields each file as a picture, or as left out for its name; and each linked folder as left out.

    Args:
      folder: the images folder.
      found: what lies below it.
      like: class, split and group of all of it.
      below: how their paths begin, of which no part is junk whatever its name: the folder of their class.
    """
    for item in found:
        path = (item.path if isinstance(item, LinkedFolder) else item).relative_to(folder).as_posix()
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        listed = like._replace(path=shown)
        if shown != path:
            yield LeftOut(listed, Reason.BAD_NAME, repr(shown), "a name in UTF-8")
        elif part := junk.find_junk(path.removeprefix(below).split("/")):
            yield LeftOut(listed, Reason.SYSTEM_FILE, part, "a picture")
        elif isinstance(item, LinkedFolder):
            limit = "a link to another folder" if not item.num_files else "data.follow_links: true"
            yield LeftOut(listed, Reason.LINKED_FOLDER, item.what, limit)
        else:
            yield listed
