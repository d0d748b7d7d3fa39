"""Shards and examples are compared with what the manifest promised; what differs is named and ends the work."""

import os
import shutil

import cv2
import numpy as np
import pytest
from conftest import draw_face

from harness.base.errors import DataError
from harness.config.dataset_sections import RecordsConfig
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, TrainConfig
from harness.dataset.records import manifest, tfrecord
from harness.dataset.records.encoding import encode_pixels
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo
from harness.input import decoding, loaded_split, pipeline, record_reader
from harness.input.expected import Expected

NAMES = ("happy", "sad")


def write_records(folder, *, encoding="jpeg", **changed) -> None:
    """Two shards of four pictures of 32x32 pixels; fields of record 2 of the second shard are changed."""
    folder.mkdir(parents=True)
    shards = []
    for index in range(2):
        examples = []
        for number in range(4):
            fields = {
                tfrecord.IMAGE: encode_pixels(draw_face(number, happy=True, size=32), RecordsConfig(encoding=encoding)),
                tfrecord.LABEL: number % 2,
                tfrecord.TEXT: NAMES[number % 2].encode(),
                tfrecord.FILENAME: b"name",
            }
            if (index, number) == (1, 2):
                fields |= {f"image/{key.replace('_', '/')}": value for key, value in changed.items()}
            examples.append(tfrecord.encode_example({key: value for key, value in fields.items() if value is not None}))
        name = tfrecord.shard_name("train", index, 2)
        written = tfrecord.write_shard(folder / name, examples)
        shards.append(ShardInfo(name, 4, written.num_bytes, written.sha256))
    splits = {"train": SplitInfo(8, 8, {"happy": 4, "sad": 4}, tuple(shards))}
    manifest.save(Manifest(NAMES, 32, encoding, splits, {}, "data", "", "", "", {}), folder)


def open_split(folder, cache):
    return loaded_split.open_split(manifest.load(folder), folder, "train", cache=cache)


def train(split, num_epochs=1):
    config = Config(train=TrainConfig(batch_size=4), augment=AugmentConfig(enabled=False))
    batches = pipeline.train_batches(split, config, engine="host", epoch=0)
    return batches.take(num_epochs * 2).as_numpy_iterator()


def small(encoding, size=16) -> bytes:
    return encode_pixels(draw_face(0, happy=True, size=size), RecordsConfig(encoding=encoding))


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"encoded": small("jpeg")}, "cannot be decoded: a picture of 16x16 where 32x32 was promised"),
        ({"encoded": small("jpeg", 64)}, "cannot be decoded: .*"),
        ({"encoded": small("png", 32)}, "cannot be decoded: .*"),
        ({"encoded": b"garbage"}, "cannot be decoded: .*"),
        ({"encoded": 5}, "is no tf.train.Example with image/encoded and image/class/label"),
        ({"encoded": None}, "is no tf.train.Example with image/encoded and image/class/label"),
        ({"class_label": 2}, "has label 2, but there are 2 classes"),
        ({"class_label": 1 << 40}, "has label 1099511627776, but there are 2 classes"),
        ({"class_label": b"1"}, "is no tf.train.Example with .*"),
        ({"class_label": 1}, "calls label 1 b'happy', but the manifest 'sad'"),
        ({"class_text": b"\xff"}, r"calls label 0 b'\\xff', but the manifest 'happy'"),
    ],
)
def test_an_example_that_breaks_the_promise_is_named(tmp_path, cache, changed, expected):
    write_records(tmp_path / "records", **changed)
    where = rf"record 2 of {tmp_path}/records/train-00001-of-00002\.tfrecord"
    with pytest.raises(DataError, match=f"^{where} {expected}"), decoding.damage_named():
        list(train(open_split(tmp_path / "records", cache)))


def test_a_split_that_the_manifest_does_not_list_is_named(tmp_path):
    write_records(tmp_path / "records")
    data = manifest.load(tmp_path / "records")
    with pytest.raises(DataError, match="records has no pictures in a split 'validation'; it has train"):
        loaded_split.open_split(data, tmp_path / "records", "validation", cache="none")


