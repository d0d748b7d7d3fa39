"""Drawn transforms applied by TensorFlow to a whole batch, inside the compiled step. Nothing is drawn here."""

from collections.abc import Mapping

import tensorflow as tf

_GREY = 127.0  # where a rectangle is erased; augment_host.py has the same


def augment_batch(images: tf.Tensor, transforms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Applies what augmentation.draw_transforms drew.

    Args:
      images: uint8 [batch, H, W, 3].
      transforms: warp, colour and, where drawn, erase and mix of each picture; other keys are not looked at.

    Returns:
      float32 [batch, H, W, 3] in [0, 255]; what the warp uncovers repeats the nearest edge.

    Raises:
      ValueError: the pictures are to be mixed and their number is odd.
    """
    images = _warp(tf.cast(images, tf.float32), transforms["warp"])
    images = _colour(images, transforms["colour"])
    if "erase" in transforms:
        images = _erase(images, transforms["erase"])
    if "mix" in transforms:
        share = transforms["mix"][:, None, None, None]
        images = share * images + (1.0 - share) * swap_pairs(images)
    return images


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


def swap_pairs(tensor: tf.Tensor) -> tf.Tensor:
    """Returns what the other of each pair has, the rows 1, 0, 3, 2, ... of [batch, ...].

    Raises:
      ValueError: the batch is odd.
    """
    if (tensor.shape[0] or 0) % 2:
        raise ValueError(f"a batch of {tensor.shape[0]} cannot be mixed in pairs: it should be even")
    shape = tf.shape(tensor)
    pairs = tf.reshape(tensor, tf.concat([[-1, 2], shape[1:]], axis=0))
    return tf.reshape(tf.reverse(pairs, axis=[1]), shape)
