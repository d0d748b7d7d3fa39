"""Drawn transforms applied by TensorFlow to a whole batch, inside the compiled step. Nothing is drawn here."""

from collections.abc import Mapping

import tensorflow as tf

_GREY = 127.0  # where a rectangle is erased; augment_host.py has the same


def augment_batch(images: tf.Tensor, transforms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Applies what transforms.draw_transforms drew.

    Args:
      images: uint8 [batch, H, W, 3].
      transforms: warp, colour and, where drawn, erase of each picture; other keys are not looked at.

    Returns:
      float32 [batch, H, W, 3] in [0, 255]; what the warp uncovers repeats the nearest edge.
    """
    images = _warp(tf.cast(images, tf.float32), transforms["warp"])
    images = _colour(images, transforms["colour"])
    return _erase(images, transforms["erase"]) if "erase" in transforms else images


def _warp(images: tf.Tensor, warp: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=warp,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _colour(images: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    pixels = tf.reshape(images, [shape[0], -1, 3])
    mapped = tf.matmul(pixels, colour[:, :, :3], transpose_b=True) + colour[:, None, :, 3]
    return tf.reshape(tf.clip_by_value(mapped, 0.0, 255.0), shape)


def _erase(images: tf.Tensor, erase: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    rows, columns = tf.range(shape[1])[:, None], tf.range(shape[2])
    top, left, bottom, right = tf.unstack(erase[:, :, None, None], axis=1)
    is_erased = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return tf.where(is_erased[..., None], _GREY, images)
