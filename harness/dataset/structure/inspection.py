"""What encloses the pixels of a picture file: where it ends, whether its checksums are right, how much it holds.

Decoders are lenient here: OpenCV returns pixels for half a JPEG, and Pillow does not compare the checksums of a PNG's
pixel data. They also take what a header does not promise: a million chunks, a tile larger than the picture. It decodes
nothing; decoder.py decides what follows from what is found. Files of TIFF and of boxes are looked at elsewhere.
"""

import re
import struct
import zlib

from harness.dataset.structure import box_files, tiff_files
from harness.dataset.structure.enclosure import MOST_PARTS, Structure, too_many

# A marker that is neither a stuffed zero, a restart nor padding: what ends the compressed data of a JPEG scan.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE, _PROGRESSIVE = 0xDA, 0xD9, (0xC2, 0xC6, 0xCA, 0xCE)
# What a plain JPEG holds before its first scan: tables, one frame in Huffman codes, comments, and applications' data.
# Those of 1 hold EXIF and XMP, those of 2 a colour profile or further pictures.
_PLAIN_FRAMES, _APP_1, _APP_2 = (0xC0, 0xC1, 0xC2), 0xE1, 0xE2
_PROFILE = b"ICC_PROFILE\0"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)} - {0xE1})

# Parts that a file may have around its pixels, since each takes time and memory whatever it holds: so many, or one for
# so many bytes. Encoders write a JPEG of some ten markers, PNGs of chunks of 8 kB, GIFs of blocks of 255 bytes.
_BYTES_A_CHUNK, _BYTES_A_BLOCK = 1024, 64
_MOST_COMMENT_BYTES = 1 << 20  # of a GIF
_MOST_GAP_BYTES = 1 << 16  # between the markers before the first scan of a JPEG
MOST_PROFILE_BYTES = 4 << 20  # the largest colour profiles, of printing inks, have 3 MB
MOST_EXIF_BYTES = 4 << 20  # a JPEG's are divided into segments of 64 kB


def inspect(content: bytes, file_format: str) -> Structure:
    """Returns the structure of a file; of a format that does not say where it ends, the end is that of the bytes."""
    walk = _WALKS.get(file_format)
    return walk(content) if walk else Structure(len(content))


def _walk_jpeg(content: bytes) -> Structure:
    """https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B: segments with lengths, and scans up to the next marker."""
    position, is_progressive, num_scans, num_frames, is_plain, gap, exif = 2, False, 0, 0, True, 0, 0
    profile: list[bytes] = []
    for _ in range(MOST_PARTS):
        found = _NEXT_MARKER.search(content, position)
        if not found:
            return Structure(None, is_progressive, num_scans, profile=_join_profile(profile))
        is_adjacent = found.start() == position
        if not (is_adjacent or num_scans):
            gap += found.start() - position
            if gap > _MOST_GAP_BYTES:
                return too_many("bytes between markers", _MOST_GAP_BYTES)
        position = found.end()
        marker = content[position - 1]
        if marker == _END_OF_IMAGE:
            is_plain &= num_frames == 1
            return Structure(position, is_progressive, num_scans, is_plain=is_plain, profile=_join_profile(profile))
        if marker == 0x01 or position + 2 > len(content):
            is_plain = False
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        if marker == _APP_1 and content.startswith(b"Exif\0\0", position + 2):
            exif += length
            if exif > MOST_EXIF_BYTES:
                return too_many("bytes of EXIF data", MOST_EXIF_BYTES)
        is_progressive |= marker in _PROGRESSIVE
        num_scans += marker == _START_OF_SCAN
        if not num_scans:
            num_frames += marker in _FRAMES
            if num_frames > 1:  # three bytes of each become an object
                return Structure(None, excess=("a second frame", "one frame"))
            is_known = marker in _PLAIN_FRAMES or marker in _PLAIN_SEGMENTS
            is_profile = marker == _APP_2 and content.startswith(_PROFILE, position + 2)
            is_plain &= is_adjacent and is_known and (marker != _APP_2 or is_profile)
            if is_profile:
                profile.append(content[position + 2 + len(_PROFILE) : position + length])
        position += length
    return too_many("markers", MOST_PARTS)


def _join_profile(parts: list[bytes]) -> bytes:
    """Each part begins with its number: https://www.color.org/specification/ICC.1-2022-05.pdf, B.4."""
    return b"".join(part[2:] for part in sorted(parts))


def _walk_png(content: bytes) -> Structure:
    """https://www.w3.org/TR/png: chunks of length, kind, data and CRC; a kind in capitals is needed for the pixels."""
    position, bad_part, most = 8, "", max(MOST_PARTS, len(content) // _BYTES_A_CHUNK)
    profile, unread = b"", (0, 0)
    for _ in range(most):
        if position + 12 > len(content):
            return Structure(None, bad_part=bad_part)
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            return Structure(None, bad_part=bad_part)
        expected = int.from_bytes(content[end - 4 : end], "big")
        if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != expected:
            bad_part = bad_part or f"the checksum of chunk {kind.decode('latin-1')!r} at byte {position}"
        if kind == b"iCCP" and not profile:
            profile = _inflate_profile(content[position + 8 : end - 4])
            unread = (position, end)
        if kind == b"IEND":
            return Structure(end, bad_part=bad_part, profile=profile, unread=unread)
        position = end
    return too_many("chunks", most)


def _inflate_profile(chunk: bytes) -> bytes:
    """The profile in a chunk of a PNG, which is behind its name and a zero for the way it is compressed."""
    _, _, packed = chunk.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MOST_PROFILE_BYTES + 1) if packed[:1] == b"\0" else b""
    except zlib.error:
        profile = b""
    return profile or b"damaged"


