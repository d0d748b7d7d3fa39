"""What attack.py tries: hostile variants of good files, each made from a seed, and what must come of them.

A variant is a folder of files. An attempt raises whatever is wrong; what the project refuses as it should is nothing
wrong.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from harness.base.errors import DataError
from harness.config.schema import CleanConfig, Config
from harness.dataset.curation import findings
from harness.dataset.images import decoder
from harness.dataset.images.rejection import Reason, Rejected

Files = dict[str, bytes]
LIMITS = CleanConfig(max_pixels=4_000_000)
# Twice what a picture of that many pixels may cost by docs/data.md.
_MOST_PICTURE_BYTES, _MOST_PICTURE_S = 200_000_000, 5.0


@dataclass(frozen=True)
class Attack:
    """One kind of attack: a variant from a seed, and an attempt in the folder that holds it."""

    make: Callable[[int], Files]
    attempt: Callable[[Path], None]


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
            number = chance.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1))
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


@cache
def sample_pictures() -> dict[str, bytes]:
    """Good files of every format and of what occurs in each."""
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    rgb = Image.fromarray(cv2.resize(colors, (96, 64), interpolation=cv2.INTER_CUBIC))
    alpha, gray = rgb.convert("RGBA"), rgb.convert("L")
    alpha.putalpha(gray)
    wide = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a drawing"
    lines = rgb.convert("1")
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "baseline": (rgb, "JPEG", {"quality": 90}),
        "progressive": (rgb, "JPEG", {"progressive": True, "exif": exif}),
        "inks": (rgb.convert("CMYK"), "JPEG", {}),
        "gray": (gray, "JPEG", {"restart_marker_blocks": 2, "comment": b"a comment"}),
        "several": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "png": (rgb, "PNG", {}),
        "gray alpha": (alpha.convert("LA"), "PNG", {}),
        "bits": (lines, "PNG", {}),
        "palette": (rgb.convert("P"), "PNG", {"transparency": 3}),
        "alpha": (alpha, "PNG", {"icc_profile": b"\0" * 128}),
        "wide": (wide, "PNG", {}),
        "apng": (rgb, "PNG", several),
        "lossy": (rgb, "WEBP", {"exif": exif}),
        "lossless": (alpha, "WEBP", {"lossless": True}),
        "webp frames": (rgb, "WEBP", several),
        "gif": (rgb.convert("P"), "GIF", {"comment": b"c" * 300}),
        "gif frames": (rgb, "GIF", several),
        "bmp": (rgb, "BMP", {}),
        "bmp palette": (rgb.convert("P"), "BMP", {}),
        "bmp alpha": (alpha, "BMP", {}),
        "tiff": (rgb, "TIFF", {}),
        "tiff bits": (lines, "TIFF", {"compression": "group4"}),
        "tiff palette": (rgb.convert("P"), "TIFF", {"compression": "packbits"}),
        "tiff inks": (rgb.convert("CMYK"), "TIFF", {"compression": "zstd", "strip_size": 500}),
        "lzw": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "tiff jpeg": (rgb, "TIFF", {"compression": "jpeg"}),
        "tiff wide": (wide, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff frames": (alpha, "TIFF", {"save_all": True, "append_images": [alpha]}),
    }
    found = {}
    for name, (picture, file_format, options) in made.items():
        buffer = io.BytesIO()
        picture.save(buffer, file_format, **options)
        found[name] = buffer.getvalue()
    indices = np.arange(96, dtype=np.uint8) // 3
    runs = b"".join(b"\3%c" % index for index in indices[::3]) + b"\0\0"  # three pixels, and the end of the row
    found["bmp runs"] = _make_bmp(96, 64, runs * 64 + b"\0\1")
    tile = zlib.compress(indices[:32].tobytes() * 32)
    found["tiff tiles"] = _make_tiled(96, 64, 32, [tile] * 6)
    return found


def _make_bmp(width: int, height: int, runs: bytes) -> bytes:
    """A palette and run lengths: https://learn.microsoft.com/en-us/windows/win32/gdi/bitmap-compression."""
    palette = b"".join(bytes((index, 255 - index, 99, 0)) for index in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(runs), 0, start) + header + palette + runs


