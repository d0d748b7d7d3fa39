"""Folders that are splits, and folders that only look like it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.config.dataset_sections import DataConfig
from harness.dataset.listing import pictures
from harness.dataset.listing.class_folders import Contents
from harness.dataset.listing.split_folders import recognise, split_of


def write(root: Path, *paths: str) -> Path:
    """Writes empty files: a listing opens none."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def list_all(root: Path, **settings):
    return pictures.list_pictures(DataConfig(images=root, **settings))


def test_splits_are_recognised_and_said(tmp_path):
    write(tmp_path, "Training/cat/a.png", "Training/dog/b.png", "val/cat/c.png", "TESTING/dog/deep/d.png")
    found = list_all(tmp_path)
    assert [item[:4] for item in found.pictures] == [
        ("TESTING/dog/deep/d.png", "dog", "test", ""),
        ("Training/cat/a.png", "cat", "train", ""),
        ("Training/dog/b.png", "dog", "train", ""),
        ("val/cat/c.png", "cat", "validation", ""),
    ]
    assert (found.class_names, found.depth) == (("cat", "dog"), 2)
    assert found.lines == (
        f"{tmp_path} is split by its folders: TESTING is test, Training is train, val is validation; the classes are "
        "those in them, cat | dog",
    )


@pytest.mark.parametrize("name", ["test", "TESTING", "test_set", "Test1", "test-images", "testing data", "test_2"])
def test_a_folder_is_called_like_a_split(name):
    assert split_of(name) == "test"


@pytest.mark.parametrize("name", ["tested", "contest", "train_station", "test tube", "value", "set", "1", "t\xebst"])
def test_a_folder_is_not_called_like_a_split(name):
    assert split_of(name) == ""


