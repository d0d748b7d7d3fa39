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
from harness.dataset.images.rejection import Rejected

Files = dict[str, bytes]
LIMITS = CleanConfig(max_pixels=4_000_000)


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
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "baseline": (rgb, "JPEG", {"quality": 90}),
        "progressive": (rgb, "JPEG", {"progressive": True, "exif": exif}),
        "inks": (rgb.convert("CMYK"), "JPEG", {}),
        "gray": (gray, "JPEG", {"restart_marker_blocks": 2, "comment": b"a comment"}),
        "png": (rgb, "PNG", {}),
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
        "tiff": (rgb, "TIFF", {}),
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
    return found


def make_picture(seed: int) -> Files:
    """Returns a spoilt picture file."""
    chance, samples = random.Random(seed), sample_pictures()
    name = chance.choice(sorted(samples))
    return {f"{name}.bin": spoil(samples[name], chance, samples.values())}


def try_picture(folder: Path) -> None:
    """Decodes a file for the records, and as the report shows what was refused."""
    (path,) = folder.iterdir()
    content = path.read_bytes()
    try:
        picture = decoder.decode(content, LIMITS)
    except Rejected:
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
