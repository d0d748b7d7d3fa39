"""What people have beside JPEG and PNG: read by the same rules, or named as what it is with what to do."""

import io
import struct

import numpy as np
import pytest
from conftest import draw_face, read_findings, run_command, write_faces
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import decoder, formats
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.structure.inspection import inspect

LIMITS = CleanConfig(range="full")
FACE = Image.fromarray(draw_face(1, happy=True))


def encode(kind: str, image: Image.Image = FACE, **options) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
        formats.open_with_pillow("HEIC")
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


NAMES = {"AVIF": "avif", "HEIF": "heic", "PPM": "ppm"}


@pytest.mark.parametrize("kind", NAMES)
def test_formats_of_phones_and_tools_are_read(kind):
    picture = decoder.decode(encode(kind), LIMITS)
    assert picture.format == NAMES[kind] and picture.notes == ()
    assert np.abs(picture.pixels.astype(int) - np.asarray(FACE)).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_the_family_of_ppm_is_read_to_the_pixel(mode):
    image = FACE.convert(mode)
    picture = decoder.decode(encode("PPM", image), LIMITS)
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB"))) and picture.format == "ppm"
    numbers = " ".join(map(str, np.asarray(FACE).ravel()))
    plain = f"P3 # as text\n64 64\n255\n{numbers}\n".encode()
    assert np.array_equal(decoder.decode(plain, LIMITS).pixels, np.asarray(FACE))


def test_a_big_tiff_is_read_and_bounded_as_a_small_one():
    content = encode("TIFF", big_tiff=True)
    assert content[:4] == b"II+\0"
    assert np.array_equal(decoder.decode(content, LIMITS).pixels, np.asarray(FACE))
    entry = struct.pack("<HHQ", 256, 4, 1)
    assert entry in content
    for kind, num, words in ((4, 1 << 20, "too large: 1048576x64"), (5, 64, "corrupt: 1 values of type 5 for tag 256")):
        changed = content.replace(entry + struct.pack("<I", 64), struct.pack("<HHQI", 256, kind, 1, num))
        with pytest.raises(Rejected, match=words):
            decoder.decode(changed, CleanConfig(max_pixels=1_000_000))


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_cut_at_any_byte_is_rejected(kind):
    content = encode(kind)
    for length in range(0, len(content), 1 if len(content) < 2000 else 37):
        with pytest.raises(Rejected) as rejected:
            decoder.decode(content[:length], LIMITS)
        few = (Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.UNSUPPORTED_FORMAT) if length < 24 else ()
        assert rejected.value.reason in (Reason.CUT_OFF, *few)


@pytest.mark.parametrize("kind", NAMES)
def test_bytes_after_the_end_are_noted_and_do_no_harm(kind):
    content = encode(kind)
    picture = decoder.decode(content + b"and more", LIMITS)
    assert picture.notes == ("trailing_bytes",)
    assert np.array_equal(picture.pixels, decoder.decode(content, LIMITS).pixels)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("stated", [(64, 64), (30_000, 30_000)])
def test_a_picture_of_boxes_is_as_large_as_anything_in_it(kind, stated):
    """Libraries take the memory for the size in the data, whatever the header promises."""
    large = encode(kind, FACE.resize((2400, 1600)))
    size = b"ispe" + bytes(4)
    content = large.replace(size + struct.pack(">II", 2400, 1600), size + struct.pack(">II", *stated))
    words = "data of 2400x1600 in 64x64 pixels" if stated[0] == 64 else "30000x30000 = 900000000 pixels"
    with pytest.raises(Rejected, match=words):
        decoder.decode(content, LIMITS)
    assert inspect(large, "AVIF").size == (2400, 1600)
    assert decoder.decode(large, LIMITS).pixels.shape == (1600, 2400, 3)


def test_the_still_picture_of_an_animated_avif_is_taken():
    frames = encode("AVIF", save_all=True, append_images=[FACE.rotate(90), FACE.rotate(180)])
    picture = decoder.decode(frames, LIMITS)
    assert picture.notes == ("several_frames",)
    assert np.abs(picture.pixels.astype(int) - np.asarray(FACE)).mean() < 4


def test_numbers_as_text_are_bounded():
    with pytest.raises(Rejected, match="9000000 pixels as text; expected at most 4194304"):
        decoder.decode(b"P3 3000 3000 255\n", LIMITS)


