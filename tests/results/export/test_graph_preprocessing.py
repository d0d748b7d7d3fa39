"""Inside a graph pictures become the pixels that `predict` makes of them, whatever their size, colours and turn."""

import functools
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation
from harness.dataset.images import decoder, fitting
from harness.results.export.conversion import graph_preprocessing

SIZE = 48
STRETCH, CROP, PAD = Preparation(SIZE), Preparation(SIZE, "crop"), Preparation(SIZE, "pad", (9, 100, 250))
WIDE = Preparation(SIZE, range=(1000.0, 40000.0))
ORIENTATION = 0x0112


@functools.cache
def in_graph(preparation: Preparation):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def prepare(contents):
        return graph_preprocessing.prepare_all(contents, preparation, max_pixels=1_000_000)

    return prepare


def difference(content: bytes, preparation: Preparation = STRETCH) -> int:
    """The largest difference of a level between the graph's pixels and those of `predict`."""
    limits = CleanConfig(min_side=2, range=preparation.range or "full")
    expected = fitting.prepare(decoder.decode(content, limits, least_side=SIZE).pixels, preparation)
    (found,) = in_graph(preparation)([content]).numpy()
    assert found.dtype == np.float32 and found.shape == expected.shape
    return int(np.abs(found - expected).max())


def draw(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, file_format: str, *, turn: int = 1, **options) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = turn
    image.save(file, file_format, **({"exif": exif} if turn != 1 else {}), **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def small_png(bits: int, color_type: int, *chunks: bytes) -> bytes:
    """A PNG of a few bits a pixel, which no library here writes."""
    rows = np.random.default_rng(bits).integers(0, 256, (SIZE, SIZE * bits // 8), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", SIZE, SIZE, bits, color_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def wide_png(bands: int) -> bytes:
    values = np.random.default_rng(bands).integers(0, 65536, (SIZE, SIZE, bands), dtype=np.uint16)
    return cv2.imencode(".png", values)[1].tobytes()


PALETTE = chunk(b"PLTE", bytes(range(48)))
UNRESIZED = {
    "JPEG": encode(draw(SIZE, SIZE), "JPEG", quality=95),
    "JPEG without subsampling": encode(draw(SIZE, SIZE), "JPEG", subsampling=0),
    "progressive": encode(draw(SIZE, SIZE), "JPEG", progressive=True),
    "grey JPEG": encode(draw(SIZE, SIZE, "L"), "JPEG"),
    "CMYK": encode(draw(SIZE, SIZE, "CMYK"), "JPEG"),
    "PNG": encode(draw(SIZE, SIZE), "PNG"),
    "alpha": encode(draw(SIZE, SIZE, "RGBA"), "PNG"),
    "grey and alpha": encode(draw(SIZE, SIZE, "LA"), "PNG"),
    "grey": encode(draw(SIZE, SIZE, "L"), "PNG"),
    "a transparent level": encode(draw(SIZE, SIZE, "L"), "PNG", transparency=100),
    "palette": encode(draw(SIZE, SIZE, "P"), "PNG"),
    "palette with a transparent colour": encode(draw(SIZE, SIZE, "P"), "PNG", transparency=3),
    **{f"grey of {bits} bits": small_png(bits, 0) for bits in (1, 2, 4)},
    **{f"palette of {bits} bits": small_png(bits, 3, PALETTE) for bits in (1, 2, 4)},
    "small palette with alpha": small_png(4, 3, PALETTE, chunk(b"tRNS", b"\x80")),
    "16 bits": wide_png(1),
    "16 bits, colour": wide_png(3),
    "16 bits, alpha": wide_png(4),
}


@pytest.mark.parametrize("name", UNRESIZED)
def test_a_picture_of_the_right_size_is_equal_to_the_bit(name):
    assert difference(UNRESIZED[name]) == 0


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_a_range_says_what_is_black_and_white_of_16_bits(bands):
    assert difference(wide_png(bands), WIDE) == 0


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_picture_is_turned_upright(turn, file_format):
    content = encode(draw(SIZE, SIZE), file_format, turn=turn)
    assert difference(content) == 0
    plain = in_graph(STRETCH)([encode(draw(SIZE, SIZE), file_format)])
    assert np.array_equal(in_graph(STRETCH)([content]), plain) == (turn == 1)


SIZES = ((96, 96), (30, 30), (33, 70), (400, 30), (257, 131), (500, 375))


@pytest.mark.parametrize("preparation", [STRETCH, CROP, PAD], ids=lambda preparation: preparation.fit)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_resized_picture_differs_by_one_level_at_most(preparation, size):
    for file_format in ("JPEG", "PNG"):
        assert difference(encode(draw(*size), file_format), preparation) <= 1


@settings(max_examples=60)
@given(
    st.integers(2, 300),
    st.integers(2, 300),
    st.sampled_from(["RGB", "L", "CMYK", "RGBA", "LA", "P"]),
    st.integers(1, 8),
    st.sampled_from([STRETCH, CROP, PAD]),
    st.integers(0, 99),
)
def test_any_picture_differs_by_one_level_or_two_where_one_side_grows_and_one_shrinks(
    height, width, mode, turn, preparation, seed
):
    image = draw(height, width, mode, seed)
    formats = {"CMYK": ["JPEG"], "RGB": ["JPEG", "PNG"], "L": ["JPEG", "PNG"]}.get(mode, ["PNG"])
    for file_format in formats:
        most = 2 if min(height, width) < SIZE < max(height, width) else 1
        assert difference(encode(image, file_format, turn=turn), preparation) <= most


def test_exif_data_of_either_byte_order_and_behind_the_pixels_are_read():
    entry = struct.pack("<HHHII", 1, ORIENTATION, 4, 1, 6)  # a number of 32 bits, the lowest first
    little = b"II*\0" + struct.pack("<I", 8) + entry + bytes(4)
    big = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">HHHII", 1, ORIENTATION, 4, 1, 6) + bytes(4)
    png = encode(draw(SIZE, SIZE), "PNG")
    turned = [png[:-12] + chunk(b"eXIf", tiff) + png[-12:] for tiff in (little, big)]
    assert [difference(content) for content in turned] == [0, 0]
    first, second = in_graph(STRETCH)(turned).numpy()
    assert np.array_equal(first, second) and not np.array_equal(first, in_graph(STRETCH)([png])[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "JPEG or PNG"),
        (b"GIF89a" + bytes(50), "JPEG or PNG"),
        (encode(draw(9, 9), "BMP"), "JPEG or PNG"),
        (encode(Image.new("1", (1001, 1000)), "PNG"), "at most 1000000 pixels"),
        (encode(draw(SIZE, SIZE), "JPEG")[:400], "JPEG"),
        (encode(draw(SIZE, SIZE), "PNG")[:900], "PNG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
    ],
    ids=["empty", "GIF", "BMP", "too large", "cut JPEG", "cut PNG", "start of a PNG", "start of a JPEG"],
)
def test_what_is_no_jpeg_or_png_or_too_large_is_refused(content, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        in_graph(STRETCH)([content])


def test_no_picture_is_no_error():
    assert in_graph(STRETCH)(tf.constant([], tf.string)).shape == (0, SIZE, SIZE, 3)