def test_pictures_beside_the_classes_of_a_split_are_told(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/loose.png")
    found = list_all(tmp_path)
    assert len(found.pictures) == 3
    told = f"1 picture in {tmp_path} beside the class folders, in none of them, such as test/loose.png."
    assert found.warnings == (told,)


def test_splits_may_call_a_class_differently_where_that_is_merged(tmp_path):
    write(tmp_path, "train/Cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/cow/d.png")
    with pytest.raises(DataError, match=r"test has cat \| cow and train does not"):
        list_all(tmp_path)
    found = list_all(tmp_path, classes={"cat": ("Cat", "cat"), "dog": ("dog",)})
    assert [(item.path, item.class_name) for item in found.pictures] == [
        ("test/cat/c.png", "cat"),
        ("train/Cat/a.png", "cat"),
        ("train/dog/b.png", "dog"),
    ]


def test_classes_called_like_several_splits_are_told(tmp_path):
    found = list_all(write(tmp_path, "train/a.png", "test/b.png", "plane/c.png"))
    assert found.class_names == ("plane", "test", "train")
    assert found.warnings == ("the folders test, train are called like splits, and are taken as classes.",)


def test_a_folder_without_pictures_beside_splits_is_left_out(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "annotations/a.xml")
    found = list_all(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.lines[0].endswith("; left out for want of pictures: annotations")


def test_junk_in_a_split_is_no_class(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/.ipynb_checkpoints/c.png")
    assert list_all(tmp_path).class_names == ("cat", "dog")


def test_classes_that_hold_splits_are_understood_too(tmp_path):
    write(tmp_path, "cat/train/a.png", "cat/test/b.png", "dog/train/c.png", "dog/test/d.png")
    found = list_all(tmp_path)
    assert [(item.class_name, item.split) for item in found.pictures] == [
        ("cat", "test"),
        ("cat", "train"),
        ("dog", "test"),
        ("dog", "train"),
    ]


@pytest.mark.parametrize(
    "paths",
    [
        ("train/a.png", "plane/b.png"),  # vehicles
        ("train/steam/a.png", "plane/b.png"),
        ("train/a.png", "plane/test/b.png"),
        ("cat/train/a.png", "dog/b.png"),
        ("cat/train/a.png", "dog/train/b.png", "dog/other/b.png"),
        ("test1/a.png", "test2/b.png"),
        ("cat_train/a.png", "dog_train/b.png"),  # what differs is no split
        ("cat_train/a.png", "cat_test/b.png", "dog_train/c.png", "dog_test/d.png"),
        ("test1/cat/a.png", "test2/cat/b.png"),
        ("cat/val/a.png", "dog/val/b.png"),  # nothing to train on: folders of the user's own
    ],
)
def test_classes_that_are_called_like_splits_are_classes(tmp_path, paths):
    found = list_all(write(tmp_path, *paths))
    assert found.class_names == tuple(sorted({path.partition("/")[0] for path in paths}))
    assert {item.split for item in found.pictures} == {""}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("train/cat/a.png", "train/dog/b.png", "test/c.png"), "test has 1 picture without .*--images .*/train$"),
        (("train/cat/a.png", "train/dog/b.png", "test/unknown/c.png"), "test has unknown and train does not"),
        (("train/cat/a.png", "train/dog/b.png", "extra/cow/c.png"), "beside them extra. .*--images .*/train"),
        (("train/cat/a.png", "train/dog/b.png", "test/readme.txt"), "but test has none. .*--images .*/train$"),
        (("val/cat/a.png", "test/cat/b.png"), "no folder train"),
        (
            ("train/good/a.png", "test/good/b.png", "test/bad/c.png"),
            "train does not: it has good. .*--images .*/test. ",
        ),
        (
            ("data/train/cat/a.png", "train/cat/a.png", "train/dog/b.png", "data/test/cat/c.png", "test/cat/c.png"),
            "data beside them, which holds such splits too. .*--images .*/data, or move data",
        ),
        (
            ("train/images/cat/a.png", "train/images/dog/b.png", "test/cat/c.png"),
            "different depths, in test and train/im",
        ),
        (("data/seg_train/a.png", "data/seg_test/b.png"), "sub-folder for each"),
        (
            ("seg_train/a.png", "seg_test/b.png"),
            "no folders of classes .*such as seg_train/happy, or take seg_train with",
        ),
        (("train/cat/a.png", "train/dog/b.png", "test/c.png", "extra/d.png"), "test has 1 picture without"),
        (("train/a.png", "test1/b.png", "annotations/b.xml"), "which are splits by their names, but no folders"),
        (("train/cat/a.png", "Training/cat/b.png", "test/cat/c.png"), "Training and train, which are one split"),
        (
            ("train/a.png", "test/b.png"),
            "splits by their names, but no folders of classes .*--data.classes '.test, train",
        ),
    ],
)
def test_what_is_half_a_split_is_refused_with_what_to_give(tmp_path, paths, words):
    with pytest.raises(DataError, match=words):
        list_all(write(tmp_path, *paths))


def test_words_that_the_names_of_splits_share_say_nothing(tmp_path):
    paths = [f"seg_{split}/seg_{split}/{name}/a.png" for split in ("train", "test") for name in ("sea", "street")]
    found = list_all(write(tmp_path, *paths, "seg_pred/seg_pred/1.png", "seg_pred/seg_pred/2.png"))
    assert [item[:4] for item in found.pictures] == [
        ("seg_test/seg_test/sea/a.png", "sea", "test", ""),
        ("seg_test/seg_test/street/a.png", "street", "test", ""),
        ("seg_train/seg_train/sea/a.png", "sea", "train", ""),
        ("seg_train/seg_train/street/a.png", "street", "train", ""),
    ]
    assert (found.class_names, found.depth) == (("sea", "street"), 3)
    assert found.warnings == ("seg_pred has 2 pictures in no class: they are left out.",)


@pytest.mark.parametrize("below", ["images", "Data set", "train"])
def test_one_folder_in_each_split_is_no_class(tmp_path, below):
    paths = [f"{split}/{below}/{name}/a.png" for split in ("train", "test") for name in ("cat", "dog")]
    if below == "train":
        paths = [path.replace("test/train", "test/test") for path in paths]
    found = list_all(write(tmp_path, *paths))
    assert (found.class_names, found.depth, len(found.pictures)) == (("cat", "dog"), 3, 4)
    assert {item.split for item in found.pictures} == {"train", "test"}


