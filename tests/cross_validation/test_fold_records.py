"""Records of folds: the same examples as they stood, and each training's own split of them."""

import numpy as np
import pytest
from conftest import run_command, write_faces

from harness.base.errors import CheckpointError, DataError
from harness.cross_validation import fold_records, folds
from harness.dataset.records import manifest, tfrecord
from harness.input import expected, record_reader


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Records of 24 faces in pairs, with a test split."""
    place = tmp_path_factory.mktemp("grouped")
    faces, records = write_faces(place / "faces"), place / "records"
    words = ("--records.image_size", 32, "--split.test", 0.2, "--split.group_by", r"([a-z]+/face_\d\d)")
    done = run_command("build_records", "--images", faces, "--records", records, *words, "--records.min_shards", 3)
    assert done.returncode == 0, done.stderr
    return place / "records"


def read_split(folder, split) -> dict[str, bytes]:
    """Each example of a split, as it stands there, by the name of its picture."""
    data = manifest.load(folder)
    shards = [(str(folder / shard.file), shard.num_examples) for shard in data.splits[split].shards]
    promised, everything = expected.expect(data, folder, split), np.arange(data.splits[split].num_examples)
    names = [str(name) for _, (name,) in record_reader.read_examples(shards, everything, promised, [tfrecord.FILENAME])]
    return dict(zip(names, (example for _, example in record_reader.read_serialized(shards, everything, promised))))


def divide(records, target, num_folds=3, seed=0):
    data = manifest.load(records)
    pictures = fold_records.read_pictures(data, records)
    assignment = folds.assign(pictures, num_folds, seed=seed)
    fold_records.divide(data, records, target, pictures, assignment)
    return data, pictures, assignment


def test_each_training_has_all_folds_but_its_own_and_every_example_stays_as_it_was(grouped, tmp_path):
    data, pictures, assignment = divide(grouped, tmp_path)
    whole = read_split(grouped, "train") | read_split(grouped, "validation")
    assert list(whole) == list(pictures.paths)
    group_of = dict(zip(pictures.paths, pictures.groups))
    measured = []
    for fold in range(3):
        folder = fold_records.make_records(data, tmp_path, fold)
        train, validation = (read_split(folder, split) for split in ("train", "validation"))
        assert train | validation == whole
        assert sorted(validation) == sorted(np.array(pictures.paths)[assignment.folds == fold])
        assert not {group_of[name] for name in train} & {group_of[name] for name in validation}
        counts = manifest.load(folder).splits["validation"]
        assert counts.num_groups == len({group_of[name] for name in validation})
        assert counts.class_counts["happy"] == sum(name.startswith("happy/") for name in validation)
        measured += validation
    assert sorted(measured) == sorted(whole)
    assert not set(whole) & set(read_split(grouped, "test")), "a test split is looked at by nobody"


def test_parts_of_a_learning_curve_lie_within_one_another(grouped, tmp_path):
    data, _, _ = divide(grouped, tmp_path, num_folds=2)
    half, whole = (fold_records.make_records(data, tmp_path, 0, num_parts=parts) for parts in (2, 4))
    assert set(read_split(half, "train")) < set(read_split(whole, "train"))
    assert read_split(half, "validation") == read_split(whole, "validation")


def test_a_second_call_writes_nothing(grouped, tmp_path):
    data, _, _ = divide(grouped, tmp_path)
    folder = fold_records.make_records(data, tmp_path, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    divide(grouped, tmp_path)
    assert fold_records.make_records(data, tmp_path, 1) == folder
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_a_killed_one_has_left_is_taken_away_and_made_anew(grouped, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    left = shards / ".fold-00000-of-00012.tfrecord.4711.tmp"
    left.write_bytes(b"half of it")
    (shards / "fold-00001-of-00012.tfrecord").write_bytes(b"without a layout nobody believes it")
    data, pictures, _ = divide(grouped, tmp_path)
    assert not left.exists()
    folder = fold_records.make_records(data, tmp_path, 0)
    assert len(read_split(folder, "train") | read_split(folder, "validation")) == len(pictures.paths)


@pytest.mark.parametrize("name", ["shards/fold-00003-of-*.tfrecord", "fold-0/manifest.json", "fold-0/train-00001-of-*"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_is_cut_short_or_gone_is_made_anew(name, is_gone, grouped, tmp_path):
    data, _, _ = divide(grouped, tmp_path)
    folder = fold_records.make_records(data, tmp_path, 0)
    before = read_split(folder, "train")
    (damaged,) = tmp_path.glob(name)
    content = damaged.read_bytes()
    damaged.unlink()
    if not is_gone:
        damaged.write_bytes(content[:-20])
    divide(grouped, tmp_path)
    assert read_split(fold_records.make_records(data, tmp_path, 0), "train") == before


def test_records_without_a_second_name_are_copied(grouped, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("this file system has no links")

    monkeypatch.setattr("os.link", refuse)
    data, _, _ = divide(grouped, tmp_path)
    folder = fold_records.make_records(data, tmp_path, 0)
    assert all(path.stat().st_nlink == 1 for path in folder.glob("*.tfrecord"))
    assert read_split(folder, "train")


def test_a_damaged_layout_is_a_sentence(grouped, tmp_path):
    data, _, _ = divide(grouped, tmp_path)
    (tmp_path / "layout.json").write_text('{"made_of": "x"')
    with pytest.raises(CheckpointError, match=r"layout\.json cannot be read.*Remove .*, and it is made anew"):
        fold_records.make_records(data, tmp_path, 0)


def test_too_few_groups_for_a_learning_curve_are_refused(tmp_path):
    faces, records = write_faces(tmp_path / "faces", 2), tmp_path / "records"
    words = ("--records.image_size", 32, "--split.validation", 0.5)
    assert run_command("build_records", "--images", faces, "--records", records, *words).returncode == 0
    data, _, _ = divide(records, tmp_path / "folds", num_folds=2)
    assert fold_records.make_records(data, tmp_path / "folds", 0).is_dir()
    with pytest.raises(
        DataError, match=r"without fold 1, 1 of 4 parts of the groups have no picture of .* to train on"
    ):
        fold_records.make_records(data, tmp_path / "folds", 0, num_parts=1)
