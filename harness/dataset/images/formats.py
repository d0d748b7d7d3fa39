"""What a picture file is, by its bytes and by its name; where a JPEG, PNG, GIF or WebP ends, and whether it is whole.

Decoders are lenient here: OpenCV returns pixels for half a JPEG, and Pillow does not compare the checksums of a PNG's
pixel data. They also take what a header does not promise: a million chunks, a tile larger than the picture. It decodes
nothing; decoder.py decides what follows from what is found.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
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
_PLAIN_FRAMES, _APP_1, _APP_2 = (0xC0, 0xC1, 0xC2), 0xE1, 0xE2
_PROFILE = b"ICC_PROFILE\0"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)} - {0xE1})

# Parts that a file may have around its pixels, since each takes time and memory whatever it holds: so many, or one for
# so many bytes. Encoders write a JPEG of some ten markers, PNGs of chunks of 8 kB, GIFs of blocks of 255 bytes.
_MOST_PARTS, _BYTES_A_CHUNK, _BYTES_A_BLOCK = 10_000, 1024, 64
_MOST_COMMENT_BYTES = 1 << 20  # of a GIF
_MOST_GAP_BYTES = 1 << 16  # between the markers before the first scan of a JPEG
MOST_PROFILE_BYTES = 4 << 20  # the largest colour profiles, of printing inks, have 3 MB
MOST_EXIF_BYTES = 4 << 20  # a JPEG's are divided into segments of 64 kB
# What a TIFF says of its parts: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
_WIDTH, _HEIGHT, _STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _PLANES = 256, 257, 273, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 322, 323, 324
_PARTS = (_STRIP_OFFSETS, 279, _TILE_OFFSETS, 325)  # where the parts lie, and how many bytes each has
_SUBFOLDERS = (34665, 34853)  # tags of EXIF and of GPS
_BYTE_TYPES, _MOST_VALUES = (1, 2, 6, 7), 1 << 18  # of other types each value becomes an object; a palette has 196,608
_TIFF_NUMBERS = (_WIDTH, _HEIGHT, _SAMPLES, _STRIP_ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT)
_TIFF_BITS = {1: 8, 3: 16, 4: 32}  # of the types that whole numbers have
_MOST_SAMPLES = 6  # of a pixel of a TIFF; decoders refuse more
# Pixels that a tile and all parts of a TIFF together may have, however small the picture: tiles are filled up.
_COMMON_TILE, _COMMON_SUM = 1 << 22, 1 << 26
_MOST_OFFSETS, _PIXELS_AN_OFFSET = 100_000, 256


@dataclass(frozen=True)
class Structure:
    """What encloses the pixels.

    `end` is the number of bytes up to the end marker and with it; None: there is none. `is_plain` is true of a JPEG of
    one frame whose header is in order and holds nothing that may say more of the pixels, such as that they are turned.
    `excess` is what there is too much of, and how much there may be; the rest of such a file is not looked at. `size`
    is the width and height of a GIF, its first frame included, or of a WebP: decoders take memory for that when they
    open it. `profile` is the colour profile of a JPEG or PNG. `unread` is the first byte of a part that readers fail
    on, though it holds no pixels, and the first behind it.
    """

    end: int | None
    is_progressive: bool = False
    num_scans: int = 1
    bad_part: str = ""
    is_plain: bool = False
    excess: tuple[str, str] | None = None
    size: tuple[int, int] = (0, 0)
    profile: bytes = b""
    unread: tuple[int, int] = (0, 0)


def inspect(content: bytes, file_format: str) -> Structure:
    """Returns the structure of a file; of a format that does not say where it ends, the end is that of the bytes."""
    walk = _WALKS.get(file_format)
    return walk(content) if walk else Structure(len(content))


def _too_many(what: str, most: int) -> Structure:
    return Structure(None, excess=(f"more than {most} {what}", f"at most {most}: more only cost time"))


def _walk_jpeg(content: bytes) -> Structure:
    """https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B: segments with lengths, and scans up to the next marker."""
    position, is_progressive, num_scans, num_frames, is_plain, gap, exif = 2, False, 0, 0, True, 0, 0
    profile: list[bytes] = []
    for _ in range(_MOST_PARTS):
        found = _NEXT_MARKER.search(content, position)
        if not found:
            return Structure(None, is_progressive, num_scans, profile=_join_profile(profile))
        is_adjacent = found.start() == position
        if not (is_adjacent or num_scans):
            gap += found.start() - position
            if gap > _MOST_GAP_BYTES:
                return _too_many("bytes between markers", _MOST_GAP_BYTES)
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
                return _too_many("bytes of EXIF data", MOST_EXIF_BYTES)
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
    return _too_many("markers", _MOST_PARTS)


def _join_profile(parts: list[bytes]) -> bytes:
    """Each part begins with its number: https://www.color.org/specification/ICC.1-2022-05.pdf, B.4."""
    return b"".join(part[2:] for part in sorted(parts))


