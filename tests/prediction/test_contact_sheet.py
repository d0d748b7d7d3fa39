"""A contact sheet holds the first pictures, in rows, and never takes a file's place."""

import numpy as np
import pytest
from PIL import Image

from harness.base.errors import ConfigError
from harness.dataset.images.rejection import Reason, Rejected
from harness.prediction.answers import Answer
from harness.prediction.contact_sheet import MOST, ContactSheet, check_file

BAD = Answer("bad.png", rejected=Rejected(Reason.EMPTY, "0 bytes", "a picture"))


def make_answers(num: int) -> list[Answer]:
    """Pictures of one colour each, which says their number."""
    return [
        Answer(f"{index}.png", np.full((40, 40, 3), index % 250, np.uint8), np.array([0.2, 0.8], np.float32))
        for index in range(num)
    ]


@pytest.mark.parametrize(("num", "size"), [(1, (144, 176)), (8, (1096, 176)), (9, (1096, 344))])
def test_a_sheet_has_as_many_rows_as_it_takes(num, size):
    sheet = ContactSheet(("a", "b"))
    sheet.add([BAD, *make_answers(num), BAD])
    drawn = sheet.draw()
    assert drawn.size == size
    for index in range(num):
        place = 8 + 136 * (index % 8) + 64, 8 + 168 * (index // 8) + 64
        assert drawn.getpixel(place) == (index, index, index)


def test_pictures_past_the_last_row_are_left_out():
    sheet = ContactSheet(("a", "b"))
    for _ in range(4):
        sheet.add(make_answers(60))
    assert sheet.num == MOST == 200 and sheet.draw().size == (1096, 25 * 168 + 8)


@pytest.mark.parametrize("label", ["幸福", "\x1b[2J", "a" * 300, "שמח", "\udcff"])
def test_any_class_can_be_written_below_a_picture(label):
    sheet = ContactSheet((label, label))
    sheet.add(make_answers(1))
    assert (np.asarray(sheet.draw())[140:] < 128).any()


@pytest.mark.parametrize("name", ["sheet.png", "sheet.JPG"])
def test_a_sheet_is_written_in_the_form_of_its_name(tmp_path, name):
    sheet = ContactSheet(("a", "b"))
    sheet.add(make_answers(3))
    sheet.write(tmp_path / "new" / name)
    with Image.open(tmp_path / "new" / name) as found:
        assert (found.format, found.size) == ("PNG" if name == "sheet.png" else "JPEG", (416, 176))
    with pytest.raises(ConfigError, match="exists already"):
        check_file(tmp_path / "new" / name)


def test_a_name_that_is_no_picture_is_refused(tmp_path):
    check_file(tmp_path / "sheet.jpeg")
    with pytest.raises(ConfigError, match=r"ends with \.png or \.jpg or \.jpeg"):
        check_file(tmp_path / "sheet.pdf")
