"""Whether something other than the picture gives its label away: its file size, format, width, colour, camera.

Where one such figure alone tells the classes apart, a network may learn it and look well on every split of the same
folders. This file looks for that in figures measured elsewhere. It opens no picture and changes no data, and it sees
one figure at a time: what only two of them together give away, or a mark inside the picture, it does not find.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import cast

import numpy as np

from harness.dataset.images.arrays import Array, Floats, Ints

_NUM_FOLDS = 5
_MIN_GROUPS = 10  # two in each fold; even a perfect shortcut is hardly beyond doubt with fewer
_MAX_BINS = 16
_FALSE_ALARM = 0.01  # nominal, for all features of one call together where nothing gives the label away
_FOLD_SPREAD = 1.25  # measured on random labels: folds share three quarters of what they learn, so they err together


@dataclass(frozen=True)
class Shortcut:
    """How well one figure by itself tells the classes apart, on groups it was not learnt from.

    `balanced_accuracy` is the mean over classes of the share recognised, every group counting once in each of its
    classes; `chance` is what guessing reaches. `interval` is that of 95 %, of 90 % where a few classes are
    tiny and many large. It comes from the number of groups, as pictures of one group are no independent evidence.
    """

    feature: str
    balanced_accuracy: float
    chance: float
    interval: tuple[float, float]
    is_warning: bool

    @property
    def num_classes(self) -> int:
        """The classes that were looked at: those of ten groups or more."""
        return round(1 / self.chance)


def probe(features: Mapping[str, Array], labels: Sequence[str], groups: Sequence[str]) -> tuple[Shortcut, ...]:
    """Returns how well each feature alone predicts the label, in the order of `features`.

    Each feature is put through five-fold cross-validation that keeps groups whole. The classifier is naive Bayes over
    quantile bins: it takes sizes over ten powers of two, formats and colours alike, needs no scaling or iterations,
    outliers cannot pull it, and it finds a class that sits in the middle as well as one at an end. Bins and counts
    come from the training folds. Every class has the same weight, and a tie between classes shares the hit, so a
    feature that says nothing scores exactly chance.

    A warning needs two things. The balanced accuracy is above chance beyond doubt, more so the more features there
    are: of calls with five features that say nothing, about 0.5 % or fewer raise an alarm, and just under 2 % in the
    worst case tried, two classes of ten groups beside eight of 300. The interval of 95 % may thus lie above chance
    without a warning. And it is above by 0.1, or with more than five classes by half a class, 0.5 / num_classes, as one
    class of seven that is recognised by its format alone lifts the mean by only 1/7. Under 0.05 nothing warns, since a
    few hundredths is what the subjects themselves do to colour and file size: with over twenty classes a shortcut of a
    single one goes unseen.

    Classes with fewer than ten groups are left out, and `chance` counts those that remain. Where fewer than two remain
    there is no verdict and the result is empty.

    Args:
      features: name -> float64 [n, d], NaN being a value like any other, or strings [n].
      labels: the class names of n pictures.
      groups: the keys of their groups. The order of the pictures does not matter.
    """
    for name, values in features.items():
        if len(values) != len(labels):
            raise ValueError(f"{name} has {len(values)} values for {len(labels)} pictures")
    blocks = _make_blocks(labels, groups)
    if len(blocks.num_groups) < 2:
        return ()
    chance = 1 / len(blocks.num_groups)
    margin = min(0.1, max(0.05, chance / 2))
    found = []
    for name, values in features.items():
        hits = _measure_hits(np.asarray(values), blocks)
        recalls = np.bincount(blocks.label_of, weights=hits) / blocks.num_groups
        accuracy, error = float(recalls.mean()), _measure_error(hits, recalls, blocks)
        least = chance + max(margin, _quantile(1 - _FALSE_ALARM / len(features)) * error)
        found.append(Shortcut(name, accuracy, chance, _interval(hits, blocks), is_warning=accuracy >= least))
    return tuple(found)


def describe(found: Sequence[Shortcut]) -> list[str]:
    """Returns a sentence for the log for each warning."""
    return [
        f"the {shortcut.feature} alone {_tell(shortcut)} the classes apart: balanced accuracy "
        f"{shortcut.balanced_accuracy:.2f} in {_NUM_FOLDS}-fold cross-validation, chance {shortcut.chance:.2f}. A "
        "network may learn it instead of the pictures."
        for shortcut in found
        if shortcut.is_warning
    ]


def _tell(shortcut: Shortcut) -> str:
    return "tell" if " and " in shortcut.feature else "tells"


@dataclass(frozen=True)
class _Blocks:
    """The pictures of one class in one group make a block, which counts once, however many they are."""

    pictures: Ints  # [num_pictures], sorted by block; those of classes that are left out are missing
    block_of: Ints  # [num_pictures], the block of each of these
    sizes: Ints  # [num_blocks]
    label_of: Ints  # [num_blocks]
    group_of: Ints  # [num_blocks]
    fold_of: Ints  # [num_blocks]
    num_groups: Ints  # [num_classes]


def _make_blocks(labels: Sequence[str], groups: Sequence[str]) -> _Blocks:
    class_names, label_of = _number(labels)
    keys, group_of = _number(groups)
    num_classes = max(1, len(class_names))
    num_groups = np.bincount(np.unique(group_of * num_classes + label_of) % num_classes, minlength=num_classes)
    is_class_kept = num_groups >= _MIN_GROUPS
    kept = np.flatnonzero(is_class_kept[label_of])
    num_kept = max(1, int(is_class_kept.sum()))
    block_keys = group_of[kept] * num_kept + (np.cumsum(is_class_kept) - 1)[label_of[kept]]
    # Sums in the order of blocks are the same to the last bit in whichever order the pictures came.
    order = np.argsort(block_keys, kind="stable")
    blocks, block_of, sizes = np.unique(block_keys[order], return_inverse=True, return_counts=True)
    block_group, block_label = np.divmod(blocks, num_kept)
    return _Blocks(
        pictures=kept[order],
        block_of=block_of,
        sizes=sizes,
        label_of=block_label,
        group_of=block_group,
        fold_of=_deal_folds(keys, block_group, block_label),
        num_groups=num_groups[is_class_kept],
    )


def _number(values: Sequence[str]) -> tuple[list[str], Ints]:
    names = sorted(set(values))
    number = {name: i for i, name in enumerate(names)}
    return names, np.fromiter((number[value] for value in values), np.int64, len(values))


def _deal_folds(keys: Sequence[str], group_of: Ints, label_of: Ints) -> Ints:
    """Returns the fold of each block: each group goes, in the order of a hash, where its classes are fewest yet."""
    classes: dict[int, list[int]] = {}
    for group, label in zip(group_of.tolist(), label_of.tolist()):
        classes.setdefault(group, []).append(label)
    shares = (1 / np.maximum(1, np.bincount(label_of))).tolist()
    placed = [[0.0] * len(shares) for _ in range(_NUM_FOLDS)]
    sizes = [0] * _NUM_FOLDS
    fold_of = np.zeros(len(keys), np.int64)

    def hash_of(group: int) -> bytes:
        return hashlib.sha256(keys[group].encode()).digest()

    # Groups with several classes bind those together, so they are placed first, while there is room to even out.
    for group in sorted(classes, key=lambda group: (-len(classes[group]), hash_of(group))):
        fullness = [(sum([of_class[label] for label in classes[group]]), size) for of_class, size in zip(placed, sizes)]
        fold = fullness.index(min(fullness))
        for label in classes[group]:
            placed[fold][label] += shares[label]
        sizes[fold] += 1
        fold_of[group] = fold
    return fold_of[group_of]


def _measure_hits(values: Array, blocks: _Blocks) -> Floats:
    """Returns the share of each block's pictures whose class was recognised by a model of the other folds."""
    values = values[blocks.pictures]
    is_number = values.dtype.kind in "fiub"
    if is_number:
        columns = list(values.reshape(len(values), -1).astype(np.float64).T)
        orders = [np.argsort(column, kind="stable") for column in columns]
    else:
        categories = _number(values.tolist())[1]
    picture_labels, picture_folds = blocks.label_of[blocks.block_of], blocks.fold_of[blocks.block_of]
    hits = np.zeros(len(values))
    for fold in range(_NUM_FOLDS):
        is_learnt = blocks.fold_of != fold
        num_learnt = np.maximum(1, np.bincount(blocks.label_of[is_learnt], minlength=len(blocks.num_groups)))
        weights = (is_learnt / (blocks.sizes * num_learnt[blocks.label_of]))[blocks.block_of]
        if is_number:
            num_bins = min(_MAX_BINS, max(2, math.isqrt(num_learnt.min())))
            codes = [_bin(column, order, weights, num_bins) for column, order in zip(columns, orders)]
        else:
            codes = [categories]
        tables = [_learn(code, picture_labels, weights, num_learnt) for code in codes]
        held = np.flatnonzero(picture_folds == fold)
        hits[held] = _score(tables, [code[held] for code in codes], picture_labels[held])
    return np.bincount(blocks.block_of, weights=hits) / blocks.sizes


