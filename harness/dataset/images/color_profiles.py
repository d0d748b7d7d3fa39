"""The colours that an embedded profile gives the numbers of a picture, in sRGB, by Little CMS.

What is in a file is found elsewhere. A profile that cannot be used changes nothing: colours are then as before.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from harness.dataset.images.arrays import Array
from harness.dataset.structure.inspection import MOST_PROFILE_BYTES

CONVERTED, UNUSED = "color_profile", "color_profile_unused"  # notes
_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # colour space of a profile: Pillow's mode
_CLASSES = ("mntr", "scnr", "prtr", "spac")  # screens, scanners, printers, spaces; the others say no colours of pixels
_LOOPS = b"mpet"  # programs of any length for each pixel
_NUM_CACHED = 8  # profiles of 4 MiB at most, and their tables
_SAME = 2  # levels that rounding and different white points leave between two profiles of sRGB
_PART_PIXELS = 1 << 20
_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True)
class Conversion:
    """How colours become sRGB: from pixels of `mode`, which is L, RGB or CMYK."""

    mode: str
    transform: ImageCms.ImageCmsTransform

    def convert(self, image: Image.Image) -> Image.Image:
        """Returns an image in RGB; any alpha is left out."""
        return self.transform.apply(image if image.mode == self.mode else image.convert(self.mode))

    def convert_pixels(self, pixels: Array) -> Array:
        """Changes pixels `uint8 [H, W, 3]`, whose levels of grey stand in it three times; returns them.

        It goes by parts: the whole would be held three times.
        """
        height, width = pixels.shape[:2]
        rows = max(1, _PART_PIXELS // width)
        for top in range(0, height, rows):
            part = pixels[top : top + rows]
            image = Image.fromarray(np.ascontiguousarray(part[:, :, 0]) if self.mode == "L" else part)
            part[:] = np.asarray(self.transform.apply(image))
        return pixels


def find_conversion(profile: bytes, mode: str) -> tuple[Conversion | None, tuple[str, ...]]:
    """Returns how pixels of Pillow's `mode` become sRGB, None for as they are, and what is to be noted.

    A profile of sRGB, whoever made it, is told by what it does to a grid of colours.
    """
    if len(profile) > MOST_PROFILE_BYTES:
        return None, (UNUSED,)
    found = _load(profile)
    if found is None or (mode == "CMYK") != (found.mode == "CMYK"):
        return None, (UNUSED,)
    if found.mode == "L" and mode not in ("1", "L", "LA", "La", "F") and not mode.startswith("I"):
        return None, (UNUSED,)
    return (None, ()) if found.transform is None else (Conversion(found.mode, found.transform), (CONVERTED,))


@dataclass(frozen=True)
class _Loaded:
    mode: str
    transform: ImageCms.ImageCmsTransform | None  # None: it changes nothing


@lru_cache(_NUM_CACHED)
def _load(profile: bytes) -> _Loaded | None:
    """Reads a profile; None if it is damaged or none of pixels."""
    if _LOOPS in profile:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space.strip())
        if mode is None or opened.profile.device_class not in _CLASSES:
            return None
        transform = ImageCms.buildTransform(
            opened,
            _SRGB,
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return _Loaded(mode, None if _is_srgb(mode, transform) else transform)


def _is_srgb(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    if mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        levels = np.arange(256, dtype=np.uint8)
        expected = np.repeat(levels[:, None], 3, axis=1)
        found = np.asarray(transform.apply(Image.fromarray(levels[None])))[0]
    else:
        expected = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
        found = np.asarray(transform.apply(Image.fromarray(expected[None])))[0]
    return bool(np.abs(found.astype(int) - expected).max() <= _SAME)
