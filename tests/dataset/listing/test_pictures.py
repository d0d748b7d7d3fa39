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


@pytest.mark.parametrize(
    ("classes", "below"),
    [
        (("color", "grayscale", "segmented"), ("apple", "tomato")),  # the same pictures three times
        (("subject01", "subject02"), ("happy", "sad")),
        (("data", "data (1)"), ("happy", "sad")),
    ],
)
def test_classes_that_all_hold_the_same_folders_are_doubted(tmp_path, classes, below):
    found = list_all(
        write(tmp_path, f"{classes[0]}/readme.txt", *(f"{name}/{deeper}/a.png" for name in classes for deeper in below))
    )
    assert found.class_names == classes
    assert found.doubt == (
        f"{', '.join(classes)} are taken as the classes, but each holds the same folders: {', '.join(below)}. If these "
        f"inner ones are the classes, take one of the outer ones, --images {tmp_path / classes[0]}, or move their "
        "pictures together. If the inner ones are persons or the like: --split.group_by folder. If all is meant so: "
        f"--data.classes '[{', '.join(classes)}]'"
    )
    assert not list_all(tmp_path, classes=classes).doubt


@pytest.mark.parametrize(
    "paths",
    [
        ("cat/1/a.png", "cat/2/b.png", "dog/3/c.png"),  # one folder in one of them
        ("cat/2019/a.png", "dog/2019/b.png"),  # one folder in each
        ("cat/a.png", "cat/x/a.png", "cat/y/b.png", "dog/x/c.png", "dog/y/d.png"),  # pictures beside them
        ("train/x/a.png", "train/y/b.png", "test/x/c.png", "test/y/d.png"),  # splits
    ],
)
def test_other_folders_in_classes_are_not_doubted(tmp_path, paths):
    assert not list_all(write(tmp_path, *paths)).doubt


def test_classes_that_hold_only_folders_are_told_as_one_level_too_high(tmp_path):
    write(tmp_path, "flowers/rose/1.jpg", "flowers/tulip/2.jpg", "faces/happy/3.jpg", "faces/sad/4.jpg")
    assert list_all(tmp_path).doubt == (
        "faces, flowers are taken as the classes, but hold no picture themselves, only folders: happy, sad in faces. "
        f"If these inner ones are the classes, {tmp_path} is one level too high: --images {tmp_path / 'faces'}. If "
        "they are persons or the like: --split.group_by folder. If all is meant so: --data.classes '[faces, flowers]'"
    )
    assert not list_all(tmp_path, classes=["faces", "flowers"]).doubt


def test_folders_beside_the_one_with_the_classes_are_doubted(tmp_path):
    write(tmp_path, "images/pie/1.jpg", "images/ribs/2.jpg", "meta/train.txt", "meta/test.txt")
    assert list_all(tmp_path).doubt == (
        "no file in meta is called like a picture. If the classes are those in images (pie, ribs): --images "
        f"{tmp_path / 'images'}"
    )


def test_classes_without_pictures_by_their_names_are_doubted(tmp_path):
    write(tmp_path, "cat/1.jpg", "dog/2.jpg", "notes/a.xml")
    assert list_all(tmp_path).doubt == (
        "no file in notes is called like a picture. If these are no classes, name the others: --data.classes "
        "'[cat, dog]'"
    )
    (tmp_path / "notes/a.xml").rename(tmp_path / "notes/a.png")
    assert not list_all(tmp_path).doubt


def test_folders_called_like_copies_are_doubted(tmp_path):
    write(tmp_path, "happy/1.jpg", "happy (1)/2.jpg", "happy - Copy (2)/3.jpg", "sad/4.jpg", "sad copy/5.jpg")
    assert list_all(tmp_path).doubt == (
        "happy, happy (1), happy - Copy (2) are called like copies of one folder, and are taken as 3 classes. If they "
        "are one: --data.classes '{happy: [happy, happy (1), happy - Copy (2)], …}'"
    )


def test_numbered_classes_are_not_doubted(tmp_path):
    assert not list_all(write(tmp_path, "a (1)/1.jpg", "a (2)/2.jpg", "hard copy/3.jpg", "hardcopy/4.jpg")).doubt


def test_a_copy_of_the_whole_set_beside_the_classes_is_doubted(tmp_path):
    found = list_all(write(tmp_path, "sick/1.png", "well/2.png", "cells/sick/1.png", "cells/well/2.png"))
    assert found.class_names == ("cells", "sick", "well")
    assert found.doubt == (
        "cells is taken as a class, but holds folders called like the classes beside it: sick, well. If it is none: "
        "--data.classes '[sick, well]'"
    )


def test_masks_among_the_pictures_are_told(tmp_path):
    write(
        tmp_path, "sick/a (1).png", "sick/a (1)_mask.png", "sick/a (1)_mask_1.png", "well/masks/2.png", "well/mask3.png"
    )
    assert list_all(tmp_path).warnings == (
        "3 of 5 pictures are called masks, and are taken as pictures, such as sick/a (1)_mask.png. If they are masks "
        "of the others, move them elsewhere.",
    )


def test_a_class_called_mask_is_one(tmp_path):
    assert not list_all(write(tmp_path, "mask/1.png", "no_mask/with_mask2.png", "mask/unmasked.png")).warnings
