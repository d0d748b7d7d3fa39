"""What a picture file is, by its bytes and by its name; where a JPEG, PNG, GIF or WebP ends, and whether it is whole.

Decoders are lenient here: OpenCV returns pixels for half a JPEG, and Pillow does not compare the checksums of a PNG's
pixel data. It decodes nothing; decoder.py decides what follows from what is found.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ENDINGS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng"), "TIFF": (".tif", ".tiff")}
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"%PDF", "PDF"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"<svg", "SVG"),
)

# A marker that is neither a stuffed zero, a restart nor padding: what ends the compressed data of a JPEG scan.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE, _PROGRESSIVE = 0xDA, 0xD9, (0xC2, 0xC6, 0xCA, 0xCE)
# What a plain JPEG holds before its first scan: tables, one frame in Huffman codes, comments, and applications' data.
# Those of 1 hold EXIF and XMP, those of 2 a colour profile or further pictures.
_PLAIN_FRAMES, _APP_2 = (0xC0, 0xC1, 0xC2), 0xE2
_PLAIN_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)} - {0xE1})


@dataclass(frozen=True)
class Structure:
    """What encloses the pixels.

    `end` is the number of bytes up to the end marker and with it; None: there is none. `is_plain` is true of a JPEG of
    one frame whose header is in order and holds nothing that may say more of the pixels, such as that they are turned.
    """

    end: int | None
    is_progressive: bool = False
    num_scans: int = 1
    bad_part: str = ""
    is_plain: bool = False


def inspect(content: bytes, file_format: str) -> Structure:
    """Returns the structure of a file; of a format that does not say where it ends, the end is that of the bytes."""
    walk = {"JPEG": _walk_jpeg, "PNG": _walk_png, "GIF": _walk_gif, "WEBP": _walk_webp}.get(file_format)
    return walk(content) if walk else Structure(len(content))


def _walk_jpeg(content: bytes) -> Structure:
    """https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B: segments with lengths, and scans up to the next marker."""
    position, is_progressive, num_scans, num_frames, is_plain = 2, False, 0, 0, True
    while found := _NEXT_MARKER.search(content, position):
        is_adjacent, position = found.start() == position, found.end()
        marker = content[position - 1]
        if marker == _END_OF_IMAGE:
            return Structure(position, is_progressive, num_scans, is_plain=is_plain and num_frames == 1)
        if marker == 0x01 or position + 2 > len(content):
            is_plain = False
            continue
        is_progressive |= marker in _PROGRESSIVE
        num_scans += marker == _START_OF_SCAN
        if not num_scans:
            num_frames += marker in _PLAIN_FRAMES
            is_known = marker in _PLAIN_FRAMES or marker in _PLAIN_SEGMENTS
            is_plain &= is_adjacent and is_known and (marker != _APP_2 or _is_profile(content, position))
        position += int.from_bytes(content[position : position + 2], "big")
    return Structure(None, is_progressive, num_scans)


def _is_profile(content: bytes, position: int) -> bool:
    return content.startswith(b"ICC_PROFILE\0", position + 2)


def _walk_png(content: bytes) -> Structure:
    """https://www.w3.org/TR/png: chunks of length, kind, data and CRC; a kind in capitals is needed for the pixels."""
    position, bad_part = 8, ""
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            break
        expected = int.from_bytes(content[end - 4 : end], "big")
        if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != expected:
            bad_part = bad_part or f"the checksum of chunk {kind.decode('latin-1')!r} at byte {position}"
        if kind == b"IEND":
            return Structure(end, bad_part=bad_part)
        position = end
    return Structure(None, bad_part=bad_part)


def _walk_gif(content: bytes) -> Structure:
    """https://www.w3.org/Graphics/GIF/spec-gif89a.txt: blocks of sub-blocks up to the trailer 0x3B."""

    def color_table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    def skip_sub_blocks(position: int) -> int:
        while position < len(content) and content[position]:
            position += content[position] + 1
        return position + 1

    position = 13 + (color_table(content[10]) if len(content) > 10 else 0)
    while position < len(content):
        kind = content[position]
        if kind == 0x3B:
            return Structure(position + 1)
        if kind == 0x21:
            position = skip_sub_blocks(position + 2)
        elif kind == 0x2C and position + 9 < len(content):
            position = skip_sub_blocks(position + 11 + color_table(content[position + 9]))
        else:
            break
    return Structure(None)


def _walk_webp(content: bytes) -> Structure:
    """https://developers.google.com/speed/webp/docs/riff_container: the second four bytes hold the size."""
    end = 8 + int.from_bytes(content[4:8], "little")
    return Structure(end if end <= len(content) else None)


def sniff(content: bytes) -> str | None:
    """Returns the name of the format the first bytes show, or None for bytes of no known picture format."""
    for offset, magic, name in _SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return name
    return None


def note_of_name(name: str, file_format: str) -> tuple[str, ...]:
    """Returns the note `wrong_extension` for a file whose name says another format than its content."""
    ending = PurePosixPath(name).suffix.lower()
    known = _ENDINGS.get(file_format.upper(), (f".{file_format.lower()}",))
    return ("wrong_extension",) if ending and ending not in known else ()
