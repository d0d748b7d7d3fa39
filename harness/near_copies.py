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

_FREQUENCIES = 8
FINGERPRINT_BYTES = _FREQUENCIES * _FREQUENCIES

# The fingerprint: low frequencies of a small grey picture whose sides fade out, since a crop or a turn changes the
# sides most. Without the fading half of the slight crops are farther apart than many pairs of different drawings.
_GREY_SIDE = 32
_FADE = 0.3
_NORM = 127
_MIN_CONTRAST = 1.0  # root mean square of the low frequencies in grey levels; below, there is only noise to compare

# The search. A copy may be a crop: each fingerprint also asks as its own crops (left, right, top, bottom) would look.
_CROPS = (
    *((0.0, 0.0, 0.0, 0.0), (0.07, 0.07, 0.07, 0.07)),
    *((0.0, 0.08, 0.0, 0.08), (0.0, 0.08, 0.08, 0.0), (0.08, 0.0, 0.0, 0.08), (0.08, 0.0, 0.08, 0.0)),
    *((0.0, 0.08, 0.04, 0.04), (0.08, 0.0, 0.04, 0.04), (0.04, 0.04, 0.0, 0.08), (0.04, 0.04, 0.08, 0.0)),
)
_MIN_COSINE = 0.75
_FEW = 2000  # so many are compared each with each
_MAX_PAIRS_OF_FEW, _MAX_PAIRS_OF_MANY = 16, 8  # of one picture: to confirm a pair takes milliseconds
_NUM_HOMES = 3
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


def _cosines(size: int, positions: np.ndarray) -> np.ndarray:
    """The orthonormal cosine basis of `size` samples, at any positions in [0, 1]: float64 [_FREQUENCIES, positions]."""
    basis = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), positions)) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis


_CENTRES = (np.arange(_GREY_SIDE) + 0.5) / _GREY_SIDE
_EDGE_DISTANCE = np.minimum(_CENTRES, 1 - _CENTRES)
_FADING = np.where(_EDGE_DISTANCE < _FADE, 0.5 - 0.5 * np.cos(np.pi * _EDGE_DISTANCE / _FADE), 1.0)
_WEIGHTS = np.outer(_FADING, _FADING) / _FADING.sum() ** 2
_FADING_COSINES = _cosines(_GREY_SIDE, _CENTRES) * _FADING
_MIRROR = np.tile(np.where(np.arange(_FREQUENCIES) % 2, -1, 1), _FREQUENCIES).astype(np.int8)


def _crop_operator(left: float, right: float, top: float, bottom: float) -> np.ndarray:
    """The matrix that takes a picture's low frequencies to about those of its crop."""
    plain = _cosines(_GREY_SIDE, _CENTRES)
    rows = plain @ _cosines(_GREY_SIDE, top + _CENTRES * (1 - top - bottom)).T
    columns = plain @ _cosines(_GREY_SIDE, left + _CENTRES * (1 - left - right)).T
    return np.kron(rows, columns)


_CROP_OPERATORS = tuple(_crop_operator(*crop) for crop in _CROPS)


