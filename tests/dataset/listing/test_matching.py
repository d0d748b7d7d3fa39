"""Which picture a row of a user's table speaks of."""

import pytest

from harness.base.errors import DataError
from harness.dataset.listing.matching import match_rows
from harness.dataset.listing.table import Row, Table

PICTURES = ("happy/001.jpg", "happy/002.png", "happy/ann/1.jpg", "sad/001.jpg", "sad/Ann/1.jpg", "sad/007.jpg")


def match(folder, *rows: tuple[str, str], pictures=PICTURES):
    listed = Table("labels.csv", ("path", "label"), tuple(Row(line, row) for line, row in enumerate(rows, 2)))
    return match_rows(listed, 0, (1,), pictures, folder)


@pytest.mark.parametrize(
    ("written", "picture"),
    [
        ("happy/001.jpg", "happy/001.jpg"),
        ("002.png", "happy/002.png"),
        ("002", "happy/002.png"),
        ("007.JPG", "sad/007.jpg"),
        ("happy\\001", "happy/001.jpg"),
        ("set/happy/x/../001.jpg", "happy/001.jpg"),
        ("images/002.png", "happy/002.png"),
        ("sad/ann/1.jpg", "sad/Ann/1.jpg"),
        ("ann/1.jpg", "happy/ann/1.jpg"),
    ],
)
def test_a_path_is_found_however_it_is_written(tmp_path, written, picture):
    assert match(tmp_path, (written, "x")).values == {picture: ("x",)}


@pytest.mark.parametrize("written", ["001.jpg", "001", "1.jpg", "ANN/1.jpg"])
def test_a_path_that_may_be_two_pictures_is_refused(tmp_path, written):
    with pytest.raises(
        DataError, match=r"labels.csv, line 3: '.*' may be 'happy/.*' or 'sad/.*'. Write the whole path"
    ):
        match(tmp_path, ("happy/001.jpg", "x"), (written, "x"))


@pytest.mark.parametrize("written", ["sad/002.png", "angry/007.jpg", "happy/001.png", "happy", "", "/", ".."])
def test_a_path_with_another_folder_or_ending_is_no_picture(tmp_path, written):
    found = match(tmp_path, ("happy/001.jpg", "x"), (written, "y"))
    assert found.values == {"happy/001.jpg": ("x",)} and found.unmatched == (Row(3, (written, "y")),)


def test_a_picture_that_is_named_twice_has_one_value(tmp_path):
    assert match(tmp_path, ("002.png", "x"), ("happy/002", ""), ("./happy/002.png", "x")).values == {
        "happy/002.png": ("x",)
    }
    expected = "labels.csv names happy/002.png twice: its label is 'x' in line 2 and 'y' in line 3"
    with pytest.raises(DataError, match=expected):
        match(tmp_path, ("002.png", "x"), ("happy/002.png", "y"))


def test_the_images_folder_s_own_path_comes_before_others(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    rows = [(f"fer/{split}/happy/001.jpg", split) for split in ("test", "train", "val")]
    found = match(folder, *rows)
    assert found.values == {"happy/001.jpg": ("train",)}
    assert [row.line for row in found.unmatched] == [2, 4] and found.prefixes == {}
    with pytest.raises(DataError, match=r"happy/001.jpg twice: its label is 'test' in line 2 and 'train' in line 3"):
        match(tmp_path, *rows)


def test_what_is_taken_off_a_path_is_said(tmp_path):
    found = match(tmp_path, ("faces/happy/001.jpg", "x"), ("faces/sad/001.jpg", "y"), (f"{tmp_path}/sad/007.jpg", "z"))
    assert found.prefixes == {"faces/": 2} and len(found.values) == 3


def test_a_table_of_other_pictures_is_refused_with_examples_of_both(tmp_path):
    with pytest.raises(
        DataError, match=r"names none of the 6 pictures .*line 2: 'a.jpg'; the pictures are 'happy/001.j"
    ):
        match(tmp_path, ("a.jpg", "x"))


def test_names_that_differ_in_unicode_form_only_are_told_apart_where_they_are_written_so(tmp_path):
    pictures = ("a/\u00e9.jpg", "a/e\u0301.jpg")
    assert match(tmp_path, *((path, path) for path in pictures), pictures=pictures).values == {
        path: (path,) for path in pictures
    }
    with pytest.raises(DataError, match="may be"):
        match(tmp_path, ("a\\\u00e9.jpg", "x"), pictures=pictures)
