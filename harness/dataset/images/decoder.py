"""One picture: what it is, its pixels and its size.

This is the only decoder: build_records, evaluate and predict all read pictures through `decode`, so that a model meets
the same pixels in training and in use, and the report shows what was refused through `peek`. It imports no TensorFlow,
so that worker processes start quickly. sources.py finds and opens the files.
"""

import io
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import color_profiles, conversion, costs, formats, wide_pixels
from harness.dataset.images.arrays import Array
from harness.dataset.images.color_profiles import Conversion
from harness.dataset.images.formats import FORMATS, sniff
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.images.wide_pixels import CLIPPED, FEW_LEVELS, Levels
from harness.dataset.structure.enclosure import Structure
from harness.dataset.structure.inspection import inspect

# Pillow's own guard against huge headers is replaced by `clean.max_pixels`, which is checked before any pixel is read.
Image.MAX_IMAGE_PIXELS = None

_PLAIN_COLORS = {"YCbCr": (), "RGB": (), "Gray": ("gray",)}  # the names of libjpeg-turbo, and what is noted
# Progressive files have about ten; thousands are a way to keep a decoder busy.
_MAX_SCANS = 100
_BANDS = "bands of grey, RGB or inks (1, 3 or 4), pixel by pixel: choose those that matter and save them so"
_DEPTHS = "a TIFF that Pillow reads, such as one band of 16 bits or of floats of 32, or RGB of 8 or 16: convert it"
# Damage that every decoder gets over, of which nobody knows what it did to the pixels.
_SALVAGED = ("extraneous bytes", "unknown JFIF", "Unknown Adobe", "Invalid SOS parameters")


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    `pixels` are upright, `uint8 [H, W, 3]` in RGB, perhaps smaller than the picture's own `height` and `width`; `notes`
    say what was odd or converted; `levels` are the values of pixels of more than 8 bits.
    """

    pixels: Array
    format: str
    height: int
    width: int
    notes: tuple[str, ...]
    levels: Levels | None = None


class Unscaled(Exception):
    """A picture of pixels of more than 8 bits, with these levels, of which is not known yet what is black and white."""

    def __init__(self, levels: Levels) -> None:
        super().__init__(str(levels))
        self.levels = levels


def decode(content: bytes, limits: CleanConfig, *, least_side: int | None = None, budget: int | None = None) -> Picture:
    """Decodes every pixel of a picture file, whatever its name says it is.

    The EXIF orientation is applied; grey, palette, CMYK and wider pixels become RGB of 8 bits, and colours of an
    embedded profile those of sRGB; alpha is laid on white; of several frames the first is taken. A large JPEG is
    decoded at 1/2, 1/4 or 1/8 of its size as long as no side falls below `least_side`, which costs less than to shrink
    it afterwards. On photographs that differs by 46 to 55 dB from shrinking alone, and storing the result as a JPEG of
    quality 95 by about 40; other fractions, in which libjpeg-turbo is slow besides, differ by as little as 29.

    Raises:
      Rejected: the file is no picture, damaged, cut off, of another format, outside the limits, or takes more memory
        than there is.
      Costly: it would take more than `budget` bytes of memory; None: it may take what it takes.
      Unscaled: its pixels have more than 8 bits, and `limits.range` is auto, which is for a set to decide.
    """
    try:
        return _decode(content, limits, least_side, sys.maxsize if budget is None else budget)
    except MemoryError:
        raise Rejected(Reason.UNREADABLE, "its decoding ran out of memory", "as much as its size takes") from None


def _decode(content: bytes, limits: CleanConfig, least_side: int | None, budget: int) -> Picture:
    found = _check_file(content, limits)
    structure = inspect(content, found)
    _check_bounds(structure, len(content))
    _check_area(*structure.size, limits.max_pixels)
    if picture := _decode_plain(content, structure, limits, least_side, budget):
        return picture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about oddities that it reads correctly
        try:
            with Image.open(
                io.BytesIO(_strip(content, found, structure)), formats=formats.open_with_pillow(found)
            ) as image:
                _check_size(image.width, image.height, limits)
                kind = wide_pixels.find_kind(content, image)
                cost = (
                    costs.BYTES_WIDE * image.width * image.height
                    if kind
                    else costs.estimate(found, image, structure, limits, least_side)
                )
                costs.check_cost(len(content) + cost, budget)
                notes = [*_check_structure(content, found, structure)]
                if content[4:12] == b"ftypavis":
                    notes.append("several_frames")
                if found != "JPEG":
                    image.load()  # before its EXIF data, whose damage is forgiven
                turn = conversion.read_orientation(image)
                notes += conversion.list_notes(image, turn)
                height, width = (image.height, image.width)[:: -1 if turn in conversion.SIDEWAYS else 1]
                profile = structure.profile if found in ("JPEG", "PNG") else image.info.get("icc_profile") or b""
                colors, more = _find_conversion(profile, image.mode)
                notes += more
                pixels, levels = None, None
                if kind:
                    pixels, levels, more = _decode_wide(content, image, kind, limits, colors)
                    notes += [*_note_bits(kind), *more]
                if found == "JPEG":
                    pixels, more = _decode_jpeg(content, structure, image, limits, least_side)
                    notes += more
                if pixels is None:
                    pixels = conversion.to_rgb(image, colors)
                elif colors and not kind:
                    pixels = colors.convert_pixels(pixels)
        except conversion.DECODER_ERRORS as error:
            if structure.depth and isinstance(error, UnidentifiedImageError):
                raise Rejected(Reason.UNSUPPORTED_FORMAT, structure.depth, _DEPTHS) from None
            raise _damage(error, content, structure) from None
    return Picture(conversion.turn_upright(pixels, turn), found.lower(), height, width, tuple(notes), levels)


def peek(content: bytes, limits: CleanConfig, *, most_pixels: int) -> Array:
    """Returns what a forgiving decoder makes of a file that `decode` refused, such as the upper half of it, as RGB.

    It reads the same formats within the same bounds, but nothing is turned upright. It sets a variable of Pillow's that
    holds for the whole process: call it where nobody decodes at the same time. On damaged files Pillow raises what it
    documents nowhere.

    Raises:
      Rejected: nothing is to be seen, at least not with `most_pixels`.
    """
    found = _check_file(content, limits)
    structure = inspect(content, found)
    _check_bounds(structure, len(content))
    _check_area(*structure.size, most_pixels)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with (
            warnings.catch_warnings(),
            Image.open(io.BytesIO(content), formats=formats.open_with_pillow(found)) as image,
        ):
            warnings.simplefilter("ignore")
            _check_area(image.width, image.height, most_pixels)
            if image.mode == "F" or image.mode.startswith("I"):
                kind = wide_pixels.find_kind(content, image)
                image.load()
                wide = wide_pixels.read(content, image, kind)
                return wide_pixels.scale(wide, wide_pixels.measure(wide).middle)
            return conversion.to_rgb(image)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _decode_plain(
    content: bytes, structure: Structure, limits: CleanConfig, least_side: int | None, budget: int
) -> Picture | None:
    """The short way for most JPEGs; None where something is odd, and the long way finds out what.

    To have Pillow read the header as well costs a twentieth of decoding.
    """
    if not structure.is_plain or structure.end != len(content):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors not in _PLAIN_COLORS:
            return None
        _check_size(width, height, limits)
        reduction = costs.find_reduction(width, height, least_side)
        costs.check_cost(len(content) + costs.estimate_plain(width, height, structure, reduction), budget)
        pixels = simplejpeg.decode_jpeg(content, "RGB", **reduction)
    except ValueError:
        return None
    if not structure.profile:
        return Picture(pixels, "jpeg", height, width, _PLAIN_COLORS[colors])
    to_srgb, notes = color_profiles.find_conversion(structure.profile, "L" if colors == "Gray" else "RGB")
    pixels = to_srgb.convert_pixels(pixels) if to_srgb else pixels
    return Picture(pixels, "jpeg", height, width, (*_PLAIN_COLORS[colors], *notes))


def _decode_wide(
    content: bytes, image: Image.Image, kind: str, limits: CleanConfig, colors: Conversion | None
) -> tuple[Array, Levels, tuple[str, ...]]:
    wide = wide_pixels.read(content, image, kind)
    levels = wide_pixels.measure(wide)
    if limits.range == "auto":
        raise Unscaled(levels)
    pixels = wide_pixels.scale(wide, limits.range)
    found = {
        CLIPPED: wide_pixels.is_clipped(levels, limits.range),
        FEW_LEVELS: wide_pixels.loses_levels(wide, pixels),
    }
    pixels = colors.convert_pixels(pixels) if colors else pixels
    notes = tuple(note for note, is_true in found.items() if is_true)
    return wide_pixels.lay_on_white(pixels, wide.alpha), levels, notes


def _note_bits(kind: str) -> list[str]:
    bits = int(kind.lstrip("uintfloa"))
    return [f"{16 if bits <= 16 else 32}_bit"] if bits > 8 else []


def _strip(content: bytes, found: str, structure: Structure) -> bytes:
    """The file as Pillow gets it: without what it fails on, and of an animated AVIF the still picture."""
    if found == "AVIF":
        return content[:8] + b"avif" + content[12:]
    start, end = structure.unread
    return content[:start] + content[end:]


def _find_conversion(profile: object, mode: str) -> tuple[Conversion | None, tuple[str, ...]]:
    if not profile:
        return None, ()
    return color_profiles.find_conversion(profile if isinstance(profile, bytes) else b"", mode)


def _check_file(content: bytes, limits: CleanConfig) -> str:
    if not content:
        raise Rejected(Reason.EMPTY, "0 bytes", "a picture")
    check_num_bytes(len(content), limits)
    found = sniff(content)
    if found is None:
        raise Rejected(Reason.NOT_AN_IMAGE, *formats.describe_unknown(content))
    if found not in FORMATS:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, found, formats.advise(found))
    return found


def check_num_bytes(num_bytes: int, limits: CleanConfig) -> None:
    """Refuses a file by its size, which is known before it is read.

    Raises:
      Rejected: the file is larger than `clean.max_bytes`.
    """
    if num_bytes > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{num_bytes} bytes", f"at most {limits.max_bytes} bytes")


def _check_size(width: int, height: int, limits: CleanConfig) -> None:
    _check_area(width, height, limits.max_pixels)
    if min(width, height) < limits.min_side:
        raise Rejected(Reason.TOO_SMALL, f"{width}x{height} pixels", f"sides of at least {limits.min_side}")


def _check_area(width: int, height: int, most_pixels: int) -> None:
    if width * height > most_pixels:
        raise Rejected(Reason.TOO_LARGE, f"{width}x{height} = {width * height} pixels", f"at most {most_pixels}")


def _check_structure(content: bytes, file_format: str, structure: Structure) -> Iterator[str]:
    """Yields what is odd and harmless about the file around the pixels; refuses what is not."""
    if structure.bad_part:
        raise Rejected(Reason.CORRUPT, f"{structure.bad_part} is wrong", "a file as it was written")
    if structure.end is None:
        if file_format != "JPEG" or structure.is_progressive:
            raise Rejected(Reason.CUT_OFF, f"{len(content)} bytes without an end", f"the end marker of a {file_format}")
        yield "no_end_marker"
    elif structure.end < len(content):
        yield "trailing_bytes"


def _check_bounds(structure: Structure, num_bytes: int) -> None:
    """Refuses what costs more than the size in the header promises, before any library looks at it."""
    if structure.other_format:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, structure.other_format, formats.advise(structure.other_format))
    if structure.excess:
        raise Rejected(Reason.CORRUPT, *structure.excess)
    if structure.bands:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, structure.bands, _BANDS)
    if not structure.num_scans:
        reason = Reason.CUT_OFF if structure.end is None else Reason.CORRUPT
        raise Rejected(reason, f"{num_bytes} bytes without a scan", "the pixels of a JPEG")
    if structure.num_scans > _MAX_SCANS:
        raise Rejected(Reason.CORRUPT, f"{structure.num_scans} scans", f"at most {_MAX_SCANS}: more only cost time")


def _damage(error: Exception, content: bytes, structure: Structure) -> Rejected:
    # Pillow names the object it was given by its address in memory, which tells nothing and is never the same.
    text = "its header is damaged" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
    if "memory" in text.lower():
        return Rejected(Reason.UNREADABLE, f"its decoding ran out of memory: {text}"[:200], "as much as its size takes")
    is_cut = any(word in text.lower() for word in ("truncated", "eof", "not enough", "unexpected end", "premature"))
    reason = Reason.CUT_OFF if is_cut or structure.end is None else Reason.CORRUPT
    return Rejected(reason, f"{len(content)} bytes: {text}"[:200], "a file that decodes to its last pixel")


def _decode_jpeg(
    content: bytes, structure: Structure, image: Image.Image, limits: CleanConfig, least_side: int | None
) -> tuple[Array | None, tuple[str, ...]]:
    """Decodes with every warning of libjpeg-turbo taken as an error, and says which of them do no harm.

    Of inks and of what is salvaged it returns no pixels: these are left to Pillow.
    """
    if structure.end is None:
        content += b"\xff\xd9"  # a scan that was complete decodes without a complaint now
    is_plain = image.mode in ("RGB", "L")
    try:
        if is_plain:
            reduction = costs.find_reduction(image.width, image.height, least_side)
            return simplejpeg.decode_jpeg(content, "RGB", **reduction), ()
        simplejpeg.decode_jpeg(content, image.mode)  # for its complaints: the conversion of inks is Pillow's
        notes: tuple[str, ...] = ()
    except ValueError as error:
        if not any(words in str(error) for words in _SALVAGED):
            raise
        if limits.salvaged == "drop":
            raise Rejected(
                Reason.SALVAGED, str(error), "an undamaged file; clean.salvaged: keep takes what decoders make of it"
            ) from None
        notes = ("salvaged",)
    image.load()
    return None, notes
