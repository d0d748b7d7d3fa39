"""TensorFlow Datasets opens the records folder with nothing but what is in it."""

import csv
import io
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import draw_face, files_of
from PIL import Image

from harness.dataset.records import manifest, tfds_metadata, tfrecord
from harness.dataset.records.encoding import encode_jpeg
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo

SIZE = 32
STORED = {
    "jpeg": lambda pixels: encode_jpeg(pixels, 90),
    "png": lambda pixels: encode_png(pixels),
    "raw": lambda pixels: pixels.tobytes(),
}


def encode_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_records(folder, *, encoding, class_names=("happy", "sad"), name="data/faces"):
    """Five faces in two shards of a train split, and empty other splits; returns the pixels by file name."""
    folder.mkdir(parents=True)
    pixels = {f"face_{index}": draw_face(index, happy=index % 2 == 0, size=SIZE) for index in range(5)}

    def example(index, file_name):
        return tfrecord.encode_example(
            {
                tfrecord.IMAGE: STORED[encoding](pixels[file_name]),
                tfrecord.FORMAT: encoding.encode(),
                tfrecord.HEIGHT: SIZE,
                tfrecord.WIDTH: SIZE,
                tfrecord.LABEL: index % 2,
                tfrecord.TEXT: class_names[index % 2].encode(),
                tfrecord.FILENAME: file_name.encode(),
                tfrecord.SHA256: b"0" * 64,
                tfrecord.GROUP: b"",
            }
        )

    examples = [example(index, file_name) for index, file_name in enumerate(pixels)]
    shards = []
    for index, part in enumerate((examples[:2], examples[2:])):
        file_name = tfrecord.shard_name("train", index, 2)
        written = tfrecord.write_shard(folder / file_name, part)
        shards.append(ShardInfo(file_name, len(part), written.num_bytes, written.sha256))
    empty = SplitInfo(num_examples=0, num_groups=0, class_counts=dict.fromkeys(class_names, 0), shards=())
    train = SplitInfo(5, num_groups=1, class_counts=dict(zip(class_names, (3, 2))), shards=tuple(shards))
    data = Manifest(
        class_names=tuple(class_names),
        image_size=SIZE,
        encoding=encoding,
        splits={"train": train, "validation": empty, "test": empty},
        rejected={},
        images=name,
        sources_sha256="",
        config_sha256="",
        rules_sha256="",
        config={},
    )
    tfds_metadata.write(data, folder)
    return pixels


@pytest.fixture(scope="module")
def builder(face_records):
    return tfds.builder_from_directory(face_records)


def read_by_file_name(builder, split):
    return {item["image/filename"].decode(): item for item in tfds.as_numpy(builder.as_dataset(split=split))}


def test_the_splits_are_those_of_the_manifest(builder, face_records):
    info = manifest.load(face_records).splits
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 20, "validation": 4}
    for name, split in builder.info.splits.items():
        assert [path.name for path in split.filepaths] == [shard.file for shard in info[name].shards]
        assert split.shard_lengths == [shard.num_examples for shard in info[name].shards]
        assert split.num_bytes == sum(shard.num_bytes for shard in info[name].shards)
    assert builder.info.full_name == "faces/1.0.0"


def test_every_picture_has_the_label_of_its_folder(builder, face_records):
    assert builder.info.features["image/class/label"].names == ["happy", "sad"]
    with (face_records / "cleaning.csv").open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if row["verdict"] == "kept"]
    wanted = {(row["split"], row["path"]): row["path"].split("/")[0] for row in kept}
    label = builder.info.features["image/class/label"]
    found = {
        (split, file_name): label.int2str(item["image/class/label"])
        for split in builder.info.splits
        for file_name, item in read_by_file_name(builder, split).items()
    }
    assert len(found) == 24
    assert found == wanted


def test_every_field_of_a_record_is_read(builder, face_records):
    read = {split: read_by_file_name(builder, split) for split in builder.info.splits}
    for shard in sorted(face_records.glob("*.tfrecord")):
        for serialized in tf.data.TFRecordDataset(str(shard)):
            fields = tf.train.Example.FromString(serialized.numpy()).features.feature
            item = read[shard.name.split("-")[0]][fields["image/filename"].bytes_list.value[0].decode()]
            assert set(item) == set(fields)
            stored = fields["image/encoded"].bytes_list.value[0]
            np.testing.assert_array_equal(item["image/encoded"], tf.io.decode_jpeg(stored))
            for key in set(fields) - {"image/encoded"}:
                value = fields[key].bytes_list.value or fields[key].int64_list.value
                assert item[key] == value[0]


