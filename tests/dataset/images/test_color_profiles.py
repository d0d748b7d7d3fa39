"""Colours of an embedded profile become those of sRGB; profiles of sRGB and damaged ones change nothing."""

import io
import struct
import time
import zlib

import icc
import numpy as np
import pytest
from conftest import draw_face
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import color_profiles, decoder

LIMITS = CleanConfig(range="full")
PROFILES = {
    "display_p3": icc.rgb(icc.DISPLAY_P3, "sRGB"),
    "adobe_rgb": icc.rgb(icc.ADOBE_RGB, 563 / 256),
    "prophoto": icc.rgb(icc.PROPHOTO, 1.8),
}
# Of the colours (200, 100, 50), (100, 150, 120), (60, 60, 60) and white: computed by matrices and curves, to the level.
BY_HAND = {
    "display_p3": [[215, 93, 31], [83, 152, 118], [60, 60, 60], [255, 255, 255]],
    "adobe_rgb": [[227, 100, 42], [66, 151, 119], [57, 57, 57], [255, 255, 255]],
    "prophoto": [[255, 80, 46], [37, 175, 134], [77, 77, 77], [255, 255, 255]],
}


def draw_colors(mode: str = "RGB") -> Image.Image:
    """Four fields of 32x64 pixels beside each other."""
    colors = np.array([[200, 100, 50], [100, 150, 120], [60, 60, 60], [255, 255, 255]], np.uint8)
    return Image.fromarray(np.repeat(np.repeat(colors[None], 64, 0), 32, 1)).convert(mode)


def read_colors(content: bytes, **options) -> tuple[list[list[int]], tuple[str, ...]]:
    picture = decoder.decode(content, LIMITS, **options)
    middle, step = picture.pixels.shape[0] // 2, picture.pixels.shape[1] // 4
    return picture.pixels[middle, step // 2 :: step].tolist(), picture.notes


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


LOSSLESS = {"PNG": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_colors_of_a_profile_become_those_of_srgb(kind, name):
    content = encode(draw_colors(), kind, icc_profile=PROFILES[name], **LOSSLESS[kind])
    assert read_colors(content) == (BY_HAND[name], ("color_profile",))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"xmp": b"<x:xmpmeta/>"}])
@pytest.mark.parametrize("name", PROFILES)
def test_colors_of_a_jpeg_become_those_of_srgb_whichever_way_it_is_decoded(name, options):
    options = {"quality": 100, "subsampling": 0, **options}
    colors, notes = read_colors(encode(draw_colors(), "JPEG", icc_profile=PROFILES[name], **options))
    assert "color_profile" in notes and np.abs(np.subtract(colors, BY_HAND[name])).max() <= 5
    small, _ = read_colors(encode(draw_colors(), "JPEG", icc_profile=PROFILES[name], **options), least_side=16)
    assert np.abs(np.subtract(small, BY_HAND[name])).max() <= 5


def test_a_profile_of_several_segments_is_put_together():
    filled = icc.profile(b"RGB ", {**_tags_of_p3(), b"desc": b"text\0\0\0\0" + bytes(100_000)})
    colors, notes = read_colors(encode(draw_colors(), "JPEG", icc_profile=filled, quality=100, subsampling=0))
    assert notes == ("color_profile",) and np.abs(np.subtract(colors, BY_HAND["display_p3"])).max() <= 5


def _tags_of_p3() -> dict[bytes, bytes]:
    content = PROFILES["display_p3"]
    tags = (struct.unpack_from(">4sII", content, 132 + 12 * index) for index in range(content[131]))
    return {name: content[start : start + size] for name, start, size in tags}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_profile_of_srgb_is_told_whoever_made_it_and_changes_no_pixel(kind):
    face = Image.fromarray(draw_face(1, happy=True))
    plain = decoder.decode(encode(face, kind), LIMITS)
    for profile in (icc.rgb(icc.SRGB, "sRGB"), color_profiles.ImageCms.ImageCmsProfile(color_profiles._SRGB).tobytes()):
        picture = decoder.decode(encode(face, kind, icc_profile=profile), LIMITS)
        assert np.array_equal(picture.pixels, plain.pixels) and picture.notes == plain.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_levels_of_a_profile_become_those_of_srgb(kind):
    levels = np.repeat(np.array([[10, 60, 128, 255]], np.uint8), 64, 0).repeat(32, 1)
    options = {"quality": 100} if kind == "JPEG" else {}
    colors, notes = read_colors(encode(Image.fromarray(levels), kind, icc_profile=icc.gray(1.8), **options))
    assert colors == [[10] * 3, [77] * 3, [146] * 3, [255] * 3] and set(notes) == {"gray", "color_profile"}
    assert read_colors(encode(Image.fromarray(levels), kind, icc_profile=icc.gray("sRGB"), **options))[1] == ("gray",)


