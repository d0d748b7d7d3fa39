"""Records and manifests of a stranger, changed in every way: they are read or refused as data, and nothing else.

More by hand, with HARNESS_FUZZ=6000: `pytest tests/dataset/records/test_fuzz_records.py --hypothesis-seed=N`.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_face
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.config.dataset_sections import RecordsConfig
from harness.dataset.records import manifest, tfrecord
from harness.dataset.records.encoding import encode_pixels
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo
from harness.input import decoding, expected, record_reader

NAMES, SIZE, SHARD = ("happy", "sad"), 16, "train-00000-of-00001.tfrecord"
ENCODINGS = ("jpeg", "png", "raw")
KEYS = (
    tfrecord.IMAGE,
    tfrecord.LABEL,
    tfrecord.TEXT,
    tfrecord.FILENAME,
    tfrecord.FORMAT,
    tfrecord.HEIGHT,
    tfrecord.SHA256,
)
fuzzed = settings(
    max_examples=int(os.environ.get("HARNESS_FUZZ", "150")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def make_fields(encoding: str) -> dict[str, bytes | int]:
    pixels = draw_face(1, happy=True, size=SIZE)
    return {
        tfrecord.IMAGE: encode_pixels(pixels, RecordsConfig(encoding=encoding)),
        tfrecord.LABEL: 0,
        tfrecord.TEXT: b"happy",
        tfrecord.FILENAME: "happy/ä.png".encode(),
        tfrecord.FORMAT: encoding.encode(),
        tfrecord.HEIGHT: SIZE,
        tfrecord.SHA256: b"0" * 64,
    }


def describe(encoding: str, shard: ShardInfo) -> Manifest:
    split = SplitInfo(shard.num_examples, 1, {"happy": shard.num_examples, "sad": 0}, (shard,))
    return Manifest(NAMES, SIZE, encoding, {"train": split}, {}, "data", "", "", "", {"a": {"b": [1]}})


def write_records(folder: Path, encoding: str, examples: list[bytes]) -> Manifest:
    written = tfrecord.write_shard(folder / SHARD, examples)
    data = describe(encoding, ShardInfo(SHARD, len(examples), written.num_bytes, written.sha256))
    manifest.save(data, folder)
    return data


def read_everything(folder: Path) -> None:
    """Does what builds, trainings and reports do with records."""
    data = manifest.load(folder)
    for name, split in data.splits.items():
        for shard in split.shards:
            manifest.verify_shard(shard, folder)
        if split.num_examples:
            form = expected.expect(data, folder, name)
            shards = [
                (str(path), info.num_examples) for path, info in zip(data.shard_paths(folder, name), split.shards)
            ]
            pixels = decoding.read_pictures(shards, form, 9)
            assert pixels.shape[1:] == (data.image_size, data.image_size, 3)
            found = record_reader.read_examples(shards, np.arange(split.num_examples), form)
            assert all(fields[1] in range(len(data.class_names)) for _, fields in found)
            assert all(isinstance(name, str) for name, _ in decoding.read_jpegs(shards, form, [0]).values())


def assert_nothing_but_data_errors(folder: Path) -> None:
    try:
        read_everything(folder)
    except DataError as refused:
        assert str(folder) in str(refused) and len(str(refused)) < 2000


@st.composite
def changed_bytes(draw, content: bytes) -> bytes:
    """The content with bits flipped, parts cut out, repeated, or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        start = draw(st.integers(0, len(content) - 1))
        stop = draw(st.integers(start, min(len(content), start + draw(st.sampled_from([1, 4, 40, 4000])))))
        part = content[start:stop]
        new = draw(
            st.sampled_from([b"", part * 2, b"\0" * len(part), b"\xff" * len(part), part[::-1]])
            | st.binary(max_size=16)
            | st.integers(0, 7).map(lambda bit, part=part: bytes([part[0] ^ 1 << bit]) + part[1:] if part else b"")
        )
        content = content[:start] + new + content[stop:]
    return content


@pytest.mark.parametrize("encoding", ENCODINGS)
@fuzzed
@given(data=st.data())
def test_a_shard_that_was_changed_is_refused_as_data(encoding, data):
    example = tfrecord.encode_example(make_fields(encoding))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SHARD
        write_records(Path(folder), encoding, [example] * 2)
        content = path.read_bytes()
        changed = data.draw(changed_bytes(content))
        path.write_bytes(changed)
        if data.draw(st.booleans()):  # the manifest of a stranger fits
            digest = tfrecord.hashlib.sha256(changed).hexdigest()
            manifest.save(describe(encoding, ShardInfo(SHARD, 2, len(changed), digest)), Path(folder))
        assert_nothing_but_data_errors(Path(folder))


@pytest.mark.parametrize("encoding", ENCODINGS)
@fuzzed
@given(data=st.data())
def test_an_example_that_was_changed_and_framed_anew_is_refused_as_data(encoding, data):
    """As if a stranger had written it: all checksums are right."""
    fields = make_fields(encoding)
    for _ in range(data.draw(st.integers(0, 3))):
        key = data.draw(st.sampled_from(KEYS))
        other = fields.get(data.draw(st.sampled_from(KEYS)), 0)
        is_text = isinstance(fields.get(key), bytes)
        changes = st.sampled_from([None, other, 0, 1, 2, 1 << 40, 1 << 63, (1 << 64) - 1, b"", b"\xff\xfe"])
        fields[key] = data.draw(changes | (changed_bytes(fields[key]) if is_text else st.integers(0, 1 << 64)))
    example = tfrecord.encode_example({key: value for key, value in fields.items() if value is not None})
    if data.draw(st.booleans()):
        example = data.draw(changed_bytes(example))
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), encoding, [example])
        assert_nothing_but_data_errors(Path(folder))


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([10**30, -1, 0, 1, 2, "../a", "/etc/passwd", "raw", "0" * 64, SHARD]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=6,
)


def list_places(value: object, place: tuple = ()) -> list[tuple]:
    """The keys to every value in a tree."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, below in inner for found in list_places(below, (*place, key)))]


@fuzzed
@given(data=st.data())
def test_a_manifest_that_was_changed_is_refused_as_data(data):
    example = tfrecord.encode_example(make_fields("png"))
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), "png", [example] * 2)
        path = Path(folder) / "manifest.json"
        tree = {"": json.loads(path.read_text())}
        for _ in range(data.draw(st.integers(1, 3))):
            *above, key = data.draw(st.sampled_from(list_places(tree)[1:]))
            holder = tree
            for step in above:
                holder = holder[step]
            if data.draw(st.booleans()) and isinstance(holder, dict) and above:
                value = holder.pop(key)
                if data.draw(st.booleans()):
                    holder[data.draw(st.text(max_size=9))] = value
            else:
                holder[key] = data.draw(anything)
        path.write_text(json.dumps(tree.get("")))
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
        assert_nothing_but_data_errors(Path(folder))
