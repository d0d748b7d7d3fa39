"""How a picture is stored in a record."""

import io

import numpy as np
import pytest
from conftest import draw_face
from PIL import Image

from harness.config.dataset_sections import CleanConfig, RecordsConfig
from harness.dataset.images import decoder, formats
from harness.dataset.records.encoding import decode_pixels, decode_pixels_into, encode_jpeg, encode_pixels

ENCODINGS = ("jpeg", "png", "raw")


def encode(encoding: str, size: int) -> bytes:
    return encode_pixels(draw_face(1, happy=True, size=size), RecordsConfig(encoding=encoding))


def test_a_stored_jpeg_is_close_to_its_pixels():
    face = draw_face(3, happy=False, size=256)
    content = encode_jpeg(face, 95)
    assert formats.sniff(content) == "JPEG"
    assert np.abs(decoder.decode(content, CleanConfig()).pixels.astype(int) - face).mean() < 2


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [16, 31, 33, 256])
def test_a_picture_of_another_size_than_promised_is_refused(encoding, size):
    with pytest.raises(ValueError, match=r"promised|bytes of pixels|[Bb]uffer|size"):
        decode_pixels(encode(encoding, size), encoding, 32)


@pytest.mark.parametrize(("width", "height"), [(64, 16), (16, 64), (32, 31)])
def test_as_many_pixels_in_another_shape_are_refused(width, height):
    for form in ("jpeg", "png"):
        stream = io.BytesIO()
        Image.new("RGB", (width, height)).save(stream, form)
        with pytest.raises(ValueError, match=f"a picture of {width}x{height} where 32x32 was promised"):
            decode_pixels(stream.getvalue(), form, 32)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_written_beyond_the_picture(encoding):
    memory = np.full((3, 32, 32, 3), 7, np.uint8)
    for size in (32, 33, 64, 500):
        try:
            decode_pixels_into(encode(encoding, size), encoding, memory[1])
        except ValueError:
            assert size != 32
        assert (memory[[0, 2]] == 7).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("content", [b"", b"\0", b"garbage" * 9, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + b"\0" * 30])
def test_garbage_is_refused(encoding, content):
    with pytest.raises(ValueError):
        decode_pixels(content, encoding, 32)


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_one_format_is_not_taken_for_another(encoding):
    for other in {"JPEG", "PNG", "BMP", "TIFF", "WEBP"} - {encoding.upper()}:
        stream = io.BytesIO()
        Image.new("RGB", (32, 32)).save(stream, other)
        with pytest.raises(ValueError):
            decode_pixels(stream.getvalue(), encoding, 32)


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_a_picture_that_is_cut_off_is_refused(encoding):
    content = encode(encoding, 64)
    for num_bytes in range(0, len(content) - 2, 97):
        with pytest.raises(ValueError):
            decode_pixels(content[:num_bytes], encoding, 64)


def test_a_png_with_more_than_pixels_is_refused():
    """OpenCV 5.0 turns the pixels of some, and ends the process on damaged animations."""
    face = Image.fromarray(draw_face(1, happy=True, size=32))
    exif = Image.Exif()
    exif[0x0112] = 6
    for options in ({"exif": exif}, {"save_all": True, "append_images": [face.rotate(90)]}, {"dpi": (9, 9)}):
        stream = io.BytesIO()
        face.save(stream, "PNG", **options)
        with pytest.raises(ValueError, match="no PNG file of a header, pixels and an end alone"):
            decode_pixels(stream.getvalue(), "png", 32)


def test_a_png_of_many_chunks_is_read():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    content = encode_pixels(noise, RecordsConfig(encoding="png"))
    assert content.count(b"IDAT") > 20 and np.array_equal(decode_pixels(content, "png", 256), noise)


def test_a_png_that_claims_to_be_a_giant_is_refused_before_memory_is_taken():
    content = encode("png", 32)
    giant = content[:16] + (60_000).to_bytes(4, "big") * 2 + content[24:]
    with pytest.raises(ValueError, match="a picture of 60000x60000 where 32x32 was promised"):
        decode_pixels(giant, "png", 32)


def test_a_flipped_bit_of_a_png_is_refused_or_leaves_its_pixels():
    content = encode("png", 32)
    pixels = decode_pixels(content, "png", 32)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        try:
            found = decode_pixels(bytes(damaged), "png", 32)
        except ValueError:
            continue
        assert np.array_equal(found, pixels), place
