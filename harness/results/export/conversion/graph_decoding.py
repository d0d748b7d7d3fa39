"""A JPEG or PNG to upright RGB inside a TensorFlow graph: what dataset/images/decoder.py does in Python.

The pixels are the same, to the bit. Not done here is what TensorFlow has no operations for: other formats, embedded
colour profiles, an orientation that only XMP states, and the search for damage that decoders get over. A transparent
level of grey of 2 or 4 bits counts here; Pillow overlooks it.
"""

import tensorflow as tf

from harness.config.values import ValueRange

_REFUSED = "serve_bytes takes pictures as JPEG or PNG of at most {} pixels: convert it, or send its pixels"
_PADDING = 32  # bytes after the file, so that a field at its very end can be read
_MOST_PARTS = 1 << 16  # looked through for EXIF data; of a damaged file they may be as many as it has bytes
_ORIENTATION, _LONG = 0x0112, 4  # of EXIF: the tag, and the type of 32 bits
_WHITE_16 = 65535


def decode(content: tf.Tensor, least_side: int, value_range: ValueRange | None, max_pixels: int) -> tf.Tensor:
    """Returns the pixels of a file upright, uint8 [H, W, 3] in RGB, alpha laid on white.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as no side falls below `least_side`.

    Args:
      content: the bytes of the file, a string without dimensions.
      least_side: the size the pixels are for.
      value_range: what is black and white of a PNG of 16 bits; None: all that it can hold.
      max_pixels: the most that is decoded.
    """
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(content, 0, 8) == b"\x89PNG\r\n\x1a\n"
    raw = tf.concat([tf.io.decode_raw(content, tf.uint8), tf.zeros([_PADDING], tf.uint8)], 0)
    refused = _REFUSED.format(max_pixels)
    with tf.control_dependencies([tf.debugging.Assert(is_jpeg | is_png, [refused])]):
        size = tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(content), lambda: _png_size(raw))
    num_pixels = tf.cast(size[0], tf.int64) * tf.cast(size[1], tf.int64)
    with tf.control_dependencies([tf.debugging.Assert(num_pixels <= max_pixels, [refused])]):
        pixels = tf.cond(
            is_jpeg, lambda: _decode_jpeg(content, size, least_side), lambda: _decode_png(content, raw, value_range)
        )
    tiff = tf.cond(is_jpeg, lambda: _find_exif_in_jpeg(raw), lambda: _find_exif_in_png(raw))
    return _turn_upright(pixels, tf.cond(tiff >= 0, lambda: _read_orientation(raw, tiff), lambda: 1))


