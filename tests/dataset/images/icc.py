"""Small colour profiles, byte by byte: https://www.color.org/specification/ICC.1-2022-05.pdf."""

import struct

# XYZ of red, green and blue under D50: http://www.brucelindbloom.com, and Apple's Display P3.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
_D50 = (0.9642, 1.0, 0.8249)


def _numbers(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def curve(gamma: float | str) -> bytes:
    """A power, or of "sRGB" the curve of that, as parameters."""
    if gamma == "sRGB":
        return b"para\0\0\0\0\0\3\0\0" + _numbers(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _numbers(*_D50), **tags}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = struct.pack(
        ">I4sI4s4s4s", start + len(data), b"lcms", 0x04200000, kind, space, b"XYZ " if space != b"CMYK" else b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + _numbers(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def rgb(primaries: tuple[tuple[float, ...], ...], gamma: float | str) -> bytes:
    columns = {name: b"XYZ \0\0\0\0" + _numbers(*xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)}
    return profile(b"RGB ", {**columns, **{name: curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}})


def gray(gamma: float | str) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve(gamma)})


def inks(size: int = 0) -> bytes:
    """Inks of which cyan, magenta and yellow do nothing, and black a mid grey at most; `size` bytes of filling."""
    points = b"".join(
        struct.pack(">HHH", 0xFF00 - 0x8000 * (index & 1), 0x8000, 0x8000) for index in range(16)
    )  # Lab of the corners: the last ink varies fastest
    identity = struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9)))
    lines = struct.pack(">HH", 0, 0xFFFF)
    table = b"mft2\0\0\0\0\4\3\2\0" + identity + struct.pack(">HH", 2, 2) + 4 * lines + points + 3 * lines
    filling = {b"desc": b"text\0\0\0\0" + bytes(size)} if size else {}
    return profile(b"CMYK", {b"A2B0": table, b"A2B1": table, **filling}, b"prtr")