def test_a_long_name_of_a_class_is_cut_in_an_error():
    wrong = Expected(16, "png", ("a", "b" * 100_000)).check_label(1, b"c" * 100_000)
    assert wrong == f"calls label 1 b'{'c' * 60}', but the manifest '{'b' * 60}'"


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_a_smaller_picture_never_trains_on_what_the_memory_held(tmp_path, encoding):
    write_records(tmp_path / "records", encoding=encoding, encoded=small(encoding))
    expected = r"record 2 of .*(16x16 where 32x32|768 bytes of pixels where 32x32 has 3072)"
    with pytest.raises(DataError, match=expected), decoding.damage_named():
        list(train(open_split(tmp_path / "records", "none")))


def test_examples_without_the_name_of_their_class_are_taken(tmp_path):
    write_records(tmp_path / "records", class_text=None)
    assert len(list(train(open_split(tmp_path / "records", "none")))) == 2


def test_a_file_name_that_is_no_text_is_named(tmp_path):
    write_records(tmp_path / "records", filename=b"\xff\xfe")
    split = open_split(tmp_path / "records", "none")
    assert decoding.read_jpegs(split.shards, split.expected, [0])[0][0] == "name"
    with pytest.raises(DataError, match=r"record 2 of .*00001-of-00002.* holds a name that is no UTF-8 text"):
        decoding.read_jpegs(split.shards, split.expected, [6])


def test_records_that_are_replaced_while_they_are_read_end_the_training_at_the_next_epoch(tmp_path):
    write_records(tmp_path / "first")
    write_records(tmp_path / "others", encoded=small("jpeg", 32))
    for link, target in (("records", "first"), ("new", "others")):
        (tmp_path / link).symlink_to(tmp_path / target)
    batches = train(open_split(tmp_path / "records", "none"), num_epochs=9)
    assert len([next(batches) for _ in range(2)]) == 2
    (tmp_path / "new").replace(tmp_path / "records")  # at no moment is there nothing, whoever reads ahead
    with (
        pytest.raises(DataError, match=r"00001-of-00002\.tfrecord is not what it was when it was first read: .*anew"),
        decoding.damage_named(),
    ):
        list(batches)


def test_a_shard_that_is_written_to_in_place_is_noticed(tmp_path):
    write_records(tmp_path / "records")
    split = open_split(tmp_path / "records", "none")
    path = tmp_path / "records" / "train-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    wanted = np.arange(8)
    assert len(list(record_reader.read_examples(split.shards, wanted, split.expected))) == 8
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"00000-of-00002\.tfrecord is not what it was"):
        list(record_reader.read_examples(split.shards, wanted, split.expected))


def test_shards_that_were_copied_or_touched_and_are_the_same_are_taken(tmp_path):
    write_records(tmp_path / "records")
    split = open_split(tmp_path / "records", "none")
    shutil.copytree(tmp_path / "records", tmp_path / "copy")
    (tmp_path / "records").rename(tmp_path / "old")
    (tmp_path / "copy").rename(tmp_path / "records")
    os.utime(tmp_path / "records" / "train-00000-of-00002.tfrecord", (1, 1))
    assert len(list(record_reader.read_examples(split.shards, np.arange(8), split.expected))) == 8
    assert len(list(train(split, num_epochs=3))) == 6


def test_records_that_were_replaced_before_they_are_opened_are_refused(tmp_path):
    write_records(tmp_path / "records")
    data = manifest.load(tmp_path / "records")
    shutil.rmtree(tmp_path / "records")
    with pytest.raises(DataError, match="records is not what it was when it was first read"):
        loaded_split.open_split(data, tmp_path / "records", "train", cache="none")
    write_records(tmp_path / "records", encoded=small("jpeg", 32))
    with pytest.raises(DataError, match="records is not what it was when it was first read"):
        loaded_split.open_split(data, tmp_path / "records", "train", cache="none")


def test_the_pixels_are_those_that_were_stored(tmp_path):
    write_records(tmp_path / "records", encoding="png")
    split = open_split(tmp_path / "records", "none")
    assert np.array_equal(
        decoding.read_pictures(split.shards, split.expected, 99)[5], draw_face(1, happy=True, size=32)
    )
    _, jpeg = decoding.read_jpegs(split.shards, split.expected, [3])[3]
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (32, 32, 3)
