"""Spoilt picture files of every format that is decoded, and of some that are not.

Each is decoded or refused at the price that is documented, the same whatever the memory held before, and what the
report shows of it is a small picture or nothing.
"""

import io
import random
import struct
import time
import zlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from attacks import Files, memory
from attacks.spoiling import spoil
from attacks.structures import rearrange
from harness.config.dataset_sections import CleanConfig, RecordsConfig
from harness.dataset.curation.findings import Finding
from harness.dataset.images import decoder, formats
from harness.dataset.images.decoder import Picture
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.report import facts, thumbnails

LIMITS = CleanConfig(max_pixels=4_000_000, range="full")
# Twice what a picture of that many pixels may cost by docs/data.md.
_MOST_BYTES, _MOST_S = 200_000_000, 5.0
_SMALL_SIDE = 16  # what it is decoded for besides, as if records of that size were built
# First bytes of formats that libraries know and nobody here may call.
_OTHERS = (b"%!PS-Adobe-3.0 EPSF-3.0\n", b"DDS |\0\0\0", b"8BPS\0\1", b"\0\0\1\0", b"\0\0\0\x20ftypcrx ", b"\xff\x0a")
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_PROFILE = _SRGB.replace(b"rXYZ", b"    ").replace(b"gXYZ", b"rXYZ").replace(b"    ", b"gXYZ")  # red means green


@cache
def sample_pictures() -> dict[str, bytes]:
    """Good files of every format and of what occurs in each."""
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    rgb = Image.fromarray(cv2.resize(colors, (96, 64), interpolation=cv2.INTER_CUBIC))
    alpha, gray = rgb.convert("RGBA"), rgb.convert("L")
    alpha.putalpha(gray)
    wide = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a drawing"
    lines = rgb.convert("1")
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "baseline": (rgb, "JPEG", {"quality": 90}),
        "progressive": (rgb, "JPEG", {"progressive": True, "exif": exif}),
        "inks": (rgb.convert("CMYK"), "JPEG", {}),
        "gray": (gray, "JPEG", {"restart_marker_blocks": 2, "comment": b"a comment"}),
        "several": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "png": (rgb, "PNG", {}),
        "gray alpha": (alpha.convert("LA"), "PNG", {}),
        "bits": (lines, "PNG", {}),
        "palette": (rgb.convert("P"), "PNG", {"transparency": 3}),
        "alpha": (alpha, "PNG", {"icc_profile": b"\0" * 128}),
        "profile": (rgb, "JPEG", {"icc_profile": _PROFILE}),
        "png profile": (alpha, "PNG", {"icc_profile": _PROFILE}),
        "tiff profile": (rgb, "TIFF", {"icc_profile": _PROFILE}),
        "wide": (wide, "PNG", {}),
        "apng": (rgb, "PNG", several),
        "lossy": (rgb, "WEBP", {"exif": exif}),
        "lossless": (alpha, "WEBP", {"lossless": True}),
        "webp frames": (rgb, "WEBP", several),
        "gif": (rgb.convert("P"), "GIF", {"comment": b"c" * 300}),
        "gif frames": (rgb, "GIF", several),
        "bmp": (rgb, "BMP", {}),
        "bmp palette": (rgb.convert("P"), "BMP", {}),
        "bmp alpha": (alpha, "BMP", {}),
        "avif": (rgb, "AVIF", {"exif": exif}),
        "avif alpha": (alpha, "AVIF", {"icc_profile": _PROFILE}),
        "avif frames": (rgb, "AVIF", several),
        "ppm": (rgb, "PPM", {}),
        "pgm wide": (wide, "PPM", {}),
        "pbm": (lines, "PPM", {}),
        "tiff": (rgb, "TIFF", {}),
        "big tiff": (rgb, "TIFF", {"big_tiff": True}),
        "tiff bits": (lines, "TIFF", {"compression": "group4"}),
        "tiff palette": (rgb.convert("P"), "TIFF", {"compression": "packbits"}),
        "tiff inks": (rgb.convert("CMYK"), "TIFF", {"compression": "zstd", "strip_size": 500}),
        "lzw": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "tiff jpeg": (rgb, "TIFF", {"compression": "jpeg"}),
        "tiff wide": (wide, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff floats": (gray.convert("F"), "TIFF", {}),
        "tiff signed": (gray.convert("I"), "TIFF", {}),
        "tiff frames": (alpha, "TIFF", {"save_all": True, "append_images": [alpha]}),
    }
    if "HEIC" in formats.FORMATS:
        formats.open_with_pillow("HEIC")
        made["heic"] = rgb, "HEIF", {"exif": exif}
        made["heic alpha"] = alpha, "HEIF", {}
    found = {}
    for name, (picture, file_format, options) in made.items():
        buffer = io.BytesIO()
        picture.save(buffer, file_format, **options)
        found[name] = buffer.getvalue()
    deep = np.asarray(rgb).astype(np.uint16) * 257
    found["png 16 bits"] = cv2.imencode(".png", deep)[1].tobytes()
    found["png wide alpha"] = cv2.imencode(".png", np.dstack([deep, deep[:, :, 0]]))[1].tobytes()
    found["tiff wide colors"] = cv2.imencode(".tiff", deep)[1].tobytes()
    found["ppm wide"] = b"P6\n96 64\n65535\n" + deep.astype(">u2").tobytes()
    found["png interlaced"] = _make_interlaced(np.asarray(alpha))
    indices = np.arange(96, dtype=np.uint8) // 3
    runs = b"".join(b"\3%c" % index for index in indices[::3]) + b"\0\0"  # three pixels, and the end of the row
    found["bmp runs"] = _make_bmp(96, 64, runs * 64 + b"\0\1")
    tile = zlib.compress(indices[:32].tobytes() * 32)
    found["tiff tiles"] = _make_tiled(96, 64, 32, [tile] * 6)
    return found


