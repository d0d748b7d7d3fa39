"""Near duplicates: whether two pictures are the same one, by their aligned pixels.

A near duplicate is the same picture encoded again, resized, mirrored, brightened, cropped a little or turned a little.
A picture of the same thing taken a moment later is none. similarity_search.py chooses the pairs that are compared,
duplicates.py decides what becomes of near duplicates.
"""

from collections.abc import Sequence
from pathlib import Path

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
_MAX_SHRUNK_RESIDUAL = 0.5  # near duplicates stay below 0.4, proposed pairs of different photographs begin at 0.9


def are_near_duplicates(first: Array, second: Array) -> bool:
    """Tells whether one of two pictures, `uint8 [S, S, 3]`, is a near duplicate of the other; in any order.

    The second is laid on the first by a small affine change, mirrored if that is needed. What then differs after one
    change of brightness and contrast is judged where it is largest, not on the whole: two drawings of a face may differ
    in nothing but the mouth.
    """
    if first.tobytes() > second.tobytes():
        first, second = second, first
    one, two = _soften(first), _soften(second)
    whole = np.ones(one.shape[:2], bool)
    for other in (two, np.ascontiguousarray(two[:, ::-1])):
        grey, other_grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, other))
        start = alignment.find_coarse_warp(grey, other_grey)
        if start is None:
            continue
        if _residual(one, other, whole) <= _MAX_RESIDUAL:
            return True
        if _shrunk_residual(*alignment.overlay(one, other, start)) > _MAX_SHRUNK_RESIDUAL:
            continue
        warp = alignment.refine_warp(grey, other_grey, start)
        if warp is not None and _residual(*alignment.overlay(one, other, warp)) <= _MAX_RESIDUAL:
            return True
    return False


def _soften(pixels: Array) -> Array:
    """The picture as float32 [SIDE, SIDE, 3] without its finest detail."""
    small = cv2.resize(pixels, (alignment.SIDE, alignment.SIDE), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.7)


def _residual(one: Array, two: Array, covered: Array) -> float:
    """The largest difference of any window, as a share of the contrast, in the better of the two directions."""
    residual = _residual_after_fit(one, two, covered)
    if residual > 4 * _MAX_RESIDUAL:  # more than clipping in one direction explains
        return residual
    return min(residual, _residual_after_fit(two, one, covered))


def _shrunk_residual(one: Array, two: Array, covered: Array) -> float:
    """As `_residual`, at half the size, where a coarse warp is off by less than a pixel: far cheaper than to refine."""
    one, two, share = (cv2.pyrDown(image) for image in (one, two, covered.astype(np.float32)))
    covered = share > 0.99
    return min(_residual_after_fit(one, two, covered), _residual_after_fit(two, one, covered))


def _residual_after_fit(source: Array, target: Array, covered: Array) -> float:
    """As `_residual`, of the target against the source brightened to fit; what the change clips does not count."""
    fitted = _brighten(source, target, covered)
    if fitted is None:
        return np.inf
    # A pixel may come from any of its neighbours: a small shift that remains is no difference.
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


def _brighten(source: Array, target: Array, covered: Array) -> Array | None:
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
    fitted: Array = np.clip(gain * (source - before.mean()) + after.mean(), 0, 255).astype(np.float32)
    return fitted


def confirm_pairs(pairs: Sequence[tuple[Place, Place]], encoding: str, size: int) -> list[bool]:
    """Tells of each pair of encoded pictures whether they are near duplicates, by their pixels."""
    return [are_near_duplicates(*(_read_pixels(place, encoding, size) for place in pair)) for pair in pairs]


def _read_pixels(place: Place, encoding: str, size: int) -> Array:
    return decode_pixels(build_cache.read_encoded(*place), encoding, size)
