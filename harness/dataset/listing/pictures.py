"""Lists the pictures of the images folder, each with its class: what a build goes by. It opens no picture."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import count, list_names, shorten
from harness.config.dataset_sections import DataConfig
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import class_folders, class_names, labels, outputs, split_folders
from harness.dataset.listing.class_folders import Contents
from harness.dataset.listing.class_names import Chosen
from harness.dataset.listing.listed import LeftOut, Listed, Listing, judge_files
from harness.dataset.listing.split_folders import Layout, PictureFolder
from harness.dataset.listing.walk import Identity, LinkedFolder, describe_linked, walk

_MOST_NAMED = 12
_MASK_FOLDER = re.compile("/(masks?|ground_?truth)/")
_MASK = re.compile("(.+)[._ -]mask(_?[0-9]+)?", re.IGNORECASE)  # behind the name of the picture that it is of


def list_pictures(data: DataConfig, *, is_partial: bool = False) -> Listing:
    """Returns the pictures, their classes and splits, as far as folders or the table `data.labels` give them.

    Args:
      data: what is listed, and how.
      is_partial: whether there may be fewer than two classes, and fewer than `data.classes` names.

    Raises:
      DataError: there are fewer classes, or nobody can tell which they are.
    """
    if data.labels:
        return _list_by_table(data.images, data.labels, data, is_partial=is_partial)
    folder = data.images
    found = class_folders.look_into(folder)
    layout = _recognise(folder, found, data)
    if len(layout.class_names) < (1 if is_partial else 2):
        raise class_folders.explain_none(folder, found)
    chosen = class_names.choose(layout.class_names, data.classes, folder, is_partial=is_partial)
    taken = [item for item in layout.folders if item.class_name in chosen.class_of]
    class_folders.check_apart(folder, [item.path for item in taken])
    files = list(_walk(folder, taken, chosen, follow_links=data.follow_links))
    pictures = tuple(item for item in files if isinstance(item, Listed))
    left_out = tuple(item for item in files if isinstance(item, LeftOut))
    if within := outputs.find_within(folder, (picture.path for picture in pictures)):
        raise DataError(
            f"{folder / within} holds records or a run that harness has made, among the pictures of a class. Move it "
            "elsewhere."
        )
    return Listing(
        pictures=pictures,
        class_names=chosen.class_names,
        left_out=left_out,
        folders=tuple(item.path for item in taken),
        depth=layout.depth,
        lines=tuple(_describe(found, layout, chosen, left_out)),
        warnings=(*_warn(found, layout, chosen, left_out, is_followed=data.follow_links), *_warn_of_masks(pictures)),
        doubt="" if data.classes or layout.depth > 1 else _doubt(pictures, chosen, folder, found.tables),
    )


def _doubt(pictures: Sequence[Listed], chosen: Chosen, folder: Folder, tables: Sequence[str]) -> str:
    below: dict[str, list[str]] = {name: [] for name in chosen.class_names}
    for picture in pictures:
        below[picture.class_name].append(picture.path.partition("/")[2])
    return (
        class_names.describe_doubt(below, folder)
        or labels.doubt_folders(folder, tables, pictures)
        or class_names.describe_depth(below, folder)
    )


def _list_by_table(folder: Folder, table: str, data: DataConfig, *, is_partial: bool) -> Listing:
    """Returns the pictures that a table gives a label, of the classes that are taken."""
    found = labels.list_labelled(folder, table, follow_links=data.follow_links)
    if len(found.class_names) < (1 if is_partial else 2):
        raise DataError(
            f"every picture in {folder} has the label {found.class_names[0]!r} in {table}: expected two labels or "
            "more. If another column has them, name it: --data.labels FILE.csv:COLUMN"
        )
    chosen = class_names.choose(found.class_names, data.classes, table, is_partial=is_partial)
    taken = (item for item in found.pictures if item.class_name in chosen.class_of)
    return replace(
        found,
        pictures=tuple(item._replace(class_name=chosen.class_of[item.class_name]) for item in taken),
        class_names=chosen.class_names,
        left_out=tuple(
            item._replace(
                file=item.file._replace(class_name=chosen.class_of.get(item.file.class_name, item.file.class_name))
            )
            for item in found.left_out
            if item.file.class_name in ("", *chosen.class_of) or data.classes is None
        ),
        lines=(*found.lines, *_describe_choice(found.class_names, chosen)),
        warnings=(*found.warnings, *class_names.describe_alike(chosen.class_names)),
    )


def _recognise(folder: Folder, found: Contents, data: DataConfig) -> Layout:
    """Class folders that `data.classes` names are classes, whatever they are called."""
    merged = class_names.invert(data.classes)
    if merged and merged.keys() <= set(found.folders):
        return Layout(tuple(PictureFolder(name, name) for name in found.folders))
    return split_folders.recognise(folder, found.folders, class_folders.peek_into, merged)


def _walk(
    folder: Folder, taken: Sequence[PictureFolder], chosen: Chosen, *, follow_links: bool
) -> Iterator[Listed | LeftOut]:
    met: dict[Identity, str] = {}
    for item in taken:
        like = Listed("", chosen.class_of[item.class_name], item.split)
        files = list(walk(folder / item.path, follow_links=follow_links, met=met))
        _check_met_once(folder / item.path, files)
        yield from judge_files(folder, files, like, below=item.path)


def _check_met_once(folder: Folder, files: Sequence[Folder | LinkedFolder]) -> None:
    """Refuses pictures that links give to two classes, or to two splits."""
    for item in files:
        if isinstance(item, LinkedFolder) and item.met_at and not f"{item.met_at}/".startswith(f"{folder}/"):
            raise DataError(
                f"the pictures of {item.path} would be found twice: a link leads to them from another class or split, "
                f"at {item.met_at}. Remove the link, or set data.follow_links: false."
            )


def _describe(found: Contents, layout: Layout, chosen: Chosen, left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yields what was recognised and what was left out, a line each."""
    if layout.line:
        yield layout.line
    yield from _describe_choice(layout.class_names, chosen)
    if found.junk:
        yield f"left out beside the classes, as junk by their names: {list_names(found.junk, separator=', ')}"
    if found.outputs:
        yield f"left out beside the classes, as made by harness: {list_names(found.outputs, separator=', ')}"
    num_junk = sum(item.reason == Reason.SYSTEM_FILE for item in left_out)
    if num_junk:
        yield f"left out among the pictures, as junk by their names: {count(num_junk, 'file')}"


