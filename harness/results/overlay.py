"""A picture with the places that speak for a class laid over it in colour. explanation.py finds these places."""

import cv2
import numpy as np

from harness.dataset.images.arrays import Array

_SPREAD = 1 / 40  # of the side


def draw(pixels: Array, places: Array) -> Array:
    """Returns the picture in grey with places in colour: uint8 [size, size, 3], RGB.

    A place is spread a little, as an activation comes from its neighbourhood: a fine map is otherwise a few dots.

    Args:
      pixels: uint8 [size, size, 3], RGB.
      places: float32 [h, w] of zero and more; the greatest is brightest. If nothing speaks for the class all is grey.
    """
    size = pixels.shape[0]
    heat = cv2.resize(places, (size, size), interpolation=cv2.INTER_LINEAR)
    heat = cv2.GaussianBlur(heat, (0, 0), size * _SPREAD)
    heat = (heat / max(float(heat.max()), np.finfo(np.float32).tiny))[..., None]
    colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    opacity = 0.15 + 0.65 * heat
    return ((1 - opacity) * gray + opacity * colors).astype(np.uint8)
