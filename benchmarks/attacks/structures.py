"""The parts that a picture file consists of, exchanged, repeated and left out where each still begins where it should.

Blind changes to the bytes seldom get there: a wrong length ends the file for most readers.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator

from attacks.spoiling import spoil

_TIMES = (0, 2, 2, 3, 100, 12_000)  # that a part may be repeated; readers bound it at 10,000
_MOST_BYTES = 4 << 20


def rearrange(content: bytes, chance: random.Random) -> bytes:
    """Returns a file with one to three of its parts left out, repeated, moved, or spoilt within."""
    split, join = next((split, join) for start, split, join in FORMATS if content.startswith(start))
    parts = list(split(content))
    for _ in range(chance.choice((1, 1, 2, 3))):
        _change(parts, chance)
    return join(content, parts)


def _change(parts: list[bytes], chance: random.Random) -> None:
    if not parts:
        return
    index, change = chance.randrange(len(parts)), chance.randrange(4)
    part = parts[index]
    if change == 0:
        times = chance.choice(_TIMES)
        parts[index : index + 1] = [part] * min(times, max(2, _MOST_BYTES // max(1, len(part))))
    elif change == 1:
        parts.insert(chance.randrange(len(parts)), parts.pop(index))
    else:
        parts[index] = spoil(part, chance, parts)


def _split_png(content: bytes) -> Iterator[bytes]:
    """Kind and data of each chunk."""
    position = 8
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        yield content[position + 4 : end]
        position = end + 4


def _join_png(content: bytes, parts: list[bytes]) -> bytes:
    return content[:8] + b"".join(
        struct.pack(">I", max(0, len(part) - 4)) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def _split_jpeg(content: bytes) -> Iterator[bytes]:
    """Marker and data of each segment; the last one holds all that comes behind the first scan's header."""
    position = 2
    while position + 4 <= len(content) and content[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        yield content[position + 1 : position + 2] + content[position + 4 : end]
        position = end
    yield content[position:]


def _join_jpeg(content: bytes, parts: list[bytes]) -> bytes:
    rest = b"\xff\xda"
    return content[:2] + b"".join(
        part if part.startswith(rest) else b"\xff" + part[:1] + struct.pack(">H", (len(part) + 1) & 0xFFFF) + part[1:]
        for part in parts
    )


def _split_webp(content: bytes) -> Iterator[bytes]:
    """Kind and data of each chunk."""
    position = 12
    while position + 8 <= len(content):
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        yield content[position : position + 4] + content[position + 8 : end]
        position = end + end % 2


def _join_webp(content: bytes, parts: list[bytes]) -> bytes:
    chunks = b"".join(
        part[:4] + struct.pack("<I", max(0, len(part) - 4)) + part[4:] + b"\0" * (len(part) % 2) for part in parts
    )
    return content[:4] + struct.pack("<I", len(chunks) + 4) + content[8:12] + chunks


def _split_tiff(content: bytes) -> Iterator[bytes]:
    """The entries of the first list of tags."""
    (start,) = struct.unpack_from("<I", content, 4)
    (num,) = struct.unpack_from("<H", content, start)
    for index in range(num):
        yield content[start + 2 + 12 * index : start + 14 + 12 * index]


def _join_tiff(content: bytes, parts: list[bytes]) -> bytes:
    """Has the list behind all that was there, so that nothing else moves."""
    table = b"".join(part.ljust(12, b"\0")[:12] for part in parts[:0xFFFF])
    start, num = struct.pack("<I", len(content)), struct.pack("<H", len(table) // 12)
    return content[:4] + start + content[8:] + num + table + bytes(4)


def _split_big_tiff(content: bytes) -> Iterator[bytes]:
    (start,) = struct.unpack_from("<Q", content, 8)
    (num,) = struct.unpack_from("<Q", content, start)
    for index in range(num):
        yield content[start + 8 + 20 * index : start + 28 + 20 * index]


def _join_big_tiff(content: bytes, parts: list[bytes]) -> bytes:
    table = b"".join(part.ljust(20, b"\0")[:20] for part in parts)
    start, num = struct.pack("<Q", len(content)), struct.pack("<Q", len(table) // 20)
    return content[:8] + start + content[16:] + num + table + bytes(8)


def _split_gif(content: bytes) -> Iterator[bytes]:
    """The screen with its colours, and each extension and frame."""
    position = 13 + _color_bytes(content[10])
    yield content[6:position]
    while position < len(content) and content[position] in (0x21, 0x2C):
        start = position
        is_frame = content[position] == 0x2C
        position += 11 + _color_bytes(content[position + 9]) if is_frame else 2
        while content[position]:
            position += content[position] + 1
        position += 1
        yield content[start:position]
    yield content[position:]


def _color_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _join_plain(content: bytes, parts: list[bytes]) -> bytes:
    return content[:6] + b"".join(parts)


def _split_bmp(content: bytes) -> Iterator[bytes]:
    """The numbers of the headers, then all the rest."""
    widths = (4, 4, 4, 4, 4, 4, 2, 2, 4, 4, 4, 4, 4, 4)
    position = 6
    for width in widths[1:]:
        yield content[position : position + width]
        position += width
    yield content[position:]


def _split_ppm(content: bytes) -> Iterator[bytes]:
    """The words of the header, then the pixels."""
    start = 0
    for _ in range(3 if content[1] == ord("4") else 4):
        end = next(place for place in range(start, len(content)) if content[place : place + 1].isspace()) + 1
        yield content[start:end]
        start = end
    yield content[start:]


def _join_all(content: bytes, parts: list[bytes]) -> bytes:
    return b"".join(parts)


def _split_boxes(content: bytes) -> Iterator[bytes]:
    """Kind and content of each box; those in the box of data about the others are divided too."""
    position = 0
    while position + 8 <= len(content):
        end = position + max(8, int.from_bytes(content[position : position + 4], "big"))
        if content[position + 4 : position + 8] == b"meta":
            yield b"meta" + content[position + 8 : position + 12]
            end = position + 12
        else:
            yield content[position + 4 : end]
        position = end


def _join_boxes(content: bytes, parts: list[bytes]) -> bytes:
    """Has what comes behind `meta`, up to data, in it."""
    boxes, inner = [], None
    for part in [*parts, b""]:
        box = struct.pack(">I", len(part) + 4) + part
        if part[:4] == b"meta":
            inner = part
        elif inner is not None and part[:4] not in (b"mdat", b"moov", b"free", b""):
            inner += box
        else:
            if inner is not None:
                boxes.append(struct.pack(">I", len(inner) + 4) + inner)
                inner = None
            boxes.append(box if part else b"")
    return b"".join(boxes)


# First bytes, what divides a file of the format into its parts, and what puts it together.
FORMATS: tuple[tuple[bytes, Callable[[bytes], Iterator[bytes]], Callable[[bytes, list[bytes]], bytes]], ...] = (
    (b"\x89PNG", _split_png, _join_png),
    (b"\xff\xd8", _split_jpeg, _join_jpeg),
    (b"RIFF", _split_webp, _join_webp),
    (b"II*", _split_tiff, _join_tiff),
    (b"II+", _split_big_tiff, _join_big_tiff),
    (b"P", _split_ppm, _join_all),
    (b"\0\0\0", _split_boxes, _join_boxes),
    (b"GIF8", _split_gif, _join_plain),
    (b"BM", _split_bmp, _join_plain),
)
