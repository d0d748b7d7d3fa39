"""A picture costs what its header promises, or is refused before a library takes the memory or the time."""

import io
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from conftest import command_environment, draw_face
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import conversion, decoder
from harness.dataset.images.rejection import Reason, Rejected

LIMITS = CleanConfig(range="full")


def encode(kind: str, size: int = 64, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_face(1, happy=True, size=size)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    content = encode("PNG")
    return content[:33] + chunks + content[33:]  # after IHDR


def jpeg_with(segments: bytes) -> bytes:
    content = encode("JPEG")
    return content[:2] + segments + content[2:]


EXIF_SEGMENT = b"\xff\xe1" + struct.pack(">H", 60_008) + b"Exif\0\0" + bytes(60_000)


def webp_with(chunks: bytes) -> bytes:
    content = encode("WEBP") + chunks
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def gif_with(blocks: bytes) -> bytes:
    content = encode("GIF")
    start = 13 + 3 * 2 ** ((content[10] & 7) + 1)  # after the colours of all frames
    return content[:start] + blocks + content[start:]


def tiff(
    width: int,
    height: int,
    tags: dict[int, tuple[int, int]],
    data: bytes = b"",
    order: str = "<",
    many: tuple[int, ...] = (),
) -> bytes:
    """A grey TIFF whose further tags have a type and a number: of the tags `many` how many values they have.

    `data` begin at byte 8.
    """
    types = {"B": 1, "H": 3, "I": 4}
    given = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1), **tags}
    start = 8 + len(data)
    content = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start) + data
    content += struct.pack(f"{order}H", len(given))
    for tag, (kind, value) in sorted(given.items()):
        if tag in many:
            content += struct.pack(f"{order}HHII", tag, kind, value, 8)
            continue
        form = next(form for form, number in types.items() if number == kind)
        content += struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(f"{order}{form}", value).ljust(4, b"\0")
    return content + bytes(4)


def tiff_with_exif(num_values: int) -> bytes:
    """A TIFF whose EXIF data are one list of fractions."""
    exif = struct.pack("<HHHIII", 1, 0x829A, 5, num_values, 8, 0) + bytes(8 * num_values)
    return tiff(64, 64, {273: (4, 8), 34665: (4, 8)}, exif)


def tiled(width: int, height: int, tile: int, order: str = "<", kind: int = 4) -> bytes:
    data = zlib.compress(bytes(range(256)) * (tile * tile // 256) if tile <= 4096 else b"")
    tags = {322: (kind, tile), 323: (kind, tile), 324: (4, 8), 325: (4, len(data))}
    return tiff(width, height, tags, data, order)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png_with(chunk(b"teSt") * 10_001), "more than 10000 chunks; expected at most 10000"),
        (jpeg_with(b"\xff\x01" * 10_001), "more than 10000 markers"),
        (jpeg_with(b"\xff\xfe\0\2" * 10_001), "more than 10000 markers"),
        (gif_with(b"!\xfe" + b"\1x" * 20_000 + b"\0"), "more than 10000 blocks"),
        (gif_with(b"!\xf0\1x\0" * 20_000), "more than 10000 blocks"),
        (gif_with(b"!\xf0\0"), "an extension without data"),
        (gif_with(b"\1" * 20_000), "more than 10000 blocks"),
        (gif_with((b"!\xfe" + (b"\xff" + b"x" * 255) * 9 + b"\0") * 500), "more than 1048576 bytes of comments"),
        (webp_with(b"teSt\0\0\0\0" * 10_001), "more than 10000 chunks"),
        (
            jpeg_with((b"\xff\xc0" + struct.pack(">H", 60_008) + bytes(60_006)) * 20),
            "a second frame; expected one frame",
        ),
        (
            jpeg_with((b"\xff\xcf" + struct.pack(">H", 60_008) + bytes(60_006)) * 20),
            "a second frame; expected one frame",
        ),
        (jpeg_with(b"\xff\xd0" * 33_000), "more than 65536 bytes between markers"),
        (jpeg_with(b"\xff" * 66_000), "more than 65536 bytes between markers"),
        (jpeg_with(b"\xff\xd9" + bytes(66_000)), "bytes without a scan; expected the pixels of a JPEG"),
        (jpeg_with(EXIF_SEGMENT * 70), "more than 4194304 bytes of EXIF data"),
        (tiff(64, 64, {273: (4, 8), 282: (5, 1 << 19)}, bytes(1 << 22), many=(282,)), "more than 262144 values"),
        (tiff_with_exif(1 << 19), "more than 262144 values"),
        (tiled(64, 64, 46_000), "tiles of 46000x46000 in 64x64 pixels; expected at most 4194304 pixels in a tile"),
        (tiled(64, 64, 46_000, ">"), "tiles of 46000x46000 in 64x64 pixels"),
        (
            tiff(64, 64, {278: (4, 63), 273: (4, 8)}).replace(b"\x11\x01\4\0\1\0\0\0", b"\x11\x01\4\0\x40\x0d\3\0"),
            "parts",
        ),
        (encode("TIFF").replace(b"\0\1\4\0\1\0\0\0", b"\0\1\5\0\1\0\0\0"), "1 values of type 5 for tag 256"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_surplus_around_the_pixels_is_refused_at_once(content, words):
    start = time.process_time()
    with pytest.raises(Rejected, match=f"^corrupt: .*{words}"):
        decoder.decode(content, LIMITS)
    assert time.process_time() - start < 0.3


def test_what_encoders_write_around_pixels_is_taken():
    text = chunk(b"tEXt", b"Comment\0" + b"words " * 100)
    assert decoder.decode(png_with(text * 1000), LIMITS).notes == ()
    rows = 1 + 3 * 1500
    noise = np.random.default_rng(0).integers(0, 256, (1500, rows), np.uint8)
    noise[:, 0] = 0
    data = zlib.compress(noise.tobytes(), 0)
    small = b"".join(chunk(b"IDAT", data[start : start + 1100]) for start in range(0, len(data), 1100))  # 6,100 chunks
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1500, 1500, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + small + chunk(b"IEND")
    assert np.array_equal(decoder.decode(content, LIMITS).pixels, noise[:, 1:].reshape(1500, 1500, 3))
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 1000 + b"\0"
    assert decoder.decode(gif_with(comment), LIMITS).format == "gif"
    assert decoder.decode(encode("JPEG", comment=b"x" * 60_000), LIMITS).format == "jpeg"
    assert decoder.decode(jpeg_with(EXIF_SEGMENT * 3 + b"\xff" * 1000), LIMITS).format == "jpeg"
    assert decoder.decode(encode("WEBP") + bytes(100_000), LIMITS).notes == ("trailing_bytes",)


def test_exif_data_of_many_megabytes_are_not_unpacked():
    turned = struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x0112, 5, 1 << 20, 26) + bytes(4 + (8 << 20))
    content = png_with(chunk(b"eXIf", turned))
    start = time.process_time()
    assert decoder.decode(content, LIMITS).notes == ("exif",)
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_of_one_tile_larger_than_itself_is_taken(order):
    picture = decoder.decode(tiled(100, 64, 256, order), LIMITS)
    assert picture.pixels.shape == (64, 100, 3)
    assert picture.pixels[5, :, 0].tolist() == list(range(100))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate", "strip_size": 300}]
)
def test_a_tiff_of_many_strips_is_taken(options):
    expected = draw_face(1, happy=True, size=300)
    assert np.array_equal(decoder.decode(encode("TIFF", 300, **options), LIMITS).pixels, expected)


