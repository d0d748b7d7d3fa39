"""Shards read in sequence: the wanted examples and no others, whoever wrote them, and what is said of damage."""

import numpy as np
import pytest
import tensorflow as tf

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, TrainConfig
from harness.dataset.records import tfrecord
from harness.input import decoding, pipeline, record_reader
from harness.input.expected import Expected
from harness.input.loaded_split import Split
from harness.input.sampler import Streams

EXPECTED = Expected(2, "raw", tuple(f"class {number}" for number in range(301)))


def write_shards(folder, counts):
    """Shards of examples whose stored form is 12 times their number, which is their label too."""
    shards, number = [], 0
    for index, count in enumerate(counts):
        numbers = range(number, number + count)
        fields = [{tfrecord.IMAGE: bytes([n]) * 12, tfrecord.LABEL: n, tfrecord.FILENAME: b"name"} for n in numbers]
        tfrecord.write_shard(folder / f"{index}", [tfrecord.encode_example(field) for field in fields])
        shards.append((str(folder / f"{index}"), count))
        number += count
    return tuple(shards)


def fields_of(numbers):
    return [(bytes([number]) * 12, number) for number in numbers]


def spoil(path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def read(shards, wanted, *keys):
    return list(record_reader.read_examples(shards, np.array(wanted), EXPECTED, *([keys] if keys else [])))


def test_wanted_examples_come_with_their_numbers(tmp_path):
    shards = write_shards(tmp_path, [3, 2, 4])
    assert read(shards, [1, 2, 5, 8]) == list(zip([1, 2, 5, 8], fields_of([1, 2, 5, 8])))
    assert read(shards, [4], tfrecord.FILENAME, tfrecord.LABEL) == [(4, ("name", 4))]
    assert read(shards, []) == []


def test_what_is_not_wanted_is_not_looked_at(tmp_path):
    shards = write_shards(tmp_path, [3, 3, 3])
    (tmp_path / "0").unlink()
    spoil(tmp_path / "1", bytes([3]) * 12, b"spoilt......")
    (tmp_path / "2").write_bytes((tmp_path / "2").read_bytes()[:-1])
    assert [number for number, _ in read(shards, [4, 5, 6, 7])] == [4, 5, 6, 7]


def test_examples_are_taken_in_any_order_and_more_than_once(tmp_path):
    ways = Streams(write_shards(tmp_path, [5, 4, 3]), (0, 6, 12))
    rows = np.array([[5, 0, 11, 6], [1, 2, 7, 8], [0, 5, 11, 6]])
    reading = record_reader.Reading(ways, rows, EXPECTED)
    for row in (1, 0, 2):
        assert reading.take(rows[row]) == fields_of(rows[row])


def test_two_readings_do_not_disturb_each_other(tmp_path):
    ways, rows = Streams(write_shards(tmp_path, [4]), (0, 4)), np.array([[0, 3], [2, 1]])
    readings = record_reader.Readings(EXPECTED)
    first, second = (readings.begin(ways, rows) for _ in range(2))
    for row in rows:
        assert readings.find(first).take(row) == readings.find(second).take(row) == fields_of(row)


def test_examples_of_other_writers_are_read_whatever_their_order_and_further_fields(tmp_path):
    """Fields in another order, integers that are not packed, and fields nobody asked for, before and after."""
    image = b"\x0a\x0eimage/encoded" + b"\x12\x07\x0a\x05\x0a\x03abc"
    image = image.replace(b"\x0a\x0e", b"\x0a\x0d")
    label = b"\x0a\x11image/class/label" + b"\x12\x05\x1a\x03\x08\xac\x02"
    other = b"\x0a\x05other" + b"\x12\x08\x12\x06\x0a\x04\x00\x00\x80\x3f"
    features = b"".join(b"\x0a" + bytes([len(entry)]) + entry for entry in (label, other, image, other))
    example = b"\x0a" + bytes([len(features)]) + features
    assert tf.train.Example.FromString(example).features.feature["image/class/label"].int64_list.value == [300]
    tfrecord.write_shard(tmp_path / "shard", [example])
    assert read([(str(tmp_path / "shard"), 1)], [0]) == [(0, (b"abc", 300))]


def test_a_damaged_record_is_named_with_its_shard(tmp_path):
    shards = write_shards(tmp_path, [3, 3])
    spoil(tmp_path / "1", bytes([4]) * 12, b"spoilt......")
    with pytest.raises(DataError, match=rf"{tmp_path}/1 is damaged in record 1 at byte \d+: its checksum is wrong"):
        read(shards, range(6))


@pytest.mark.parametrize(("num_bytes", "message"), [(-1, "the file ends within it"), (0, "the file ends before it")])
def test_a_shard_that_was_cut_short_is_named(tmp_path, num_bytes, message):
    shards = write_shards(tmp_path, [3])
    content = (tmp_path / "0").read_bytes()
    (tmp_path / "0").write_bytes(content[:num_bytes] if num_bytes else content[: len(content) // 3 * 2])
    with pytest.raises(DataError, match=f"damaged in record 2 at byte .*: {message}.*Build the records again"):
        read(shards, range(3))


def test_a_shard_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"/gone cannot be read .*No such file.*Check that the records are still there"):
        read([(str(tmp_path / "gone"), 1)], [0])


def test_a_record_without_a_picture_is_named(tmp_path):
    tfrecord.write_shard(tmp_path / "a", [tfrecord.encode_example({tfrecord.LABEL: 1})])
    tfrecord.write_shard(tmp_path / "b", [b"\xff\xff"])
    for name in ("a", "b"):
        with pytest.raises(DataError, match=rf"record 0 of {tmp_path}/{name} is no .*with image/encoded and image/cla"):
            read([(str(tmp_path / name), 1)], [0])


def test_everyone_who_comes_after_damage_is_told_of_it(tmp_path):
    ways = Streams(write_shards(tmp_path, [4]), (0, 4))
    spoil(tmp_path / "0", bytes([2]) * 12, b"spoilt......")
    reading = record_reader.Reading(ways, np.arange(4)[:, None], EXPECTED)
    assert reading.take(np.array([1])) == fields_of([1])
    for number in (3, 2):
        with pytest.raises(DataError, match="record 2"):
            reading.take(np.array([number]))
    assert reading.take(np.array([0])) == fields_of([0])


def test_damage_is_named_through_the_batches_of_a_training(tmp_path):
    shards = write_shards(tmp_path, [8, 8])
    spoil(tmp_path / "1", bytes([12]) * 12, b"spoilt......")
    config = Config(train=TrainConfig(batch_size=4), augment=AugmentConfig(enabled=False))
    batches = pipeline.train_batches(Split(16, shards, EXPECTED), config, engine="host", epoch=0)
    expected = rf"^{tmp_path}/1 is damaged in record 4 at .*--overwrite$"
    with pytest.raises(DataError, match=expected), decoding.damage_named():
        list(batches.take(4))


def test_a_remote_file_comes_in_pieces_of_any_length(tmp_path):
    content = np.random.default_rng(0).bytes((16 << 20) + 5)
    for num_bytes in (0, 5, 8 << 20, (16 << 20) + 5):
        (tmp_path / "file").write_bytes(content[:num_bytes])
        assert b"".join(record_reader.fetch(str(tmp_path / "file"), num_bytes)) == content[:num_bytes]


def test_memory_is_lent_again_once_nothing_looks_at_it():
    memory = decoding.PixelMemory(2, 4)
    lent = [memory.lend()]
    assert lent[0].shape == (2, 4, 4, 3) and lent[0].dtype == np.uint8
    lent[0][:] = 1
    part = lent[0][1, 2:]
    tensor = tf.numpy_function(lent.pop, [], tf.uint8)
    for value in (2, 3):
        memory.lend()[:] = value
    assert part.tolist() == np.ones((2, 4, 3)).tolist()
    del part
    other = memory.lend()
    other[:] = 4
    assert (tensor.numpy() == 1).all()
    address = other.ctypes.data
    del other
    assert memory.lend().ctypes.data == address
