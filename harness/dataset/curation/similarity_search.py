"""Candidate pairs: which of many pictures may be near duplicates of one another, by their fingerprints alone.

It sees no pixels: near_duplicates.py confirms the pairs that are proposed here.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np

from harness.dataset.curation.fingerprints import COARSE_VIEWS, MIRROR, NORM, View, measure_likeness, predict
from harness.dataset.images.arrays import Array

Result = TypeVar("Result")

# The coarse views miss a copy by half a step, so their limit is low and the fine views decide: crops of 8 %
# and turns of 5 degrees reach 0.8, of a million random pairs of photographs two reach 0.77.
_MIN_COARSE_COSINE, _MIN_COSINE = 0.65, 0.77
_FEW = 2000  # so many are compared each with each
_MAX_COARSE_PAIRS, _MAX_PAIRS_OF_FEW, _MAX_PAIRS_OF_MANY = 24, 16, 8  # of one picture
_NUM_HOMES = 4
_CELL_LIMIT = 8  # times the mean: a bound on the work where many fingerprints crowd around one pivot
_BLOCK = 4096
_PAIRS = 8192  # that one task measures


class RunTasks(Protocol):
    """How a function is run on many tasks, perhaps in several processes."""

    def __call__(self, function: Callable[..., Result], tasks: Sequence[tuple[object, ...]]) -> list[Result]:
        """Returns `function(*task)` for each task, in the order of the tasks."""


def _run_here(function: Callable[..., Result], tasks: Sequence[tuple[object, ...]]) -> list[Result]:
    return [function(*task) for task in tasks]


def propose_pairs(fingerprints: Array, run: RunTasks = _run_here) -> Array:
    """Returns the pairs of pictures that may be near duplicates: `int64 [M, 2]`, each `i < j`, unique and sorted.

    Up to 2,000 different fingerprints are compared each with each. More are gathered in cells around some of them,
    2 * sqrt(N), and compared within a cell: the work grows with N * sqrt(N), and a few pairs are missed. Of those that
    are alike by a few views of one another the 24 most alike of each are measured by more views. A pair is proposed if
    it then is among the 16 most alike (beyond 2,000 fingerprints: 8) of one of its two, so M is at most 16 * N.

    Equal fingerprints are paired with the first of them and with the one before, not each with each. Where all differ
    the pairs do not depend on the order of the pictures.

    Args:
      fingerprints: `uint8 or int8 [N, FINGERPRINT_BYTES]`.
      run: returns the results of a function of this package for many tasks, perhaps from several processes: the search
        is divided by views, and what it found by thousands of pairs.
    """
    rows = np.ascontiguousarray(fingerprints).view(np.int8)
    seen = np.flatnonzero(rows.any(axis=1))
    order = seen[np.lexsort(rows[seen].view(np.int32).T)]
    if len(order) < 2:
        return np.zeros((0, 2), np.int64)
    is_new = np.append(True, (rows[order[1:]] != rows[order[:-1]]).any(axis=1))
    firsts = order[is_new]
    equal = np.flatnonzero(~is_new)
    with_first = np.stack([firsts[np.cumsum(is_new) - 1][equal], order[equal]], 1)
    with_previous = np.stack([order[equal - 1], order[equal]], 1)
    pairs = np.concatenate([with_first, with_previous, firsts[_find_alike(rows[firsts], run)]])
    unique: Array = np.unique(np.sort(pairs, axis=1), axis=0)
    return unique


def _find_alike(descriptors: Array, run: RunTasks) -> Array:
    """The pairs of rows of `int8 [U, F]`, all different, that are alike: int64 [M, 2]."""
    num = len(descriptors)
    is_few = num <= _FEW
    chosen = np.random.default_rng(0).choice(num, 1 if is_few else 2 * int(np.sqrt(num)), replace=False)
    pivots = descriptors[chosen].astype(np.float32)
    (cells,) = run(_fill_cells, [(descriptors, pivots)])
    found = run(_search_cells, [(descriptors, pivots, cells, view) for view in COARSE_VIEWS])
    codes, _ = _keep_best(found, num, _MAX_COARSE_PAIRS)
    likeness = _measure_likeness(descriptors, np.stack([codes // num, codes % num]), run)
    is_alike = likeness >= _MIN_COSINE * NORM**2
    alike = (codes[is_alike], likeness[is_alike])
    codes, _ = _keep_best([alike], num, _MAX_PAIRS_OF_FEW if is_few else _MAX_PAIRS_OF_MANY)
    return np.stack([codes // num, codes % num], 1)


def _search_cells(descriptors: Array, pivots: Array, cells: Sequence[Array], view: View) -> tuple[Array, Array]:
    """Codes `i * U + j` of pairs that are alike by one view, mirrored or not, with their products.

    A pair may come several times. Where there are too many, only the best of each row are kept: the best of all views
    are among them.
    """
    num, num_found = len(descriptors), 0
    found: list[tuple[Array, Array]] = [(np.zeros(0, np.int64), np.zeros(0, np.float32))]
    seen = np.concatenate([predict(block, (view,))[:, 0] for block in _split(descriptors)]).astype(np.int8)
    for asking in (seen, seen * MIRROR):
        asked = _nearest(asking, pivots, 1)[0][:, 0]
        order = np.argsort(asked, kind="stable")
        bounds = np.searchsorted(asked[order], np.arange(len(pivots) + 1))
        for cell, (start, stop) in zip(cells, pairwise(bounds)):
            living = descriptors[cell].T.astype(np.float32)
            for block in _split(order[start:stop]):
                rows, columns, products = _best_of_table(asking[block].astype(np.float32) @ living)
                i, j = block[rows], cell[columns]
                codes = np.minimum(i, j) * num + np.maximum(i, j)
                found.append((codes[i != j], products[i != j]))
                num_found += len(codes)
                if num_found > _MAX_COARSE_PAIRS * num + 1_000_000:
                    found, num_found = [_keep_best(found, num, _MAX_COARSE_PAIRS)], 0
    codes, products = (np.concatenate(part) for part in zip(*found))
    return codes, products


def _measure_likeness(descriptors: Array, ends: Array, run: RunTasks) -> Array:
    """The largest product of one of each pair, int64 [2, M], with a view of the other: float32 [M]."""
    tasks, places = [], []
    for shown, whole in (ends, ends[::-1]):
        order = np.argsort(whole, kind="stable")
        for part in np.split(order, range(_PAIRS, len(order), _PAIRS)) if len(order) else ():
            rows, pairs = np.unique([shown[part], whole[part]], return_inverse=True)
            tasks.append((descriptors[rows], pairs.reshape(2, -1).T))
            places.append(part)
    likeness = np.full(ends.shape[1], -np.inf, np.float32)
    for part, found in zip(places, run(measure_likeness, tasks)):
        likeness[part] = np.maximum(likeness[part], found)
    return likeness


def _split(rows: Array) -> list[Array]:
    return np.split(rows, range(_BLOCK, len(rows), _BLOCK))


def _fill_cells(descriptors: Array, pivots: Array) -> list[Array]:
    """The rows that live in each cell: every row in several, and no cell above its limit."""
    num_homes = min(_NUM_HOMES, len(pivots))
    homes, products = (table.ravel() for table in _nearest(descriptors, pivots, num_homes))
    order = np.lexsort((-products, homes))
    limit = _CELL_LIMIT * (len(homes) // len(pivots) + 1)
    bounds = np.searchsorted(homes[order], np.arange(len(pivots) + 1))
    return [order[start : min(stop, start + limit)] // num_homes for start, stop in pairwise(bounds)]


def _nearest(descriptors: Array, pivots: Array, num_nearest: int) -> tuple[Array, Array]:
    """The nearest pivots of every row, the nearest first, and the products with them: [N, num_nearest] each."""
    nearest = np.empty((len(descriptors), num_nearest), np.int32)
    products = np.empty((len(descriptors), num_nearest), np.float32)
    for start in range(0, len(descriptors), _BLOCK):
        # Whole numbers below 2**24: float32 is exact, so every machine finds the same pairs.
        table = descriptors[start : start + _BLOCK].astype(np.float32) @ pivots.T
        rows = np.arange(len(table))
        for rank in range(num_nearest):
            best = table.argmax(axis=1)
            nearest[start : start + _BLOCK, rank] = best
            products[start : start + _BLOCK, rank] = table[rows, best]
            table[rows, best] = -np.inf
    return nearest, products


def _best_of_table(table: Array) -> tuple[Array, Array, Array]:
    """Rows, columns and values of the table's large entries, a bounded number for every row."""
    most = _MAX_COARSE_PAIRS + 1  # a row also finds itself
    places = np.flatnonzero(table.ravel() >= _MIN_COARSE_COSINE * NORM**2)
    if len(places) > most * len(table):
        best = np.argpartition(-table, most, axis=1)[:, :most]
        is_best = np.zeros(table.shape, bool)
        np.put_along_axis(is_best, best, values=True, axis=1)
        places = places[is_best.ravel()[places]]
    rows, columns = np.divmod(places, table.shape[1])
    return rows, columns, table[rows, columns]


def _keep_best(found: list[tuple[Array, Array]], num: int, num_pairs_each: int) -> tuple[Array, Array]:
    """Each pair once, if it is among the most alike of one of its two rows."""
    codes = np.concatenate([part[0] for part in found])
    products = np.concatenate([part[1] for part in found])
    order = np.lexsort((-products, codes))
    order = order[np.diff(codes[order], prepend=-1) > 0]
    codes, products = codes[order], products[order]
    ends = np.concatenate([codes // num, codes % num])
    order = np.lexsort((np.tile(codes, 2), -np.tile(products, 2), ends))
    starts = np.flatnonzero(np.diff(ends[order], prepend=-1) > 0)
    lengths = np.diff(starts, append=len(order))
    ranks = np.arange(len(order)) - np.repeat(starts, lengths)
    is_kept = np.zeros(len(codes), bool)
    is_kept[order[ranks < num_pairs_each] % max(len(codes), 1)] = True
    return codes[is_kept], products[is_kept]
