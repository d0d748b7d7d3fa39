"""The encoded picture in a record: a JPEG or PNG file, or the bytes of its rows. It reads and writes no file."""

import struct
from typing import cast

import cv2
import numpy as np
import simplejpeg

from harness.config.dataset_sections import RecordsConfig
from harness.dataset.images.arrays import Array

# A PNG as it is stored: a header, chunks of pixels, an end.
_PNG_START, _PNG_PIXELS, _PNG_END = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"IDAT", b"\0\0\0\0IEND\xaeB`\x82"
_PNG_SIZE = slice(16, 24)  # width and height
_PNG_HEADER_BYTES, _PNG_FRAME_BYTES = 33, 12  # of signature and header; of a chunk beside its content


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
    """Returns the pixels `uint8 [size, size, 3]` of an encoded picture.

    Raises:
      ValueError: it is no picture of this encoding and size.
    """
    pixels = np.empty((size, size, 3), np.uint8)
    decode_pixels_into(encoded, encoding, pixels)
    return pixels


def decode_pixels_into(encoded: bytes, encoding: str, out: Array) -> None:
    """Writes the pixels of an encoded picture to `out`, `uint8 [S, S, 3]`; new memory for each costs a third more.

    Raises:
      ValueError: it is no picture of this encoding and size. What is in `out` then is of no use.
    """
    if encoding == "raw":
        if len(encoded) != out.nbytes:
            raise ValueError(f"{len(encoded)} bytes of pixels where {out.shape[1]}x{out.shape[0]} has {out.nbytes}")
        out[:] = np.frombuffer(encoded, np.uint8).reshape(out.shape)
    elif encoding == "jpeg":
        # A smaller picture fills the beginning of the buffer only, and the rest is what the memory held before.
        _check_shape(simplejpeg.decode_jpeg(encoded, "RGB", buffer=out).shape, out)
    else:
        _decode_png(encoded, out)


def _decode_png(encoded: bytes, out: Array) -> None:
    # OpenCV decodes whatever format it knows, of whatever size, so the header is looked at first.
    if not _is_plain_png(encoded):
        raise ValueError("no PNG file of a header, pixels and an end alone")
    width, height = struct.unpack(">II", encoded[_PNG_SIZE])
    _check_shape((height, width, 3), out)
    pixels = cast("Array | None", cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR))
    if pixels is None:
        raise ValueError("a damaged PNG file")
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=out)


def _is_plain_png(encoded: bytes) -> bool:
    """Whether a PNG is as it is stored. In others OpenCV turns pixels, or ends the process on a damaged animation."""
    position = _PNG_HEADER_BYTES
    while encoded.startswith(_PNG_PIXELS, position + 4):
        position += _PNG_FRAME_BYTES + int.from_bytes(encoded[position : position + 4], "big")
    return encoded.startswith(_PNG_START) and encoded[position:] == _PNG_END


def _check_shape(found: tuple[int, ...], out: Array) -> None:
    if found != out.shape:
        raise ValueError(f"a picture of {found[1]}x{found[0]} where {out.shape[1]}x{out.shape[0]} was promised")
