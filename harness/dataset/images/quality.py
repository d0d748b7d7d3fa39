"""Plain measures of a picture's pixels: its mean colour, and scores that show dark, light, blurry and empty pictures.

The scores and their limits are those of cleanvision (https://github.com/cleanlab/cleanvision), taken at 64x64 pixels.
They are reported, and nothing is removed for them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from harness.dataset.images.arrays import Array

_SIDE = 64
# Scores below these limits are noted.
LIMITS = {"dark": 0.32, "light": 0.05, "blurry": 0.29, "low_information": 0.3, "odd_aspect": 0.35}
_BRIGHTNESS = np.array([[0.241, 0.691, 0.068]], np.float32)  # perceived: http://alienryderflex.com/hsp.html
_EDGES = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)


@dataclass(frozen=True)
class Measures:
    """Mean colour from 0 to 255; scores from 0, the worst, to 1."""

    red: float
    green: float
    blue: float
    dark: float  # the brightness that 99 % of the pixels stay under
    light: float  # 1 less the brightness that 95 % of the pixels exceed
    blurry: float  # 1 - exp(-variance of the edges / 100)
    information: float  # entropy of the grey levels, in bits, over 10


def shrink(pixels: Array) -> Array:
    """Returns `uint8 [64, 64, 3]` of any pixels; by halves, which OpenCV does three times as fast as at once."""
    while len(pixels) >= 2 * _SIDE and len(pixels) % 2 == 0:
        half = (len(pixels) // 2, len(pixels) // 2)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def measure(small: Array) -> Measures:
    """Returns the measures of RGB pixels that `shrink` made small."""
    red, green, blue = cv2.mean(small)[:3]
    brightness = np.sort(cv2.transform(np.square(small.astype(np.float32)), _BRIGHTNESS), axis=None)
    num = len(brightness)
    dark, bright = np.sqrt(brightness[[int(0.99 * num), int(0.05 * num)]]) / 255
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    edges = cv2.filter2D(gray, cv2.CV_8U, _EDGES, borderType=cv2.BORDER_REPLICATE)
    variance = float(cv2.meanStdDev(edges)[1][0, 0]) ** 2
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256])
    shares = counts[counts > 0] / num
    entropy = float(np.sum(shares * np.log2(1 / shares)))
    return Measures(
        *(round(value, 1) for value in (red, green, blue)),
        *(round(float(value), 3) for value in (dark, 1 - bright, 1 - np.exp(-variance / 100), entropy / 10)),
    )


def flags(found: Measures, width: int, height: int) -> tuple[str, ...]:
    """Returns the names of the limits that a picture of this size misses."""
    scores = {
        "dark": found.dark,
        "light": found.light,
        "blurry": found.blurry,
        "low_information": found.information,
        "odd_aspect": min(width / height, height / width),
    }
    return tuple(name for name, score in scores.items() if score < LIMITS[name])
