"""Drawn transforms applied by OpenCV on the host, a picture at a time, in the bytes it was stored in.

Nothing is drawn here. The meaning is that of augment_device.py, rounded to a whole number after the warp, the
colours and the mixing. With the default strengths that is a difference of 0.32 on average and at most 2.5, of 255.
OpenCV before 5 reads at multiples of 1/32 pixel: as good on smooth pictures, but 0.8 on average and up to 13 on noise.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

_GREY = 127  # where a rectangle is erased; augment_device.py has the same
_STAYING = np.eye(2, 3, dtype=np.float32)
_SAME_COLOUR = np.eye(3, 4, dtype=np.float32)


def augment_batch(
    images: np.ndarray, indices: Sequence[int], transforms: Mapping[str, np.ndarray], *, out: np.ndarray | None = None
) -> np.ndarray:
    """Applies what augmentation.draw_transforms drew to some of the pictures, each read once and written in place.

    Threads may share `images` and write to different parts of one batch, pairs kept together: pixels are changed
    without the interpreter's lock. OpenCV's own threads are then in the way: cv2.setNumThreads(1).

    Args:
      images: uint8 [n, H, W, 3].
      indices: which picture comes at each position of the batch.
      transforms: warp, colour and, where drawn, erase and mix of each position; other keys are not looked at.
      out: uint8 [batch, H, W, 3] to write to, apart from `images`.

    Returns:
      `out`, or an array like it.

    Raises:
      ValueError: `out` has another form, or the pictures are to be mixed and their number is odd.
    """
    shape = (len(indices), *images.shape[1:])
    out = np.empty(shape, np.uint8) if out is None else out
    if out.shape != shape or out.dtype != np.uint8:  # OpenCV would write to a new array and say nothing
        raise ValueError(f"out is {out.dtype} {out.shape}: it should be uint8 {shape}")
    if "mix" in transforms and len(indices) % 2:
        raise ValueError(f"a batch of {len(indices)} cannot be mixed in pairs: it should be even")
    warps, colours = transforms["warp"][:, :6].reshape(-1, 2, 3), transforms["colour"]
    is_warped = (warps != _STAYING).any(axis=(1, 2))
    is_coloured = (colours != _SAME_COLOUR).any(axis=(1, 2))
    for position, index in enumerate(indices):
        picture = out[position]
        if is_warped[position]:
            _warp(images[index], warps[position], picture)
        else:
            np.copyto(picture, images[index])
        if is_coloured[position]:
            cv2.transform(picture, colours[position], dst=picture)
        if "erase" in transforms:
            top, left, bottom, right = transforms["erase"][position]
            picture[top:bottom, left:right] = _GREY
    if "mix" in transforms:
        for first in range(0, len(indices), 2):
            _mix(out[first], out[first + 1], *transforms["mix"][first : first + 2].tolist())
    return out


def _warp(image: np.ndarray, warp: np.ndarray, out: np.ndarray) -> None:
    height, width = out.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, warp, (width, height), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _mix(one: np.ndarray, other: np.ndarray, share_of_one: float, share_of_other: float) -> None:
    unmixed = one.copy()
    cv2.addWeighted(one, share_of_one, other, 1.0 - share_of_one, 0.0, dst=one)
    cv2.addWeighted(other, share_of_other, unmixed, 1.0 - share_of_other, 0.0, dst=other)
