"""A file for each picture: named after it, complete, over nothing that was there, with the light where it belongs."""

import cv2
import numpy as np
import pytest
from conftest import files_of
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.dataset.images.rejection import Reason, Rejected
from harness.prediction import overlays
from harness.prediction.answers import Answer

SIZE = 64


def make_answer(path: str, chances=(0.25, 0.75)) -> Answer:
    return Answer(path, np.full((SIZE, SIZE, 3), 128, np.uint8), np.array(chances, np.float32))


def light_corner(pixels, labels):
    """As if the upper left quarter spoke for the second class, and nothing for the first."""
    places = np.zeros((len(pixels), 8, 8), np.float32)
    places[labels == 1, :4, :4] = 3.0
    return places


def write(folder, *batch, class_names=("cat", "dog")):
    return overlays.Overlays(folder, light_corner, class_names).write(batch)


def test_the_file_shows_the_picture_and_where_it_speaks_for_its_class(tmp_path):
    (answer,) = write(tmp_path / "why", make_answer("holiday/rex.png"))
    assert answer.explanation == str(tmp_path / "why" / "rex_dog_0.750.jpg")
    shown = cv2.imread(answer.explanation)[..., ::-1].astype(int)
    assert shown.shape == (SIZE, 2 * SIZE, 3)
    assert np.abs(shown[:, : SIZE - 8] - 128).max() <= 4  # the colours of a JPEG run a little over an edge
    colorful = np.ptp(shown[:, SIZE:], axis=2)
    assert colorful[8:24, 8:24].min() > 60 and colorful[40:, 40:].max() < 20


def test_a_picture_in_which_nothing_speaks_for_its_class_is_grey_and_counted(tmp_path):
    drawn = overlays.Overlays(tmp_path, light_corner, ("cat", "dog"))
    answers = drawn.write([make_answer("a.png", (0.9, 0.1)), make_answer("b.png")])
    assert drawn.num_silent == 1
    shown = [cv2.imread(answer.explanation)[:, SIZE:].astype(int) for answer in answers]
    assert [int(np.ptp(picture, axis=2).max()) > 80 for picture in shown] == [False, True]


def test_names_that_meet_are_kept_apart(tmp_path):
    names = ["a/x.png", "b/x.png", "x.jpg", "X.png"]
    found = write(tmp_path, *map(make_answer, names))
    assert [answer.explanation.removeprefix(f"{tmp_path}/") for answer in found] == [
        "x_dog_0.750.jpg",
        "x_dog_0.750 (2).jpg",
        "x_dog_0.750 (3).jpg",
        "X_dog_0.750 (4).jpg",
    ]


def test_a_file_that_could_not_be_read_has_no_explanation(tmp_path):
    bad = Answer("bad.png", rejected=Rejected(Reason.EMPTY, "0 bytes", "a picture"))
    found = write(tmp_path / "why", bad, make_answer("good.png"), bad)
    assert [answer.path for answer in found] == ["bad.png", "good.png", "bad.png"]
    assert [bool(answer.explanation) for answer in found] == [False, True, False]
    assert write(tmp_path / "none", bad) == [bad] and not (tmp_path / "none").exists()


@given(path=st.text(min_size=1).filter(lambda text: "\0" not in text), label=st.text(min_size=1, max_size=300))
def test_whatever_a_picture_and_its_class_are_called_the_file_is_inside(tmp_path_factory, path, label):
    folder = tmp_path_factory.mktemp("why")
    (answer,) = write(folder, make_answer(path), class_names=("cat", label))
    assert [str(found) for found in folder.iterdir()] == [answer.explanation] and answer.explanation.isprintable()


def test_only_a_new_or_empty_folder_is_written_to(tmp_path):
    overlays.check_folder(tmp_path / "new")
    overlays.check_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(ConfigError, match=r"is not empty: it holds notes\.txt\. Give a new or an empty folder"):
        overlays.check_folder(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        overlays.check_folder(tmp_path / "notes.txt")
    assert files_of(tmp_path) == before
