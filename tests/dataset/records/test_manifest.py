"""A manifest is believed only as far as it is of its form and agrees with itself."""

import json

import pytest

from harness.base.errors import DataError
from harness.dataset.records import manifest, tfrecord
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo


@pytest.fixture
def records(tmp_path):
    """A whole records folder of 9 empty records."""
    shards = []
    for index, count in enumerate((4, 5)):
        name = tfrecord.shard_name("train", index, 2)
        written = tfrecord.write_shard(tmp_path / name, [b""] * count)
        shards.append(ShardInfo(name, count, written.num_bytes, written.sha256, "ab" * 32))
    splits = {
        "train": SplitInfo(9, 3, {"cat": 5, "dog": 4}, tuple(shards)),
        "test": SplitInfo(0, 0, {"cat": 0, "dog": 0}, ()),
    }
    digest = "0" * 64
    data = Manifest(("cat", "dog"), 32, "png", splits, {"too_small": 2}, "data", digest, digest, digest, {"a": {}})
    manifest.save(data, tmp_path)
    return tmp_path, data


def change(folder, change_value) -> None:
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    change_value(value)
    path.write_text(json.dumps(value))


def test_a_manifest_reads_back(records):
    folder, data = records
    assert manifest.load(folder) == data
    assert [manifest.verify_shard(shard, folder) for shard in data.splits["train"].shards] == [4, 5]


WRONG = {
    "num_examples": ("9", 9.5, -3, 10**30, None, True, [9]),
    "class_counts": ({"cat": 9}, {"cat": 5, "dog": 5}, {"cat": 10, "dog": -1}, {"cat": 5, "cow": 4}, []),
    "num_groups": (10, -1, "3"),
    "shards": ([], {}, None, [[]], "a"),
}
WRONG_ABOVE = {
    "image_size": (None, "32", 0, -5, 15, 10**9, 32.0),
    "class_names": ("ab", [], ["cat"], ["cat", "cat"], [1, 2], ["cat", ""], {"cat": 0}),
    "encoding": ("bogus", None, 3),
    "format": (1, 3, "2", None),
    "splits": ([], None, {"train": 3}),
    "rejected": ({"a": -1}, []),
    "images": (3, None),
    "rules_sha256": ("zz", 5),
    "more": (1,),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_of_a_split_is_refused(records, key, value):
    folder, _ = records
    change(folder, lambda tree: tree["splits"]["train"].update({key: value}))
    with pytest.raises(DataError, match=r"manifest\.json cannot be read as a manifest of format 2: .*--overwrite"):
        manifest.load(folder)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG_ABOVE.items() for value in values])
def test_a_wrong_value_is_refused(records, key, value):
    folder, _ = records
    change(folder, lambda tree: tree.update({key: value}))
    with pytest.raises(DataError, match=r"manifest\.json cannot be read as a manifest of format 2: .*--overwrite"):
        manifest.load(folder)


def test_what_does_not_sum_up_is_told_with_its_numbers(records):
    folder, _ = records
    change(folder, lambda tree: tree["splits"]["train"]["shards"][1].update(num_examples=6))
    with pytest.raises(DataError, match=r"splits\.train\.num_examples is 9, but its shards sum up to 10"):
        manifest.load(folder)


@pytest.mark.parametrize("num", [6, 10**9, 10**15])
def test_a_shard_that_is_too_small_for_its_examples_is_refused(records, num):
    folder, data = records

    def promise(tree) -> None:
        split = tree["splits"]["train"]
        split["shards"][1]["num_examples"] = num
        split |= {"num_examples": num + 4, "class_counts": {"cat": num, "dog": 4}}

    change(folder, promise)
    name, num_bytes = "train-00001-of-00002.tfrecord", data.splits["train"].shards[1].num_bytes
    with pytest.raises(DataError, match=rf"{name} cannot hold {num} examples in {num_bytes} bytes\. Build the records"):
        manifest.load(folder)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", "", "a" * 5000, "train-00000-of-00002.tfrecord\n"])
def test_a_shard_lies_in_the_folder(records, name):
    folder, _ = records
    change(folder, lambda tree: tree["splits"]["train"]["shards"][0].update(file=name))
    with pytest.raises(DataError, match=r"splits\.train\.shards\.0\.file is "):
        manifest.load(folder)


def test_no_shard_is_listed_twice(records):
    folder, _ = records
    change(folder, lambda tree: tree["splits"]["train"]["shards"][0].update(file="train-00001-of-00002.tfrecord"))
    with pytest.raises(DataError, match=r"it lists train-00001-of-00002\.tfrecord more than once"):
        manifest.load(folder)


@pytest.mark.parametrize("num_bytes", [1 << 20, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_length_is_not_believed_beyond_the_end_of_the_shard(records, num_bytes):
    folder, data = records
    shard = data.splits["train"].shards[0]
    length = num_bytes.to_bytes(8, "little")
    content = (folder / shard.file).read_bytes()
    (folder / shard.file).write_bytes(content[:16] + length + tfrecord._masked_crc(length) + content[28:])
    with pytest.raises(DataError, match="is damaged in record 1 at byte 16: the file ends within it"):
        manifest.verify_shard(shard, folder)


def test_records_that_were_replaced_are_noticed(records):
    folder, data = records
    manifest.check_unchanged(data, folder)
    change(folder, lambda tree: tree["splits"]["train"]["shards"][0].update(sha256="1" * 64))
    with pytest.raises(DataError, match="is not what it was when it was first read"):
        manifest.check_unchanged(data, folder)