def _make_interlaced(pixels: np.ndarray) -> bytes:
    """A PNG of RGBA in seven passes, which Pillow does not write: https://www.w3.org/TR/png-3/#8InterlaceMethods."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, x, down, along in passes for row in pixels[y::down, x::along])
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 6, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _make_bmp(width: int, height: int, runs: bytes) -> bytes:
    """A palette and run lengths: https://learn.microsoft.com/en-us/windows/win32/gdi/bitmap-compression."""
    palette = b"".join(bytes((index, 255 - index, 99, 0)) for index in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(runs), 0, start) + header + palette + runs


def _make_tiled(width: int, height: int, side: int, tiles: list[bytes]) -> bytes:
    """A grey TIFF of compressed tiles: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, section 15."""
    sizes = [len(tile) for tile in tiles]
    places = [8 + sum(sizes[:index]) for index in range(len(tiles))]
    lists = 8 + sum(sizes)
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    entries += struct.pack("<HHII", 324, 4, len(tiles), lists)
    entries += struct.pack("<HHII", 325, 4, len(tiles), lists + 4 * len(tiles))
    table = lists + 8 * len(tiles)
    numbers = struct.pack(f"<{2 * len(tiles)}I", *places, *sizes)
    return (
        struct.pack("<2sHI", b"II", 42, table) + b"".join(tiles) + numbers + struct.pack("<H", 10) + entries + bytes(4)
    )


def make(seed: int) -> Files:
    """Returns a spoilt picture file, half of them in their parts; PNGs often have right checksums again.

    Nobody reads on behind a wrong one.
    """
    chance, samples = random.Random(seed), sample_pictures()
    name = chance.choice(sorted(samples))
    if chance.random() < 0.5:
        return {f"{name}.bin": rearrange(samples[name], chance)}
    content = spoil(samples[name], chance, samples.values())
    if chance.random() < 0.1:
        content = chance.choice(_OTHERS) + content[8:]
    elif chance.random() < 0.5:
        content = _seal(content)
    return {f"{name}.bin": content}


def _seal(content: bytes) -> bytes:
    """Returns a PNG with the checksum of each chunk as it should be, as far as chunks follow one another."""
    sealed, position = bytearray(content), 8
    while content.startswith(b"\x89PNG") and position + 12 <= len(sealed):
        end = position + 8 + int.from_bytes(sealed[position : position + 4], "big")
        if end + 4 > len(sealed):
            break
        sealed[end : end + 4] = struct.pack(">I", zlib.crc32(sealed[position + 4 : end]))
        position = end + 4
    return bytes(sealed)


def attempt(folder: Path) -> None:
    """Decodes a file for the records, and as the report shows what was refused."""
    (path,) = folder.iterdir()
    content = path.read_bytes()
    started, before = time.process_time(), memory.reset_peak()
    found = _decode(content)
    if isinstance(found, Rejected):
        _check_thumbnail(path, found)
    seconds, num_bytes = time.process_time() - started, memory.read_peak() - before
    assert seconds < _MOST_S, f"{seconds:.1f} s of CPU time"
    assert num_bytes < _MOST_BYTES, f"{num_bytes / 1e6:.0f} MB"
    with memory.filled():
        again = _decode(content)
    assert _describe(again) == _describe(found), (_describe(found), _describe(again))
    small = _decode(content, least_side=_SMALL_SIDE)
    assert _describe(small)[:4] == _describe(found)[:4], (_describe(found), _describe(small))
    if isinstance(found, Picture):
        assert found.pixels.tobytes() == again.pixels.tobytes(), "the pixels are what the memory held before"
        _check_picture(found)


def _decode(content: bytes, least_side: int | None = None) -> Picture | Rejected:
    try:
        return decoder.decode(content, LIMITS, least_side=least_side)
    except Rejected as refused:
        assert refused.reason != Reason.UNREADABLE, refused
        return refused


def _describe(found: Picture | Rejected) -> tuple[object, ...]:
    if isinstance(found, Rejected):
        return found.reason, found.measured, found.limit
    return found.format, found.height, found.width, found.notes, found.pixels.shape


def _check_picture(picture: Picture) -> None:
    pixels = picture.pixels
    assert pixels.dtype == np.uint8 and pixels.shape == (picture.height, picture.width, 3), pixels.shape
    assert LIMITS.min_side <= min(pixels.shape[:2]) and pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels


def _check_thumbnail(path: Path, refused: Rejected) -> None:
    item = Finding(path.name, "class").rejected(refused.reason, refused.measured, refused.limit)
    if not thumbnails.is_visible_reject(item):
        return
    origins = thumbnails.Origins(images=path.parent, cache=path.parent, records=path.parent)
    (shown,) = thumbnails.draw([item], origins, RecordsConfig(image_size=_SMALL_SIDE))
    if shown is not None:
        picture = Image.open(io.BytesIO(shown), formats=["JPEG"])
        assert max(picture.size) == facts.THUMBNAIL_SIDE, picture.size
