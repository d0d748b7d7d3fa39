"""How well scores rank the pictures of a class above the others: areas under the ROC and precision-recall curves.

All resamples of a bootstrap are measured at once; scikit-learn's functions take one at a time, with the same result.
"""

from functools import cached_property

import numpy as np

from harness.dataset.images.arrays import Array, Floats, Ints


class Ranking:
    """Pictures in the order of their scores, to be measured under many weightings."""

    def __init__(self, is_positive: Array, scores: Array) -> None:
        """Sorts the pictures, highest score first.

        Args:
          is_positive: bool [n], whether each is of the class.
          scores: float [n].
        """
        self._order = np.argsort(-scores, kind="stable")
        self._is_positive = is_positive[self._order].astype(np.float64)
        self._sorted = scores[self._order]

    @cached_property
    def _ends(self) -> Ints:
        """The last of each run of equal scores."""
        return np.append(np.flatnonzero(np.diff(self._sorted)), len(self._sorted) - 1)

    def measure(self, weights: Floats) -> tuple[Floats, Floats]:
        """Returns the area under the ROC curve [b], ties counting half, and the average precision [b].

        Both are NaN where only pictures of the class, or none of it, have a weight.

        Args:
          weights: float64 [b, n], in the order of the pictures.
        """
        placed = weights[:, self._order]
        hits = np.cumsum(placed * self._is_positive, axis=1)[:, self._ends]
        taken = np.cumsum(placed, axis=1)[:, self._ends]
        misses = taken - hits
        new_hits, new_misses = np.diff(hits, prepend=0.0), np.diff(misses, prepend=0.0)
        num_hits, num_misses = hits[:, -1], misses[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (new_misses * (hits - new_hits / 2)).sum(axis=1) / (num_hits * num_misses)
            precision = np.where(taken > 0, hits / taken, 0.0)
            average = (new_hits * precision).sum(axis=1) / num_hits
        average[num_misses == 0] = np.nan
        return area, average
