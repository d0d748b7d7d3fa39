"""Sentences on labels and splits that a person should look at: copies under two classes, names that recur, near copies
that bind much of a class together, splits that lack one.

It is handed pictures and groups, and changes none of them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from harness.base.text import list_names, shorten
from harness.config.dataset_sections import CleanConfig
from harness.dataset.curation.duplicates import Conflict
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.splits import SPLITS, TRAIN

_LEAST_BOUND = 10  # pictures of a class; below that a few copies are a large share of it
_LARGE_GROUP, _MOST_BOUND = 0.2, 0.5  # shares of a class
_MOST_NAMESAKES = 0.5  # share of all pictures
# What series are called by, as split.group_by takes it: what stands before a number that is set off, or before any.
_OF_SERIES = ("^(.+?)[-_ ]+[0-9]+[.]", "^(.*[^0-9])[0-9]+[.]")
_LEAST_SERIES = 3  # of a class, on average
_MOST_MISSING = 5  # classes with a sentence each, where a split has no picture of them
_CROWD, _CROWD_SHARE = 20, 0.05  # pictures, and share of all
_CURE = (
    "If they are different things that look alike, as before a fixed camera, set clean.near_copies: ignore. If they "
    "are one thing seen many times, as in a film, leave it so and add others."
)


def describe_conflicts(policies: CleanConfig, conflicts: Sequence[Conflict], *, has_leaks: bool) -> list[str]:
    """Returns a sentence for each kind of conflict, exact and near, with what became of the pictures.

    Args:
      policies: what was asked for.
      conflicts: pairs of pictures under two classes.
      has_leaks: whether splits were given that such pairs lie across.
    """
    sentences = []
    for is_exact, what, setting, policy in (
        (True, "one thing", "clean.label_conflicts", policies.label_conflicts),
        (False, "nearly one thing", "clean.near_conflicts", policies.near_conflicts),
    ):
        found = [conflict for conflict in conflicts if conflict.is_exact == is_exact]
        if found:
            pairs = "1 pair of pictures shows" if len(found) == 1 else f"{len(found)} pairs of pictures show"
            kept = "kept" if has_leaks else "kept, on one side of the split"
            outcome = "left out" if policy == "drop" else kept
            sentences.append(
                f"{pairs} {what} under two classes, such as {found[0].first} and {found[0].second}: both are {outcome} "
                f"({setting}). report.html shows them under Copies."
            )
    return sentences


def describe_namesakes(kept: Sequence[Finding]) -> list[str]:
    """Returns a sentence if most pictures are called like another of their class in another group.

    A picture that is there in several sizes has one name in several folders; so may the first pictures of several
    persons have.
    """
    sets: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # class and name -> group -> its first picture
    counts: Counter[tuple[str, str]] = Counter()
    for item in kept:
        key = item.class_name, PurePosixPath(item.path).stem.casefold()
        sets[key].setdefault(item.group, item.path)
        counts[key] += 1
    shared = [key for key, groups in sets.items() if len(groups) > 1]
    num = sum(counts[key] for key in shared)
    if num < _LEAST_BOUND or num <= _MOST_NAMESAKES * len(kept):
        return []
    first, second, *_ = sets[shared[0]].values()
    return [
        f"{num} of {len(kept)} pictures are called like another of their class, such as {shorten(first)} and "
        f"{shorten(second)}, and may be on either side of the split. If one name is one thing, in several sizes or "
        "takes: --split.group_by '^(.+)[.]'. If one folder is one person or object: --split.group_by folder. If all "
        "are different things: --split.group_by none."
    ]


def describe_series(kept: Sequence[Finding]) -> list[str]:
    """Returns a sentence if most pictures are of several numbered series of their class, such as anna_01 to anna_12.

    A number for each picture of a class makes one series, and tells nothing.
    """
    num_classes = len({item.class_name for item in kept})
    for expression in _OF_SERIES:
        pattern = re.compile(expression)
        series: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for item in kept:
            if found := pattern.search(PurePosixPath(item.path).name):
                series[item.class_name, found[1]].append(item)
        apart = [items for items in series.values() if len({item.group for item in items}) > 1]
        num = sum(map(len, apart))
        if num > _MOST_NAMESAKES * len(kept) and len(apart) >= _LEAST_SERIES * num_classes:
            first, *_, last = max(apart, key=len)
            return [
                f"{num} of {len(kept)} pictures are numbered in {len(apart)} series, the longest from "
                f"{shorten(first.path)} to {shorten(last.path)}, and may be on either side of the split. If a series "
                f"is one person, object or scene: --split.group_by '{expression}'. If all are different things: "
                "--split.group_by none."
            ]
    return []


def describe_split(
    groups: Sequence[Collection[Finding]], kept: Sequence[Finding], asked: Sequence[str], given: Collection[str] = ()
) -> list[str]:
    """Returns a sentence on near copies that bind much of a class together, and one for each class that a split lacks.

    Args:
      groups: the pictures that near copies join, each group by itself.
      kept: the pictures in the records.
      asked: the splits that are to have a share of the pictures.
      given: splits that were there before, which no group changes.
    """
    told = [*([] if given else _describe_bound(groups, kept)), *_describe_missing(kept, asked, given)]
    cures = [cure for _, cure in told]
    return [
        what if not cure or cure in cures[place + 1 :] else f"{what} {cure}" for place, (what, cure) in enumerate(told)
    ]


def _describe_bound(groups: Sequence[Collection[Finding]], kept: Sequence[Finding]) -> list[tuple[str, str]]:
    totals = Counter(item.class_name for item in kept)
    counted = [Counter(item.class_name for item in group if item.is_kept) for group in groups]
    counted.sort(key=lambda counts: counts.total())
    large = {
        name: counts  # the largest of the class, which is the last
        for counts in counted
        for name, number in counts.items()
        if number >= _LEAST_BOUND and number > _LARGE_GROUP * totals[name]
    }
    if large:
        worst = max(large, key=lambda name: (large[name][name] / totals[name], large[name][name]))
        group = large[worst]
        more = _count_more(", and such groups over a fifth of", len(large) - 1)
        what = (
            f"the largest group of near copies holds {group.total()} of {len(kept)} pictures, among them "
            f"{group[worst]} of the {totals[worst]} of {shorten(worst)}{more}. A group is on one side of the split as "
            "a whole, so that a split is made of a few large groups: it may lack a class, or show one scene only."
        )
        return [(what, _CURE)]
    if counted and counted[-1].total() > max(_CROWD, _CROWD_SHARE * len(kept)):
        what = (
            f"the largest group of near copies holds {counted[-1].total()} of {len(kept)} pictures, all on one side of "
            "the split."
        )
        return [(what, _CURE)]
    return _describe_most_bound(counted, totals)


def _describe_most_bound(groups: Sequence[Counter[str]], totals: Mapping[str, int]) -> list[tuple[str, str]]:
    bound = sum(groups, Counter[str]())
    most = [name for name, number in bound.items() if number >= _LEAST_BOUND and number > _MOST_BOUND * totals[name]]
    if not most:
        return []
    worst = max(most, key=lambda name: (bound[name] / totals[name], bound[name]))
    num_groups = sum(counts[worst] > 0 for counts in groups)
    more = _count_more(", as are most of", len(most) - 1)
    what = (
        f"{bound[worst]} of the {totals[worst]} pictures of {shorten(worst)} are near copies of another, in "
        f"{num_groups} groups{more}. A group is on one side of the split as a whole, so that the figures rest on fewer "
        "different things than there are pictures."
    )
    return [(what, _CURE)]


def _describe_missing(kept: Sequence[Finding], asked: Sequence[str], given: Collection[str]) -> list[tuple[str, str]]:
    groups_in = {split: defaultdict[str, set[str]](set) for split in SPLITS}
    for item in kept:
        groups_in[item.split][item.class_name].add(item.group)
    names = sorted({item.class_name for item in kept})
    num_groups = {name: sum(len(groups.get(name, ())) for groups in groups_in.values()) for name in names}
    told = []
    for split in asked:
        missing = sorted((name for name in names if name not in groups_in[split]), key=num_groups.__getitem__)
        effect = "nothing is learnt of it" if split == TRAIN else "no figure there says anything of it"
        for name in missing[:_MOST_MISSING]:
            pictures = [item for item in kept if item.class_name == name]
            are = "as it was given" if split in given else _count_groups(len(pictures), num_groups[name])
            cure = "Add pictures of it." if split in given else _cure(pictures)
            told.append((f"{split} has no picture of {shorten(name)}: {are}, and {effect}.", cure))
        if rest := sorted(missing[_MOST_MISSING:]):
            more = "1 more class" if len(rest) == 1 else f"{len(rest):,} more classes"
            told.append((f"{split} has no picture of {more} either: {list_names(rest, separator=', ')}.", ""))
    return told


def _count_more(words: str, num_classes: int) -> str:
    return f"{words} {num_classes} more class{'es' if num_classes > 1 else ''}" if num_classes else ""


def _count_groups(num_pictures: int, num_groups: int) -> str:
    if num_pictures == num_groups:
        return f"there {'is' if num_pictures == 1 else 'are'} only {num_pictures} of it"
    if num_groups == 1:
        return f"its {num_pictures} pictures are one group, which stays whole"
    return f"its {num_pictures} pictures are {num_groups} groups, which stay whole"


def _cure(pictures: Sequence[Finding]) -> str:
    """What gives a split pictures of a class again."""
    if 2 * sum(bool(item.near_copy_of) for item in pictures) > len(pictures):
        return _CURE
    if len({item.group for item in pictures}) < len(pictures):
        return "Add pictures of others, or let split.group_by make smaller groups."
    return "Add pictures of it."
