"""Lays one small picture on another by a small affine change. near_duplicates.py judges whether both are the same."""

from itertools import product

import cv2
import numpy as np

from harness.dataset.images.arrays import Array

SIDE = 64
_COARSE_SIDE = 32

# The warps a search begins with. The refinement finds its way from about half a step of each.
_SCALES = (0.86, 0.93, 1.0, 1.08, 1.16)
_TURNS_DEGREES = (-4, 0, 4)
_SHIFTS = (-0.04, 0.0, 0.04)
_MIN_COARSE_CORRELATION = 0.6  # near duplicates reach 0.75, except a turned wall of bricks or starry sky

_BOTH = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT
_REFINEMENTS = (((_BOTH, 15, 1e-3), 7), ((_BOTH, 15, 1e-4), 3))  # when to stop, and the side of the blur
_MIN_FINE_CORRELATION = 0.7

# What a small change is. All together at their worst still leave half of the picture.
_MIN_SCALE, _MAX_SCALE = 0.8, 1.25
_MAX_TURN_DEGREES = 8
_MAX_SHIFT = 0.12

# Without two pixels of the edge: the filled corners of a turned picture are softened into them.
_INNER = np.pad(np.ones((SIDE - 4, SIDE - 4), np.float32), 2)


def find_coarse_warps(one: Array, two: Array) -> tuple[Array | None, Array | None]:
    """Returns those of some hundred matrices that make two greys `float32 [SIDE, SIDE]` most alike, one for each view.

    The first is for the second picture as it is, the second for the mirrored one. A matrix `float32 [2, 3]` takes the
    pixels of the first picture to those of the second. None if they are never alike.
    """
    size = (_COARSE_SIDE, _COARSE_SIDE)
    small: list[Array] = [
        cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0) for grey in (one, two)
    ]
    target = small[0] - small[0].mean()
    tried = small[1].ravel()[_STARTING_PIXELS]
    tried -= tried.mean(axis=1, keepdims=True)
    norms = np.maximum(np.sqrt((tried * tried).sum(axis=1) * (target * target).sum()), 1e-9)
    # A mirrored picture under a warp is the picture under the mirrored warp, as seen in a mirror.
    views = ((target, np.arange(len(_STARTS))), (target[:, ::-1], _MIRRORED))
    found = []
    for seen, order in views:
        correlations = tried @ seen.ravel() / norms
        best = int(correlations.argmax())
        found.append(_STARTS[order[best]].copy() if correlations[best] >= _MIN_COARSE_CORRELATION else None)
    return found[0], found[1]


def _make_starts() -> tuple[Array, Array]:
    """Small warps of the fine grid, float32 [K, 2, 3], and where the coarse pixels come from under each, [K, P]."""
    x, y = np.meshgrid(np.arange(_COARSE_SIDE) + 0.5, np.arange(_COARSE_SIDE) + 0.5)
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)]) / np.array([[_COARSE_SIDE], [_COARSE_SIDE], [1]])
    starts, pixels = [], []
    for scale, turn, right, down in product(_SCALES, _TURNS_DEGREES, _SHIFTS, _SHIFTS):
        cosine, sine = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
        linear = np.array([[cosine, -sine], [sine, cosine]])
        shift = 0.5 - linear @ (0.5, 0.5) + (right, down)  # on the unit square, about its middle
        on_grid = SIDE * shift + linear @ (0.5, 0.5) - 0.5  # pixel centres lie at halves
        starts.append(np.column_stack([linear, on_grid]))
        cells = np.clip(np.floor(np.column_stack([linear, shift]) @ points * _COARSE_SIDE), 0, _COARSE_SIDE - 1)
        pixels.append(cells[1] * _COARSE_SIDE + cells[0])
    return np.array(starts, np.float32), np.array(pixels, np.intp)


_STARTS, _STARTING_PIXELS = _make_starts()
_GRID = (len(_SCALES), len(_TURNS_DEGREES), len(_SHIFTS), len(_SHIFTS))
_MIRRORED = np.arange(len(_STARTS)).reshape(_GRID)[:, ::-1, ::-1].ravel()  # turned and shifted to the other side


def refine_warp(one: Array, two: Array, start: Array) -> Array | None:
    """Returns the affine matrix near `start` that lays the second grey on the first, or None if no small one does."""
    warp = start
    try:
        for stop, blur in _REFINEMENTS:
            # The mask may be None, other than OpenCV's type stubs say.
            correlation, warp = cv2.findTransformECC(  # type: ignore[call-overload]
                one, two, warp, cv2.MOTION_AFFINE, stop, None, blur
            )
    except cv2.error:  # it does not converge
        return None
    return warp if correlation >= _MIN_FINE_CORRELATION and _is_small(warp) else None


def _is_small(warp: Array) -> bool:
    linear = warp[:, :2].astype(np.float64)
    scales = np.linalg.svd(linear, compute_uv=False)
    turn = np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    middle = np.full(2, (SIDE - 1) / 2)
    shift = (linear @ middle + warp[:, 2] - middle) / SIDE
    is_scaled_little = scales.min() >= _MIN_SCALE and scales.max() <= _MAX_SCALE
    return bool(is_scaled_little and abs(turn) <= _MAX_TURN_DEGREES and np.abs(shift).max() <= _MAX_SHIFT)


def overlay(one: Array, two: Array, warp: Array) -> tuple[Array, Array, Array]:
    """Returns both images, `float32 [SIDE, SIDE, 3]`, on the grid of one of them, and which pixels both cover.

    The larger is laid on the smaller: to enlarge one would leave it softer than the other.
    """
    if np.linalg.det(warp[:, :2]) < 1:
        one, two, warp = two, one, cv2.invertAffineTransform(warp)
    size = (SIDE, SIDE)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(two, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(_INNER, warp, size, flags=flags) > 0.999
    return one, laid, covered & (_INNER > 0)
