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

from harness.config.schema import CleanConfig
from harness.dataset.images import decoder
from harness.dataset.images.rejection import Reason, Rejected

LIMITS = CleanConfig()


def encode(kind: str, size: int = 64, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_face(1, happy=True, size=size)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    content = encode("PNG")
    return content[:33] + chunks + content[33:]  # after IHDR


def gif_with(blocks: bytes) -> bytes:
    content = encode("GIF")
    start = 13 + 3 * 2 ** ((content[10] & 7) + 1)  # after the colours of all frames
    return content[:start] + blocks + content[start:]


def tiff(width: int, height: int, tags: dict[int, tuple[int, int]], data: bytes = b"", order: str = "<") -> bytes:
    """A grey TIFF whose further tags have a type and a number; `data` begin at byte 8."""
    types = {"B": 1, "H": 3, "I": 4}
    given = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1), **tags}
    start = 8 + len(data)
    content = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start) + data
    content += struct.pack(f"{order}H", len(given))
    for tag, (kind, value) in sorted(given.items()):
        form = next(form for form, number in types.items() if number == kind)
        content += struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(f"{order}{form}", value).ljust(4, b"\0")
    return content + bytes(4)


def tiled(width: int, height: int, tile: int, order: str = "<", kind: int = 4) -> bytes:
    data = zlib.compress(bytes(range(256)) * (tile * tile // 256) if tile <= 4096 else b"")
    tags = {322: (kind, tile), 323: (kind, tile), 324: (4, 8), 325: (4, len(data))}
    return tiff(width, height, tags, data, order)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png_with(chunk(b"teSt") * 10_001), "more than 10000 chunks; expected at most 10000"),
        (encode("JPEG")[:2] + b"\xff\x01" * 10_001 + encode("JPEG")[2:], "more than 10000 markers"),
        (encode("JPEG")[:2] + b"\xff\xfe\0\2" * 10_001 + encode("JPEG")[2:], "more than 10000 markers"),
        (gif_with(b"!\xfe" + b"\1x" * 20_000 + b"\0"), "more than 10000 blocks"),
        (gif_with(b"!\xf0\0" * 20_000), "more than 10000 blocks"),
        (gif_with((b"!\xfe" + (b"\xff" + b"x" * 255) * 9 + b"\0") * 500), "more than 1048576 bytes of comments"),
        (encode("WEBP") + b"teSt\0\0\0\0" * 10_001, "more than 10000 chunks"),
        (tiled(64, 64, 46_000), "tiles of 46000x46000 in 64x64 pixels; expected at most 4194304 pixels in a tile"),
        (tiled(64, 64, 46_000, ">"), "tiles of 46000x46000 in 64x64 pixels"),
        (
            tiff(64, 64, {278: (4, 63), 273: (4, 8)}).replace(b"\x11\x01\4\0\1\0\0\0", b"\x11\x01\4\0\x40\x0d\3\0"),
            "parts",
        ),
        (encode("TIFF").replace(b"\0\1\4\0\1\0\0\0", b"\0\1\5\0\1\0\0\0"), "1 values of type 5 for tag 256"),
    ],
    ids=[
        "png",
        "jpeg",
        "jpeg_comments",
        "gif",
        "gif_extensions",
        "gif_comments",
        "webp",
        "tile",
        "mm",
        "strips",
        "type",
    ],
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


def huge_gif() -> bytes:
    """Of 64x64 pixels, and a first frame of 65535x65535 that is to be disposed of."""
    content = encode("GIF")
    start = content.index(b",\0\0\0\0")
    control = b"!\xf9\4\x08\0\0\0\0"
    return content[:start] + control + content[start : start + 5] + b"\xff" * 4 + content[start + 9 :]


def test_a_gif_is_as_large_as_its_first_frame():
    with pytest.raises(Rejected, match="65535x65535 = 4294836225 pixels") as rejected:
        decoder.decode(huge_gif(), LIMITS)
    assert rejected.value.reason == Reason.TOO_LARGE


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
    limits = CleanConfig(min_side=2)
    in_parts = decoder.decode(buffer.getvalue(), limits)
    monkeypatch.setattr(decoder, "_PART_PIXELS", 1 << 40)
    assert np.array_equal(in_parts.pixels, decoder.decode(buffer.getvalue(), limits).pixels)
    assert in_parts.pixels.shape == (*shape, 3)


def test_a_picture_takes_the_memory_that_is_documented():
    """The peak of a process that decodes 16 million RGBA pixels: 8 bytes each, where whole conversions took 23."""
    program = """
import struct, zlib
from harness.config.schema import CleanConfig
from harness.dataset.images import decoder
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