def test_what_lies_beside_splits_is_left_out_when_the_classes_are_named(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "extra/cow/c.png")
    found = list_all(tmp_path, classes=("dog", "cat"))
    assert (found.class_names, len(found.pictures)) == (("dog", "cat"), 3)
    assert found.lines[0].endswith("; left out by data.classes: extra")


def test_classes_called_like_splits_are_taken_when_they_are_named(tmp_path):
    write(tmp_path, "train/a.png", "test/b.png")
    found = list_all(tmp_path, classes=("train", "test"))
    assert [(item.path, item.class_name, item.split) for item in found.pictures] == [
        ("test/b.png", "test", ""),
        ("train/a.png", "train", ""),
    ]


def test_classes_of_splits_are_chosen_and_merged(tmp_path):
    write(tmp_path, *(f"{split}/{name}/a.png" for split in ("train", "test") for name in ("cat", "cow", "dog")))
    found = list_all(tmp_path, classes={"pet": ("cat", "dog"), "cattle": ("cow",)})
    assert found.class_names == ("pet", "cattle")
    assert {(item.path, item.class_name, item.split) for item in found.pictures} == {
        ("test/cat/a.png", "pet", "test"),
        ("test/cow/a.png", "cattle", "test"),
        ("test/dog/a.png", "pet", "test"),
        ("train/cat/a.png", "pet", "train"),
        ("train/cow/a.png", "cattle", "train"),
        ("train/dog/a.png", "pet", "train"),
    }


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("archive/cat/a.png", "archive/dog/b.png"), "found archive alone, and cat, dog in .*: --images .*/archive$"),
        (("a/b/cat/a.png", "a/b/dog/b.png"), "found a alone, and cat, dog in .*: --images .*/a/b$"),
        (("a.png", "b.png", "labels.csv"), "found 2 pictures, such as a.png, and no folders"),
        (
            ("cat/a.png",),
            "found cat alone, with 1 picture, such as a.png, in .*/cat. Put .*: --data.labels labels.csv$",
        ),
        (("pictures/a.png", "truth.csv"), "found pictures alone, .* of their labels: --data.labels truth.csv$"),
        (("a/b/c.png", "a/b/truth.tsv"), "found a alone, .*: --images .*/a/b --data.labels truth.tsv$"),
        (("a.png", "x.csv", "y.csv", "groups.csv"), r"--data.labels x.csv \(or y.csv\)$"),
        (("notes.txt",), "found none"),
    ],
)
def test_what_is_no_class_folders_is_refused_with_what_was_found(tmp_path, paths, words):
    with pytest.raises(DataError, match=words):
        list_all(write(tmp_path, *paths))


_CLASS = st.text("abcxyz", min_size=1, max_size=3).filter(lambda name: not split_of(name))
_SPLIT_WORDS = st.sampled_from([["train", "test"], ["Train", "VALID", "test"], ["training", "validation", "testing"]])


@given(_SPLIT_WORDS, st.sets(_CLASS, min_size=1, max_size=4))
def test_any_classes_below_any_words_for_splits_are_found(words, classes):
    inside = Contents(tuple(sorted(classes)), (), (), ())
    layout = recognise(Path("data"), words, lambda folder: inside)
    assert layout.class_names == classes
    assert {item.path: item.split for item in layout.folders} == {
        f"{word}/{name}": split_of(word) for word in words for name in classes
    }


@given(st.sets(_CLASS, min_size=2, max_size=5), st.sets(_CLASS, max_size=3))
def test_folders_that_no_split_is_called_like_are_classes(classes, below):
    layout = recognise(Path("data"), sorted(classes), lambda folder: Contents(tuple(sorted(below)), (), (), ()))
    assert {item.path: (item.class_name, item.split) for item in layout.folders} == {
        name: (name, "") for name in classes
    }
    assert not layout.line
