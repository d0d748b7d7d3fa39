"""How much memory decoding a picture takes at most, by what its header says; and a JPEG at a fraction of its size."""

from collections.abc import Mapping

from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.dataset.structure.enclosure import Structure

# Memory that decoding takes at most, in bytes a pixel, with the pixels that come of it and a copy of them, turned.
_BYTES_A_PIXEL = {"PNG": 11, "BMP": 11, "GIF": 11, "PPM": 11, "TIFF": 20, "WEBP": 22, "AVIF": 24, "HEIC": 24}
BYTES_WIDE = 32  # of more than 8 bits
_BYTES_OF_RGB, _BYTES_PROGRESSIVE, _BYTES_OF_INKS = 3, 12, 16  # of JPEGs; the first in the size they are decoded at


class Costly(Exception):
    """A picture whose decoding takes more memory than it may: so many bytes."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__(num_bytes)
        self.num_bytes = num_bytes


def estimate(found: str, image: Image.Image, structure: Structure, limits: CleanConfig, least_side: int | None) -> int:
    """Bytes of memory that decoding a picture takes at most."""
    area = image.width * image.height
    if found != "JPEG":
        return _BYTES_A_PIXEL[found] * area
    if image.mode not in ("RGB", "L"):
        return _BYTES_OF_INKS * area
    if structure.is_progressive or limits.salvaged == "keep":
        return _BYTES_PROGRESSIVE * area
    factor = find_reduction(image.width, image.height, least_side).get("min_factor", 1)
    return 2 * _BYTES_OF_RGB * area // factor**2


def estimate_plain(width: int, height: int, structure: Structure, reduction: Mapping[str, int]) -> int:
    """Bytes of memory that decoding a plain JPEG takes at most, at the fraction that `find_reduction` gave."""
    cost = _BYTES_PROGRESSIVE if structure.is_progressive else _BYTES_OF_RGB / reduction.get("min_factor", 1) ** 2
    return int(cost * width * height)


def check_cost(num_bytes: int, budget: int) -> None:
    """Refuses for now what takes more than a budget of bytes.

    Raises:
      Costly: it does.
    """
    if num_bytes > budget:
        raise Costly(num_bytes)


def find_reduction(width: int, height: int, least_side: int | None) -> dict[str, int]:
    """The arguments for decoding at the smallest whole fraction that libjpeg-turbo is fast in."""
    for factor in (8, 4, 2):
        small = (-(-height // factor), -(-width // factor))
        if least_side and min(small) >= least_side:
            return {"min_height": small[0], "min_width": small[1], "min_factor": factor}
    return {}
