"""The classes by their names: which are taken, how merged, in which order. Pure functions of names."""

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.base.text import as_word, list_names, shorten
from harness.dataset.listing import junk

Wanted = tuple[str, ...] | Mapping[str, tuple[str, ...]] | None  # of the setting data.classes
_COPY = re.compile(r"( ?\([0-9]+\)| (- )?(copy|kopie)( [0-9]+)?)+$", re.IGNORECASE)
_MOST_WRITTEN = 12  # names of a list that is to be typed
_NUMBER = re.compile(r"[-+]?[0-9]+([.][0-9]+)?")


@dataclass(frozen=True)
class Chosen:
    """`class_names[i]` is the class of label i; `class_of` has the class of each name that is taken."""

    class_names: tuple[str, ...]
    class_of: Mapping[str, str]

    @property
    def is_merged(self) -> bool:
        """Whether a class has another name than what it is found under."""
        return any(name != found for found, name in self.class_of.items())


def sort_names(names: Iterable[str]) -> list[str]:
    """Returns the names with numbers in the order of their values, alone or within: 2 before 10, step2 before step10.

    Names without digits are in the order of their characters.
    """
    listed = list(names)
    if all(_NUMBER.fullmatch(name) for name in listed):
        return sorted(listed, key=lambda name: (float(name), name))
    return sorted(listed, key=lambda name: (_divide(name), name))


def _divide(name: str) -> list[str | tuple[int, str]]:
    """The text and the numbers of a name in turn; a number as its length and its digits, which compare as its value."""
    parts = re.split("([0-9]+)", name)
    digits = [part.lstrip("0") for part in parts[1::2]]
    parts[1::2] = digits
    return [(len(part), part) if place % 2 else part for place, part in enumerate(parts)]


def invert(wanted: Wanted) -> dict[str, str]:
    """Returns the class of each name that the setting `data.classes` takes pictures from."""
    return {part: class_name for class_name, parts in _merged(wanted).items() for part in parts}


def _merged(wanted: Wanted) -> Mapping[str, tuple[str, ...]]:
    return wanted if isinstance(wanted, Mapping) else {name: (name,) for name in wanted or ()}


def also_merged(wanted: Wanted) -> Wanted:
    """Returns the setting with every class found under its own name too, as in a folder that was merged already."""
    taken = invert(wanted)
    return {name: parts if name in taken else (name, *parts) for name, parts in _merged(wanted).items()} or None


def choose(found: Iterable[str], wanted: Wanted, where: object, *, is_partial: bool = False) -> Chosen:
    """Returns the classes of the names that were found, as the setting `data.classes` wants them.

    Args:
      found: the names of class folders, or the labels of a table.
      wanted: all, those of a list in its order, or those of a mapping from each class to the names it is found under.
      where: what has these names, for the error.
      is_partial: whether wanted names may be missing.

    Raises:
      DataError: a wanted name was not found, or two names differ so little that nobody can tell them apart.
    """
    names = sort_names(set(found))
    if wanted is None:
        _check_different(names, where)
        return Chosen(tuple(names), {name: name for name in names})
    merged = _merged(wanted)
    by_form = {name: name for name in names} | {unicodedata.normalize("NFC", name): name for name in names}
    class_of = {}
    for class_name, parts in merged.items():
        for part in parts:
            name = by_form.get(part) or by_form.get(unicodedata.normalize("NFC", part))
            if name is not None:
                class_of[name] = class_name
            elif not is_partial:
                raise _unknown(part, names, where)
    return Chosen(tuple(merged), class_of)


def _unknown(name: str, names: Sequence[str], where: object) -> DataError:
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    folded = [other for other in names if _fold(other) == _fold(name)]
    hint = f" Did you mean {(folded or nearest)[0]!r}?" if folded or nearest else ""
    return DataError(
        f"data.classes names {shorten(name)!r}, but {where} has {list_names(names) or 'no classes'}.{hint}"
    )


def _check_different(names: Sequence[str], where: object) -> None:
    for alike in _group(names, _fold):
        shown = " and ".join(map(ascii, alike))
        quoted = [_quote(name) for name in alike]
        asked = ", ".join(quoted)
        merged = f"{{{quoted[0]}: [{asked}], …}}"
        raise DataError(
            f"the classes {shown} of {where} differ in case, blanks or Unicode form only. If they are one class, put "
            f"their pictures into one folder, or say so: --data.classes '{merged}'. If not, name every class: "
            f"--data.classes '[{asked}, …]'."
        )


def _quote(name: str) -> str:
    """A name as `_write`, in double quotes, whatever it is made of."""
    escaped = name.encode("unicode_escape").decode().replace('"', '\\"').replace("'", "\\x27")
    return f'"{escaped}"'


def describe_alike(names: Iterable[str]) -> list[str]:
    """Returns a sentence for each set of names that look alike: they differ in case, blanks or Unicode form only."""
    return [
        f"the class names {', '.join(map(ascii, found))} look alike: they are {len(found)} classes. If that is not "
        "meant, merge them by data.classes."
        for found in _group(names, lambda name: _fold(unicodedata.normalize("NFKC", name)))
    ]