def _describe_choice(found: Iterable[str], chosen: Chosen) -> Iterator[str]:
    unused = [name for name in class_names.sort_names(found) if name not in chosen.class_of]
    if chosen.is_merged or unused:
        yield f"classes by data.classes: {describe_merged(chosen)}"
    if unused:
        yield f"classes left out by data.classes: {list_names(unused, separator=', ')}"


def _warn(
    found: Contents, layout: Layout, chosen: Chosen, left_out: Sequence[LeftOut], *, is_followed: bool
) -> Iterator[str]:
    """Yields what a user may not have meant, a sentence each."""
    linked = [item for item in left_out if item.reason == Reason.LINKED_FOLDER]
    if linked:
        yield describe_linked([(item.file.path, item.measured) for item in linked], is_followed=is_followed)
    if layout.warning:
        yield layout.warning
    yield from class_names.describe_alike(chosen.class_names)
    if found.pictures:
        number = f"{len(found.pictures):,} pictures lie" if len(found.pictures) > 1 else "1 picture lies"
        yield f"{number} beside the class folders, in none of them, such as {shorten(found.pictures[0])}."


def _warn_of_masks(pictures: Sequence[Listed]) -> Iterator[str]:
    """Yields that pictures are called masks of others: nobody means to train on these."""
    names = [item.path.rpartition("/")[2].rpartition(".")[0] for item in pictures]
    known = {*names}
    masks = [
        item.path
        for item, name in zip(pictures, names)
        if _MASK_FOLDER.search(item.path.lower()) or ((ends := _MASK.fullmatch(name)) and ends[1] in known)
    ]
    if masks and len(masks) < len(pictures):
        yield (
            f"{len(masks):,} of {len(pictures):,} pictures are called masks, and are taken as pictures, such as "
            f"{shorten(masks[0], 200)}. If they are masks of the others, move them elsewhere."
        )


def describe_merged(chosen: Chosen) -> str:
    """Returns the classes in the order of their labels, with what was merged into each."""
    parts = []
    for name in chosen.class_names:
        merged = [found for found, class_name in chosen.class_of.items() if class_name == name]
        parts.append(shorten(name) if merged == [name] else f"{shorten(name)} ({list_names(merged, separator=' + ')})")
    more = f" and {len(parts) - _MOST_NAMED:,} more" if len(parts) > _MOST_NAMED else ""
    return ", ".join(parts[:_MOST_NAMED]) + more
