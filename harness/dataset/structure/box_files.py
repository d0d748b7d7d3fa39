"""The boxes of an AVIF or HEIC: where the file ends, and how large the pictures in it are by all that says so.

A header may promise a small picture and its data hold a large one, for which libraries take the memory. So the sizes in
the data are read too: https://aomediacodec.github.io/av1-avif and ISO/IEC 14496-12, 23008-12.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.dataset.structure.enclosure import MOST_PARTS, Structure, too_many

_FULL = {b"meta": 4, b"iloc": 0}  # bytes before the boxes in a box; of others none
_PARENTS = (b"meta", b"iprp", b"ipco")
_TOP = {*b"ftyp meta moov mdat idat free skip wide uuid pdin styp sidx moof mfra udta jumb prfl".split()}
_NEEDED = {b"meta", b"moov"}
# Coded pixels that data may have, however small the picture: blocks are filled up.
_COMMON_AREA, _TIMES = 1 << 20, 4
_AV1_SEQUENCE, _HEVC_SEQUENCE = 1, 33


@dataclass
class _Found:
    """What the boxes say: sizes in pixels, and where data of pictures lie."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    kinds: set[bytes] = field(default_factory=set)
    num_boxes: int = 0


def inspect(content: bytes) -> Structure:
    """Returns the structure of a file of boxes; its size is that of the largest picture in it."""
    found, end, is_whole = _Found(), 0, True
    while end + 8 <= len(content):
        kind, start, stop = _read_box(content, end, len(content))
        if stop < start or kind not in _TOP:
            break  # bytes behind the last box
        is_whole = stop <= len(content)
        found.kinds.add(kind)
        _look_into(content, kind, start, min(stop, len(content)), found)
        if found.num_boxes > MOST_PARTS or not is_whole:
            break
        end = stop
    if found.num_boxes > MOST_PARTS:
        return too_many("boxes", MOST_PARTS)
    size = max(found.sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    most = max(_COMMON_AREA, _TIMES * size[0] * size[1])
    for width, height in map(_read_coded_size, found.data):
        if width * height > most:
            excess = (f"data of {width}x{height} in {size[0]}x{size[1]} pixels", f"at most {most} pixels")
            return Structure(None, excess=excess, size=size)
    is_whole &= bool(found.kinds & _NEEDED) and bool(found.kinds & {b"mdat", b"idat"})
    return Structure(end if is_whole else None, size=size)


def _read_box(content: bytes, position: int, end: int) -> tuple[bytes, int, int]:
    """Returns the kind of a box, where its content begins, and where it ends by its size."""
    size, kind = int.from_bytes(content[position : position + 4], "big"), content[position + 4 : position + 8]
    if size == 1:
        return kind, position + 16, position + int.from_bytes(content[position + 8 : position + 16], "big")
    return kind, position + 8, position + size if size else end


def _look_into(content: bytes, kind: bytes, start: int, end: int, found: _Found) -> None:
    found.num_boxes += 1
    found.kinds.add(kind)
    if kind in _PARENTS:
        position = start + _FULL.get(kind, 0)
        while position + 8 <= end and found.num_boxes <= MOST_PARTS:
            inner, inner_start, inner_end = _read_box(content, position, end)
            if inner_end < inner_start or inner_end > end:
                return
            _look_into(content, inner, inner_start, inner_end, found)
            position = inner_end
    elif kind == b"ispe":
        width, height = (int.from_bytes(content[start + at : start + at + 4], "big") for at in (4, 8))
        found.sizes.append((width, height))
    elif kind in (b"av1C", b"hvcC"):
        found.data.append((b"1" if kind == b"av1C" else b"c") + content[start:end])
    elif kind == b"iloc":
        for first, size in _locate_items(content[start:end]):
            found.num_boxes += 1
            found.data.append(b"i" + content[first : first + min(size, 1 << 16)])


def _locate_items(box: bytes) -> Iterator[tuple[int, int]]:
    """Yields where the data of each item begin in the file, and how many bytes they have; of the first part only."""
    if len(box) < 8:
        return
    version, widths = box[0], (box[4] >> 4, box[4] & 15, box[5] >> 4, box[5] & 15 if box[0] else 0)
    position, count_bytes = 6, 4 if version == 2 else 2

    def take(num_bytes: int) -> int:
        nonlocal position
        position += num_bytes
        return int.from_bytes(box[position - num_bytes : position], "big")

    offset_bytes, length_bytes, base_bytes, index_bytes = widths
    for _ in range(min(take(count_bytes), MOST_PARTS + 1)):
        take(count_bytes)
        if version:
            take(2)
        take(2)
        base = take(base_bytes)
        for index in range(take(2)):
            take(index_bytes)
            offset, length = take(offset_bytes), take(length_bytes)
            if position > len(box):
                return
            if not index:
                yield base + offset, length or 1 << 16


def _read_coded_size(data: bytes) -> tuple[int, int]:
    """The largest width and height that data of a picture state; zeros where they state none."""
    kind, data = data[:1], data[1:]
    sizes = [(0, 0)]
    if kind in (b"1", b"i"):
        sizes += [_read_av1(unit) for unit in _av1_units(data[4:] if kind == b"1" else data)]
    if kind == b"c":
        sizes += [_read_hevc(unit) for unit in _hevc_settings(data)]
    if kind == b"i":
        sizes += [_read_hevc(unit) for unit in _hevc_units(data)]
    return max(sizes, key=lambda size: size[0] * size[1])


def _av1_units(data: bytes) -> Iterator[bytes]:
    """Yields the sequence headers among the units of AV1."""
    position = 0
    for _ in range(MOST_PARTS):
        if position >= len(data) or data[position] & 0x81:  # bits that are always zero
            return
        kind, has_more, has_size = data[position] >> 3 & 15, data[position] & 4, data[position] & 2
        position += 2 if has_more else 1
        size = len(data) - position
        if has_size:
            size = 0
            for place in range(8):
                byte = data[position] if position < len(data) else 0
                size |= (byte & 0x7F) << 7 * place
                position += 1
                if byte < 0x80:
                    break
        if kind == _AV1_SEQUENCE:
            yield data[position : position + min(size, 256)]
        position += size


def _hevc_settings(data: bytes) -> Iterator[bytes]:
    """Yields the sequence parameters in the settings of HEVC: lists of units, each with its length before it."""
    position, num_lists = 23, data[22] if len(data) > 22 else 0
    for _ in range(num_lists):
        num = int.from_bytes(data[position + 1 : position + 3], "big")
        position += 3
        for _ in range(num):
            size = int.from_bytes(data[position : position + 2], "big")
            unit = data[position + 2 : position + 2 + size]
            if unit[:1] and unit[0] >> 1 & 63 == _HEVC_SEQUENCE:
                yield unit
            position += 2 + size
            if position > len(data):
                return


def _hevc_units(data: bytes) -> Iterator[bytes]:
    position = 0
    while position + 5 < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4] >> 1 & 63 == _HEVC_SEQUENCE:
            yield data[position + 4 : position + 4 + min(size, 1024)]
        position += 4 + size


