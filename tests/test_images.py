"""The one decoder: every kind of picture becomes upright RGB, every kind of damage a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import draw_face
from PIL import Image

from harness import images
from harness.config import CleanConfig
from harness.images import Reason, Rejected

LIMITS = CleanConfig()


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def face() -> Image.Image:
    return Image.fromarray(draw_face(1, happy=True))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format_decodes_by_its_content(face, kind):
    picture = images.decode(encode(face, kind), LIMITS)
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
        picture = images.decode(encode(image, "PNG"), LIMITS)
        assert note in picture.notes
        assert np.array_equal(picture.pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_alpha_is_laid_on_white():
    half = np.zeros((40, 40, 4), np.uint8)
    half[:, :20] = (255, 0, 0, 255)
    half[:, 20:] = (0, 0, 0, 0)
    picture = images.decode(encode(Image.fromarray(half), "PNG"), LIMITS)
    assert picture.notes == ("alpha",)
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert picture.pixels[0, 39].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb(face):
    picture = images.decode(encode(face.convert("CMYK"), "JPEG", quality=95), LIMITS)
    assert "cmyk" in picture.notes
    assert np.abs(picture.pixels.astype(int) - np.asarray(face)).mean() < 8


def test_exif_orientation_is_applied(face):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    wide = face.crop((0, 0, 64, 40))
    picture = images.decode(encode(wide, "PNG", exif=exif), LIMITS)
    assert picture.notes == ("exif_rotated",)
    assert np.array_equal(picture.pixels, np.rot90(np.asarray(wide), k=-1))


def test_the_first_of_several_frames_is_taken(face):
    frames = encode(face.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (64, 64), 3)])
    picture = images.decode(frames, LIMITS)
    assert "several_frames" in picture.notes
    assert np.abs(picture.pixels.astype(int) - np.asarray(face)).mean() < 20


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


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
        (lambda face: b"\0\0\0\x1cftypheic" + b"\0" * 100, Reason.UNSUPPORTED_FORMAT),
        (lambda face: cut(encode(face, "JPEG"), 0.5), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "PNG"), 0.6), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "BMP"), 0.6), Reason.CUT_OFF),
        (lambda face: cut(encode(face, "GIF"), 0.6), Reason.CUT_OFF),
        (lambda face: encode(face, "PNG")[:60] + b"\xff" * 40 + encode(face, "PNG")[100:], Reason.CORRUPT),
        (lambda face: encode(face.resize((1, 1)), "PNG"), Reason.TOO_SMALL),
        (lambda face: huge_png_header(), Reason.TOO_LARGE),
    ],
    ids=["empty", "text", "psd", "heic", "cut_jpeg", "cut_png", "cut_bmp", "cut_gif", "bad_png", "1x1", "huge_header"],
)
def test_a_bad_file_has_its_reason(face, make, reason):
    with pytest.raises(Rejected) as rejected:
        images.decode(make(face), LIMITS)
    assert rejected.value.reason == reason, str(rejected.value)
    assert rejected.value.measured and rejected.value.limit


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_a_cut_file_of_any_format_is_rejected(face, kind):
    with pytest.raises(Rejected) as rejected:
        images.decode(cut(encode(face, kind), 0.6), LIMITS)
    assert rejected.value.reason in (Reason.CUT_OFF, Reason.CORRUPT)


def test_resizing_down_averages_and_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(images.resize(stripes, 256).astype(int) - 128).max() <= 1


def test_resizing_takes_each_axis_by_itself():
    tall = np.zeros((512, 64, 3), np.uint8)
    tall[256:] = 200
    small = images.resize(tall, 128)
    assert small.shape == (128, 128, 3)
    assert small[10].max() == 0 and small[120].min() == 200


def test_a_stored_jpeg_is_close_to_its_pixels():
    face = draw_face(3, happy=False, size=256)
    stored = images.encode_jpeg(face, 95)
    assert images.sniff(stored) == "JPEG"
    assert np.abs(images.decode(stored, LIMITS).pixels.astype(int) - face).mean() < 2


def test_walking_is_in_order_and_reading_keeps_it(tmp_path, face):
    for name in ("b.png", "a.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(face, "PNG"))
    (tmp_path / "bad.png").write_bytes(b"no")
    paths = list(images.walk_files(tmp_path))
    assert [path.name for path in paths] == ["a.png", "b.png", "bad.png", "c.png"]
    found = list(images.read_all(paths, LIMITS, 32))
    assert [path for path, _ in found] == paths
    assert [isinstance(picture, Rejected) for _, picture in found] == [False, False, True, False]
