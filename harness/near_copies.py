"""Near copies of pictures: a short fingerprint proposes pairs, a comparison of the aligned pixels confirms them.

A near copy is the same picture encoded again, resized, mirrored, brightened, cropped a little or turned a little. A
picture of the same thing taken a moment later is none. This file reads no files and decides nothing: what becomes of
two near copies is the caller's.
"""

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np

from harness import alignment
from harness.fingerprints import COARSE_VIEWS, MIRROR, NORM, measure_likeness, predict

# The search. The coarse views miss a copy by half a step, so their limit is low and the fine views decide: crops of 8 %
# and turns of 5 degrees reach 0.8, of a million random pairs of photographs two reach 0.77.
_MIN_COARSE_COSINE, _MIN_COSINE = 0.65, 0.77
_FEW = 2000  # so many are compared each with each
_MAX_COARSE_PAIRS, _MAX_PAIRS_OF_FEW, _MAX_PAIRS_OF_MANY = 24, 16, 8  # of one picture
_NUM_HOMES = 4
_CELL_LIMIT = 8  # times the mean: a bound on the work where many fingerprints crowd around one pivot
_BLOCK = 4096

# The comparison.
_MIN_GAIN, _MAX_GAIN = 0.55, 1.8
_CLIPPED_BELOW, _CLIPPED_ABOVE = 4, 251
_MIN_FIT = 300  # of 12,288 values
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_WINDOW_SIDE = 8
_LEAST_CONTRAST = 8.0  # grey levels; for a paler picture the residual is measured against this
# Nearly all near copies of the sample's drawings stay below 0.15. The nearest two drawings, which differ in the size of
# the mouth, come to 0.31, the two views of a stereo camera to 0.38.
_MAX_RESIDUAL = 0.24
_MAX_SHRUNK_RESIDUAL = 0.5  # near copies stay below 0.4, proposed pairs of different photographs begin at 0.9


def propose_pairs(fingerprints: np.ndarray) -> np.ndarray:
    """Returns the pairs of pictures that may be near copies: `int64 [M, 2]`, each `i < j`, unique and sorted.

    Up to 2,000 different fingerprints are compared each with each. More are gathered in cells around some of them,
    2 * sqrt(N), and compared within a cell: the work grows with N * sqrt(N), and a few pairs are missed. Of those that
    are alike by a few views of one another the 24 most alike of each are measured by more views. A pair is proposed if
    it then is among the 16 most alike (beyond 2,000 fingerprints: 8) of one of its two, so M is at most 16 * N.

    Equal fingerprints are paired with the first of them and with the one before, not each with each. Where all differ
    the pairs do not depend on the order of the pictures.

    Args:
      fingerprints: `uint8 or int8 [N, FINGERPRINT_BYTES]`.
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
    pairs = np.concatenate([with_first, with_previous, firsts[_find_alike(rows[firsts])]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _find_alike(descriptors: np.ndarray) -> np.ndarray:
    """The pairs of rows of `int8 [U, F]`, all different, that are alike: int64 [M, 2]."""
    num = len(descriptors)
    is_few = num <= _FEW
    chosen = np.random.default_rng(0).choice(num, 1 if is_few else 2 * int(np.sqrt(num)), replace=False)
    pivots = descriptors[chosen].astype(np.float32)
    found, num_found = [(np.zeros(0, np.int64), np.zeros(0, np.float32))], 0
    for codes, products in _search_cells(descriptors, pivots):
        found.append((codes, products))
        num_found += len(codes)
        if num_found > _MAX_COARSE_PAIRS * num + 1_000_000:
            found, num_found = [_keep_best(found, num, _MAX_COARSE_PAIRS)], 0
    codes, _ = _keep_best(found, num, _MAX_COARSE_PAIRS)
    likeness = measure_likeness(descriptors, np.stack([codes // num, codes % num], 1))
    is_alike = likeness >= _MIN_COSINE * NORM**2
    alike = (codes[is_alike], likeness[is_alike])
    codes, _ = _keep_best([alike], num, _MAX_PAIRS_OF_FEW if is_few else _MAX_PAIRS_OF_MANY)
    return np.stack([codes // num, codes % num], 1)


def _search_cells(descriptors: np.ndarray, pivots: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields codes `i * U + j` of pairs that are alike, with their products; a pair may come several times."""
    num = len(descriptors)
    cells = _fill_cells(descriptors, pivots)
    for view in COARSE_VIEWS:
        seen = np.concatenate([predict(block, (view,))[:, 0] for block in _split(descriptors)]).astype(np.int8)
        for asking in (seen, seen * MIRROR):
            asked = _nearest(asking, pivots, 1)[0][:, 0]
            order = np.argsort(asked, kind="stable")
            bounds = np.searchsorted(asked[order], np.arange(len(pivots) + 1))
            for cell, (start, stop) in zip(cells, pairwise(bounds)):
                living = descriptors[cell].T.astype(np.float32)
                for block in _split(order[start:stop]):
                    table = asking[block].astype(np.float32) @ living
                    rows, columns, products = _best_of_table(table)
                    i, j = block[rows], cell[columns]
                    yield (np.minimum(i, j) * num + np.maximum(i, j))[i != j], products[i != j]


def _split(rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, range(_BLOCK, len(rows), _BLOCK))