def huge_gif(before: bytes) -> bytes:
    """Of 64x64 pixels, and a first frame of 65535x65535 that is to be disposed of."""
    content = encode("GIF")
    start = content.index(b",\0\0\0\0")
    control = before + b"!\xf9\4\x08\0\0\0\0"
    return content[:start] + control + content[start : start + 5] + b"\xff" * 4 + content[start + 9 :]


@pytest.mark.parametrize("before", [b"", b"\1", b"!\xfe\0", b"!\xf9\1x\0\2\3"])
def test_a_gif_is_as_large_as_its_first_frame(before):
    with pytest.raises(Rejected, match="65535x65535 = 4294836225 pixels") as rejected:
        decoder.decode(huge_gif(before), LIMITS)
    assert rejected.value.reason == Reason.TOO_LARGE


def test_a_webp_is_as_large_as_its_canvas_before_any_library_makes_one():
    content = bytearray(encode("WEBP", xmp=b"<x/>"))
    assert content[12:16] == b"VP8X"
    content[24:30] = b"\xff\x3f\0\xff\x3f\0"
    with pytest.raises(Rejected, match="16384x16384 = 268435456 pixels") as rejected:
        decoder.decode(bytes(content), LIMITS)
    assert rejected.value.reason == Reason.TOO_LARGE


def test_a_gif_without_a_size_is_damaged_and_not_small():
    content = bytearray(encode("GIF"))
    content[6:10] = bytes(4)
    start = content.index(b",\0\0\0\0")
    content[start + 5 : start + 9] = bytes(4)
    with pytest.raises(Rejected) as rejected:
        decoder.decode(bytes(content), LIMITS)
    assert rejected.value.reason in (Reason.CORRUPT, Reason.CUT_OFF)


MODES = ["RGB", "L", "P", "RGBA", "LA", "1", "I;16"]


@pytest.mark.parametrize("shape", [(2, 1_100_000), (1500, 1400), (1_100_000, 2), (3, 1_048_576)])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_converted_in_parts_is_the_same_as_in_one(monkeypatch, mode, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 4), np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 256 + noise[:, :, 1])
    else:
        image = Image.fromarray(noise).convert({"P": "RGB"}.get(mode, mode))
        image = image.quantize(64) if mode == "P" else image
    buffer = io.BytesIO()
    options = {"transparency": 3} if mode == "P" else {}
    image.save(buffer, "PNG", compress_level=1, **options)
    limits = CleanConfig(min_side=2, range="full")
    in_parts = decoder.decode(buffer.getvalue(), limits)
    monkeypatch.setattr(conversion, "_PART_PIXELS", 1 << 40)
    assert np.array_equal(in_parts.pixels, decoder.decode(buffer.getvalue(), limits).pixels)
    assert in_parts.pixels.shape == (*shape, 3)


def test_a_picture_takes_the_memory_that_is_documented():
    """The peak of a process that decodes 16 million RGBA pixels: 8 bytes each, where whole conversions took 23."""
    program = """
import struct, zlib
from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import conversion, decoder
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
data = zlib.compressobj(1)
rows = b"".join(data.compress(bytes(1 + 4 * 4000)) for _ in range(4000)) + data.flush()
header = struct.pack(">IIBBBBB", 4000, 4000, 8, 6, 0, 0, 0)
content = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
def read(name):
    return int(open("/proc/self/status").read().split(name)[1].split()[0])
before = read("VmRSS:")
decoder.decode(content, CleanConfig())
print((read("VmHWM:") - before) * 1024 / 4000**2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=command_environment(), capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 9