def _walk_gif(content: bytes) -> Structure:
    """https://www.w3.org/Graphics/GIF/spec-gif89a.txt: blocks of sub-blocks up to the trailer 0x3B.

    Bytes that begin no block are passed over, as Pillow does it: a frame that it finds must have been found here.
    """
    if len(content) < 13:
        return Structure(None)
    position, size = 13 + _color_table(content[10]), struct.unpack_from("<HH", content, 6)
    most, num_blocks, comment_bytes, is_first = max(MOST_PARTS, len(content) // _BYTES_A_BLOCK), 0, 0, True
    is_whole = True
    while position < len(content):
        kind, start, num = content[position], position, 0
        if kind == 0x3B:
            return Structure(position + 1 if is_whole else None, size=size)
        if kind == 0x21:
            is_comment = content[start + 1 : start + 2] == b"\xfe"
            position, num = _skip_sub_blocks(content, position + 2, most)
            if not num and not is_comment:  # readers do not agree on where it ends
                return Structure(None, excess=("an extension without data", "blocks that hold something"))
            comment_bytes += (position - start) * is_comment
        elif kind == 0x2C and position + 9 < len(content):
            if is_first:
                left, top, width, height = struct.unpack_from("<HHHH", content, position + 1)
                size, is_first = (max(size[0], left + width), max(size[1], top + height)), False
            position, num = _skip_sub_blocks(content, position + 11 + _color_table(content[position + 9]), most)
        else:
            position, is_whole = position + 1, False
        num_blocks += num + 1
        if num_blocks > most:
            return too_many("blocks", most)
        if comment_bytes > _MOST_COMMENT_BYTES:
            return too_many("bytes of comments", _MOST_COMMENT_BYTES)
    return Structure(None, size=size)


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_sub_blocks(content: bytes, position: int, most: int) -> tuple[int, int]:
    """Returns the position behind them, and how many they are; it stops after one more than `most`."""
    num = 0
    while position < len(content) and content[position] and num <= most:
        position += content[position] + 1
        num += 1
    return position + 1, num


def _walk_webp(content: bytes) -> Structure:
    """https://developers.google.com/speed/webp/docs/riff_container: the second four bytes hold the size."""
    end = 8 + int.from_bytes(content[4:8], "little")
    position, most = 12, max(MOST_PARTS, len(content) // _BYTES_A_CHUNK)
    for _ in range(most):
        if position >= min(end, len(content)):
            return Structure(end if end <= len(content) else None, size=_webp_size(content))
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + length + (length & 1)
    return too_many("chunks", most)


def _webp_size(content: bytes) -> tuple[int, int]:
    """The size of the canvas that a WebP with several chunks states; others are as large as their one chunk."""
    if content[12:16] != b"VP8X":
        return 0, 0
    return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1


# The numbers at the beginning of a PPM, between blanks and comments.
_PPM_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,10})")
_MOST_PLAIN_PIXELS = 1 << 22  # whose numbers are text, which takes a second for a million


def _walk_ppm(content: bytes) -> Structure:
    """https://netpbm.sourceforge.net/doc/ppm.html: a kind, width, height, the number of white, a blank, the pixels."""
    kind, position, numbers = int(content[1:2]), 2, [1]
    for _ in range(2 if kind in (1, 4) else 3):
        found = _PPM_NUMBER.match(content, position)
        if not found:
            return Structure(None)
        position, numbers = found.end(), [*numbers, int(found[1])]
    _, width, height, white = (*numbers, 1)[:4]
    size = (width, height)
    if kind < 4:
        if width * height > _MOST_PLAIN_PIXELS:
            excess = (f"{width * height} pixels as text", f"at most {_MOST_PLAIN_PIXELS}: more only cost time")
            return Structure(None, excess=excess, size=size)
        is_whole = kind == 1 or content[-1:].isspace()  # of a number that was cut nothing can be told
        return Structure(len(content) if is_whole else None, size=size)
    num_bytes = -(-width // 8) if kind == 4 else width * (3 if kind == 6 else 1) * (2 if white > 255 else 1)
    end = position + 1 + num_bytes * height
    return Structure(end if end <= len(content) else None, size=size)


_WALKS = {
    "JPEG": _walk_jpeg,
    "PNG": _walk_png,
    "GIF": _walk_gif,
    "WEBP": _walk_webp,
    "TIFF": tiff_files.inspect,
    "AVIF": box_files.inspect,
    "HEIC": box_files.inspect,
    "PPM": _walk_ppm,
}