def _fill_cells(descriptors: np.ndarray, pivots: np.ndarray) -> list[np.ndarray]:
    """The rows that live in each cell: every row in several, and no cell above its limit."""
    num_homes = min(_NUM_HOMES, len(pivots))
    homes, products = (table.ravel() for table in _nearest(descriptors, pivots, num_homes))
    order = np.lexsort((-products, homes))
    limit = _CELL_LIMIT * (len(homes) // len(pivots) + 1)
    bounds = np.searchsorted(homes[order], np.arange(len(pivots) + 1))
    return [order[start : min(stop, start + limit)] // num_homes for start, stop in pairwise(bounds)]


def _nearest(descriptors: np.ndarray, pivots: np.ndarray, num_nearest: int) -> tuple[np.ndarray, np.ndarray]:
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


def _best_of_table(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _keep_best(
    found: list[tuple[np.ndarray, np.ndarray]], num: int, num_pairs_each: int
) -> tuple[np.ndarray, np.ndarray]:
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


def are_near_copies(first: np.ndarray, second: np.ndarray) -> bool:
    """Tells whether one of two pictures, `uint8 [S, S, 3]`, is a near copy of the other; their order does not matter.

    The second is laid on the first by a small affine change, mirrored if that is needed. What then differs after one
    change of brightness and contrast is judged where it is largest, not on the whole: two drawings of a face may differ
    in nothing but the mouth.
    """
    if first.tobytes() > second.tobytes():
        first, second = second, first
    one, two = _soften(first), _soften(second)
    whole = np.ones(one.shape[:2], bool)
    for other in (two, np.ascontiguousarray(two[:, ::-1])):
        greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, other)]
        start = alignment.find_coarse_warp(*greys)
        if start is None:
            continue
        if _residual(one, other, whole) <= _MAX_RESIDUAL:
            return True
        if _shrunk_residual(*alignment.overlay(one, other, start)) > _MAX_SHRUNK_RESIDUAL:
            continue
        warp = alignment.refine_warp(*greys, start)
        if warp is not None and _residual(*alignment.overlay(one, other, warp)) <= _MAX_RESIDUAL:
            return True
    return False


def _soften(pixels: np.ndarray) -> np.ndarray:
    """The picture as float32 [SIDE, SIDE, 3] without its finest detail."""
    small = cv2.resize(pixels, (alignment.SIDE, alignment.SIDE), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.7)


def _residual(one: np.ndarray, two: np.ndarray, covered: np.ndarray) -> float:
    """The largest difference of any window, as a share of the contrast, in the better of the two directions."""
    residual = _residual_after_fit(one, two, covered)
    if residual > 4 * _MAX_RESIDUAL:  # more than clipping in one direction explains
        return residual
    return min(residual, _residual_after_fit(two, one, covered))


def _shrunk_residual(one: np.ndarray, two: np.ndarray, covered: np.ndarray) -> float:
    """As `_residual`, at half the size, where a coarse warp is off by less than a pixel: far cheaper than to refine."""
    one, two, share = (cv2.pyrDown(image) for image in (one, two, covered.astype(np.float32)))
    covered = share > 0.99
    return min(_residual_after_fit(one, two, covered), _residual_after_fit(two, one, covered))


def _residual_after_fit(source: np.ndarray, target: np.ndarray, covered: np.ndarray) -> float:
    """As `_residual`, of the target against the source brightened to fit; what the change clips does not count."""
    fitted = _brighten(source, target, covered)
    if fitted is None:
        return np.inf
    # A pixel may come from any of its neighbours: what is left of a shift is no difference.
    error = np.zeros(source.shape, np.float32)
    for image, other in ((fitted, target), (target, fitted)):
        lowest, highest = cv2.erode(other, _NEIGHBOURS), cv2.dilate(other, _NEIGHBOURS)
        error = np.maximum(error, np.maximum(image - highest, lowest - image))
    squared = (error * error).mean(axis=2) * covered
    size = (_WINDOW_SIDE, _WINDOW_SIDE)
    counted = cv2.boxFilter(covered.astype(np.float32), -1, size, borderType=cv2.BORDER_CONSTANT)
    windows = cv2.boxFilter(squared, -1, size, borderType=cv2.BORDER_CONSTANT) / np.maximum(counted, 0.5)
    contrast = np.sqrt(target[covered].var(axis=0).mean())  # of each colour by itself: a red wall has none
    return float(np.sqrt(windows.max()) / max(contrast, _LEAST_CONTRAST))


def _brighten(source: np.ndarray, target: np.ndarray, covered: np.ndarray) -> np.ndarray | None:
    """The source after the gain and offset that come nearest to the target, or None if the gain is not a small one."""
    is_fit = np.broadcast_to(covered[:, :, None], source.shape)
    for image in (source, target):  # beside a clipped pixel a softened one is clipped in part
        lowest, highest = cv2.erode(image, _NEIGHBOURS), cv2.dilate(image, _NEIGHBOURS)
        is_fit = is_fit & (lowest > _CLIPPED_BELOW) & (highest < _CLIPPED_ABOVE)
    if is_fit.sum() < _MIN_FIT:
        is_fit = np.broadcast_to(covered[:, :, None], source.shape)
    before, after = source[is_fit].astype(np.float64), target[is_fit].astype(np.float64)
    deviation = before - before.mean()
    gain = (deviation * after).sum() / max((deviation * deviation).sum(), 1e-9)
    if not _MIN_GAIN <= gain <= _MAX_GAIN:
        return None
    return np.clip(gain * (source - before.mean()) + after.mean(), 0, 255).astype(np.float32)