def _decode_jpeg(content: tf.Tensor, size: tf.Tensor, least_side: int) -> tf.Tensor:
    """Decodes with exact arithmetic, as the decoder of the build does; pictures of inks (four bands) in full size."""
    shortest = tf.where(size[2] == 4, 0, tf.minimum(size[0], size[1]))

    def at(ratio: int):
        return lambda: tf.io.decode_jpeg(content, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    fits = [(-(-shortest // ratio) >= least_side, at(ratio)) for ratio in (8, 4, 2)]
    return tf.case(fits, default=at(1), exclusive=False)


def _png_size(raw: tf.Tensor) -> tf.Tensor:
    """Height, width and 4, as stated in the header."""
    return tf.stack([_u32(raw, 20), _u32(raw, 16), 4])


def _decode_png(content: tf.Tensor, raw: tf.Tensor, value_range: ValueRange | None) -> tf.Tensor:
    return tf.cond(raw[24] == 16, lambda: _decode_wide(content, value_range), lambda: _decode_plain(content, raw))


def _decode_plain(content: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    """Of 8 bits or fewer, on white in the whole numbers of Pillow's alpha_composite."""
    bands = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
    color, alpha = bands[..., :3], bands[..., 3:]
    # TensorFlow makes full alpha the most that as many bits hold as the file has for a pixel: 1, 3, 15 or 255.
    most = tf.bitwise.left_shift(1, tf.cast(raw[24], tf.int32)) - 1
    alpha = tf.where(tf.reduce_all(alpha == most), 255, alpha)
    sums = 128 * (color * alpha + 255 * (255 - alpha)) + (128 << 7)
    return tf.cast((sums // 256 + sums) // 256 // 128, tf.uint8)


def _decode_wide(content: tf.Tensor, value_range: ValueRange | None) -> tf.Tensor:
    """Of 16 bits, as wide_pixels.scale and wide_pixels.lay_on_white do it."""
    low, high = (0.0, float(_WHITE_16)) if value_range is None or value_range == "full" else value_range
    bands = tf.io.decode_png(content, channels=4, dtype=tf.uint16)
    scaled = (tf.cast(bands[..., :3], tf.float64) - low) * (255 / (high - low))
    color = tf.cast(tf.round(tf.clip_by_value(scaled, 0.0, 255.0)), tf.float32)
    alpha = tf.cast(bands[..., 3:], tf.float32) / _WHITE_16
    return tf.cast(tf.round(255 - (255 - color) * alpha), tf.uint8)


def _find_exif_in_jpeg(raw: tf.Tensor) -> tf.Tensor:
    """Returns where the TIFF header of the EXIF data begins; -1 if there are none."""
    end = tf.size(raw) - _PADDING

    def is_before_scan(at, found):
        return (found < 0) & (at + 4 < end) & (raw[at] == 0xFF) & (raw[at + 1] != 0xDA)

    def step(at, found):
        is_exif = (raw[at + 1] == 0xE1) & tf.reduce_all(raw[at + 4 : at + 10] == tf.constant([*b"Exif\0\0"], tf.uint8))
        is_filler = raw[at + 1] == 0xFF
        after = tf.where(is_filler, at + 1, at + 2 + _u16(raw, at + 2, True))
        return tf.minimum(after, end), tf.where(is_exif, at + 10, found)

    return tf.while_loop(is_before_scan, step, [tf.constant(2), tf.constant(-1)], maximum_iterations=_MOST_PARTS)[1]


def _find_exif_in_png(raw: tf.Tensor) -> tf.Tensor:
    """As `_find_exif_in_jpeg`, in the chunks of a PNG."""
    end = tf.size(raw) - _PADDING

    def is_inside(at, found):
        return (found < 0) & (at + 12 < end)

    def step(at, found):
        is_exif = tf.reduce_all(raw[at + 4 : at + 8] == tf.constant([*b"eXIf"], tf.uint8))
        after = at + 12 + _u32(raw, at)
        return tf.where(after > at, tf.minimum(after, end), end), tf.where(is_exif, at + 8, found)

    return tf.while_loop(is_inside, step, [tf.constant(8), tf.constant(-1)], maximum_iterations=_MOST_PARTS)[1]


def _read_orientation(raw: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    """Returns the orientation from 1 to 8 that the first directory of a TIFF header states; 1 if none."""
    end = tf.size(raw) - _PADDING
    is_big = raw[tiff] == ord("M")
    # The directory lies within the 64 kB of a segment, so the lower half of its offset is enough.
    offset = _u16(raw, tiff + tf.where(is_big, 6, 4), is_big)
    directory = tf.clip_by_value(tiff + offset, 0, end)
    num_entries = tf.clip_by_value(_u16(raw, directory, is_big), 0, (end - directory) // 12)
    entries = directory + 2 + 12 * tf.range(num_entries)
    found = tf.boolean_mask(entries, _u16(raw, entries, is_big) == _ORIENTATION)

    def read():
        is_long = _u16(raw, found[0] + 2, is_big) == _LONG
        return _u16(raw, found[0] + tf.where(is_big & is_long, 10, 8), is_big)

    value = tf.cond(tf.size(found) > 0, read, lambda: 1)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _u16(raw: tf.Tensor, at: tf.Tensor, is_big) -> tf.Tensor:
    """The numbers of 16 bits that begin at some bytes."""
    first, second = (tf.cast(tf.gather(raw, at + step), tf.int32) for step in (0, 1))
    return tf.where(is_big, first * 256 + second, second * 256 + first)


def _u32(raw: tf.Tensor, at) -> tf.Tensor:
    """A number of 32 bits, the highest first; from 2**31 on it is negative."""
    return _u16(raw, at, True) * 65536 + _u16(raw, at + 2, True)


def _turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes an EXIF orientation, as conversion.turn_upright does."""

    def is_one_of(*numbers: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(numbers))

    pixels = tf.cond(is_one_of(5, 6, 7, 8), lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(is_one_of(3, 4, 7, 8), lambda: tf.reverse(pixels, [0]), lambda: pixels)
    return tf.cond(is_one_of(2, 3, 6, 7), lambda: tf.reverse(pixels, [1]), lambda: pixels)
