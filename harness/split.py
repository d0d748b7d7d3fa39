"""Which split a group of pictures belongs to: a pure function. It reads no files and knows no pictures."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


def assign_splits(
    groups: Mapping[str, Mapping[str, int]], *, validation: float, test: float = 0.0, seed: int = 0
) -> dict[str, str]:
    """Assigns each group as a whole to one split, so that every class has about the wanted share in each.

    Groups are taken in the order of a hash of seed and key, which does not depend on the order of files. Each goes to
    the split that is furthest behind in the group's classes (Sainte-Laguë's rule for seats). A class with as many
    groups as there are splits is in all of them.

    Args:
      groups: group key -> class name -> number of pictures.
      validation: wanted share of the pictures of each class, as a fraction.
      test: wanted share of a test split; 0 makes none.
      seed: another seed gives another split.

    Returns:
      Group key -> "train", "validation" or "test".
    """
    shares = {TRAIN: 1.0 - validation - test, VALIDATION: validation, TEST: test}
    wanted = [name for name in SPLITS if shares[name] > 0]
    totals = Counter[str]()
    for counts in groups.values():
        totals.update(counts)
    placed = {name: Counter[str]() for name in wanted}
    assigned: dict[str, str] = {}

    def fullness(split: str, group: Mapping[str, int]) -> float:
        parts = [n * (placed[split][name] + n / 2) / (shares[split] * totals[name]) for name, n in group.items()]
        return sum(parts) / sum(group.values())

    # Groups with several classes bind those together, so they are placed first, while there is room to even out.
    order = sorted(groups, key=lambda key: (-len(groups[key]), _hash(seed, key)))
    for key in order:
        assigned[key] = min(wanted, key=lambda split: (fullness(split, groups[key]), SPLITS.index(split)))
        placed[assigned[key]].update(groups[key])
    _fill_empty(assigned, groups, order, wanted)
    return assigned


def _fill_empty(
    assigned: dict[str, str], groups: Mapping[str, Mapping[str, int]], order: Sequence[str], wanted: Sequence[str]
) -> None:
    """Moves one group to each split that lacks a class, from a split where the group's classes have another."""

    def num_groups(split: str, class_name: str) -> int:
        return sum(assigned[key] == split and class_name in groups[key] for key in groups)

    for class_name in sorted({name for counts in groups.values() for name in counts}):
        for split in wanted:
            if num_groups(split, class_name):
                continue
            spare = (
                key
                for key in reversed(order)
                if class_name in groups[key] and all(num_groups(assigned[key], name) > 1 for name in groups[key])
            )
            key = next(spare, None)
            if key is not None:
                assigned[key] = split


def _hash(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
