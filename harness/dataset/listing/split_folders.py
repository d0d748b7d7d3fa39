"""Folders that are splits: data/train/cat or data/cat/train. Their names are known, and they agree on the classes."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import as_word, list_names, shorten
from harness.dataset.listing.class_folders import Contents
from harness.dataset.listing.class_names import write_list

_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_FILLERS = {"set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photos", "split"}
_DEEPEST = 3  # folders that hold nothing but one folder: train/images/cat, seg_train/seg_train/cat
_DECLARE = "If these are classes and no splits, name them: --data.classes {}"


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures of one class: its path below the images folder, the class, and the split if it has one."""

    path: str
    class_name: str
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """The folders that hold pictures; how they were understood and what may be wrong, "" if there is nothing to say.

    `depth` is how many folders of a path stand for its split and class.
    """

    folders: tuple[PictureFolder, ...]
    line: str = ""
    warning: str = ""
    depth: int = 1

    @property
    def class_names(self) -> frozenset[str]:
        """The names of the classes as found."""
        return frozenset(folder.class_name for folder in self.folders)


def split_of(name: str) -> str:
    """Returns the split that a folder of this name is, such as test, Testing, test_set or test1; or ""."""
    words = _list_words(name)
    return _SPLIT_OF.get(words[0], "") if len(words) == 1 and name.isascii() else ""


def _list_words(name: str) -> list[str]:
    return [word for word in re.findall("[a-z]+", name.lower()) if word not in _FILLERS]


