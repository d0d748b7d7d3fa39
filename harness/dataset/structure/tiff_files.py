"""The lists of a TIFF: whether its parts fit its size, and whether it is a picture or what a camera wrote as one."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.dataset.structure.enclosure import Structure, too_many

# What a TIFF says of its parts: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
_WIDTH, _HEIGHT, _STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _PLANES = 256, 257, 273, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 322, 323, 324
_PARTS = (_STRIP_OFFSETS, 279, _TILE_OFFSETS, 325)  # where the parts lie, and how many bytes each has
_SUBFOLDERS = (34665, 34853)  # tags of EXIF and of GPS
_BYTE_TYPES, _MOST_VALUES = (1, 2, 6, 7), 1 << 18  # of other types each value becomes an object; a palette has 196,608
_MOST_ENTRIES = 1 << 16  # of a list; as many as the older form can count
_TIFF_NUMBERS = (_WIDTH, _HEIGHT, _SAMPLES, _STRIP_ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT)
_TIFF_BITS = {1: 8, 3: 16, 4: 32, 16: 64}  # of the types that whole numbers have
# What only files of cameras have: a version of DNG, pixels of one colour each, a small picture before the others.
_DNG_VERSION, _COLORS, _SUBFILE, _SUBLISTS = 50706, 262, 254, 330
_BY_THEMSELVES = 2
_EXTRA, _ALPHA = 338, (1, 2)  # what bands beyond colours are
_DEPTHS = (10, 12, 14, 16, 24, 32, 64)  # more than 8 bits, such as occur
_BITS, _SAMPLE_FORMAT, _FLOATS, _SHORT = 258, 339, 3, 3
_TOLD_TAGS = (_DNG_VERSION, _COLORS, _SUBFILE, _SUBLISTS, _EXTRA, _BITS, _SAMPLE_FORMAT)
_RAW_COLORS, _REDUCED = (32803, 34892), 1
_MOST_SAMPLES = 6  # of a pixel of a TIFF; decoders refuse more
# Pixels that a tile and all parts of a TIFF together may have, however small the picture: tiles are filled up.
_COMMON_TILE, _COMMON_SUM = 1 << 22, 1 << 26
_MOST_OFFSETS, _PIXELS_AN_OFFSET = 100_000, 256


def inspect(content: bytes) -> Structure:
    """Whether the parts of a TIFF's first picture fit its size. A TIFF does not say where it ends."""
    end, order = len(content), "<" if content[:2] == b"II" else ">"
    found: dict[int, int] = {}
    num_values = 0
    if order == ">" and content[2:4] == b"\0+":  # which Pillow takes for the older form
        return Structure(end, other_format="BigTIFF with the high byte first")
    is_big = content[2:4] == b"+\0"
    start = _read_number(content, f"{order}Q", 8) if is_big else _read_number(content, f"{order}I", 4)
    form = _Form(order, "HHQQ", "Q", 64) if is_big else _Form(order, "HHII", "H", 32)
    for tag, kind, count, value in _list_entries(content, form, start):
        if tag in _PARTS:
            number = count
        elif tag in _TIFF_NUMBERS:
            if kind not in _TIFF_BITS or count != 1:
                return Structure(end, excess=(f"{count} values of type {kind} for tag {tag}", "one whole number"))
            bits = _TIFF_BITS[kind]
            number = value >> max(0, form.bits - bits) if order == ">" else value & (1 << bits) - 1
        elif tag in _TOLD_TAGS:
            bits = min(form.bits, _TIFF_BITS.get(kind, form.bits))
            number = value >> form.bits - bits if order == ">" else value & (1 << bits) - 1
            if count * bits > form.bits and kind == _SHORT:  # the first of many, which stand elsewhere
                number = _read_number(content, f"{order}H", value) if value + 2 <= end else 0
            found.setdefault(tag, number)
            num_values += count * (kind not in _BYTE_TYPES and 2 * count <= end)
            continue
        else:
            # What the file is too short for, readers leave out.
            num_values += count * (kind not in _BYTE_TYPES and 2 * count <= end)
            continue
        # Of a tag that is there twice some readers take the first and some the last.
        choose = min if tag in (_WIDTH, _HEIGHT) else max
        found[tag] = choose(number, found.get(tag, number))
    if num_values > _MOST_VALUES:
        return too_many("values", _MOST_VALUES)
    is_raw = _DNG_VERSION in found or found.get(_COLORS) in _RAW_COLORS
    if is_raw or (found.get(_SUBFILE) == _REDUCED and _SUBLISTS in found) or content[8:10] == b"CR":
        return Structure(end, other_format="camera RAW")
    return Structure(end, excess=_find_excess(found), bands=_describe_bands(found), depth=_describe_depth(found))


def _describe_bands(found: Mapping[int, int]) -> str:
    """What a TIFF has that is no grey, colours or inks, perhaps with alpha, of one width; "" for what is."""
    num = found.get(_SAMPLES, 1)
    is_known = num in (1, 3, 4) or (num == 2 and found.get(_EXTRA) in _ALPHA)
    if is_known and num > 1 and found.get(_PLANES) == _BY_THEMSELVES and _describe_depth(found):
        return f"{_describe_depth(found)}, each band by itself"  # readers take these for others
    return "" if is_known else f"TIFF of {num} bands"


def _describe_depth(found: Mapping[int, int]) -> str:
    bits = found.get(_BITS, 1)
    kind = ", floats" if found.get(_SAMPLE_FORMAT) == _FLOATS else ""
    num = found.get(_SAMPLES, 1)
    return f"TIFF of {num} {'band' if num == 1 else 'bands'} of {bits} bits{kind}" if bits in _DEPTHS else ""


@dataclass(frozen=True)
class _Form:
    """How a list of a TIFF is written: the order of bytes, an entry, the number of entries, the bits of a value."""

    order: str
    entry: str
    number: str
    bits: int


def _read_number(content: bytes, form: str, position: int) -> int:
    if position + struct.calcsize(form) > len(content):
        return len(content)
    return int(struct.unpack_from(form, content, position)[0])


def _list_entries(content: bytes, form: _Form, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields tag, type, number of values and the value or its place, of the list at `start`.

    The entries of its lists of EXIF and GPS data come between, for their numbers of values; their tags are 0.
    """
    for tag, kind, count, value in _read_list(content, form, start):
        yield tag, kind, count, value
        if tag in _SUBFOLDERS:
            for _, other_kind, other_count, other_value in _read_list(content, form, value):
                yield 0, other_kind, other_count, other_value


def _read_list(content: bytes, form: _Form, start: int) -> Iterator[tuple[int, int, int, int]]:
    size, head = struct.calcsize(form.order + form.entry), struct.calcsize(form.order + form.number)
    if start + head > len(content):
        return iter(())
    num = min(int(struct.unpack_from(form.order + form.number, content, start)[0]), _MOST_ENTRIES)
    table = content[start + head : start + head + size * num]
    return struct.iter_unpack(form.order + form.entry, table[: len(table) // size * size])


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
