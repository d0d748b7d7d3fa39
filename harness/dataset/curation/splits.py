"""Which split a group of pictures belongs to: a pure function. It reads no files and knows no pictures."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


def assign_splits(
    groups: Mapping[str, Mapping[str, int]],
    *,
    validation: float,
    test: float = 0.0,
    seed: int = 0,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assigns each group as a whole to one split, so that every class has about the wanted share in each.

    Groups stand in the order of a hash of seed and key, which does not depend on the order of files or on other groups.
    The test split fills up from one end of this order, the validation split from the other, each taking every group
    that brings it closer to its share. Groups that are added later push only those across that stand next to where a
    split ends. A class with as many groups as there are splits is in all of them.

    Args:
      groups: group key -> class name -> number of pictures.
      validation: wanted share of the pictures of each class, as a fraction.
      test: wanted share of a test split; 0 makes none.
      seed: another seed gives another split.
      fixed: groups whose split is given.

    Returns:
      Group key -> "train", "validation" or "test".
    """
    assigned = {key: name for key, name in (fixed or {}).items() if key in groups}
    order = sorted(groups, key=lambda key: hash_key(seed, key))
    for name, share, keys in ((TEST, test, order), (VALIDATION, validation, order[::-1])):
        if share:
            chosen = _fill({key: groups[key] for key in keys}, assigned, name, share)
            assigned |= dict.fromkeys(chosen, name)
    for key in order:
        assigned.setdefault(key, TRAIN)
    wanted = [name for name, share in ((TRAIN, 1), (VALIDATION, validation), (TEST, test)) if share]
    _fill_empty(assigned, groups, [key for key in order if key not in (fixed or {})], wanted)
    return assigned


def _fill(groups: Mapping[str, Mapping[str, int]], assigned: Mapping[str, str], split: str, share: float) -> list[str]:
    """Returns the groups, in order, that bring `split` closer to its share, of those that are not assigned."""
    totals, placed, chosen = Counter[str](), Counter[str](), []
    for key, counts in groups.items():
        totals.update(counts)
        if assigned.get(key) == split:
            placed.update(counts)
    for key, counts in groups.items():
        # the change of half the squared distance to the wanted numbers, each class relative to its size
        change = sum(
            num / totals[name] * (placed[name] + num / 2 - share * totals[name]) / totals[name]
            for name, num in counts.items()
        )
        if key not in assigned and change <= 0:
            chosen.append(key)
            placed.update(counts)
    return chosen


def _fill_empty(
    assigned: dict[str, str], groups: Mapping[str, Mapping[str, int]], movable: Sequence[str], wanted: Sequence[str]
) -> None:
    """Moves one group to each split that lacks a class, from a split where the group's classes have another.

    There is nothing to learn of a class without training pictures, so its only group goes there in any case.
    """
    num_groups = Counter((assigned[key], name) for key, counts in groups.items() for name in counts)
    for class_name in sorted({name for counts in groups.values() for name in counts}):
        for split in wanted:
            if num_groups[split, class_name]:
                continue
            spare = (
                key
                for key in movable
                if class_name in groups[key]
                and (split == TRAIN or all(num_groups[assigned[key], name] > 1 for name in groups[key]))
            )
            key = next(spare, None)
            if key is not None:
                num_groups.subtract((assigned[key], name) for name in groups[key])
                assigned[key] = split
                num_groups.update((split, name) for name in groups[key])


def complete_given(
    members: Mapping[str, tuple[str, str]],
    given: Mapping[str, str],
    met: Iterable[tuple[str, str]],
    *,
    validation: float,
    test: float,
    seed: int,
    move: bool,
) -> dict[str, str]:
    """Returns the split of every picture where some of them come with one.

    A split that is given stays as it is. One that nobody has is cut from the training pictures, as a fraction of them.
    A picture without a split goes where its group is held out, else it counts as one for training.

    Args:
      members: path -> its group and class.
      given: path -> its split.
      met: each group with a split that some of it are in, those that are left out included.
      validation: as of `assign_splits`, used if there is no validation split.
      test: as of `assign_splits`, used if there is no test split.
      seed: another seed cuts other pictures.
      move: whether a group that is held out in part is held out as a whole, in test if any of it is there.
    """
    held_out: dict[str, str] = {}
    for key, split in met:
        held_out[key] = max(held_out.get(key, TRAIN), split, key=SPLITS.index)
    present = set(given.values())
    side = {
        path: held_out.get(key, TRAIN) if move or path not in given else given[path]
        for path, (key, _) in members.items()
    }
    pool: dict[str, Counter[str]] = defaultdict(Counter)
    for path, (key, class_name) in members.items():
        if side[path] == TRAIN:
            pool[key][class_name] += 1
    cut = assign_splits(
        pool,
        validation=0.0 if VALIDATION in present else validation,
        test=0.0 if TEST in present else test,
        seed=seed,
    )
    return {path: cut[members[path][0]] if split == TRAIN else split for path, split in side.items()}


@dataclass(frozen=True)
class Leaks:
    """Groups that lie in several splits: their keys, the held-out pictures in them, and two that belong together."""

    keys: frozenset[str]
    num_held_out: int
    first: tuple[str, str]
    splits: tuple[str, str]

    def count(self) -> str:
        """Returns how many there are, in words."""
        number = "1 picture" if self.num_held_out == 1 else f"{self.num_held_out:,} pictures"
        belong = "belongs" if self.num_held_out == 1 else "belong"
        groups = "1 group" if len(self.keys) == 1 else f"{len(self.keys):,} groups"
        return f"{number} of the held-out splits {belong} to {groups} that other splits have too"

    def describe(self) -> str:
        """Returns how many there are, two of them, and what that means, without a full stop."""
        first, second = (f"{path} in {split}" for path, split in zip(self.first, self.splits))
        return f"{self.count()}, such as {first} and {second}: what is measured there is too good"


def find_leaks(placed: Mapping[str, tuple[str, str]]) -> Leaks | None:
    """Returns the groups that lie in several splits, if there are any, from the group and split of each path."""
    firsts: dict[str, dict[str, str]] = defaultdict(dict)
    for path, (key, split) in placed.items():
        firsts[key].setdefault(split, path)
    leaking = {key: found for key, found in firsts.items() if len(found) > 1}
    if not leaking:
        return None
    found = next(iter(leaking.values()))
    first, second = sorted(found, key=SPLITS.index)[:2]
    num_held_out = sum(key in leaking and split != TRAIN for key, split in placed.values())
    return Leaks(frozenset(leaking), num_held_out, (found[first], found[second]), (first, second))


def hash_key(seed: int, key: str) -> bytes:
    """Returns what a group's place in the order of groups is made of."""
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
