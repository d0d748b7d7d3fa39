"""By how much two ways of training differ on the same pictures, with the interval that chance leaves.

Two kinds of chance are in such a difference: which pictures were there, and which seeds. Pictures of one group are not
independent, and a seed changes the answers to all pictures of its run. Both are counted by the variance of Cameron,
Gelbach and Miller (2011, "Robust inference with multiway clustering"), and what few groups and seeds leave open by
Student's t with the degrees of freedom of Welch and Satterthwaite.

Resampling groups and seeds together (Owen, 2007, "The pigeonhole bootstrap") does worse. With three seeds its 95 %
interval held the truth in 80 to 83 % of simulations in which seeds differ as a whole, since three values are too few to
resample, and in over 99 % of those in which they differ on single pictures only, which it counts three times.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.dataset.images.arrays import Array
from harness.results.statistics import intervals

_TAIL = 0.025  # of chance, beyond each end of an interval


@dataclass(frozen=True)
class Difference:
    """A mean difference, and the ends of its 95 % interval; these are infinite where nothing tells of the chance."""

    mean: float
    low: float
    high: float


def estimate(
    first: np.ndarray, second: np.ndarray, groups: Sequence[str] | Array, *, is_share: bool = False
) -> Difference:
    """Returns the mean of the first minus that of the second, with its 95 % interval.

    Seeds are counted as unrelated between the two. If either has one seed only, the interval holds the chance of the
    pictures alone. Where all groups of pictures differ alike there is no variance to tell of chance. Then as many of
    all groups may differ otherwise as leave a chance of 2.5 % to see none: of shares the interval says how far these
    could move the mean.

    Args:
      first: float [num_seeds, n], a figure of each picture, such as its loss, for each seed.
      second: float [num_seeds, n], the same for the other way of training, of the same pictures.
      groups: the group of each picture, by name or number.
      is_share: whether the figures are right answers, so that no difference is below -1 or above 1.
    """
    mean, error, freedom = _measure(first, second, groups)
    half = intervals.student(freedom) * error if error and math.isfinite(error) else error
    if is_share and not error:
        unseen = 1 - _TAIL ** (1 / _count(groups))
        return Difference(mean, mean - (1 + mean) * unseen, mean + (1 - mean) * unseen)
    return Difference(mean, mean - half, mean + half)


def p_value(first: np.ndarray, second: np.ndarray, groups: Sequence[str] | Array, *, is_share: bool = False) -> float:
    """Returns how probable so large a difference is by chance, of either sign: below 0.05 where `estimate` excludes 0.

    Args:
      first: float [num_seeds, n], as of `estimate`.
      second: float [num_seeds, n], as of `estimate`.
      groups: as of `estimate`.
      is_share: as of `estimate`.
    """
    mean, error, freedom = _measure(first, second, groups)
    if not mean or math.isinf(error):
        return 1.0
    if error:
        return intervals.student_tail(abs(mean) / error, freedom)
    # Of shares what `estimate` says, turned round; where each picture differs by 1 it is the sign test.
    return min(1.0, 2 * (1 + abs(mean)) ** -_count(groups)) if is_share else 0.0


def test_exactly(num_won: int, num_lost: int) -> float:
    """Returns the p-value of McNemar's exact test (1947) for pictures that only one of two runs gets right."""
    from scipy.stats import binomtest  # takes a second to import

    total = num_won + num_lost
    return float(binomtest(num_won, total).pvalue) if total else 1.0


def _count(groups: Sequence[str] | Array) -> int:
    return len(set(np.asarray(groups, object).tolist()))


def _measure(first: np.ndarray, second: np.ndarray, groups: Sequence[str] | Array) -> tuple[float, float, float]:
    """The mean difference, its standard error, infinite where nothing tells of it, and its degrees of freedom."""
    _, members = np.unique(np.asarray(groups, object), return_inverse=True)
    sides = [_Side(values.astype(np.float64), members) for values in (first, second)]
    mean = float(sides[0].mean - sides[1].mean)
    num_groups = int(members.max()) + 1
    if num_groups == 1:
        return mean, math.inf, 1.0
    scale = num_groups / (num_groups - 1)
    by_group = scale * float(np.square(sides[0].by_group - sides[1].by_group).sum())
    by_seed, shared = [0.0, 0.0], 0.0
    if all(side.num_seeds > 1 for side in sides):
        by_seed, shared = [side.seed_variance for side in sides], scale * sum(side.shared_variance for side in sides)
    total = by_group + sum(by_seed)
    if not total:
        return mean, 0.0, 1.0
    # What is of one seed and one group is in both variances. The difference of estimates may fall below either.
    variance = max(total - shared, by_group, sum(by_seed))
    seeds = [part**2 / (side.num_seeds - 1) for part, side in zip(by_seed, sides) if part]
    return mean, math.sqrt(variance), total**2 / (by_group**2 / (num_groups - 1) + sum(seeds))


class _Side:
    """One of the two: its mean, and the parts of its variance."""

    def __init__(self, values: np.ndarray, members: np.ndarray) -> None:
        num_pictures = values.shape[1]
        self.num_seeds = len(values)
        of_seed = values.mean(axis=1)
        self.mean = of_seed.mean()
        # By how much each group moves the mean of each seed.
        moves = np.stack([np.bincount(members, row) for row in values - of_seed[:, None]]) / num_pictures
        self.by_group = moves.mean(axis=0)
        pairs = self.num_seeds * (self.num_seeds - 1)
        self.seed_variance = float(np.square(of_seed - self.mean).sum()) / max(pairs, 1)
        self.shared_variance = float(np.square(moves - self.by_group).sum()) / max(pairs, 1)
