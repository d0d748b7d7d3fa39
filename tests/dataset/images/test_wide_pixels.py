"""Pixels of more than 8 bits: whatever they are stored as, their values are read and scaled by one range."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import decoder, wide_pixels
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.images.wide_pixels import Levels, WidePixels

RAMP = np.arange(64 * 64).reshape(64, 64)  # 0 to 4095
BY_12_BITS = np.rint(RAMP * (255 / 4095)).astype(np.uint8)


def decode(content: bytes, value_range="full") -> decoder.Picture:
    return decoder.decode(content, CleanConfig(range=value_range))


def measure(content: bytes) -> Levels:
    with pytest.raises(decoder.Unscaled) as unscaled:
        decode(content, "auto")
    return unscaled.value.levels


def tiff(values: np.ndarray, sample_format: int, *, white_is_zero: bool = False, bits: int = 0) -> bytes:
    """An uncompressed TIFF of one strip: `[H, W]` or `[H, W, bands]`."""
    height, width, num = (*values.shape, 1)[:3]
    depth = bits or 8 * values.dtype.itemsize
    data = values.tobytes()
    extra = 8 + len(data)
    wide = struct.pack(f"<{num}H", *[depth] * num) + struct.pack(f"<{num}H", *[sample_format] * num)
    photometric = (0 if white_is_zero else 1) if num < 3 else 2
    tags = {256: (4, 1, width), 257: (4, 1, height), 259: (3, 1, 1), 262: (3, 1, photometric), 273: (4, 1, 8)}
    tags |= {277: (3, 1, num), 278: (4, 1, height), 279: (4, 1, len(data))}
    tags |= {258: (3, num, depth if num == 1 else extra), 339: (3, num, sample_format if num == 1 else extra + 2 * num)}
    entries = b"".join(struct.pack("<HHII", tag, *given) for tag, given in sorted(tags.items()))
    start = extra + len(wide)
    return struct.pack("<2sHI", b"II", 42, start) + data + wide + struct.pack("<H", len(tags)) + entries + bytes(4)


def png(values: np.ndarray) -> bytes:
    order = [2, 1, 0, 3][: values.shape[2]] if values.ndim == 3 else None
    found, content = cv2.imencode(".png", values if order is None else np.ascontiguousarray(values[:, :, order]))
    assert found
    return content.tobytes()


TEXT = "P2 64 64 4095 " + " ".join(map(str, RAMP.ravel())) + "\n"
GREYS = {
    "12 bits in a PNG of 16": (png(RAMP.astype(np.uint16)), "uint16", 0),
    "12 bits in a TIFF of 16": (tiff(RAMP.astype(np.uint16), 1), "uint16", 0),
    "signed 16 bits": (tiff((RAMP - 2000).astype(np.int16), 2), "int16", -2000),
    "32 bits": (tiff((RAMP + 3_000_000_000).astype(np.uint32), 1), "uint32", 3_000_000_000),
    "signed 32 bits": (tiff((RAMP - 70_000).astype(np.int32), 2), "int32", -70_000),
    "floats": (tiff(RAMP.astype(np.float32), 3), "float32", 0),
    "a PGM": (b"P5 64 64 65535\n" + RAMP.astype(">u2").tobytes(), "uint16", 0),
    "a PGM of 12 bits": (b"P5 64 64 4095\n" + RAMP.astype(">u2").tobytes(), "uint12", 0),
    "a PGM of 12 bits as text": (TEXT.encode(), "uint12", 0),
}


@pytest.mark.parametrize("name", GREYS)
def test_no_level_is_lost_that_8_bits_allow(name):
    content, kind, low = GREYS[name]
    levels = measure(content)
    assert (levels.kind, levels.low, levels.high) == (kind, low, low + 4095)
    picture = decode(content, (low, low + 4095))
    assert np.array_equal(picture.pixels, np.repeat(BY_12_BITS[:, :, None], 3, axis=2))
    assert picture.levels == levels and "clipped" not in picture.notes and "gray" in picture.notes
    assert f"{16 if kind[-2:] in ('12', '16') else 64 if '64' in kind else 32}_bit" in picture.notes


def test_white_is_zero_comes_out_as_no_negative():
    inverted = decode(tiff((65535 - RAMP * 16).astype(np.uint16), 1, white_is_zero=True))
    assert np.array_equal(inverted.pixels[:, :, 0], np.rint(RAMP * 16 / 257))
    assert measure(tiff(RAMP.astype(np.uint16), 1, white_is_zero=True)).low == 65535 - 4095


COLORS = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)


@pytest.mark.parametrize("kind", ["png", "tiff", "ppm"])
def test_colors_keep_their_levels(kind):
    values = COLORS.astype(np.uint16)
    ppm = b"P6 # of a camera\n64 64\n65535\n" + values.astype(">u2").tobytes()
    content = {"png": lambda: png(values), "tiff": lambda: tiff(values, 1), "ppm": lambda: ppm}[kind]()
    assert (measure(content).low, measure(content).high) == (0, 4095)
    picture = decode(content, (0, 4095))
    assert np.array_equal(picture.pixels, np.rint(COLORS * (255 / 4095))) and picture.notes == ("16_bit",)


def test_full_is_what_16_bits_can_have():
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), np.uint16)
    assert np.array_equal(decode(png(values)).pixels, (values.astype(int) + 128) // 257)
    assert np.array_equal(decode(png(values[:, :, 0])).pixels[:, :, 1], (values[:, :, 0].astype(int) + 128) // 257)


def test_alpha_of_16_bits_is_laid_on_white_and_counts_for_no_range():
    values = np.dstack([COLORS, np.full((64, 64), 65535)]).astype(np.uint16)
    values[:32, :, 3], values[0, 0] = 0, (60000, 60000, 60000, 0)
    picture = decode(png(values), (0, 4095))
    assert (picture.pixels[:32] == 255).all() and set(picture.notes) == {"alpha", "16_bit", "clipped"}
    assert np.array_equal(picture.pixels[32:], np.rint(COLORS[32:] * (255 / 4095)))
    values[:, :, 3] = 32768
    half = decode(png(values), (0, 4095)).pixels[32:].astype(int)
    assert np.abs(half - (255 + np.rint(COLORS[32:] * (255 / 4095))) / 2).max() <= 1


def test_grey_with_alpha_of_16_bits_keeps_its_levels():
    rows = b"".join(
        b"\0" + np.dstack([row, np.full(64, 65535)]).astype(">u2").tobytes() for row in RAMP.reshape(64, 1, 64)
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    picture = decode(content, (0, 4095))
    assert np.array_equal(picture.pixels[:, :, 0], BY_12_BITS) and {"alpha", "16_bit"} <= set(picture.notes)


def test_what_lies_outside_a_range_is_black_or_white_and_noted():
    content = png(RAMP.astype(np.uint16))
    picture = decode(content, (1000, 2000))
    assert picture.notes == ("gray", "16_bit", "clipped")
    assert (picture.pixels[RAMP <= 1000] == 0).all() and (picture.pixels[RAMP >= 2000] == 255).all()


def test_values_that_are_no_numbers_are_black_and_set_no_range():
    values = RAMP.astype(np.float32)
    values[0], values[1] = np.nan, np.inf
    content = tiff(values, 3)
    assert (measure(content).low, measure(content).high) == (128, 4095)
    assert (decode(content, (128, 4095)).pixels[0] == 0).all()
    with pytest.raises(Rejected, match="none of its values is a number"):
        decode(tiff(np.full((64, 64), np.nan, np.float32), 3))


def test_white_of_a_pgm_and_of_a_ppm_is_what_they_say():
    grey = b"P5 64 64 4095\n" + RAMP.astype(">u2").tobytes()
    colors = b"P6 64 64 4095\n" + np.repeat(RAMP[:, :, None], 3, axis=2).astype(">u2").tobytes()
    for content in (grey, colors):
        assert np.array_equal(decode(content).pixels[:, :, 1], BY_12_BITS)
        assert (measure(content).kind, measure(content).high) == ("uint12", 4095)


def test_values_that_stand_for_none_set_no_range_and_are_black():
    floats = RAMP.astype(np.float32) + 20
    floats[:20] = np.finfo(np.float32).min
    assert (measure(tiff(floats, 3)).low, measure(tiff(floats, 3)).high) == (20 + 20 * 64, 20 + 4095)
    heights = (RAMP + 100).astype(np.int16)
    heights[:32] = -9999
    buffer = io.BytesIO()
    Image.fromarray(heights.view(np.uint16)).save(buffer, "TIFF", tiffinfo={42113: "-9999", 339: 2})
    content = buffer.getvalue()
    assert str(measure(content)).startswith("int16 2148 4195 ")
    picture = decode(content, (2148, 4195))
    assert (picture.pixels[:32] == 0).all() and picture.pixels[-1, -1, 0] == 255 and "clipped" not in picture.notes


def test_nothing_is_printed_of_tags_that_a_library_does_not_know(tmp_path, capfd):
    entry = struct.pack("<HHI", 42113, 2, 2)  # no value is 0
    content = tiff(COLORS.astype(np.uint16), 1)
    start = struct.unpack_from("<I", content, 4)[0]
    num = struct.unpack_from("<H", content, start)[0]
    entries = content[start + 2 : start + 2 + 12 * num] + entry + b"0\0\0\0"
    mapped = content[:start] + struct.pack("<H", num + 1) + entries + bytes(4)
    assert measure(mapped).low == 1
    assert capfd.readouterr().err == ""


def test_a_picture_that_keeps_few_levels_of_many_is_noted():
    content = png(RAMP.astype(np.uint16))
    assert "few_levels" in decode(content).notes  # 16 of 4096
    assert "few_levels" not in decode(content, (0, 20_000)).notes  # 53
    two_values = png(np.where(RAMP > 2000, 300, 200).astype(np.uint16))
    assert "few_levels" not in decode(two_values).notes


@pytest.mark.parametrize("num", [2, 5, 8, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_that_are_no_colors_are_refused_with_their_number(num, dtype):
    with pytest.raises(Rejected, match=rf"TIFF of {num} bands; expected bands of grey, RGB") as rejected:
        decode(tiff(np.zeros((64, 64, num), dtype), 1))
    assert rejected.value.reason == Reason.UNSUPPORTED_FORMAT


def test_doubles_are_refused_as_what_they_are():
    with pytest.raises(Rejected, match=r"TIFF of 1 band of 64 bits, floats; expected .*: convert it"):
        decode(tiff(RAMP.astype(np.float64), 3))


@pytest.mark.parametrize("dtype", [np.float32, np.uint32])
def test_several_bands_of_32_bits_are_refused_as_what_they_are(dtype):
    values = np.zeros((64, 64, 3), dtype)
    floats = ", floats" if dtype == np.float32 else ""
    with pytest.raises(
        Rejected, match=rf"TIFF of 3 bands of 32 bits{floats}; expected a TIFF that Pillow reads"
    ) as rejected:
        decode(tiff(values, 3 if floats else 1))
    assert rejected.value.reason == Reason.UNSUPPORTED_FORMAT


def test_8_bits_have_no_range():
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, "PNG")
    assert np.array_equal(decode(buffer.getvalue(), "auto").pixels, decode(buffer.getvalue(), (3, 9)).pixels)
    assert decode(buffer.getvalue(), "auto").levels is None


def test_signed_8_bits_are_no_others():
    values = (RAMP // 16 - 128).astype(np.int8)
    assert measure(tiff(values, 2)) == Levels("int8", -128, 127, -128, 127)
    assert np.array_equal(decode(tiff(values, 2)).pixels[:, :, 0], RAMP // 16)


def test_bands_by_themselves_of_16_bits_are_refused():
    content = tiff(COLORS.astype(np.uint16), 1)
    planes = struct.pack("<HHII", 284, 3, 1, 2)
    start = content.index(struct.pack("<HHII", 279, 4, 1, 64 * 64 * 6))
    changed = bytearray(content[:start] + content[start : start + 12] + planes + content[start + 12 :])
    (table,) = struct.unpack_from("<I", content, 4)
    changed[table] += 1
    with pytest.raises(Rejected, match=r"TIFF of 3 bands of 16 bits, each band by itself; expected .* pixel by pixel"):
        decode(bytes(changed))


@given(low=st.integers(0, 65000), num=st.integers(1, 256), seed=st.integers(0, 9))
def test_levels_that_8_bits_can_hold_stay_apart(low, num, seed):
    high = min(65535, low + num - 1)
    values = np.random.default_rng(seed).integers(low, high, (8, 8), np.uint16, endpoint=True)
    values[0, :2] = low, high
    pixels = WidePixels(values, "uint16")
    levels = wide_pixels.measure(pixels)
    assert (levels.low, levels.high) == (low, high)
    scaled = wide_pixels.scale(pixels, (levels.low, levels.high))[:, :, 0]
    assert len(np.unique(scaled)) == len(np.unique(values))
    assert wide_pixels.parse_levels(str(levels)) == levels
