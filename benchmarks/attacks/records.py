"""Records and manifests of a stranger, and records that were damaged since they were written.

They are read as they were written, or refused by an error that names the file and, if it is known, the record. What a
stranger may have written in good form is read, the same whatever the memory held before.
"""

import hashlib
import io
import itertools
import json
import random
import re
import struct
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from attacks import Files, memory
from attacks.spoiling import spoil
from attacks.structures import rearrange
from harness.base import tf_import
from harness.base.errors import DataError
from harness.config.dataset_sections import RecordsConfig
from harness.dataset.records import manifest, tfrecord
from harness.dataset.records.encoding import decode_pixels, encode_pixels

tf_import.import_tensorflow()
from harness.input import decoding, loaded_split, record_reader  # noqa: E402

_NAMES, _SIZE, _NUM, _SHARD = ("a", "b"), 16, 4, tfrecord.shard_name("train", 0, 1)
_ENCODINGS = ("jpeg", "png", "raw")
_LONGEST_ERROR = 2000
_SHARDS = r"\w+-\d{5}-of-\d{5}\.tfrecord"  # a name that was spoilt and is one still counts
_NAMED = re.compile(rf"record \d+ of .*{_SHARDS}|{_SHARDS} (is|has|cannot)|{manifest.FILE_NAME}|no pictures in a split")


@cache
def sample(encoding: str) -> tuple[np.ndarray, tuple[dict[str, bytes | int], ...]]:
    """The pixels that are stored, uint8 [4, 16, 16, 3], and the fields of an example for each."""
    pixels = np.random.default_rng(0).integers(0, 256, (_NUM, _SIZE, _SIZE, 3), np.uint8)
    features = [
        {
            tfrecord.IMAGE: encode_pixels(picture, RecordsConfig(encoding=encoding)),
            tfrecord.FORMAT: encoding.encode(),
            tfrecord.HEIGHT: _SIZE,
            tfrecord.WIDTH: _SIZE,
            tfrecord.LABEL: index % 2,
            tfrecord.TEXT: _NAMES[index % 2].encode(),
            tfrecord.FILENAME: b"a/%d.jpg" % index,
            tfrecord.SHA256: b"0" * 64,
            tfrecord.GROUP: b"%d" % index,
        }
        for index, picture in enumerate(pixels)
    ]
    stored = [decode_pixels(fields[tfrecord.IMAGE], encoding, _SIZE) for fields in features]
    return np.stack(stored), tuple(features)


def make(seed: int) -> Files:
    """Returns records of which examples, the shard or the manifest are spoilt; the rest fits, sums included."""
    chance = random.Random(seed)
    encoding = chance.choice(_ENCODINGS)
    features = list(sample(encoding)[1])
    kind = chance.choice(("fields", "picture", "example", "shard", "disk", "manifest", "everywhere"))
    position = chance.randrange(_NUM)
    if kind == "fields":
        features[position] = _exchange_fields(features[position], chance)
    elif kind == "picture":
        picture = rearrange(chance.choice(_pictures()), chance)
        features[position] = {**features[position], tfrecord.IMAGE: picture}
    examples = [tfrecord.encode_example(fields) for fields in features]
    if kind == "example":
        examples[position] = spoil(examples[position], chance, examples)
    shard = good = b"".join(_frame(example) for example in examples)
    if kind in ("shard", "disk"):
        shard = spoil(shard, chance)
    value = _describe(encoding, good if kind == "disk" else shard)
    if kind == "everywhere":  # in all places where the same value stands, so that the parts agree with each other
        value = _replace(value, chance.choice((*_NAMES, _NUM, 2, _SIZE, encoding)), chance.choice(_STRANGE))
    text = json.dumps(_exchange(value, chance) if kind == "manifest" else value).encode()
    if kind == "manifest" and chance.random() < 0.3:
        text = spoil(text, chance)
    return {_SHARD: shard, manifest.FILE_NAME: text}


def _exchange_fields(fields: dict[str, bytes | int], chance: random.Random) -> dict[str, bytes | int]:
    """Fields left out, exchanged, of another type, out of range, or pictures of another size or encoding."""
    changed = dict(fields)
    for _ in range(chance.choice((1, 1, 2))):
        key = chance.choice(sorted(fields))
        side = chance.choice((1, 8, _SIZE, 17, 64))
        picture = encode_pixels(
            np.full((side, side, 3), 99, np.uint8), RecordsConfig(encoding=chance.choice(_ENCODINGS))
        )
        others = (None, fields[chance.choice(sorted(fields))], 0, 1, 2, 1 << 40, 1 << 63, 2**64 - 1, b"", b"\xff\xfe")
        changed[key] = chance.choice((*others, picture, picture, chance.randbytes(40)))
    return {key: value for key, value in changed.items() if value is not None}