def _bin(column: Floats, order: Ints, weights: Floats, num_bins: int) -> Ints:
    """Returns the bin of each value, the edges being quantiles of those that have a weight.

    A value that is an edge has a bin of its own: where half the pictures are 48 pixels wide, 48 stays apart from 47.
    """
    reached = np.cumsum(weights[order])
    wanted = reached[-1] * np.arange(1, num_bins) / num_bins
    edges = np.unique(np.append(column[order][np.searchsorted(reached, wanted)], np.nan))
    return np.searchsorted(edges, column, side="left") + np.searchsorted(edges, column, side="right")


def _learn(code: Ints, labels: Ints, weights: Floats, num_learnt: Ints) -> Floats:
    """Returns float64 [num_codes, num_classes]: the log of each class's share in a bin, one added to each count.

    Every class counts as if it had as many groups as the smallest, else what no class has would speak for that one.
    """
    num_codes, num_classes = int(code.max()) + 1, len(num_learnt)
    shares = np.bincount(code * num_classes + labels, weights=weights, minlength=num_codes * num_classes)
    logs: Floats = np.log(shares.reshape(num_codes, num_classes) * num_learnt.min() + 1)
    return logs


def _score(tables: Sequence[Floats], codes: Sequence[Ints], labels: Ints) -> Floats:
    """Returns 1 where the likeliest class is the label, 0 where it is not, and a share where several are likeliest."""
    cell_of = np.zeros(len(labels), np.int64)
    for code in codes:
        _, first, cell_of = np.unique(cell_of * (code.max() + 1) + code, return_index=True, return_inverse=True)
    scores = cast(Floats, sum(table[code[first]] for table, code in zip(tables, codes)))
    is_best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    shares: Floats = is_best[cell_of, labels] / is_best.sum(axis=1)[cell_of]
    return shares