def _make_tiled(width: int, height: int, side: int, tiles: list[bytes]) -> bytes:
    """A grey TIFF of compressed tiles: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, section 15."""
    sizes = [len(tile) for tile in tiles]
    places = [8 + sum(sizes[:index]) for index in range(len(tiles))]
    lists = 8 + sum(sizes)
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    entries += struct.pack("<HHII", 324, 4, len(tiles), lists)
    entries += struct.pack("<HHII", 325, 4, len(tiles), lists + 4 * len(tiles))
    table = lists + 8 * len(tiles)
    numbers = struct.pack(f"<{2 * len(tiles)}I", *places, *sizes)
    return (
        struct.pack("<2sHI", b"II", 42, table) + b"".join(tiles) + numbers + struct.pack("<H", 10) + entries + bytes(4)
    )


def make_picture(seed: int) -> Files:
    """Returns a spoilt picture file; half of the PNGs have right checksums again, without which nobody reads on."""
    chance, samples = random.Random(seed), sample_pictures()
    name = chance.choice(sorted(samples))
    content = spoil(samples[name], chance, samples.values())
    if chance.random() < 0.1:  # a library that is not ours to call would take it for another format
        content = chance.choice((b"%!PS-Adobe-3.0 EPSF-3.0\n", b"DDS |\0\0\0", b"8BPS\0\1", b"\0\0\1\0")) + content[8:]
    elif chance.random() < 0.5:
        content = _seal(content)
    return {f"{name}.bin": content}


def _seal(content: bytes) -> bytes:
    """Returns a PNG with the checksum of each chunk as it should be, as far as chunks follow one another."""
    sealed, position = bytearray(content), 8
    while content.startswith(b"\x89PNG") and position + 12 <= len(sealed):
        end = position + 8 + int.from_bytes(sealed[position : position + 4], "big")
        if end + 4 > len(sealed):
            break
        sealed[end : end + 4] = struct.pack(">I", zlib.crc32(sealed[position + 4 : end]))
        position = end + 4
    return bytes(sealed)


def try_picture(folder: Path) -> None:
    """Decodes a file for the records, and as the report shows what was refused, at the price that is documented."""
    (path,) = folder.iterdir()
    content = path.read_bytes()
    started, before = time.process_time(), _reset_peak()
    _decode(content)
    seconds, num_bytes = time.process_time() - started, _read_memory("VmHWM") - before
    assert seconds < _MOST_PICTURE_S, f"{seconds:.1f} s of CPU time"
    assert num_bytes < _MOST_PICTURE_BYTES, f"{num_bytes / 1e6:.0f} MB"


def _reset_peak() -> int:
    """Has Linux count the peak of this process' memory anew; returns what it has now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _read_memory("VmRSS")


def _read_memory(name: str) -> int:
    """The memory of this process that Linux states under a name, in bytes; 0 elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _decode(content: bytes) -> None:
    try:
        picture = decoder.decode(content, LIMITS)
    except Rejected as refused:
        assert refused.reason != Reason.UNREADABLE, refused
        # What is shown is an ornament, of which anything may be raised; but it must come to an end.
        with contextlib.suppress(Exception):
            decoder.peek(content, LIMITS, most_pixels=1_000_000)
        return
    pixels = picture.pixels
    assert pixels.dtype == np.uint8 and pixels.shape == (picture.height, picture.width, 3), pixels.shape
    assert LIMITS.min_side <= min(pixels.shape[:2]) and pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels


@cache
def sample_records() -> tuple[dict[str, object], tuple[bytes, ...]]:
    """A manifest of one shard, and the examples in it."""
    from harness.dataset.records import tfrecord

    examples = []
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        features = {
            **{tfrecord.IMAGE: cv2.imencode(".jpg", pixels)[1].tobytes(), tfrecord.FORMAT: b"jpeg"},
            **{
                tfrecord.HEIGHT: 16,
                tfrecord.WIDTH: 16,
                tfrecord.LABEL: index % 2,
                tfrecord.TEXT: b"ab"[index % 2 :][:1],
            },
            **{tfrecord.FILENAME: b"a/%d.jpg" % index, tfrecord.SHA256: b"0" * 64, tfrecord.GROUP: b"%d" % index},
        }
        examples.append(tfrecord.encode_example(features))
    digests = dict.fromkeys(("sources_sha256", "config_sha256", "rules_sha256"), "0" * 64)
    split = {"num_examples": 4, "num_groups": 4, "class_counts": {"a": 2, "b": 2}}
    manifest = {
        **{"class_names": ["a", "b"], "image_size": 16, "encoding": "jpeg", "splits": {"train": split}},
        **{"rejected": {}, "images": "images", **digests, "config": {}, "format": 2},
    }
    return manifest, tuple(examples)