@cache
def _pictures() -> tuple[bytes, ...]:
    """JPEGs and PNGs of the size that is promised, which hold more than those that are stored."""
    pixels = Image.fromarray(sample("raw")[0][0])
    exif = Image.Exif()
    exif[0x0112] = 6
    several = {"save_all": True, "append_images": [pixels.rotate(90)]}
    options = {"JPEG": ({}, {"exif": exif}, {"progressive": True}), "PNG": ({}, {"exif": exif}, several)}
    found = []
    for form, mode in itertools.product(options, ("RGB", "L")):
        for more in options[form]:
            buffer = io.BytesIO()
            pixels.convert(mode).save(buffer, form, **more)
            found.append(buffer.getvalue())
    return tuple(found)


def _frame(example: bytes) -> bytes:
    """https://www.tensorflow.org/tutorials/load_data/tfrecord, with right checksums."""
    length = struct.pack("<Q", len(example))
    return length + tfrecord._masked_crc(length) + example + tfrecord._masked_crc(example)


def _describe(encoding: str, shard: bytes) -> dict[str, object]:
    listed = {"file": _SHARD, "num_examples": _NUM, "num_bytes": len(shard), "inputs_sha256": "0" * 64}
    listed["sha256"] = hashlib.sha256(shard).hexdigest()
    split = {"num_examples": _NUM, "num_groups": _NUM, "class_counts": dict.fromkeys(_NAMES, _NUM // 2)}
    return {
        **{"class_names": list(_NAMES), "image_size": _SIZE, "encoding": encoding, "format": manifest.FORMAT},
        **dict.fromkeys(("sources_sha256", "config_sha256", "rules_sha256"), "0" * 64),
        **{"splits": {"train": {**split, "shards": [listed]}}, "rejected": {}, "images": "images", "config": {}},
    }


_STRANGE = (
    *(None, True, False, -1, 0, 1, 2, 1.5, 17, 2048, 10**9, 10**15, 10**30, float("nan")),
    *("", "x", "../x", "\0", "\ud800", "\u202e\r\n", "jpeg", "png", "raw", "0" * 64, "a" * 3000, [], {}, [[]]),
)


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


def _replace(value: object, old: object, new: object) -> object:
    if isinstance(value, dict):
        return {new if key == old and isinstance(new, str) else key: _replace(value[key], old, new) for key in value}
    if isinstance(value, list):
        return [_replace(item, old, new) for item in value]
    return new if value == old else value


def attempt(folder: Path) -> None:
    """Loads, verifies and reads records, as builds and trainings do."""
    digests = set()
    try:
        data = manifest.load(folder)
        for info in data.splits.values():
            for shard in info.shards:
                digests.add(shard.sha256)
                manifest.verify_shard(shard, folder)
    except DataError as error:
        _check_error(error, folder)
    try:
        data = manifest.load(folder)
        split = loaded_split.open_split(data, folder, "train", cache="none")
        pixels, labels = _read(split)
        with memory.filled():
            again, _ = _read(split)
    except DataError as error:
        _check_error(error, folder)
        return
    assert pixels.shape == (data.num_examples, data.image_size, data.image_size, 3), pixels.shape
    assert set(labels) <= set(range(len(data.class_names))), labels
    assert pixels.tobytes() == again.tobytes(), "the pixels are what the memory held before"
    for encoding in _ENCODINGS:
        expected, features = sample(encoding)
        shard = b"".join(_frame(tfrecord.encode_example(fields)) for fields in features)
        if hashlib.sha256(shard).hexdigest() in digests:
            assert labels == [0, 1, 0, 1], labels
            assert np.array_equal(pixels, expected), "other pixels than were written"


def _read(split: loaded_split.Split) -> tuple[np.ndarray, list[int]]:
    """The pixels and labels of a split, as they are read for trainings and for reports."""
    wanted = np.arange(split.num_examples)
    pixels = decoding.read_pictures(split.shards, split.expected, split.num_examples)
    labels = [fields[1] for _, fields in record_reader.read_examples(split.shards, wanted, split.expected)]
    assert len(decoding.read_jpegs(split.shards, split.expected, wanted)) == len(labels)
    return pixels, labels


def _check_error(error: DataError, folder: Path) -> None:
    text = str(error)
    assert str(folder) in text and _NAMED.search(text) and len(text) < _LONGEST_ERROR, text
