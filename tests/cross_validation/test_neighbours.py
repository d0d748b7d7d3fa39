"""Which pictures stand beside a suspect, from pixels made in the test."""

import cv2
import numpy as np
from conftest import draw_face

from harness.cross_validation.labels import neighbours
from harness.cross_validation.labels.neighbours import Pictures
from harness.cross_validation.labels.suspects import Suspect

NAMES = ("happy", "sad")


class Album:
    """Pictures in memory, and which of them were read."""

    def __init__(self, pixels) -> None:
        self.pixels, self.asked = pixels, []

    def read(self, places):
        assert list(places) == sorted(set(places))
        self.asked += [list(places)]
        return ((place, self.pixels[place]) for place in places)


def make_pictures(labels, members=None, *, pixels=None):
    """Each picture shows a stripe that stands further right than that of the one before."""
    album = Album(pixels or [draw_stripe(4 + 3 * place) for place in range(len(labels))])
    members = np.arange(len(labels)) if members is None else np.array(members)
    paths = [f"{NAMES[label]}/{place}.png" for place, label in enumerate(labels)]
    return Pictures(paths, np.array(labels), members, NAMES, album.read), album


def draw_stripe(column: int, size: int = 64) -> np.ndarray:
    pixels = np.full((size, size, 3), 255, np.uint8)
    pixels[:, column : column + 3] = 0
    return pixels


def suspect(place, label="happy", suggested="sad"):
    return Suspect(place, f"{label}/{place}.png", label, suggested, 0.1, 0.9, 0.1)


def paths_of(side):
    return [item.path for item in side]


def test_the_nearest_pictures_of_both_classes_stand_beside_a_suspect():
    columns = [30, 10, 36, 50, 30, 24, 48, 30, 36, 12]
    pictures, _ = make_pictures([0] * 6 + [1] * 4, pixels=[draw_stripe(column) for column in columns])
    (case,) = neighbours.collect([suspect(0)], pictures)
    assert case.suspect == suspect(0)
    assert case.given[0].path == "happy/4.png" and set(paths_of(case.given[1:])) == {"happy/2.png", "happy/5.png"}
    assert paths_of(case.suggested)[:2] == ["sad/7.png", "sad/8.png"] and len(case.suggested) == 3


def test_a_picture_of_the_same_group_and_another_suspect_are_no_neighbours():
    pictures, _ = make_pictures([0] * 10 + [1] * 4, [0, 1, 2, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
    (first, _) = neighbours.collect([suspect(2), suspect(1)], pictures)
    assert {"happy/2.png", "happy/3.png", "happy/1.png"}.isdisjoint(paths_of(first.given))
    assert len(first.given) == 3


def test_neighbours_are_of_different_groups_where_there_are_enough():
    same = [draw_face(1, happy=True)] * 4
    others = [draw_face(seed, happy=True) for seed in (2, 3)]
    pixels = [draw_face(1, happy=True), *same, *others, *(draw_face(seed, happy=False) for seed in range(3))]
    pictures, _ = make_pictures([0] * 7 + [1] * 3, [0, 1, 1, 1, 1, 2, 3, 4, 5, 6], pixels=pixels)
    (case,) = neighbours.collect([suspect(0)], pictures)
    assert case.given[0].path == "happy/1.png" and set(paths_of(case.given[1:])) == {"happy/5.png", "happy/6.png"}
    pictures, _ = make_pictures([0] * 7 + [1] * 3, [0, 1, 1, 1, 1, 1, 1, 4, 4, 4], pixels=pixels)
    (case,) = neighbours.collect([suspect(0)], pictures)
    assert paths_of(case.given) == ["happy/1.png", "happy/2.png", "happy/3.png"] and len(case.suggested) == 3


def test_suspects_are_neighbours_where_a_class_has_too_few_others():
    pictures, _ = make_pictures([0] * 6 + [1] * 3)
    (case, _) = neighbours.collect([suspect(0), suspect(7, "sad", "happy")], pictures)
    assert sorted(paths_of(case.suggested)) == ["sad/6.png", "sad/7.png", "sad/8.png"]


def test_a_class_that_is_all_of_one_group_has_no_neighbour():
    pictures, _ = make_pictures([0] * 3 + [1] * 4, [0, 0, 0, 1, 1, 1, 2])
    (case,) = neighbours.collect([suspect(1)], pictures)
    assert case.given == () and len(case.suggested) == 3


def test_pictures_are_small_and_no_larger_than_they_are():
    pixels = [draw_stripe(20 * place, 300) for place in range(8)]
    pictures, _ = make_pictures([0] * 4 + [1] * 4, pixels=pixels)
    (case,) = neighbours.collect([suspect(0)], pictures)
    sides = [decode(jpeg).shape for jpeg in (case.jpeg, case.given[0].jpeg, case.suggested[0].jpeg)]
    assert sides == [(144, 144, 3), (88, 88, 3), (88, 88, 3)]
    pictures, _ = make_pictures([0] * 4 + [1] * 4)
    (case,) = neighbours.collect([suspect(0)], pictures)
    assert decode(case.jpeg).shape == decode(case.given[0].jpeg).shape == (64, 64, 3)


def decode(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_of_many_pictures_the_first_of_each_class_are_looked_at(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_COMPARED", 12)
    pictures, album = make_pictures([0, 1] * 20)
    neighbours.collect([suspect(0)], pictures)
    assert album.asked[1] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_forty_suspects_are_shown_at_most_and_of_none_nothing_is_read():
    pictures, album = make_pictures([0, 1] * 50)
    assert neighbours.collect([], pictures) == () and album.asked == []
    found = neighbours.collect([suspect(2 * place) for place in range(45)], pictures)
    assert [case.suspect.place for case in found] == list(range(0, 80, 2))
