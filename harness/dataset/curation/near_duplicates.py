"""Near duplicates: whether two pictures are the same one, by their aligned pixels.

A near duplicate is the same picture encoded again, resized, mirrored, brightened, cropped a little or turned a little.
A picture of the same thing taken a moment later is none. similarity_search.py chooses the pairs that are compared,
duplicates.py decides what becomes of near duplicates.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from harness.dataset.curation import alignment, build_cache
from harness.dataset.images.arrays import Array
from harness.dataset.records.encoding import decode_pixels

# One side of a pair as a process needs it: the file of the encoded picture, its offset and its length.
Place = tuple[Path, int, int]

_MIN_GAIN, _MAX_GAIN = 0.55, 1.8
_CLIPPED_BELOW, _CLIPPED_ABOVE = 4, 251
_MIN_FIT = 300  # of 12,288 values
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_WINDOW_SIDE = 8
_LEAST_CONTRAST = 8.0  # grey levels; for a paler picture the residual is measured against this
# Nearly all near duplicates of the sample's drawings stay below 0.15. The nearest two drawings, which differ in the
# size of the mouth, come to 0.31, the two views of a stereo camera to 0.38.
_MAX_RESIDUAL = 0.24
_MOST_KEPT = 128  # pictures a process keeps decoded for the pairs to come, 150 kB each
_MAX_SHRUNK_RESIDUAL = 0.5  # near duplicates stay below 0.4, proposed pairs of different photographs begin at 0.9


class _Look(NamedTuple):
    """A picture without its finest detail, and the least and the largest value around each pixel: [SIDE, SIDE, 3]."""

    pixels: Array
    lowest: Array
    highest: Array


def are_near_duplicates(first: Array, second: Array) -> bool:
    """Tells whether one of two pictures, `uint8 [S, S, 3]`, is a near duplicate of the other; in any order.

    The second is laid on the first by a small affine change, mirrored if that is needed. What then differs after one
    change of brightness and contrast is judged where it is largest, not on the whole: two drawings of a face may differ
    in nothing but the mouth.
    """
    return _are_same(_soften(first), _soften(second))


def _are_same(one: _Look, two: _Look) -> bool:
    if _order(one) > _order(two):
        one, two = two, one
    whole = np.ones(one.pixels.shape[:2], bool)
    mirrored = _Look(*(np.ascontiguousarray(image[:, ::-1]) for image in two))
    for laid, start in zip((two, mirrored), alignment.find_coarse_warps(_grey(one), _grey(two))):
        if start is None or _shrunk_residual(*_overlay(one, laid, start)) > _MAX_SHRUNK_RESIDUAL:
            continue
        if _residual(one, laid, whole) <= _MAX_RESIDUAL:
            return True
        warp = alignment.refine_warp(_grey(one), _grey(laid), start)
        if warp is not None and _residual(*_overlay(one, laid, warp)) <= _MAX_RESIDUAL:
            return True
    return False


def _order(look: _Look) -> bytes:
    """What sorts pictures by the first value in which they differ; these bytes of floats from 0 sort as the floats."""
    return look.pixels.astype(">f4").tobytes()


def _grey(look: _Look) -> Array:
    return cv2.cvtColor(look.pixels, cv2.COLOR_RGB2GRAY)


def _soften(pixels: Array) -> _Look:
    """A picture as it is compared, float32, without its finest detail."""
    small = cv2.resize(pixels, (alignment.SIDE, alignment.SIDE), interpolation=cv2.INTER_AREA)
    return _look_around(cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.7))


def _look_around(pixels: Array) -> _Look:
    return _Look(pixels, cv2.erode(pixels, _NEIGHBOURS), cv2.dilate(pixels, _NEIGHBOURS))


def _overlay(one: _Look, two: _Look, warp: Array) -> tuple[_Look, _Look, Array]:
    """Both on one grid, and which pixels both cover."""
    kept, laid, covered = alignment.overlay(one.pixels, two.pixels, warp)
    return one if kept is one.pixels else two, _look_around(laid), covered


def _shrunk_residual(one: _Look, two: _Look, covered: Array) -> float:
    """As `_residual`, at half the size: far cheaper than to refine a warp, which it is to be worth."""
    share = cv2.pyrDown(covered.astype(np.float32))
    one, two = (_look_around(cv2.pyrDown(look.pixels)) for look in (one, two))
    return _residual(one, two, share > 0.99, hopeless=np.inf)


def _residual(one: _Look, two: _Look, covered: Array, hopeless: float = 4 * _MAX_RESIDUAL) -> float:
    """The largest difference of any window, as a share of the contrast, in the better of the two directions.

    Beyond `hopeless` the second direction is not tried.
    """
    is_covered = np.broadcast_to(covered[:, :, None], one.pixels.shape)
    is_fit = is_covered
    for look in (one, two):  # beside a clipped pixel a softened one is clipped in part
        is_fit = is_fit & (look.lowest > _CLIPPED_BELOW) & (look.highest < _CLIPPED_ABOVE)
    if np.count_nonzero(is_fit) < _MIN_FIT:
        is_fit = is_covered
    values, other_values = (look.pixels[is_fit].astype(np.float64) for look in (one, two))
    residual = _residual_after_fit(one, two, values, other_values, covered)
    if residual > hopeless:  # more than clipping in one direction explains
        return residual
    return min(residual, _residual_after_fit(two, one, other_values, values, covered))


def _residual_after_fit(source: _Look, target: _Look, before: Array, after: Array, covered: Array) -> float:
    """As `_residual`, of the target against the source brightened to fit; what the change clips does not count.

    Args:
      source: what is brightened, by the gain and offset that take `before` nearest to `after`.
      target: what it is compared with.
      before: values of the source, of which none is clipped.
      after: those of the target in the same places.
      covered: which pixels count.
    """
    mean, mean_after = before.mean(), after.mean()
    deviation = before - mean
    gain = (deviation * after).sum() / max((deviation * deviation).sum(), 1e-9)  # a dot product starts threads
    if not _MIN_GAIN <= gain <= _MAX_GAIN:  # not a small change
        return np.inf
    fitted = _Look(*(np.clip(gain * (values - mean) + mean_after, 0, 255).astype(np.float32) for values in source))
    # A pixel may come from any of its neighbours: a small shift that remains is no difference.
    error = np.maximum(fitted.pixels - target.highest, target.lowest - fitted.pixels)
    error = np.maximum(error, np.maximum(target.pixels - fitted.highest, fitted.lowest - target.pixels))
    error = np.maximum(error, 0)
    squared = (error * error).mean(axis=2) * covered
    size = (_WINDOW_SIDE, _WINDOW_SIDE)
    counted = cv2.boxFilter(covered.astype(np.float32), -1, size, borderType=cv2.BORDER_CONSTANT)
    windows = cv2.boxFilter(squared, -1, size, borderType=cv2.BORDER_CONSTANT) / np.maximum(counted, 0.5)
    contrast = np.sqrt(target.pixels[covered].var(axis=0).mean())  # of each colour by itself: a red wall has none
    return float(np.sqrt(windows.max()) / max(contrast, _LEAST_CONTRAST))


def confirm_pairs(pairs: Sequence[tuple[Place, Place]], encoding: str, size: int) -> list[bool]:
    """Tells of each pair of encoded pictures whether they are near duplicates, by their pixels.

    A picture that stands in several pairs is decoded once, which otherwise takes longer than the comparison.
    """

    @functools.lru_cache(_MOST_KEPT)
    def look_at(place: Place) -> _Look:
        """Reads and softens one picture."""
        return _soften(decode_pixels(build_cache.read_encoded(*place), encoding, size))

    return [_are_same(look_at(first), look_at(second)) for first, second in pairs]
