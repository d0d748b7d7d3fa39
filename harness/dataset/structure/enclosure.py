"""What is told of all that encloses the pixels of a picture file, whatever its format. structure.py finds it out."""

from dataclasses import dataclass

MOST_PARTS = 10_000  # that a file may have around its pixels, since each takes time and memory whatever it holds


@dataclass(frozen=True)
class Structure:
    """What encloses the pixels.

    `end` is the number of bytes up to the end marker and with it; None: there is none. `is_plain` is true of a JPEG of
    one frame whose header is in order and holds nothing that may say more of the pixels, such as that they are turned.
    `excess` is what there is too much of, and how much there may be; the rest of such a file is not looked at. `size`
    is the width and height of a GIF, its first frame included, of a WebP or PPM, or of the largest picture in a file of
    boxes: decoders take memory for that when they open it. `profile` is the colour profile of a JPEG or PNG. `unread`
    is the first byte of a part that readers fail on, though it holds no pixels, and the first behind it. `other_format`
    is what the file is in truth, `bands` what a TIFF has that is not read, and `depth` what it has of more than 8
    bits.
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
    other_format: str = ""
    bands: str = ""
    depth: str = ""


def too_many(what: str, most: int) -> Structure:
    """Returns the structure of a file that is refused for having more than `most` of something."""
    return Structure(None, excess=(f"more than {most} {what}", f"at most {most}: more only cost time"))
