"""The encoded picture in a record: a JPEG or PNG file, or the bytes of its rows. It reads and writes no file."""

from typing import cast

import cv2
import numpy as np
import simplejpeg

from harness.base.arrays import Array
from harness.config.schema import RecordsConfig


def encode_pixels(pixels: Array, config: RecordsConfig) -> bytes:
    """Returns the encoded picture of RGB pixels `uint8 [H, W, 3]`: a JPEG or PNG file, or the bytes of the rows."""
    if config.encoding == "raw":
        return pixels.tobytes()
    if config.encoding == "png":
        return _encode(".png", pixels, [])
    return encode_jpeg(pixels, config.jpeg_quality)


def encode_jpeg(pixels: Array, quality: int) -> bytes:
    """Encodes RGB pixels `uint8 [H, W, 3]` as a JPEG file."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(ending: str, pixels: Array, options: list[int]) -> bytes:
    is_encoded, buffer = cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not is_encoded:
        raise ValueError(f"OpenCV could not encode pixels of shape {pixels.shape}")
    return buffer.tobytes()


def decode_pixels(encoded: bytes, encoding: str, size: int) -> Array:
    """Returns the pixels `uint8 [size, size, 3]` of an encoded picture that this project wrote and that is whole."""
    pixels = np.empty((size, size, 3), np.uint8)
    decode_pixels_into(encoded, encoding, pixels)
    return pixels


def decode_pixels_into(encoded: bytes, encoding: str, out: Array) -> None:
    """Writes the pixels of an encoded picture to `out`, `uint8 [S, S, 3]`; new memory for each costs a third more."""
    if encoding == "raw":
        out[:] = np.frombuffer(encoded, np.uint8).reshape(out.shape)
    elif encoding == "jpeg":
        simplejpeg.decode_jpeg(encoded, "RGB", buffer=out)
    else:
        pixels = cast(Array, cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR))
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=out)
