"""Encoded pictures to what a model takes, inside a TensorFlow graph: dataset/images/fitting.py and resizing.py there.

Without resizing the pixels are equal to the bit to those of `predict`; else they differ by one level of 255 at
most, by two where one side grows and the other shrinks.
"""

import tensorflow as tf

from harness.config.preparation import Preparation
from harness.results.export.conversion import graph_decoding

_SHARPNESS = -0.75  # of OpenCV's cubic kernel; TensorFlow's own has -0.5, which differs by up to 14 levels


def prepare_all(contents: tf.Tensor, preparation: Preparation, *, max_pixels: int) -> tf.Tensor:
    """Returns the pixels of picture files, float32 [n, size, size, 3] in [0, 255], RGB.

    One file that cannot be decoded fails them all.

    Args:
      contents: the bytes of each file, string [n]: JPEG or PNG.
      preparation: how the pictures were prepared that the model was trained on.
      max_pixels: the most that is decoded of one picture.
    """
    size = preparation.image_size

    def prepare_one(content: tf.Tensor) -> tf.Tensor:
        pixels = graph_decoding.decode(content, size, preparation.range, max_pixels)
        return tf.ensure_shape(tf.cast(_fit(pixels, preparation), tf.uint8), [size, size, 3])

    with tf.device("/cpu:0"):  # GPUs may round products to ten bits
        pixels = tf.map_fn(prepare_one, contents, fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8))
        return tf.cast(pixels, tf.float32)


def _fit(pixels: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """As fitting.prepare: float32 [size, size, 3] of whole numbers, of uint8 [H, W, 3]."""
    size, height, width = preparation.image_size, tf.shape(pixels)[0], tf.shape(pixels)[1]
    if preparation.fit == "stretch":
        return _resize(pixels, size, size)
    if preparation.fit == "crop":
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(pixels[top : top + side, left : left + side], size, size)
    sides = tf.cast(tf.stack([height, width]), tf.float64)
    inner = tf.maximum(1, tf.cast(tf.round(sides * size / tf.reduce_max(sides)), tf.int32))
    before = (size - inner) // 2
    margins = tf.concat([tf.stack([before, size - inner - before], axis=1), [[0, 0]]], axis=0)
    color = tf.constant(preparation.pad_color, tf.float32)
    return tf.pad(_resize(pixels, inner[0], inner[1]) - color, margins) + color


def _resize(pixels: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """As resizing.resize: each side averaged over areas where it shrinks, then cubic where it grows."""
    shape, size = tf.shape(pixels)[:2], tf.stack([height, width])
    small = tf.minimum(shape, size)
    given = tf.cast(pixels, tf.float32)
    averages = tf.cond(tf.reduce_all(small == shape), lambda: given, lambda: _average(given, shape, small))
    return tf.cond(tf.reduce_all(small == size), lambda: averages, lambda: _grow(averages, small, size))


def _average(pixels: tf.Tensor, shape: tf.Tensor, small: tf.Tensor) -> tf.Tensor:
    averages = tf.image.resize(pixels[None], small, tf.image.ResizeMethod.AREA)[0]
    # OpenCV rounds halves up where it averages two by two, else to the even number.
    return tf.where(tf.reduce_all(shape == 2 * small), tf.floor(averages + 0.5), tf.round(averages))


def _grow(pixels: tf.Tensor, small: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    rows = tf.tensordot(_weigh(small[0], size[0]), pixels, [[1], [0]])  # [height, small width, 3]
    columns = tf.tensordot(_weigh(small[1], size[1]), rows, [[1], [1]])  # [width, height, 3]
    return tf.round(tf.clip_by_value(tf.transpose(columns, [1, 0, 2]), 0.0, 255.0))


def _weigh(num: tf.Tensor, num_grown: tf.Tensor) -> tf.Tensor:
    """The share of each pixel of a row in those it grows to, float32 [num_grown, num]; the edges are repeated."""
    centre = (tf.range(tf.cast(num_grown, tf.float32)) + 0.5) * tf.cast(num / num_grown, tf.float32) - 0.5
    base = tf.floor(centre)
    weights = tf.zeros([num_grown, num])
    for step in (-1, 0, 1, 2):
        neighbour = tf.clip_by_value(tf.cast(base, tf.int32) + step, 0, num - 1)
        weights += tf.one_hot(neighbour, num) * _cubic(tf.abs(centre - base - step))[:, None]
    return weights


def _cubic(distance: tf.Tensor) -> tf.Tensor:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981, of distances from 0 to 2."""
    a, d = _SHARPNESS, distance
    return tf.where(d <= 1, ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)