def _find_called(names: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Returns the splits that folders are by their names, and the other words of these names.

    If none is called so by itself, those are that differ from each other in nothing but the split: seg_train, seg_test.
    """
    called = {name: split_of(name) for name in names if split_of(name)}
    if called:
        return called, set()
    alike: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        words = _list_words(name) if name.isascii() else []
        found = [word for word in words if word in _SPLIT_OF]
        if len(found) == 1:
            alike[tuple(word for word in words if word not in found)][name] = _SPLIT_OF[found[0]]
    stems = {words: splits for words, splits in alike.items() if len(set(splits.values())) > 1}
    return {name: split for splits in stems.values() for name, split in splits.items()}, {" ".join(w) for w in stems}


def recognise(
    folder: Folder, names: Sequence[str], look: Callable[[Folder], Contents], merged: Mapping[str, str] | None = None
) -> Layout:
    """Returns the class folders, of each split if the folders are splits.

    Folders are splits if all of them are called so, hold no pictures but folders, and those of `train` are all the
    classes there are. Where only a part of that is true nobody can say what is meant.

    Args:
      folder: the images folder.
      names: of the folders in it.
      look: returns what lies directly in a folder.
      merged: the class of each name that is wanted, if not all are.

    Raises:
      DataError: folders are called like splits, but not all is as it is with splits.
    """
    plain = Layout(tuple(PictureFolder(name, name) for name in names))
    called, stems = _find_called(names)
    if not called:
        return _recognise_below(folder, names, look) or plain
    if len(stems) > 1:
        return replace(plain, warning=_warn_of_called(called))
    at, inside = {}, {}
    for name in names:
        at[name], inside[name] = _go_down(folder, name, look)
    deep = _find_deep(called, inside)
    others = [name for name in names if name not in called and (inside[name].pictures or inside[name].folders)]
    is_train_only = len(called) == 1 and any(inside[name].pictures for name in others)
    if not deep or is_train_only or not (len(set(called.values())) > 1 or "train" in called.values()):
        if not others and len(set(called.values())) > 1:
            raise _no_classes(folder, called)
        return replace(plain, warning=_warn_of_called(called))
    is_chosen = merged and not any(name in merged for name in others)
    unwanted = others if is_chosen else []
    others = [] if is_chosen else others
    aside = [name for name in others if {*_list_words(name)} & {*" ".join(stems).split()} and not inside[name].folders]
    others = [name for name in others if name not in aside]
    _check_whole(folder, called, inside, others, merged)
    depths = {at[name].count("/") for name in called}
    if len(depths) > 1:
        raise DataError(
            f"{folder} is split by its folders, but the classes lie at different depths, in "
            f"{list_names([at[name] for name in called], separator=' and ')}. Move them to one depth."
        )
    empty = [name for name in names if not (inside[name].pictures or inside[name].folders)]
    warnings = [_warn_of_loose(folder, called, inside)]
    warnings += [f"{name} has {_count(inside[name].pictures)} in no class: they are left out." for name in aside]
    return Layout(
        tuple(
            PictureFolder(f"{at[name]}/{class_name}", class_name, split)
            for name, split in called.items()
            for class_name in inside[name].folders
        ),
        _describe(folder, called, inside, empty, unwanted),
        " ".join(filter(None, warnings)),
        depth=2 + depths.pop(),
    )


def _go_down(folder: Folder, name: str, look: Callable[[Folder], Contents]) -> tuple[str, Contents]:
    """Goes from a folder into the only one in it, as long as that is called like it, or "images" and the like.

    Returns the path and what lies there.
    """
    path, found = name, look(folder / name)
    for _ in range(_DEEPEST):
        only = found.folders[0] if len(found.folders) == 1 and not found.pictures else ""
        if not only or (_list_words(only) and only.lower() != name.lower()) or not re.search("[a-z]", only.lower()):
            break
        path, found = f"{path}/{only}", look(folder / path / only)
    return path, found


def _find_deep(called: Sequence[str] | Mapping[str, str], inside: Mapping[str, Contents]) -> list[str]:
    """The folders that hold folders and no pictures, and those that hold the same folders and pictures beside them."""
    clean = [name for name in called if inside[name].folders and not inside[name].pictures]
    classes = {below for name in clean for below in inside[name].folders}
    return [name for name in called if name in clean or classes & set(inside[name].folders)]


def _warn_of_called(called: Mapping[str, str]) -> str:
    if len(set(called.values())) < 2:
        return ""
    return f"the folders {list_names(list(called), separator=', ')} are called like splits, and are taken as classes."


def _warn_of_loose(folder: Folder, called: Sequence[str] | Mapping[str, str], inside: Mapping[str, Contents]) -> str:
    loose = [f"{name}/{picture}" for name in called for picture in inside[name].pictures]
    if not loose:
        return ""
    return f"{_count(loose)} in {folder} beside the class folders, in none of them, such as {shorten(loose[0])}."


def _check_whole(
    folder: Folder,
    called: Mapping[str, str],
    inside: Mapping[str, Contents],
    others: Sequence[str],
    merged: Mapping[str, str] | None,
) -> None:
    """Refuses folders that are splits in part only."""
    deep = _find_deep(called, inside)
    train = next((name for name, split in called.items() if split == "train" and name in deep), "")
    best = folder / (max(deep, key=lambda name: (len(inside[name].folders) > 1, name == train)))
    declare = _DECLARE.format(write_list(list(inside)))
    for name in called:
        if name not in deep:
            loose = inside[name].pictures
            found = f"{_count(loose)} without such folders, whose classes nobody knows" if loose else "none"
            raise DataError(
                f"{folder} has folders of classes in {deep[0]} ({list_names(inside[deep[0]].folders)}), but {name} has "
                f"{found}. Take the others alone: --images {as_word(best)}"
            )
    if not train:
        raise DataError(
            f"{folder} has {list_names(list(called), separator=' and ')}, but no folder train: there is nothing to "
            f"train on. Take one of them as it is, to be split anew: --images {as_word(best)}"
        )
    twice = sorted(name for name in called if list(called.values()).count(called[name]) > 1)
    if twice:
        raise DataError(
            f"{folder} has {list_names(twice, separator=' and ')}, which are one split by their names. Put them "
            f"together, or take one: --images {as_word(best)}"
        )
    classes = {_class_of(below, merged) for below in inside[train].folders}
    for name in called:
        unknown = [below for below in inside[name].folders if _class_of(below, merged) not in {None, *classes}]
        if unknown:
            raise DataError(
                f"{folder} looks like splits, but {name} has {list_names(unknown)} and {train} does not: it has "
                f"{list_names(inside[train].folders)}. Give both the same classes, or take one: --images "
                f"{as_word(best)}. {declare}"
            )
    again = next((name for name in others if set(called) <= set(inside[name].folders)), "")
    if again:
        raise DataError(
            f"{folder} has the splits {list_names(list(called), separator=', ')}, and {again} beside them, which holds "
            f"such splits too. Take one of the two: --images {as_word(folder / again)}, or move {again} elsewhere."
        )
    if others:
        raise DataError(
            f"{folder} has the splits {list_names(list(called), separator=', ')} with the classes "
            f"{list_names(inside[train].folders)}, and beside them {list_names(others, separator=', ')}. Move "
            f"what is no split elsewhere, or take one split: --images {as_word(best)}, or name the classes in the "
            f"splits: --data.classes {write_list(inside[train].folders)}. {declare}"
        )


def _class_of(name: str, merged: Mapping[str, str] | None) -> str | None:
    """The class of a folder; None of all that are not wanted."""
    return merged.get(name) if merged else name


def _no_classes(folder: Folder, called: Mapping[str, str]) -> DataError:
    names = list(called)
    best = next((name for name, split in called.items() if split == "train"), names[0])
    return DataError(
        f"{folder} has {list_names(names, separator=' and ')}, which are splits by their names, but no folders of "
        f"classes in them. Put the pictures of each class into a folder of its own, such as {best}/happy, or take "
        f"{best} with a table of their labels: --images {as_word(folder / best)} --data.labels labels.csv. "
        f"{_DECLARE.format(write_list(names))}"
    )


def _recognise_below(folder: Folder, names: Sequence[str], look: Callable[[Folder], Contents]) -> Layout | None:
    """Returns the layout of classes that all hold nothing but splits, or None."""
    inside: dict[str, Contents] = {}
    for name in names:
        inside[name] = look(folder / name)
        called = [split_of(below) for below in inside[name].folders]
        if inside[name].pictures or not all(called) or "train" not in called or len(set(called)) < len(called):
            return None
    if not inside:
        return None
    found = tuple(
        PictureFolder(f"{name}/{below}", name, split_of(below)) for name in names for below in inside[name].folders
    )
    splits = {item.path.partition("/")[2]: item.split for item in found}
    return Layout(found, f"{folder} is split by the folders in its classes: {_list_splits(splits)}", depth=2)


def _describe(
    folder: Folder,
    called: Mapping[str, str],
    inside: Mapping[str, Contents],
    empty: Sequence[str],
    unwanted: Sequence[str],
) -> str:
    classes = sorted({below for name in called for below in inside[name].folders})
    left_out = f"; left out for want of pictures: {list_names(empty, separator=', ')}" if empty else ""
    left_out += f"; left out by data.classes: {list_names(unwanted, separator=', ')}" if unwanted else ""
    return (
        f"{folder} is split by its folders: {_list_splits(called)}; the classes are those in them, "
        f"{list_names(classes)}{left_out}"
    )


def _count(names: Sequence[str]) -> str:
    return "1 picture" if len(names) == 1 else f"{len(names):,} pictures"


def _list_splits(called: Mapping[str, str]) -> str:
    return ", ".join(name if name == split else f"{shorten(name)} is {split}" for name, split in called.items())
