"""What happens to the training pictures: warp, colours, erasing and mixing, drawn from a seed.

The transforms of a whole epoch are drawn at once, which is cheap, and travel with the pictures. So what happens to a
picture depends on the seed, the epoch and its position in it, and not on threads, on the number of replicas, or on
where a run was interrupted. Pixels are touched elsewhere: in augment_device.py and augment_host.py.
"""

import math

import numpy as np

from harness.config.training_sections import AugmentConfig

_LEAST_ERASED = 0.02  # of the picture, and the ratio of the sides: Zhong et al., 2017, Random Erasing
_LARGEST_ASPECT = 1 / 0.3
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def draw_transforms(
    config: AugmentConfig, random: np.random.Generator, *, num: int, size: int
) -> dict[str, np.ndarray]:
    """Draws the transforms of `num` pictures.

    Args:
      config: strengths; `enabled` is not looked at.
      random: seeded by the caller with all that the transforms shall depend on.
      num: how many; the first are the same whatever the number.
      size: height and width of the pictures, in pixels.

    Returns:
      warp: float32 [num, 8], for ImageProjectiveTransformV3 (output position -> input position).
      colour: float32 [num, 3, 4], rows of (matrix | offset) for values in [0, 255].
      erase: int32 [num, 4], the top, left, bottom and right of what is painted grey, in pixels; 0, 0, 0, 0 paints
        nothing. Only with config.erasing.
      mix: float32 [num] in [0, 1], the share of its own pixels and label that a picture keeps; the rest is its
        neighbour's in the pairs (0, 1), (2, 3), ... Only with config.mixup.
    """
    draws = random.random((num, 11))
    signed = 2.0 * draws - 1.0
    warp = _warps(config, draws[:, 0], signed[:, 1:6], size)
    colour = _colours(config, signed[:, 6:10], draws[:, 10])
    drawn = {"warp": warp.astype(np.float32), "colour": colour.astype(np.float32)}
    erase_random, mix_random = random.spawn(2)  # so that turning one on leaves the other draws as they are
    if config.erasing:
        drawn["erase"] = _rectangles(config, erase_random.random((num, 5)), size)
    if config.mixup:  # Zhang et al., 2018, mixup: Beyond Empirical Risk Minimization
        drawn["mix"] = mix_random.beta(config.mixup, config.mixup, num).astype(np.float32)
    return drawn


def _warps(config: AugmentConfig, flip: np.ndarray, signed: np.ndarray, size: int) -> np.ndarray:
    """Rotation, shear, zoom and flip about the centre, then the shift, as one inverse affine map."""
    angle = signed[:, 0] * math.radians(config.rotation)
    shear = np.tan(signed[:, 1] * math.radians(config.shear))
    scale = np.exp(signed[:, 2] * math.log1p(config.zoom))
    mirror = np.where(flip < config.flip, -1.0, 1.0)
    shift_x, shift_y = signed[:, 3] * config.shift * size, signed[:, 4] * config.shift * size
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    xx, xy = mirror * cos, mirror * (cos * shear - sin)
    yx, yy = sin, sin * shear + cos
    centre = (size - 1) / 2
    x0 = centre + shift_x - (xx + xy) * centre
    y0 = centre + shift_y - (yx + yy) * centre
    zero = np.zeros_like(angle)
    return np.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1)


def _colours(config: AugmentConfig, signed: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """Hue, saturation (or none at all), contrast about mid-grey and brightness, as one affine map."""
    saturation = np.where(gray < config.grayscale, 0.0, 1.0 + signed[:, 0] * config.saturation)
    contrast = 1.0 + signed[:, 1] * config.contrast
    offset = 127.5 * (1.0 - contrast) + 255.0 * signed[:, 2] * config.brightness
    luma = np.tile(_LUMA, (3, 1))
    matrix = luma + saturation[:, None, None] * (np.eye(3) - luma)
    matrix = contrast[:, None, None] * (matrix @ _hue_rotations(signed[:, 3] * math.radians(config.hue)))
    return np.concatenate([matrix, np.tile(offset[:, None, None], (1, 3, 1))], axis=2)


def _hue_rotations(angle: np.ndarray) -> np.ndarray:
    """Rotations of RGB about its grey axis (Rodrigues' formula): [num, 3, 3]."""
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    return cos * np.eye(3) + sin * cross + (1.0 - cos) / 3.0


def _rectangles(config: AugmentConfig, draws: np.ndarray, size: int) -> np.ndarray:
    """Area uniform, aspect log-uniform, sides rounded down and cut to the picture's, then a place where all fits."""
    area = size**2 * (_LEAST_ERASED + draws[:, 1] * (config.erasing_area - _LEAST_ERASED))
    aspect = _LARGEST_ASPECT ** (2.0 * draws[:, 2] - 1.0)
    height = np.minimum(np.floor(np.sqrt(area * aspect)), size)
    width = np.minimum(np.floor(np.sqrt(area / aspect)), size)
    top, left = np.floor(draws[:, 3] * (size - height + 1)), np.floor(draws[:, 4] * (size - width + 1))
    rectangles = np.stack([top, left, top + height, left + width], axis=1)
    return np.where(draws[:, :1] < config.erasing, rectangles, 0).astype(np.int32)