def test_printing_inks_become_what_their_profile_says():
    inks = np.zeros((64, 128, 4), np.uint8)
    inks[:, 32:64, 0], inks[:, 64:96, 3], inks[:, 96:, 3] = 255, 128, 255
    image = Image.fromarray(inks, "CMYK")
    for content in (
        encode(image, "TIFF", icc_profile=icc.inks()),
        encode(image, "JPEG", icc_profile=icc.inks(100_000)),
    ):
        colors, notes = read_colors(content)
        assert set(notes) == {"cmyk", "color_profile"}
        assert np.abs(np.subtract(colors, [[255] * 3, [255] * 3, [184] * 3, [118] * 3])).max() <= 2


def test_transparent_pixels_are_laid_on_white_after_the_conversion():
    image = draw_colors("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.repeat(np.array([[255, 0, 255, 0]], np.uint8), 64, 0), 32, 1)))
    colors, notes = read_colors(encode(image, "PNG", icc_profile=PROFILES["adobe_rgb"]))
    assert colors == [[227, 100, 42], [255] * 3, [57] * 3, [255] * 3] and notes == ("alpha", "color_profile")


def test_colors_of_a_palette_become_those_of_srgb():
    image = draw_colors().quantize(4)
    colors, notes = read_colors(encode(image, "PNG", icc_profile=PROFILES["prophoto"]))
    assert np.abs(np.subtract(colors, BY_HAND["prophoto"])).max() <= 4 and notes == ("palette", "color_profile")


DAMAGED = {
    "nothing": bytes(300),
    "cut off": PROFILES["adobe_rgb"][:200],
    "a link between devices": icc.profile(b"RGB ", _tags_of_p3(), b"link"),
    "of other bands": icc.profile(b"6CLR", {}),
    "without curves": icc.profile(b"RGB ", {}),
    "of a program": PROFILES["adobe_rgb"] + b"mpet",
    "of inks": icc.inks(),
    "of greys": icc.gray(1.8),
    "too large": icc.profile(b"RGB ", {**_tags_of_p3(), b"desc": b"text\0\0\0\0" + bytes(5 << 20)}),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("profile", DAMAGED.values(), ids=DAMAGED)
def test_a_profile_that_cannot_be_used_costs_no_picture_and_changes_no_pixel(kind, profile):
    face = Image.fromarray(draw_face(1, happy=True))
    content = encode(face, kind, icc_profile=profile)
    started = time.process_time()
    picture = decoder.decode(content, LIMITS)
    assert time.process_time() - started < 0.5
    assert np.array_equal(picture.pixels, decoder.decode(encode(face, kind), LIMITS).pixels)
    assert picture.notes == ("color_profile_unused",)


@pytest.mark.parametrize("chunk", [b"name\0\1" + zlib.compress(PROFILES["adobe_rgb"]), b"name\0\0xxxxx", b"", b"name"])
def test_a_damaged_profile_of_a_png_costs_no_picture(chunk):
    content = encode(draw_colors(), "PNG")
    found = struct.pack(">I4s", len(chunk), b"iCCP") + chunk + struct.pack(">I", zlib.crc32(b"iCCP" + chunk))
    picture = decoder.decode(content[:33] + found + content[33:], LIMITS)
    assert picture.notes == ("color_profile_unused",)
    assert np.array_equal(picture.pixels, np.asarray(draw_colors()))


def test_a_large_picture_is_converted_in_parts_as_in_one(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    conversion, _ = color_profiles.find_conversion(PROFILES["display_p3"], "RGB")
    whole = conversion.convert_pixels(noise.copy())
    monkeypatch.setattr(color_profiles, "_PART_PIXELS", 7000)
    assert np.array_equal(conversion.convert_pixels(noise), whole)
