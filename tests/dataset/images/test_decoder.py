"""The one decoder: every kind of picture becomes upright RGB, every kind of damage a reason."""

import io
import struct
import zlib
from collections import Counter
from dataclasses import replace

import cv2
import icc
import numpy as np
import pytest
from conftest import draw_face
from PIL import Image, ImageOps

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import decoder
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.images.resizing import resize
from harness.dataset.structure.inspection import inspect

LIMITS = CleanConfig(range="full")


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def face() -> Image.Image:
    return Image.fromarray(draw_face(1, happy=True))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format_decodes_by_its_content(face, kind):
    picture = decoder.decode(encode(face, kind), LIMITS)
    assert picture.format == kind.lower()
    assert picture.pixels.shape == (64, 64, 3)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - np.asarray(face)).mean() < 8


def test_grey_palette_and_16_bit_become_rgb(face):
    grey = np.asarray(face.convert("L"))
    for image, note in (
        (face.convert("L"), "gray"),
        (face.convert("L").convert("P"), "palette"),
        (Image.fromarray(grey.astype(np.uint16) * 257), "16_bit"),
    ):
        picture = decoder.decode(encode(image, "PNG"), LIMITS)
        assert note in picture.notes
        assert np.array_equal(picture.pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_alpha_is_laid_on_white():
    half = np.zeros((40, 40, 4), np.uint8)
    half[:, :20] = (255, 0, 0, 255)
    half[:, 20:] = (0, 0, 0, 0)
    picture = decoder.decode(encode(Image.fromarray(half), "PNG"), LIMITS)
    assert picture.notes == ("alpha",)
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.pixels[0, 39].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb(face):
    picture = decoder.decode(encode(face.convert("CMYK"), "JPEG", quality=95), LIMITS)
    assert "cmyk" in picture.notes
    assert np.abs(picture.pixels.astype(int) - np.asarray(face)).mean() < 8


def test_exif_orientation_is_applied(face):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    wide = face.crop((0, 0, 64, 40))
    picture = decoder.decode(encode(wide, "PNG", exif=exif), LIMITS)
    assert picture.notes == ("exif", "exif_rotated")
    assert np.array_equal(picture.pixels, np.rot90(np.asarray(wide), k=-1))


def test_the_first_of_several_frames_is_taken(face):
    frames = encode(face.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (64, 64), 3)])
    picture = decoder.decode(frames, LIMITS)
    assert "several_frames" in picture.notes
    assert np.abs(picture.pixels.astype(int) - np.asarray(face)).mean() < 20


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


ALL_KINDS = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless_webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "lzw_tiff": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_file_cut_at_any_byte_is_rejected_unless_only_a_jpegs_end_marker_is_gone(face, kind):
    file_format, options = ALL_KINDS[kind]
    content = encode(face, file_format, **options)
    whole = decoder.decode(content, LIMITS).pixels
    step = 1 if len(content) < 2000 else 37
    for length in range(0, len(content), step):
        try:
            picture = decoder.decode(content[:length], LIMITS)
        except Rejected as rejection:
            assert rejection.reason in (Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.CUT_OFF, Reason.CORRUPT)
        else:
            assert kind == "jpeg" and length >= len(content) - 2 and picture.notes == ("no_end_marker",)
            assert np.array_equal(picture.pixels, whole)