def _measure_error(hits: Floats, recalls: Floats, blocks: _Blocks, *, num_added: float = 0.0) -> float:
    """Returns the standard error of the mean of the classes' recalls, each with `num_added` groups more.

    Blocks of one group vary together. The error is at least that of guessing: a class that no fold ever guesses does
    not vary between groups, but would between data sets.
    """
    chance = 1 / len(recalls)
    scale = len(recalls) * (blocks.num_groups + num_added)
    of_group = np.bincount(blocks.group_of, weights=(hits - recalls[blocks.label_of]) / scale[blocks.label_of])
    of_added = num_added * (chance * (1 - recalls) ** 2 + (1 - chance) * recalls**2) / scale**2
    of_guessing = chance * (1 - chance) * (blocks.num_groups + num_added) / scale**2
    return _FOLD_SPREAD * math.sqrt(max((of_group**2).sum() + of_added.sum(), of_guessing.sum()))


def _interval(hits: Floats, blocks: _Blocks) -> tuple[float, float]:
    """Returns the 95 % interval after Agresti and Coull (1998), on groups.

    z^2 made-up groups, dealt evenly to the classes and guessed by chance, keep it wide where all of a few were hit.
    """
    z = _quantile(0.975)
    num_classes = len(blocks.num_groups)
    num_added = z * z / num_classes
    sums = np.bincount(blocks.label_of, weights=hits) + num_added / num_classes
    recalls = sums / (blocks.num_groups + num_added)
    centre, spread = float(recalls.mean()), z * _measure_error(hits, recalls, blocks, num_added=num_added)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