def describe_doubt(below: Mapping[str, Sequence[str]], folder: Folder) -> str:
    """Returns what speaks against it that the folders of these names are the classes, in a sentence or two, or "".

    Args:
      below: the files of each class, by their paths below its folder.
      folder: the images folder, in which these folders are.
    """
    inside = {name: {path.partition("/")[0] for path in paths if "/" in path} for name, paths in below.items()}
    named = [name for name, paths in below.items() if any(map(junk.is_picture_name, paths))]
    bare = [name for name, paths in below.items() if name not in named]
    shared = _find_shared(list(inside.values()))
    is_flat = any("/" not in path and junk.is_picture_name(path) for paths in below.values() for path in paths)
    if len(below) > 1 and len(shared) > 1 and not is_flat and all(found & shared for found in inside.values()):
        best = next(iter(named), next(iter(below)))
        return (
            f"{list_names(list(below), separator=', ')} are taken as the classes, but each holds the same folders: "
            f"{list_names(sort_names(shared), separator=', ')}. If these inner ones are the classes, take one of the "
            f"outer ones, --images {as_word(folder / best)}, or move their pictures together. If the inner ones are "
            "persons or the like: --split.group_by folder. If all is meant so: --data.classes "
            f"{write_list(list(below))}"
        )
    for name, found in inside.items():
        others = [other for other in below if other != name]
        if len(others) > 1 and found >= {*others}:
            return (
                f"{name} is taken as a class, but holds folders called like the classes beside it: "
                f"{list_names(others, separator=', ')}. If it is none: --data.classes {write_list(others)}"
            )
    copied = next((found for found in _group(below, _without_copy) if _without_copy(found[0]) == _fold(found[0])), [])
    if copied:
        asked = ", ".join(map(_write, copied))
        return (
            f"{list_names(copied, separator=', ')} are called like copies of one folder, and are taken as "
            f"{len(copied)} classes. If they are one: --data.classes '{{{_write(copied[0])}: [{asked}], …}}'"
        )
    if not named or not bare:
        return ""
    told = f"no file in {list_names(bare, separator=', ')} is called like a picture"
    if len(named) == 1 and len(inside[named[0]]) > 1:
        classes = list_names(sort_names(inside[named[0]]), separator=", ")
        return f"{told}. If the classes are those in {named[0]} ({classes}): --images {as_word(folder / named[0])}"
    return f"{told}. If these are no classes, name the others: --data.classes {write_list(named)}"


def describe_depth(below: Mapping[str, Sequence[str]], folder: Folder) -> str:
    """Returns that the classes hold nothing but several folders each, as folders above those of classes do, or "".

    Args:
      below: as of `describe_doubt`.
      folder: the images folder.
    """
    paths = [path for listed in below.values() for path in listed if junk.is_picture_name(path)]
    inside = {name: sort_names({path.partition("/")[0] for path in listed}) for name, listed in below.items()}
    if len(below) < 2 or not all("/" in path for path in paths) or not all(len(names) > 1 for names in inside.values()):
        return ""
    name, names = next(iter(inside.items()))
    return (
        f"{list_names(list(below), separator=', ')} are taken as the classes, but hold no picture themselves, only "
        f"folders: {list_names(names, separator=', ')} in {name}. If these inner ones are the classes, {folder} is one "
        f"level too high: --images {as_word(folder / name)}. If they are persons or the like: --split.group_by folder. "
        f"If all is meant so: --data.classes {write_list(list(below))}"
    )


def _without_copy(name: str) -> str:
    """The name without what systems put behind that of a copy: cat (1), cat - Copy."""
    return _fold(_COPY.sub("", name.strip()))


def write_list(names: Sequence[str]) -> str:
    """Returns the names as one word of a shell that data.classes takes; of many the first, and where to go on."""
    return f"'[{', '.join(map(_write, names[:_MOST_WRITTEN]))}{', …' if len(names) > _MOST_WRITTEN else ''}]'"


def _write(name: str) -> str:
    """A name as a value of YAML within single quotes of a shell: as it is where that is read as the same."""
    try:
        is_plain = name.isprintable() and "'" not in name and yaml.safe_load(f"[{name}]") == [name]
    except yaml.YAMLError:
        is_plain = False
    return name if is_plain else _quote(name)


def _find_shared(inside: Sequence[set[str]]) -> set[str]:
    """The names that are in at least half of the folders."""
    counts = Counter(name for found in inside for name in found)
    return {name for name, count in counts.items() if 2 * count >= len(inside) and count > 1}


def _group(names: Iterable[str], fold: Callable[[str], str]) -> list[list[str]]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[fold(name)].append(name)
    return [found for found in alike.values() if len(found) > 1]


def _fold(name: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return " ".join(folded.split())
