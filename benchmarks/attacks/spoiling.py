"""Changes to the bytes of a good file, such as damage and malice make."""

import random
import struct
from collections.abc import Iterable

_SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def spoil(content: bytes, chance: random.Random, others: Iterable[bytes] = ()) -> bytes:
    """Returns the bytes after one to four changes: bits, sizes, cuts, blocks repeated, moved, or of other files."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        # What says what a file is and how large stands at its beginning.
        end = len(changed) if chance.random() < 0.5 else min(len(changed), 64)
        start = chance.randrange(end) if end else 0
        size = chance.choice((1, 2, 4, 16, 256))
        block = bytes(changed[start : start + size])
        change = chance.randrange(8)
        if change == 0 and block:
            changed[start] ^= 1 << chance.randrange(8)
        elif change == 1:
            changed[start : start + size] = chance.randbytes(size)
        elif change == 2:
            number = chance.choice(_SIZES)
            form = chance.choice((">", "<")) + {1: "B", 2: "H", 4: "I"}.get(size, "Q")
            number &= 2 ** (8 * struct.calcsize(form)) - 1
            changed[start : start + struct.calcsize(form)] = struct.pack(form, number)
        elif change == 3:
            del changed[start:]
        elif change == 4:
            del changed[start : start + size]
        elif change == 5:
            changed[start:start] = block * chance.choice((1, 2, 1000))
        elif change == 6:
            target = chance.randrange(len(changed) + 1)
            del changed[start : start + size]
            changed[target:target] = block
        elif others := list(others):
            other = chance.choice(others)
            cut = chance.randrange(len(other) + 1)
            changed[start:] = other[cut:]
    return bytes(changed)