def test_a_progressive_jpeg_without_its_end_may_lack_scans(face):
    with pytest.raises(Rejected, match="bytes without an end; expected the end marker of a JPEG"):
        decoder.decode(encode(face, "JPEG", progressive=True)[:-2], LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_bytes_after_the_end_are_noted_and_do_no_harm(face, kind):
    content = encode(face, kind)
    picture = decoder.decode(content + b"and more", LIMITS)
    assert picture.notes == ("trailing_bytes",) or picture.notes == ("trailing_bytes", "palette")
    assert np.array_equal(picture.pixels, decoder.decode(content, LIMITS).pixels)


def test_damage_that_decoders_get_over_is_a_matter_of_policy(face):
    content = encode(face, "JPEG")
    damaged = content[:-2] + b"\x12\x34" * 20 + content[-2:]
    assert cv2.imdecode(np.frombuffer(damaged, np.uint8), cv2.IMREAD_COLOR) is not None
    with pytest.raises(Rejected, match=r"extraneous bytes before marker 0xd9.*clean.salvaged: keep") as rejected:
        decoder.decode(damaged, LIMITS)
    assert rejected.value.reason == Reason.SALVAGED
    picture = decoder.decode(damaged, CleanConfig(salvaged="keep"))
    assert picture.notes == ("salvaged",)
    assert np.array_equal(picture.pixels, decoder.decode(content, LIMITS).pixels)


def test_half_a_jpeg_with_an_end_marker_is_still_cut_off(face):
    content = encode(face, "JPEG")
    forged = content[: len(content) * 2 // 3] + b"\xff\xd9"
    assert cv2.imdecode(np.frombuffer(forged, np.uint8), cv2.IMREAD_COLOR) is not None, "OpenCV returns pixels"
    with pytest.raises(Rejected, match="premature end of data") as rejected:
        decoder.decode(forged, LIMITS)
    assert rejected.value.reason == Reason.CUT_OFF


def test_a_wrong_checksum_in_a_png_is_damage(face):
    content = bytearray(encode(face, "PNG"))
    content[content.index(b"IDAT") + 30] ^= 1
    with pytest.raises(Rejected, match="the checksum of chunk 'IDAT' at byte 33 is wrong"):
        decoder.decode(bytes(content), LIMITS)


def test_thousands_of_scans_are_refused(face):
    content = encode(face, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    with pytest.raises(Rejected, match=r"2[0-9]{2} scans; expected at most 100"):
        decoder.decode(content[:-2] + content[last:-2] * 200 + content[-2:], LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(face, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(face.crop((0, 0, 64, 40)), "JPEG", exif=exif)
    picture = decoder.decode(content, LIMITS)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert np.array_equal(picture.pixels, expected)
    assert (picture.height, picture.width) == expected.shape[:2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"])
def test_damaged_exif_data_cost_no_picture(face, kind, exif):
    picture = decoder.decode(encode(face, kind, exif=exif), LIMITS)
    assert picture.notes == ("exif",) and picture.pixels.shape == (64, 64, 3)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_and_looks_the_same():
    large = Image.fromarray(draw_face(5, happy=True, size=1100))
    content = encode(large, "JPEG", quality=95)
    full, reduced = decoder.decode(content, LIMITS), decoder.decode(content, LIMITS, least_side=256)
    assert full.pixels.shape == (1100, 1100, 3) and reduced.pixels.shape == (275, 275, 3)
    assert (reduced.height, reduced.width) == (1100, 1100)
    difference = resize(full.pixels, 256).astype(float) - resize(reduced.pixels, 256)
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 40  # hard edges; photographs come out above 46


@pytest.mark.parametrize("side, decoded", [(510, 510), (511, 256), (700, 350), (1020, 510), (1021, 256), (3000, 375)])
def test_no_side_of_a_reduced_jpeg_falls_below_what_is_needed(side, decoded):
    wide = Image.fromarray(draw_face(5, happy=True, size=side)).resize((side + 100, side))
    pixels = decoder.decode(encode(wide, "JPEG"), LIMITS, least_side=256).pixels
    assert pixels.shape[0] == decoded >= 256


@pytest.fixture
def judge_both_ways(monkeypatch):
    """Returns what becomes of a file by the short way for plain JPEGs, and by the long way through Pillow."""

    def judge(content):
        try:
            picture = decoder.decode(content, LIMITS, least_side=32)
        except Rejected as rejected:
            return str(rejected)
        return picture.pixels.tobytes(), picture.height, picture.width, picture.notes

    def judge_both(content):
        short = judge(content)
        with monkeypatch.context() as patched:
            inspect = decoder.inspect
            patched.setattr(decoder, "inspect", lambda *args: replace(inspect(*args), is_plain=False))
            return short, judge(content)

    return judge_both


PLAIN_JPEGS = (
    {},
    {"progressive": True},
    {"comment": b"a comment"},
    {"icc_profile": icc.rgb(icc.SRGB, "sRGB")},
    {"subsampling": 0},
    {"restart_marker_blocks": 2},
)


@pytest.mark.parametrize("options", PLAIN_JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_jpeg_decodes_the_short_way_as_the_long(face, judge_both_ways, mode, options):
    content = encode(face.resize((200, 120)).convert(mode), "JPEG", **options)
    assert inspect(content, "JPEG").is_plain
    short, long = judge_both_ways(content)
    assert short == long and short[1:] == (120, 200, {"RGB": (), "L": ("gray",)}[mode])


def test_a_jpeg_that_may_say_more_of_its_pixels_is_not_plain(face):
    turned = Image.Exif()
    turned[0x0112] = 6
    saved = encode(face, "JPEG")
    two = io.BytesIO()
    face.save(two, "MPO", save_all=True, append_images=[face])
    for content in (
        encode(face, "JPEG", exif=turned),
        encode(face, "JPEG", xmp=b"<x:xmpmeta/>"),
        two.getvalue(),
        saved[:2] + b"\0" + saved[2:],
    ):
        assert content != saved and not inspect(content, "JPEG").is_plain


def test_inks_and_12_bits_go_the_long_way(face, judge_both_ways):
    saved = encode(face, "JPEG")
    short, long = judge_both_ways(encode(face.convert("CMYK"), "JPEG"))
    assert short == long and short[1:] == (64, 64, ("cmyk",))
    short, long = judge_both_ways(saved.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"))
    assert short == long and short.startswith("corrupt")


def test_a_damaged_jpeg_is_judged_the_short_way_as_the_long(face, judge_both_ways):
    random = np.random.default_rng(0)
    files = [encode(face.convert(mode), "JPEG", **options) for mode in ("RGB", "L") for options in PLAIN_JPEGS]
    verdicts = Counter()
    for index in range(2000):
        content = bytearray(files[index % len(files)])
        for place in random.integers(2, 700 if index % 3 else len(content), 1 + index % 2):
            content[place : place + index % 4] = random.bytes(2)
        short, long = judge_both_ways(bytes(content))
        assert short == long
        verdicts[type(short)] += 1
    assert min(verdicts[str], verdicts[tuple]) > 100


def test_thousands_of_mutated_files_each_get_a_verdict(face):
    """No crash, no hang, nothing but pixels or a reason."""
    random = np.random.default_rng(7)
    originals = [encode(face, file_format, **options) for file_format, options in ALL_KINDS.values()]
    verdicts = Counter()
    for index in range(3000):
        content = mutate(bytearray(originals[index % len(originals)]), random)
        try:
            picture = decoder.decode(content, LIMITS)
        except Rejected as rejection:
            verdicts[rejection.reason] += 1
        else:
            verdicts["kept"] += 1
            assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (picture.height, picture.width, 3)
    assert verdicts.total() == 3000 and min(verdicts[Reason.CUT_OFF], verdicts[Reason.CORRUPT], verdicts["kept"]) > 100


def mutate(content: bytearray, random: np.random.Generator) -> bytes:
    for _ in range(random.integers(1, 6)):
        place = int(random.integers(len(content)))
        match random.integers(4):
            case 0:
                content[place] = int(random.integers(256))
            case 1:
                content[place] ^= 1 << int(random.integers(8))
            case 2:
                del content[place : min(place + int(random.integers(1, 40)), len(content) - 1)]
            case _:
                content[place:place] = random.bytes(int(random.integers(1, 20)))
    return bytes(content)


def huge_png_header() -> bytes:
    """A PNG that says it has 900 million pixels, and holds hardly any."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda face: b"", Reason.EMPTY),
        (lambda face: b"this is text, not a picture", Reason.NOT_AN_IMAGE),
        (lambda face: b"8BPS" + b"\0" * 100, Reason.UNSUPPORTED_FORMAT),
        (lambda face: b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 100, Reason.UNSUPPORTED_FORMAT),
        (lambda face: cut(encode(face, "JPEG"), 0.5), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "PNG"), 0.6), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "BMP"), 0.6), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "GIF"), 0.6), Reason.CUT_OFF),
        (lambda face: encode(face, "PNG")[:60] + b"\xff" * 40 + encode(face, "PNG")[100:], Reason.CORRUPT),
        (lambda face: encode(face.resize((1, 1)), "PNG"), Reason.TOO_SMALL),
        (lambda face: huge_png_header(), Reason.TOO_LARGE),
    ],
    ids=["empty", "text", "psd", "jxl", "cut_jpeg", "cut_png", "cut_bmp", "cut_gif", "bad_png", "1x1", "huge_header"],
)
def test_a_bad_file_has_its_reason(face, make, reason):
    with pytest.raises(Rejected) as rejected:
        decoder.decode(make(face), LIMITS)
    assert rejected.value.reason == reason, str(rejected.value)
    assert rejected.value.measured and rejected.value.limit


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_a_cut_file_of_any_format_is_rejected(face, kind):
    with pytest.raises(Rejected) as rejected:
        decoder.decode(cut(encode(face, kind), 0.6), LIMITS)
    assert rejected.value.reason in (Reason.CUT_OFF, Reason.CORRUPT)