class _Bits:
    """Numbers of any width, one after the other, from bytes; zeros behind their end."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data + bytes(64), "big"), 8 * (len(data) + 64)

    def take(self, width: int) -> int:
        self._left = max(0, self._left - width)
        return self._number >> self._left & (1 << width) - 1

    def take_golomb(self) -> int:
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _read_av1(unit: bytes) -> tuple[int, int]:
    """https://aomediacodec.github.io/av1-spec, 5.5.1."""
    bits = _Bits(unit)
    bits.take(4)
    if bits.take(1):  # the short header of a still picture
        bits.take(5)
    else:
        delay_bits = 0
        if bits.take(1):
            bits.take(64)
            if bits.take(1):
                bits.take_golomb()
            if bits.take(1):
                delay_bits = bits.take(5) + 1
                bits.take(42)
        has_delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_delays and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _read_hevc(unit: bytes) -> tuple[int, int]:
    """https://www.itu.int/rec/T-REC-H.265, 7.3.2.2."""
    bits = _Bits(unit[2:256].replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    num_layers = bits.take(3)
    bits.take(1 + 96)
    layers = [(bits.take(1), bits.take(1)) for _ in range(num_layers)]
    if num_layers:
        bits.take(2 * (8 - num_layers))
    for has_profile, has_level in layers:
        bits.take(88 * has_profile + 8 * has_level)
    bits.take_golomb()
    if bits.take_golomb() == 3:
        bits.take(1)
    return bits.take_golomb(), bits.take_golomb()