def test_supervised_pairs_have_static_shapes(builder):
    pairs = builder.as_dataset(split="train", as_supervised=True)
    assert pairs.element_spec == (tf.TensorSpec((32, 32, 3), tf.uint8), tf.TensorSpec((), tf.int64))
    labels = [int(label) for _, label in pairs]
    assert (labels.count(0), labels.count(1)) == (10, 10)


def test_shuffled_files_hold_the_same_pictures(builder):
    shuffled = builder.as_dataset(split="train", shuffle_files=True)
    names = [item["image/filename"] for item in tfds.as_numpy(shuffled)]
    assert len(names) == 20
    assert {name.decode() for name in names} == set(read_by_file_name(builder, "train"))


def test_two_halves_of_a_split_make_the_whole(builder):
    first, second = (read_by_file_name(builder, split) for split in ("train[:50%]", "train[50%:]"))
    assert (len(first), len(second)) == (10, 10)
    assert first.keys() | second.keys() == read_by_file_name(builder, "train").keys()


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_lossless_pictures_come_back_as_they_were(encoding, tmp_path):
    pixels = write_records(tmp_path / "faces", encoding=encoding)
    builder = tfds.builder_from_directory(tmp_path / "faces")
    assert list(builder.info.splits) == ["train"]
    read = read_by_file_name(builder, "train")
    assert read.keys() == pixels.keys()
    for file_name, item in read.items():
        np.testing.assert_array_equal(item["image/encoded"], pixels[file_name])
    spec = builder.as_dataset(split="train", as_supervised=True).element_spec
    assert spec == (tf.TensorSpec((32, 32, 3), tf.uint8), tf.TensorSpec((), tf.int64))


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_the_files_say_what_tfds_itself_would_write(encoding, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_records(ours, encoding=encoding)
    theirs.mkdir()
    tfds.builder_from_directory(ours).info.write_to_directory(theirs)
    features, info = (json.loads((theirs / name).read_text()) for name in ("features.json", "dataset_info.json"))
    del info["moduleName"], info["redistributionInfo"]  # the reader's own class, and an empty licence
    assert json.loads((ours / "features.json").read_text()) == features
    assert json.loads((ours / "dataset_info.json").read_text()) == info
    labels = "image.class.label.labels.txt"
    assert (ours / labels).read_bytes() == (theirs / labels).read_bytes() == b"happy\nsad\n"


@pytest.mark.parametrize(
    ("class_name", "shown"),
    [
        ("ünï cödé 😀", "ünï cödé 😀"),
        ("a/b, 100% of 'it'", "a/b, 100% of 'it'"),
        ("two\nlines", '"two\\nlines"'),
        ("carriage\rreturn", '"carriage\\rreturn"'),
        (" indented ", '" indented "'),
        ("\u2003", '"\u2003"'),
        ('"quoted"', '"\\"quoted\\""'),
    ],
)
def test_a_class_name_that_needs_more_than_one_plain_line_is_quoted(class_name, shown, tmp_path):
    write_records(tmp_path / "faces", encoding="raw", class_names=(class_name, "sad"))
    builder = tfds.builder_from_directory(tmp_path / "faces")
    assert builder.info.features["image/class/label"].names == [shown, "sad"]
    assert {item["image/class/text"].decode() for item in read_by_file_name(builder, "train").values()} == {
        class_name,
        "sad",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("data/Flowers 2-Final", "flowers_2_final"),
        ("/mnt/17_flowers", "images_17_flowers"),
        ("data/ünï", "n"),
        (".", "images"),
        ("data/花", "images"),
    ],
)
def test_the_data_set_has_a_name_that_tfds_takes(name, shown, tmp_path):
    write_records(tmp_path / "faces", encoding="raw", name=name)
    assert tfds.builder_from_directory(tmp_path / "faces").name == shown


def test_the_same_data_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        write_records(tmp_path / folder, encoding="jpeg")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