def make_records(seed: int) -> Files:
    """Returns records with a spoilt shard, a spoilt example under right checksums, or a spoilt manifest."""
    from harness.dataset.records import tfrecord

    chance, (manifest, examples) = random.Random(seed), sample_records()
    kind, chosen = chance.randrange(3), list(examples)
    if kind == 0:
        position = chance.randrange(len(chosen))
        chosen[position] = spoil(chosen[position], chance, examples)
    shard = b"".join(_frame(example) for example in chosen)
    if kind == 1:
        shard = spoil(shard, chance)
    name = tfrecord.shard_name("train", 0, 1)
    value = json.loads(json.dumps(manifest))
    value["splits"]["train"]["shards"] = [
        {**{"file": name, "num_examples": 4, "num_bytes": len(shard)}, "sha256": hashlib.sha256(shard).hexdigest()}
    ]
    value["splits"]["train"]["shards"][0]["inputs_sha256"] = "0" * 64
    text = json.dumps(_exchange(value, chance) if kind == 2 else value).encode()
    if kind == 2 and chance.random() < 0.3:
        text = spoil(text, chance)
    return {name: shard, "manifest.json": text}


def _frame(example: bytes) -> bytes:
    """https://www.tensorflow.org/tutorials/load_data/tfrecord, with right checksums."""
    from harness.dataset.records import tfrecord

    length = struct.pack("<Q", len(example))
    return length + tfrecord._masked_crc(length) + example + tfrecord._masked_crc(example)


_STRANGE = (None, True, -1, 0, 1.5, 10**30, "", "x", "../x", [], {}, [[]], "0" * 64, float("nan"), "a" * 3000)


def _exchange(value: object, chance: random.Random) -> object:
    """Puts something strange in one place of a JSON value, or leaves one out."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _exchange(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        index = chance.randrange(len(value))
        return [*value[:index], _exchange(value[index], chance), *value[index + 1 :]]
    return chance.choice(_STRANGE)


def try_records(folder: Path) -> None:
    """Loads, verifies and reads records; what is read has the promised form."""
    from harness.base import tf_import

    tf_import.import_tensorflow()
    from harness.dataset.records import manifest
    from harness.input import decoding, loaded_split

    with contextlib.suppress(DataError):
        data = manifest.load(folder)
        for info in data.splits.values():
            for shard in info.shards:
                manifest.verify_shard(shard, folder)
    with contextlib.suppress(DataError), decoding.damage_named():
        data = manifest.load(folder)
        data.shard_paths(folder, "train")
        split = loaded_split.open_split(data, folder, "train", cache="memory")
        assert split.images is not None and split.labels is not None
        assert split.images.shape == (4, data.image_size, data.image_size, 3)
        assert set(split.labels.tolist()) <= set(range(len(data.class_names)))


def make_names(seed: int) -> Files:
    """Returns class folders whose names and whose files' names are what the file system takes."""
    chance, pictures = random.Random(seed), sample_pictures()
    content = [pictures["png"], pictures["alpha"], pictures["gray"], b"no picture", b""]
    made: Files = {}
    for index in range(2):
        name = _draw_name(chance).lstrip(".") or f"class {index}"
        made |= {f"{name}/{_draw_name(chance)}": chance.choice(content) for _ in range(3)}
        made[f"{name}/good {index}"] = pictures[("baseline", "lossless")[index]]
    return made


def _draw_name(chance: random.Random) -> str:
    odd = "\r\n\t\x1b'\"=+-@$[]*?\\;,%#~& \u202e\u0301éßİaA幸😀"
    while True:
        size = chance.choice((1, 2, 5, 12, 60))
        if chance.random() < 0.2:
            name = os.fsdecode(bytes(chance.choice([n for n in range(1, 256) if n != 0x2F]) for _ in range(size)))
        else:
            name = "".join(chance.choice(odd) for _ in range(size))
        if name not in (".", ".."):
            return name


def try_names(folder: Path) -> None:
    """Builds records, finds them up to date, and reads back a row for every file."""
    from harness.dataset.build import builder

    place = folder.parent / f"{folder.name} records"
    sections = {"data": {"images": folder, "records": place}, "clean": {"near_copies": "ignore"}}
    config = Config.model_validate({**sections, "runtime": {"workers": 1}, "records": {"image_size": 16}})
    try:
        builder.build(config)
        assert "is up to date" in builder.build(config)
    except DataError:
        return
    rows = [item.path for item in findings.read(place / findings.FILE_NAME)]
    there = [path for path in folder.rglob("*") if path.is_file()]
    assert len(rows) == len(set(rows)) == len(there), (len(rows), len(there))


ATTACKS = {
    "pictures": Attack(make_picture, try_picture),
    "records": Attack(make_records, try_records),
    "names": Attack(make_names, try_names),
}