def tiff(tags: dict[int, int]) -> bytes:
    """A grey TIFF of 64x64 pixels with some more numbers."""
    given = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 64, 279: 4096, **tags}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(given.items()))
    return struct.pack("<2sHI", b"II", 42, 8 + 4096) + bytes(4096) + struct.pack("<H", len(given)) + entries + bytes(4)


BOX = b"\0\0\0\x18ftyp"
NOT_READ = {
    "HEIC": BOX + b"heic\0\0\0\0mif1heic",
    "camera RAW": BOX + b"crx \0\0\0\1crx isom",
    "camera RAW (DNG)": tiff({50706: 0x0401}),
    "camera RAW (NEF, ARW)": tiff({254: 1, 330: 8}),
    "camera RAW (of one colour a pixel)": tiff({262: 32803}),
    "camera RAW (CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
    "video": BOX + b"isom\0\0\2\0isomiso2",
    "video (MOV)": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "video (MKV)": b"\x1aE\xdf\xa3" + bytes(100),
    "video (AVI)": b"RIFF\0\1\0\0AVI LIST" + bytes(100),
    "SVG": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n" + bytes(100),
    "PSD": b"8BPS\0\1" + bytes(100),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
    "DICOM": bytes(128) + b"DICM" + bytes(100),
    "OpenEXR": b"v/1\x01" + bytes(100),
    "CUR": b"\0\0\2\0\1\0\x20\x20" + bytes(100),
    "ICNS": b"icns\0\0\x10\0" + bytes(100),
    "BigTIFF with the high byte first": b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16) + bytes(300),
    "PAM or PFM": b"PF\n64 64\n-1.0\n" + bytes(100),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_read_is_named_with_what_to_do(name, monkeypatch):
    monkeypatch.setattr(decoder, "FORMATS", tuple(known for known in formats.FORMATS if known != "HEIC"))
    with pytest.raises(Rejected) as rejected:
        decoder.decode(NOT_READ[name], LIMITS)
    found = rejected.value
    assert (found.reason, found.measured) == (Reason.UNSUPPORTED_FORMAT, name.partition(" (")[0])
    words = {"HEIC": "pip install pillow-heif", "camera RAW": "develop", "video": "ffmpeg", "SVG": "draw it as PNG"}
    assert words.get(found.measured, "") in found.limit and found.limit


def test_what_came_in_place_of_a_picture_is_called_so():
    for content, words in (
        (b"<!DOCTYPE html><html><body>404 <svg></svg>", "a page of HTML; expected a picture: the download failed"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS; expected a picture: git lfs pull"),
        (b"\xef\xbb\xbf\n<html>", "a page of HTML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML; expected a picture: the download"),
        (b'{"error": "access denied"}', "JSON; expected a picture: the download failed"),
        (b"../../.git/annex/objects/K3/p/MD5E-s3.jpg/MD5E-s3.jpg", "a pointer of git-annex"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"Rar!\x1a\x07\0", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z archive"),
        (b"\x1f\x8b\x08" + bytes(100), "a compressed file"),
        (b"cat/1.jpg".ljust(257, b"\0") + b"ustar" + bytes(300), "a tar archive"),
        (b"\x93NUMPY\x01\0" + bytes(100), "an array of NumPy; expected pictures: export each"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 or MATLAB data"),
        (struct.pack("<i", 348) + bytes(340) + b"n+1\0", "NIfTI"),
        (bytes(1000), "zeros alone; expected a picture: copy it again"),
    ):
        with pytest.raises(Rejected, match=f"not an image: {words}"):
            decoder.decode(content, LIMITS)


def test_a_general_brand_is_told_by_what_it_is_compatible_with():
    assert formats.sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert formats.sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf") == "HEIC"
    assert formats.sniff(b"\0\0\0\x14ftypmif1\0\0\0\0mif1") == "HEIC"


def test_the_build_says_on_the_screen_what_it_did_not_read(tmp_path):
    folder = write_faces(tmp_path / "faces", 6)
    for index in range(3):
        (folder / "sad" / f"IMG_{index}.CR3").write_bytes(NOT_READ["camera RAW"] + bytes([index]))
    (folder / "happy" / "film.mov").write_bytes(NOT_READ["video (MOV)"])
    done = run_command("build_records", "--images", folder, "--records", tmp_path / "r", "--records.image_size", 32)
    assert done.returncode == 0, done.stderr
    assert "not read: 3 camera RAW; expected pixels as the camera means them: develop it as JPEG or TIFF" in done.stdout
    assert "not read: 1 video; expected pictures: ffmpeg" in done.stdout
    assert read_findings(tmp_path / "r")["happy/film.mov"]["reason"] == "unsupported_format"
