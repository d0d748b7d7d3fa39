"""Batched, seeded augmentation in TensorFlow: one affine warp and one affine map of the colours for each picture.

The transforms of a whole global batch are drawn from (seed, step) in the input pipeline, which is cheap; they travel
with the pictures, and the pixels are touched once, on the device. So what happens to a picture depends on its position
in the global batch, and not on threads, on the number of replicas, or on where a run was interrupted.
"""

import math

import tensorflow as tf

from harness.config import AugmentConfig

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_NUM_DRAWS = 12


def draw_transforms(
    config: AugmentConfig, *, seed: int, step: tf.Tensor, batch_size: int, size: int
) -> dict[str, tf.Tensor]:
    """Draws the transforms of one global batch.

    Args:
      config: strengths; `enabled` is not looked at.
      seed: the seed of the run.
      step: int64 scalar, the global step.
      batch_size: pictures in the global batch.
      size: height and width of the pictures, in pixels.

    Returns:
      warp: float32 [batch_size, 8], for ImageProjectiveTransformV3 (output position -> input position).
      colour: float32 [batch_size, 3, 4], rows of (matrix | offset) for values in [0, 255].
    """
    draws = tf.random.stateless_uniform([batch_size, _NUM_DRAWS], seed=tf.stack([tf.cast(seed, tf.int64), step]))
    signed = 2.0 * draws - 1.0
    return {
        "warp": _warps(config, draws[:, 0], signed[:, 1:6], size),
        "colour": _colours(config, signed[:, 6:10], draws[:, 10]),
    }


def _warps(config: AugmentConfig, flip: tf.Tensor, signed: tf.Tensor, size: int) -> tf.Tensor:
    """Rotation, shear, zoom and flip about the centre, then the shift, as one inverse affine map."""
    angle = signed[:, 0] * math.radians(config.rotation)
    shear = tf.tan(signed[:, 1] * math.radians(config.shear))
    scale = tf.exp(signed[:, 2] * math.log1p(config.zoom))
    mirror = tf.where(flip < config.flip, -1.0, 1.0)
    shift_x, shift_y = signed[:, 3] * config.shift * size, signed[:, 4] * config.shift * size
    cos, sin = tf.cos(angle) * scale, tf.sin(angle) * scale
    xx, xy = mirror * cos, mirror * (cos * shear - sin)
    yx, yy = sin, sin * shear + cos
    centre = (size - 1) / 2
    x0 = centre + shift_x - (xx + xy) * centre
    y0 = centre + shift_y - (yx + yy) * centre
    zero = tf.zeros_like(angle)
    return tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1)


def _colours(config: AugmentConfig, signed: tf.Tensor, gray: tf.Tensor) -> tf.Tensor:
    """Hue, saturation (or none at all), contrast about mid-grey and brightness, as one affine map."""
    saturation = tf.where(gray < config.grayscale, 0.0, 1.0 + signed[:, 0] * config.saturation)
    contrast = 1.0 + signed[:, 1] * config.contrast
    offset = 127.5 * (1.0 - contrast) + 255.0 * signed[:, 2] * config.brightness
    luma = tf.tile(tf.constant([[_LUMA]]), [1, 3, 1])
    matrix = luma + saturation[:, None, None] * (tf.eye(3)[None] - luma)
    matrix = contrast[:, None, None] * tf.matmul(matrix, _hue_rotations(signed[:, 3] * math.radians(config.hue)))
    return tf.concat([matrix, tf.tile(offset[:, None, None], [1, 3, 1])], axis=2)


def _hue_rotations(angle: tf.Tensor) -> tf.Tensor:
    """Rotations of RGB about its grey axis (Rodrigues' formula): float32 [batch, 3, 3]."""
    cos, sin = tf.cos(angle)[:, None, None], tf.sin(angle)[:, None, None]
    cross = tf.constant([[[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]]) / math.sqrt(3.0)
    return cos * tf.eye(3)[None] + sin * cross + (1.0 - cos) / 3.0


def apply_transforms(images: tf.Tensor, warp: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
    """Applies drawn transforms.

    Args:
      images: uint8 [batch, H, W, 3].
      warp: float32 [batch, 8].
      colour: float32 [batch, 3, 4].

    Returns:
      float32 [batch, H, W, 3] in [0, 255]; what the warp uncovers repeats the nearest edge.
    """
    shape = tf.shape(images)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=warp,
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    pixels = tf.reshape(warped, [shape[0], -1, 3])
    mapped = tf.matmul(pixels, colour[:, :, :3], transpose_b=True) + colour[:, None, :, 3]
    return tf.reshape(tf.clip_by_value(mapped, 0.0, 255.0), shape)
