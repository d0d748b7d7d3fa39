"""95 % intervals of figures of pictures that come in groups: the same person, near copies of one picture.

Pictures of one group are right or wrong together, so groups are counted and not pictures. A share of pictures has the
interval of Wilson (1927) on the effective sample size, with Student's t of one degree of freedom less than there are
groups. Any other figure has the bootstrap of whole groups (Davison and Hinkley, 1997, "Bootstrap methods", 3.8), whose
levels are moved outwards as Hesterberg (2015, "What teachers should know about the bootstrap") does it for few groups.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from harness.dataset.images.arrays import Array, Floats, Ints

Interval = tuple[float, float]
Figures = Callable[[Floats], Mapping[str, Floats]]  # of weights [b, n]: the figures [b] of each resample, by name

NORMAL = 1.959964  # the standard normal distribution is below with probability 0.975
_UPPER = 0.975
_MOST_RESAMPLES, _LEAST_RESAMPLES = 1000, 200
_MOST_WORK = 100_000_000  # weights looked at, some seconds; more pictures have fewer resamples, and vary less
_WEIGHTS_AT_ONCE = 2_000_000


def number_groups(groups: Sequence[str]) -> Ints:
    """Returns the number of each picture's group, int64 [n], from 0 in the order of the names."""
    _, members = np.unique(np.asarray(groups, object), return_inverse=True)
    return members.reshape(-1)


def describe(interval: Interval | None, digits: int = 3) -> str:
    """Returns an interval as text, "unknown" where there is none."""
    return "unknown" if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def wilson(share: float, total: float, quantile: float = NORMAL) -> Interval:
    """Returns the interval of a proportion after Wilson, which holds for small and extreme counts too.

    Args:
      share: of successes, 0 to 1.
      total: number of trials, which need not be whole.
      quantile: of the normal distribution, or what takes its place.
    """
    square = quantile * quantile
    centre = share + square / (2 * total)
    spread = quantile * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def of_share(is_hit: Array, members: Ints) -> Interval | None:
    """Returns the interval of the share of pictures that are hits; None without pictures.

    Several pictures of one single group tell nothing: their interval is 0 to 1. Where each picture is a group of its
    own, this is Wilson's interval.

    Args:
      is_hit: bool [n].
      members: int [n], the group of each picture.
    """
    if not len(is_hit):
        return None
    _, members = np.unique(members, return_inverse=True)
    sizes, hits = np.bincount(members), np.bincount(members, is_hit.astype(np.float64))
    total, num_groups = len(is_hit), len(sizes)
    share = float(hits.sum() / total)
    if num_groups == total:
        return wilson(share, total)
    if num_groups == 1:
        return 0.0, 1.0
    return wilson(share, _effective_size(hits, sizes, share), student(num_groups - 1))


def _effective_size(hits: Array, sizes: Ints, share: float) -> float:
    """How many independent pictures would tell as much: their number by the design effect (Kish, 1965).

    Where all are right or all wrong, nothing tells how alike the pictures of a group are, and they count as one.
    """
    total, num_groups = float(sizes.sum()), len(sizes)
    if share in (0.0, 1.0):
        return total**2 / float(np.square(sizes).sum())
    variance = num_groups / (num_groups - 1) * float(np.square(hits - share * sizes).sum()) / total**2
    return total / max(1.0, variance * total / (share * (1 - share)))


def bootstrap(figures: Figures, members: Ints, *, width: int = 1, seed: int = 0) -> dict[str, Interval | None]:
    """Returns the interval of each figure by drawing whole groups again and again.

    A figure has none where there is one group only, where most resamples lack what it is about, where all give the same
    value, or where nearly all lie on one side of the figure itself: it is then another one in them.

    Args:
      figures: gives the figures of weighted pictures, NaN where one is not defined.
      members: int [n], the group of each picture, from 0.
      width: how often the figures look at each weight, about; with much work there are fewer resamples.
      seed: of the drawing.
    """
    num_groups = int(members.max()) + 1
    whole = figures(np.ones((1, len(members))))
    if num_groups == 1:
        return dict.fromkeys(whole)
    drawn = [figures(weights) for weights in _resample(members, width, seed)]
    values = {name: np.concatenate([part[name] for part in drawn]) for name in whole}
    return {name: _cut(found, float(whole[name][0]), num_groups) for name, found in values.items()}


def _resample(members: Ints, width: int, seed: int) -> Iterator[Floats]:
    """Yields weights of pictures [b, n]: how often each one's group was drawn, of as many draws as there are groups."""
    random, num_groups = np.random.default_rng(seed), int(members.max()) + 1
    num_left = max(_LEAST_RESAMPLES, min(_MOST_RESAMPLES, _MOST_WORK // (len(members) * width)))
    at_once = max(1, _WEIGHTS_AT_ONCE // len(members))
    while num_left > 0:
        num = min(at_once, num_left)
        draws = random.integers(num_groups, size=(num, num_groups)) + num_groups * np.arange(num)[:, None]
        counts = np.bincount(draws.ravel(), minlength=num * num_groups).reshape(num, num_groups)
        yield counts[:, members].astype(np.float64)
        num_left -= num


def _cut(values: Floats, value: float, num_groups: int) -> Interval | None:
    from scipy.special import ndtr

    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values) or known.min() == known.max():
        return None
    # Resampled groups vary less than groups do, by (G - 1) / G, and few of them less surely.
    level = float(ndtr(-student(num_groups - 1) * math.sqrt(num_groups / (num_groups - 1))))
    low, high = np.quantile(known, [level, 1 - level])
    return (float(low), float(high)) if low <= value <= high else None


def student(freedom: float) -> float:
    """Returns what Student's t with these degrees of freedom is below with probability 0.975."""
    from scipy.special import stdtrit  # takes half a second to import

    return float(stdtrit(freedom, _UPPER))


def student_tail(value: float, freedom: float) -> float:
    """Returns the probability that Student's t with these degrees of freedom is farther from 0 than a value."""
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(value)))
