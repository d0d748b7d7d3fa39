"""Builds of pictures as people have them: given splits, chosen and merged classes, outputs among the inputs."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from conftest import bytes_of, draw_face, read_findings, run_command, write_faces, write_picture

from harness.base.errors import ConfigError, DataError
from harness.config.schema import Config
from harness.dataset.build import builder
from harness.dataset.records import manifest

pytestmark = pytest.mark.usefixtures("warm_workers")


def make_config(
    images: Path, records: Path, *, near_copies: str = "ignore", split: dict | None = None, **data
) -> Config:
    return Config.model_validate(
        {
            "data": {"images": images, "records": records, **data},
            "clean": {"near_copies": near_copies},
            "split": split or {},
            "records": {"image_size": 32},
        }
    )


def write_class(folder: Path, start: int, *, num: int = 4, happy: bool = True) -> None:
    for index in range(start, start + num):
        write_picture(folder / f"{index:03d}.png", draw_face(index, happy=happy))


@pytest.fixture
def benchmark(tmp_path) -> Path:
    """train and test with both classes; a picture of train stands in test once more."""
    images = tmp_path / "benchmark"
    for split, start, num in (("train", 0, 10), ("test", 100, 4)):
        write_class(images / split / "happy", start, num=num)
        write_class(images / split / "sad", start + 1000, num=num, happy=False)
    shutil.copy(images / "train" / "happy" / "000.png", images / "test" / "happy" / "copy.png")
    return images


def count(records: Path) -> Counter:
    kept = (row for row in read_findings(records).values() if row["verdict"] == "kept")
    return Counter((row["split"], row["class_name"]) for row in kept)


def test_given_splits_are_used_and_leaks_are_told(benchmark, tmp_path, caplog):
    caplog.set_level("INFO")
    told = builder.build(make_config(benchmark, tmp_path / "records"))
    assert "is split by its folders: test, train; the classes are those in them, happy | sad" in caplog.text
    assert manifest.load(tmp_path / "records").class_names == ("happy", "sad")
    assert count(tmp_path / "records") == {
        ("train", "happy"): 8,
        ("train", "sad"): 8,
        ("validation", "happy"): 2,
        ("validation", "sad"): 2,
        ("test", "happy"): 5,
        ("test", "sad"): 4,
    }
    rows = read_findings(tmp_path / "records")
    assert {path for path, row in rows.items() if "leak" in row["notes"].split()} == {
        "train/happy/000.png",
        "test/happy/copy.png",
    }
    leak = "1 picture of the held-out splits belongs to 1 group that other splits have too"
    assert "splits: train, test as given, validation cut from train" in told
    assert leak in told and leak in caplog.text
    assert "such as train/happy/000.png in train" not in told and "set split.leaks: move" in caplog.text
    report = (tmp_path / "records" / "report.html").read_text()
    assert leak in report and "is split by its folders: test, train" in report
    shown = report[report.index("<h3>Exact copies") : report.index("<h3>Nearly the same <")]
    assert all(f'title="{path}"' in shown for path in ("train/happy/000.png", "test/happy/copy.png"))


def test_a_leak_stops_the_build_where_it_is_asked_to(benchmark, tmp_path):
    with pytest.raises(DataError, match=r"train/happy/000.png in \w+ and test/happy/copy.png in test.*split.leaks"):
        builder.build(make_config(benchmark, tmp_path / "records", split={"leaks": "fail"}))
    (benchmark / "test" / "happy" / "copy.png").unlink()
    builder.build(make_config(benchmark, tmp_path / "records", split={"leaks": "fail"}))


def test_a_leak_is_moved_out_of_training_where_it_is_asked_to(benchmark, tmp_path):
    (benchmark / "groups.csv").write_text("path,group\ntrain/sad/1000.png,ann\ntest/sad/1100.png,ann\n")
    told = builder.build(make_config(benchmark, tmp_path / "records", split={"leaks": "move", "validation": 0.0}))
    assert "moved: 1 pictures" in told and "leaks:" not in told
    rows = read_findings(tmp_path / "records")
    assert rows["train/sad/1000.png"]["split"] == "test" and "moved" in rows["train/sad/1000.png"]["notes"]
    assert rows["train/happy/000.png"]["reason"] == "duplicate"
    assert count(tmp_path / "records")["test", "happy"] == 5


def test_a_policy_for_leaks_can_be_changed(benchmark, tmp_path):
    for leaks in ("move", "report"):
        builder.build(make_config(benchmark, tmp_path / "records", split={"leaks": leaks}), overwrite=True)
    builder.build(make_config(benchmark, tmp_path / "anew"))
    assert bytes_of(tmp_path / "records") == bytes_of(tmp_path / "anew")


def test_a_split_that_is_given_takes_no_previous_one(benchmark, tmp_path):
    builder.build(make_config(benchmark, tmp_path / "records"))
    with pytest.raises(ConfigError, match="the pictures come with splits"):
        builder.build(make_config(benchmark, tmp_path / "more", split={"previous": tmp_path / "records"}))


@pytest.fixture
def emotions(tmp_path) -> Path:
    images = tmp_path / "emotions"
    for start, name in enumerate(("angry", "cry", "happy", "sad", "smile")):
        write_class(images / name, 100 * start, num=5, happy=name in ("happy", "smile"))
    return images


def label_of(records: Path) -> dict[str, str]:
    return {path: row["class_name"] for path, row in read_findings(records).items()}


def test_classes_are_chosen_and_merged(emotions, tmp_path):
    merged = {"happy": ["happy", "smile"], "sad": ["sad", "cry"]}
    told = builder.build(make_config(emotions, tmp_path / "records", classes=merged))
    found = manifest.load(tmp_path / "records")
    assert found.class_names == ("happy", "sad")
    assert (
        manifest.list_classes(found)
        == manifest.read_classes(tmp_path / "records")
        == {
            "happy": ("happy", "smile"),
            "sad": ("sad", "cry"),
        }
    )
    assert Counter(label_of(tmp_path / "records").values()) == {"happy": 10, "sad": 10}
    assert "labels: 0 happy, 1 sad" in told


def test_another_order_is_another_setting(emotions, tmp_path):
    for given in (["sad", "happy"], {"sad": ["sad"], "happy": ["happy"]}):
        builder.build(make_config(emotions, tmp_path / "records", classes=given), overwrite=True)
        assert manifest.load(tmp_path / "records").class_names == ("sad", "happy")
        reverse = given[::-1] if isinstance(given, list) else dict(reversed(given.items()))
        with pytest.raises(DataError, match="other settings"):
            builder.build(make_config(emotions, tmp_path / "records", classes=reverse))


def test_classes_that_are_swapped_leave_no_old_label_behind(emotions, tmp_path):
    swapped = {"happy": ["sad"], "sad": ["happy"]}
    builder.build(make_config(emotions, tmp_path / "records", classes=["happy", "sad"]))
    builder.build(make_config(emotions, tmp_path / "records", classes=swapped), overwrite=True)
    builder.build(make_config(emotions, tmp_path / "anew", classes=swapped))
    assert label_of(tmp_path / "records")["sad/300.png"] == "happy"
    assert bytes_of(tmp_path / "records") == bytes_of(tmp_path / "anew")


def test_classes_that_change_cost_no_examination(emotions, tmp_path, monkeypatch):
    config = make_config(emotions, tmp_path / "records", classes=["happy", "sad"])
    monkeypatch.setattr(builder.plan, "make_plan", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        builder.build(config)
    monkeypatch.undo()
    monkeypatch.setattr(builder.cleaner, "examine", lambda *_: pytest.fail("a file was examined again"))
    swapped = make_config(emotions, tmp_path / "records", classes={"happy": ["sad"], "sad": ["happy"]})
    builder.build(swapped)
    assert label_of(tmp_path / "records")["sad/300.png"] == "happy"


def test_numeric_classes_are_labelled_by_their_numbers(tmp_path):
    for name in ("10", "9", "2"):
        write_class(tmp_path / "digits" / name, 100 * int(name), num=3)
    builder.build(make_config(tmp_path / "digits", tmp_path / "records"))
    assert manifest.load(tmp_path / "records").class_names == ("2", "9", "10")


def test_records_inside_the_images_folder_are_found_up_to_date(tmp_path):
    images = write_faces(tmp_path / "images", num_each=4)
    command = ("build_records", "--images", ".", "--records.image_size", "32", "--clean.near_copies", "ignore")
    first, second = (run_command(*command, cwd=images) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "is up to date" in second.stdout
    assert "left out beside the classes, as made by harness: tfrecords" in second.stderr
    assert manifest.load(images / "tfrecords" / "images").class_names == ("happy", "sad")


def test_records_among_the_pictures_are_refused_before_a_byte_is_written(tmp_path):
    images = write_faces(tmp_path / "images", num_each=2)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(DataError, match="among the pictures of"):
        builder.build(make_config(images, images / "happy" / "records"))
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_linked_folders_are_taken_where_it_is_asked_to(tmp_path, caplog):
    images = write_faces(tmp_path / "images", num_each=4)
    write_class(tmp_path / "elsewhere", 300, num=3)
    (images / "happy" / "more").symlink_to(tmp_path / "elsewhere")
    builder.build(make_config(images, tmp_path / "records"))
    assert "1 linked folder is left out, such as happy/more (a link to a folder with 3 files)" in caplog.text
    assert read_findings(tmp_path / "records")["happy/more"]["reason"] == "linked_folder"
    builder.build(make_config(images, tmp_path / "records", follow_links=True), overwrite=True)
    assert sum(row["verdict"] == "kept" for row in read_findings(tmp_path / "records").values()) == 11
