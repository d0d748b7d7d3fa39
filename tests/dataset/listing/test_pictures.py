"""What a listing takes and leaves out: junk, folders of our own, links."""

from pathlib import Path

import pytest
from test_split_folders import list_all, write

from harness.base.errors import DataError
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import outputs
from harness.dataset.listing.junk import is_junk
from harness.dataset.listing.walk import walk_files

JUNK = (
    "__MACOSX",
    "lost+found",
    "@eaDir",
    ".Trash-1000",
    ".ipynb_checkpoints",
    ".cache",
    "System Volume Information",
    "$RECYCLE.BIN",
    "SYNOPHOTO_THUMB_M.jpg",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "._a.png",
)


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_left_out_wherever_it_lies(tmp_path, name):
    write(tmp_path, "cat/a.png", "dog/b.png", f"cat/{name}/x.png", f"dog/deep/{name}", f"{name}/y.png")
    found = list_all(tmp_path)
    assert [item.path for item in found.pictures] == ["cat/a.png", "dog/b.png"]
    assert [(item.file.path, item.reason, item.measured) for item in found.left_out] == [
        (f"cat/{name}/x.png", Reason.SYSTEM_FILE, name),
        (f"dog/deep/{name}", Reason.SYSTEM_FILE, name),
    ]
    assert found.lines == (
        f"left out beside the classes, as junk by their names: {name}",
        "left out among the pictures, as junk by their names: 2 files",
    )


def test_names_that_only_resemble_junk_are_pictures():
    assert not any(map(is_junk, ("cache", "trash.png", "found", "a.DS_Store", "thumbs", "eaDir", "recycled", "a~")))


def test_pictures_beside_the_classes_are_told(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png", "c.JPG", "d.png", "groups.csv", "README.md", ".hidden.png")
    assert list_all(tmp_path).warnings == ("2 pictures lie beside the class folders, in none of them, such as c.JPG.",)


def test_folders_that_harness_made_are_no_classes(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png")
    write(tmp_path / "records", "manifest.json", "cleaning.csv", "train-00000-of-00001.tfrecord")
    write(tmp_path / "one_run", "config.yaml", "environment.json", "curves.png")
    write(tmp_path / "runs", "emotion_cnn/config.yaml", "emotion_cnn/checkpoints/best/x", "tune/tuner/oracle.json")
    write(tmp_path / "tfrecords", ".images.building/rules", ".images.lock")
    found = list_all(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.lines == ("left out beside the classes, as made by harness: one_run, records, runs, tfrecords",)


def test_a_class_that_resembles_our_folders_is_one(tmp_path):
    write(tmp_path, "runs/a.png", "records/manifest.json", "records/b.png", "other/config.yaml", "other/c.png")
    assert list_all(tmp_path).class_names == ("other", "records", "runs")


def test_a_run_among_the_pictures_of_a_class_is_refused(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png", "dog/run/config.yaml", "dog/run/environment.json", "dog/run/curves.png")
    with pytest.raises(DataError, match="dog/run holds records or a run"):
        list_all(tmp_path)


@pytest.mark.parametrize("target", [".", "..", "cat", "cat/records", "dog/deep/records"])
def test_records_that_would_lie_among_the_pictures_are_refused(tmp_path, target):
    images = write(tmp_path / "images", "cat/a.png", "dog/b.png")
    with pytest.raises(DataError, match=r"the records would lie in .* Give another folder: --records FOLDER"):
        outputs.check_target(images, images / target, ["cat", "dog"])


@pytest.mark.parametrize("target", ["records", "tfrecords/images", "../records", "catalogue"])
def test_records_beside_the_classes_are_fine(tmp_path, target):
    images = write(tmp_path / "images", "cat/a.png", "dog/b.png")
    outputs.check_target(images, images / target, ["cat", "dog"])


@pytest.fixture
def linked(tmp_path) -> Path:
    """Two classes; a linked folder of three files, a loop, and a link to the same folder once more."""
    images = write(tmp_path / "images", "cat/a.png", "dog/b.png")
    write(tmp_path / "elsewhere", "c.png", "deep/d.png", "deep/e.png")
    (images / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (images / "cat" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (images / "dog" / "loop").symlink_to("..")
    return images


def test_linked_folders_are_left_out_and_counted(linked):
    found = list_all(linked)
    assert [item.path for item in found.pictures] == ["cat/a.png", "dog/b.png"]
    assert [(item.file.path, item.measured) for item in found.left_out] == [
        ("cat/again", "a link to a folder with 2 files"),
        ("cat/more", "a link to a folder with 3 files"),
        ("dog/loop", "a link to a folder above it"),
    ]
    assert {item.reason for item in found.left_out} == {Reason.LINKED_FOLDER}
    assert found.warnings == (
        "3 linked folders are left out, such as cat/again (a link to a folder with 2 files). To take what is in them: "
        "--data.follow_links true",
    )


def test_linked_folders_are_followed_once_and_loops_are_caught(linked):
    found = list_all(linked, follow_links=True)
    assert [item.path for item in found.pictures] == [
        "cat/a.png",
        "cat/again/d.png",
        "cat/again/e.png",
        "cat/more/c.png",
        "dog/b.png",
    ]
    assert [item.file.path for item in found.left_out] == ["cat/more/deep", "dog/loop"]
    assert found.left_out[0].measured.startswith("a folder that was listed as ")


def test_a_link_into_another_class_is_refused_when_followed(tmp_path):
    write(tmp_path, "cat/a.png", "dog/deep/b.png")
    (tmp_path / "cat" / "link").symlink_to(tmp_path / "dog" / "deep")
    assert len(list_all(tmp_path).pictures) == 2
    with pytest.raises(DataError, match="would be found twice: a link leads to them from another class"):
        list_all(tmp_path, follow_links=True)


def test_walking_follows_links_in_the_order_of_the_paths(linked):
    found = [path.relative_to(linked).as_posix() for path in walk_files(linked / "cat", follow_links=True)]
    assert found == ["cat/a.png", "cat/again/d.png", "cat/again/e.png", "cat/more/c.png"]


def test_a_link_to_nothing_or_to_itself_is_a_file_that_is_no_picture(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "cat" / "nothing").symlink_to("nowhere")
    (tmp_path / "dog" / "self").symlink_to("self")
    (tmp_path / "self").symlink_to("self")
    for follow_links in (False, True):
        found = list_all(tmp_path, follow_links=follow_links)
        assert [item.path for item in found.pictures] == ["cat/a.png", "cat/nothing", "dog/b.png", "dog/self"]