def _walk_png(content: bytes) -> Structure:
    """https://www.w3.org/TR/png: chunks of length, kind, data and CRC; a kind in capitals is needed for the pixels."""
    position, bad_part, most = 8, "", max(_MOST_PARTS, len(content) // _BYTES_A_CHUNK)
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
    return _too_many("chunks", most)


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
    most, num_blocks, comment_bytes, is_first = max(_MOST_PARTS, len(content) // _BYTES_A_BLOCK), 0, 0, True
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
            return _too_many("blocks", most)
        if comment_bytes > _MOST_COMMENT_BYTES:
            return _too_many("bytes of comments", _MOST_COMMENT_BYTES)
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
    position, most = 12, max(_MOST_PARTS, len(content) // _BYTES_A_CHUNK)
    for _ in range(most):
        if position >= min(end, len(content)):
            return Structure(end if end <= len(content) else None, size=_webp_size(content))
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + length + (length & 1)
    return _too_many("chunks", most)


def _webp_size(content: bytes) -> tuple[int, int]:
    """The size of the canvas that a WebP with several chunks states; others are as large as their one chunk."""
    if content[12:16] != b"VP8X":
        return 0, 0
    return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1


def _walk_tiff(content: bytes) -> Structure:
    """Whether the parts of a TIFF's first picture fit its size. A TIFF does not say where it ends."""
    end, order = len(content), "<" if content[:2] == b"II" else ">"
    found: dict[int, int] = {}
    num_values = 0
    start = struct.unpack_from(f"{order}I", content, 4)[0] if end >= 8 else end
    for tag, kind, count, value in _tiff_entries(content, order, start):
        if tag in _PARTS:
            number = count
        elif tag in _TIFF_NUMBERS:
            if kind not in _TIFF_BITS or count != 1:
                return Structure(end, excess=(f"{count} values of type {kind} for tag {tag}", "one whole number"))
            bits = _TIFF_BITS[kind]
            number = value >> 32 - bits if order == ">" else value & (1 << bits) - 1
        else:
            # What the file is too short for, readers leave out.
            num_values += count * (kind not in _BYTE_TYPES and 2 * count <= end)
            continue
        # Of a tag that is there twice some readers take the first and some the last.
        choose = min if tag in (_WIDTH, _HEIGHT) else max
        found[tag] = choose(number, found.get(tag, number))
    if num_values > _MOST_VALUES:
        return _too_many("values", _MOST_VALUES)
    return Structure(end, excess=_find_excess(found))


def _tiff_entries(content: bytes, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields tag, type, number of values and the value or its place, of the list at `start`.

    The entries of its lists of EXIF and GPS data come between, for their numbers of values; their tags are 0.
    """
    for tag, kind, count, value in _tiff_list(content, order, start):
        yield tag, kind, count, value
        if tag in _SUBFOLDERS:
            for _, other_kind, other_count, other_value in _tiff_list(content, order, value):
                yield 0, other_kind, other_count, other_value


def _tiff_list(content: bytes, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    num = struct.unpack_from(f"{order}H", content, start)[0] if start + 2 <= len(content) else 0
    table = content[start + 2 : start + 2 + 12 * num]
    return struct.iter_unpack(f"{order}HHII", table[: len(table) // 12 * 12])


def _find_excess(found: Mapping[int, int]) -> tuple[str, str] | None:
    """What is wrong with the parts of a TIFF whose tags have these numbers, and how it should be."""
    width, height = found.get(_WIDTH, 0), found.get(_HEIGHT, 0)
    tile_width, tile_height = found.get(_TILE_WIDTH, 0), found.get(_TILE_HEIGHT, 0)
    most = max(_COMMON_TILE, 2 * width * height)
    if tile_width * tile_height > most:
        return f"tiles of {tile_width}x{tile_height} in {width}x{height} pixels", f"at most {most} pixels in a tile"
    rows = max(1, min(height, found.get(_STRIP_ROWS, height)))
    num_planes = min(_MOST_SAMPLES, found.get(_SAMPLES, 1)) if found.get(_PLANES) == 2 else 1
    most = num_planes * max(_COMMON_SUM, 4 * width * height)
    most_offsets = _MOST_OFFSETS + width * height // _PIXELS_AN_OFFSET
    areas = (width * rows, 0, tile_width * tile_height, 0)
    for tag, area in zip(_PARTS, areas):
        count = found.get(tag, 0)
        if count > most_offsets:
            return f"{count} parts", f"at most {most_offsets}: more only cost time"
        if count * area > most:
            return f"{count} parts of {area} pixels in {width}x{height}", f"at most {most} pixels in all"
    return None


_WALKS = {"JPEG": _walk_jpeg, "PNG": _walk_png, "GIF": _walk_gif, "WEBP": _walk_webp, "TIFF": _walk_tiff}


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
