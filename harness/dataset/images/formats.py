"""Which formats are read, what a file is by its first bytes, and what to do with one that is not read.

It decodes nothing. What is around the pixels is looked at in dataset/structure/.
"""

import importlib.util
import re
from pathlib import PurePosixPath

_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", *(("HEIC",) if _HAS_HEIF else ()))
_PILLOW_NAMES = {"HEIC": "HEIF"}
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "AVIF": (".avif", ".avifs"),
    "HEIC": (".heic", ".heif", ".hif"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"IIRO", "camera RAW"),
    (0, b"IIRS", "camera RAW"),
    (0, b"IIU\0", "camera RAW"),
    (0, b"FUJIFILMCCD-RAW", "camera RAW"),
    (0, b"FOVb", "camera RAW"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"gimp xcf", "XCF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"\0\0\2\0\1\0", "CUR"),
    (0, b"icns", "ICNS"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (128, b"DICM", "DICOM"),
    (0, b"SIMPLE  =", "FITS"),
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"FLV\1", "video"),
    (0, b"\0\0\1\xba", "video"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "video"),
    (4, b"moov", "video"),
    (4, b"mdat", "video"),
)
# Brands of files of boxes; all that begin with "ftyp" and have none of these are films.
_BRANDS = (
    ((b"avif", b"avis"), "AVIF"),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"),
    ((b"crx ",), "camera RAW"),
    ((b"jxl ",), "JPEG XL"),
    ((b"jp2 ", b"jpx "), "JPEG 2000"),
)
_MOST_BRANDS = 64
_PPM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+\d")
_PLAIN_PIXMAPS = re.compile(rb"P(7\n|[Ff]\s)")
_SVG_STARTS = (b"<svg", b"<?xml", b"<!DOCTYPE svg", b"<!--")
_MARKUP_BYTES = 4096
_CONVERT = "JPEG, PNG or another format that is read: convert it"
_ADVICE = {
    "HEIC": "the package that reads it: pip install pillow-heif; a build then takes --overwrite",
    "JPEG XL": "JPEG or PNG: djxl FILE.jxl FILE.png converts it",
    "SVG": "pixels: draw it as PNG in the size that is needed",
    "PDF": "pixels: draw its pages as PNG, such as with pdftoppm -png",
    "PostScript": "pixels: draw it as PNG in the size that is needed",
    "camera RAW": "pixels as the camera means them: develop it as JPEG or TIFF of 16 bits",
    "video": "pictures: ffmpeg -i FILE -vf fps=1 FILE_%05d.jpg takes one a second; keep a film's on one side of the "
    "split by split.group_by",
    "DICOM": "PNG or TIFF of 16 bits: export it",
    "FITS": "PNG or TIFF of 16 bits: export it",
}
_FAILED, _UNPACK = "a picture: the download failed", "a picture: unpack it"
_EXPORT = "pictures: export each as PNG or TIFF of 16 bits"
_TEXT = rb"(?:\xef\xbb\xbf)?\s*"
# What is no picture, and what it is then most often: the first bytes, what it is called, and what to do.
_NO_PICTURES = (
    (re.compile(_TEXT + rb"<(!doctype html|html)", re.IGNORECASE), "a page of HTML", _FAILED),
    (re.compile(_TEXT + rb"<[?!a-zA-Z]"), "XML", f"{_FAILED} if it was one"),
    (re.compile(_TEXT + rb"[{\[]\s*[\"{\]}]"), "JSON", f"{_FAILED} if it was one"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS", "a picture: git lfs pull fetches it"),
    (
        re.compile(rb"(\.\./|/)*(\.git/)?annex/objects/"),
        "a pointer of git-annex",
        "a picture: git annex get fetches it",
    ),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive", _UNPACK),
    (re.compile(rb"Rar!\x1a\x07"), "a RAR archive", _UNPACK),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive", _UNPACK),
    (re.compile(rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd"), "a compressed file", _UNPACK),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", _UNPACK),
    (re.compile(rb"\x93NUMPY"), "an array of NumPy", _EXPORT),
    (re.compile(rb"\x89HDF\r\n\x1a\n|MATLAB 5"), "HDF5 or MATLAB data", _EXPORT),
    (re.compile(rb"(.{344}|.{4}\0{4})n[+i]1\0", re.DOTALL), "NIfTI", _EXPORT),
    (re.compile(rb"\0+$"), "zeros alone", "a picture: copy it again"),
)


def sniff(content: bytes) -> str | None:
    """Returns the name of the format the first bytes show, or None for bytes of no known picture format."""
    for offset, magic, name in _SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return name
    if content[4:8] == b"ftyp":
        return _find_brand(content)
    if _PPM.match(content):
        return "PPM"
    if _PLAIN_PIXMAPS.match(content):
        return "PAM or PFM"
    start = content[:_MARKUP_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return "SVG" if start.startswith(_SVG_STARTS) and b"<svg" in start else None


def _find_brand(content: bytes) -> str:
    """What a file of boxes is: by its own brand, or by one that it is compatible with, where that is a general one."""
    end = min(int.from_bytes(content[:4], "big"), 16 + 4 * _MOST_BRANDS, len(content))
    others = [content[start : start + 4] for start in range(16, end, 4)]
    own = content[8:12]
    for brand in [own] if own not in (b"mif1", b"msf1") else [*others, own]:
        for brands, name in _BRANDS:
            if brand in brands and brand not in (b"mif1", b"msf1"):
                return name
    return "HEIC" if own in (b"mif1", b"msf1") else "video"


def describe_unknown(content: bytes) -> tuple[str, str]:
    """Returns what bytes of no known picture format are, and what was expected of them."""
    for pattern, name, expected in _NO_PICTURES:
        if pattern.match(content):
            return name, expected
    return f"first bytes {content[:8]!r}", "one of " + ", ".join(FORMATS)


def advise(name: str) -> str:
    """Returns what was expected of a file of a format that is not read, and how to have that."""
    return _ADVICE.get(name, _CONVERT)


def open_with_pillow(name: str) -> tuple[str]:
    """Returns Pillow's name of a format, which Pillow can open from then on."""
    if name == "HEIC":
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return (_PILLOW_NAMES.get(name, name),)


def note_of_name(name: str, file_format: str) -> tuple[str, ...]:
    """Returns the note `wrong_extension` for a file whose name says another format than its content."""
    ending = PurePosixPath(name).suffix.lower()
    known = _ENDINGS.get(file_format.upper(), (f".{file_format.lower()}",))
    return ("wrong_extension",) if ending and ending not in known else ()