def fingerprint(pixels: np.ndarray) -> bytes:
    """Returns the fingerprint of `uint8 [S, S, 3]`: FINGERPRINT_BYTES of int8, all zero where there is nothing to see.

    It does not depend on the picture's brightness and contrast, and little on its size.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GREY_SIDE, _GREY_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    coefficients = _FADING_COSINES @ (small - (small * _WEIGHTS).sum()) @ _FADING_COSINES.T
    coefficients[0, 0] = 0
    norm = np.sqrt((coefficients * coefficients).sum())
    if norm < _MIN_CONTRAST * (_FADING**2).sum():
        return bytes(FINGERPRINT_BYTES)
    return np.rint(coefficients * (_NORM / norm)).astype(np.int8).tobytes()


def propose_pairs(fingerprints: np.ndarray) -> np.ndarray:
    """Returns the pairs of pictures that may be near copies: `int64 [M, 2]`, each `i < j`, unique and sorted.

    Up to 2,000 different fingerprints are compared each with each. More are gathered in cells around some of them,
    2 * sqrt(N), and compared within a cell: the work grows with N * sqrt(N), and a few pairs are missed. A pair is
    proposed if it is among the 16 most alike (beyond 2,000 fingerprints: 8) of one of its two, so M is at most 16 * N.

    Equal fingerprints are paired with the first of them and with the one before, not each with each. Where all differ
    the pairs do not depend on the order of the pictures.

    Args:
      fingerprints: `uint8 or int8 [N, FINGERPRINT_BYTES]`.
    """
    rows = np.ascontiguousarray(fingerprints).view(np.int8)
    seen = np.flatnonzero(rows.any(axis=1))
    order = seen[np.lexsort(rows[seen].view(np.int64).T)]
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
    num_pairs_each = _MAX_PAIRS_OF_FEW if is_few else _MAX_PAIRS_OF_MANY
    chosen = np.random.default_rng(0).choice(num, 1 if is_few else 2 * int(np.sqrt(num)), replace=False)
    pivots = descriptors[chosen].astype(np.float32)
    found, num_found = [(np.zeros(0, np.int64), np.zeros(0, np.float32))], 0
    for codes, products in _search_cells(descriptors, pivots, num_pairs_each):
        found.append((codes, products))
        num_found += len(codes)
        if num_found > num_pairs_each * num + 1_000_000:
            found, num_found = [_keep_best(found, num, num_pairs_each)], 0
    codes, _ = _keep_best(found, num, num_pairs_each)
    return np.stack([codes // num, codes % num], 1)


def _search_cells(
    descriptors: np.ndarray, pivots: np.ndarray, num_pairs_each: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields codes `i * U + j` of pairs that are alike, with their products; a pair may come several times."""
    num = len(descriptors)
    cells = _fill_cells(descriptors, pivots)
    for operator in _CROP_OPERATORS:
        cropped = _transform(descriptors, operator)
        for asking in (cropped, cropped * _MIRROR):
            asked = _nearest(asking, pivots, 1)[0][:, 0]
            order = np.argsort(asked, kind="stable")
            bounds = np.searchsorted(asked[order], np.arange(len(pivots) + 1))
            for cell, (start, stop) in zip(cells, pairwise(bounds)):
                living = descriptors[cell].T.astype(np.float32)
                for block in np.split(order[start:stop], range(_BLOCK, stop - start, _BLOCK)):
                    table = asking[block].astype(np.float32) @ living
                    rows, columns, products = _best_of_table(table, num_pairs_each)
                    i, j = block[rows], cell[columns]
                    yield (np.minimum(i, j) * num + np.maximum(i, j))[i != j], products[i != j]


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


def _transform(descriptors: np.ndarray, operator: np.ndarray) -> np.ndarray:
    """The fingerprints after a matrix, of the same norm: int8 [U, F]."""
    changed = np.empty_like(descriptors)
    for start in range(0, len(descriptors), _BLOCK):
        block = descriptors[start : start + _BLOCK] @ operator.T
        block[:, 0] = 0
        norms = np.sqrt((block * block).sum(axis=1, keepdims=True))
        changed[start : start + _BLOCK] = np.rint(block * (_NORM / np.maximum(norms, 1e-9)))
    return changed


def _best_of_table(table: np.ndarray, num_pairs_each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the table's large entries, a bounded number for every row."""
    is_alike = table >= _MIN_COSINE * _NORM**2
    most = num_pairs_each + 1  # a row also finds itself
    if is_alike.sum() > most * len(table):
        best = np.argpartition(-table, most, axis=1)[:, :most]
        is_best = np.zeros_like(is_alike)
        np.put_along_axis(is_best, best, values=True, axis=1)
        is_alike &= is_best
    rows, columns = np.nonzero(is_alike)
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
    one = _soften(first)
    whole = np.ones(one.shape[:2], bool)
    for other in (second, second[:, ::-1]):
        two = _soften(np.ascontiguousarray(other))
        greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, two)]
        start = alignment.find_coarse_warp(*greys)
        if start is None:
            continue
        if _residual(one, two, whole) <= _MAX_RESIDUAL:
            return True
        warp = alignment.refine_warp(*greys, start)
        if warp is not None and _residual(*alignment.overlay(one, two, warp)) <= _MAX_RESIDUAL:
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
