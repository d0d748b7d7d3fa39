"""What is written is what TensorFlow reads, byte for byte the same every time."""

import hashlib

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from harness.dataset.records import tfrecord

features = st.dictionaries(st.text(max_size=20), st.binary(max_size=200) | st.integers(0, 2**63 - 1), max_size=9)


@given(features)
def test_an_example_reads_back_in_tensorflow(given_features):
    example = tf.train.Example.FromString(tfrecord.encode_example(given_features))
    found = {}
    for name, feature in example.features.feature.items():
        values = feature.bytes_list.value or feature.int64_list.value
        found[name] = values[0]
    assert found == given_features


@given(features)
def test_the_order_of_features_does_not_change_the_bytes(given_features):
    backwards = dict(reversed(given_features.items()))
    assert tfrecord.encode_example(given_features) == tfrecord.encode_example(backwards)


def test_a_shard_reads_back_with_its_checksums(tmp_path):
    path = tmp_path / tfrecord.shard_name("train", 3, 16)
    examples = [b"", b"one", bytes(range(256)) * 300]
    written = tfrecord.write_shard(path, examples)
    assert path.name == "train-00003-of-00016.tfrecord"
    assert [item.numpy() for item in tf.data.TFRecordDataset(str(path))] == examples
    with path.open("rb") as file:
        assert list(tfrecord.read_shard(file, path.stat().st_size)) == examples
    content = path.read_bytes()
    assert len(content) == written.num_bytes == sum(16 + len(example) for example in examples)
    assert hashlib.sha256(content).hexdigest() == written.sha256
    assert [content[start : start + len(item)] for start, item in zip(written.starts, examples)] == examples
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "record 2 at byte 35: the file ends within it"),
        (lambda content: content[:40], "record 2 at byte 35: its length is damaged"),
        (lambda content: content[:20] + b"\xff" + content[21:], "record 1 at byte 16: its length is damaged"),
        (lambda content: content[:29] + b"\xff" + content[30:], "record 1 at byte 16: its checksum is wrong"),
    ],
)
def test_the_first_damaged_record_is_named(tmp_path, damage, message):
    path = tmp_path / "shard"
    tfrecord.write_shard(path, [b"", b"one", b"three"])
    path.write_bytes(damage(path.read_bytes()))
    with path.open("rb") as file, pytest.raises(tfrecord.DamagedRecord) as damaged:
        list(tfrecord.read_shard(file, path.stat().st_size))
    assert str(damaged.value) == message
