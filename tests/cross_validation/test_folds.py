"""How pictures are divided: whole groups, each picture once, classes alike, and what cannot be divided."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.cross_validation import folds
from harness.cross_validation.folds import NUM_PARTS, Pictures


def make_pictures(labels, groups, names=("cat", "dog")) -> Pictures:
    return Pictures([f"{number}.png" for number in range(len(labels))], np.array(labels), groups, names)


def name_groups(numbers) -> list[str]:
    return [f"group {number}" for number in numbers]


@st.composite
def mixtures(draw):
    """Pictures of two to four classes in groups of any size, some of mixed classes, and a number of folds."""
    num_classes = draw(st.integers(2, 4))
    numbers = draw(st.lists(st.integers(0, 14), min_size=4, max_size=60))
    labels = draw(st.lists(st.integers(0, num_classes - 1), min_size=len(numbers), max_size=len(numbers)))
    names = [f"class {label}" for label in range(num_classes)]
    return make_pictures(labels, name_groups(numbers), names), draw(st.integers(2, 6)), draw(st.integers(0, 2**31))


@given(mixtures())
def test_no_group_is_in_two_folds_or_parts_and_every_picture_is_in_one(mixture):
    pictures, num_folds, seed = mixture
    try:
        folds.check(pictures, num_folds)
        found = folds.assign(pictures, num_folds, seed=seed)
    except DataError:
        assume(False)
    assert sorted(set(found.folds.tolist())) == list(range(num_folds))
    assert set(found.parts.tolist()) <= set(range(NUM_PARTS))
    for group in set(pictures.groups):
        inside = np.array(pictures.groups) == group
        assert len(set(zip(found.folds[inside].tolist(), found.parts[inside].tolist()))) == 1
    again = folds.assign(pictures, num_folds, seed=seed)
    assert (again.folds == found.folds).all() and (again.parts == found.parts).all()


def test_folds_have_as_many_pictures_of_each_class():
    labels = [0] * 60 + [1] * 40
    found = folds.assign(make_pictures(labels, name_groups(range(100))), 5, seed=0)
    counts = [np.bincount(np.array(labels)[found.folds == fold]).tolist() for fold in range(5)]
    assert counts == [[12, 8]] * 5
    parts = [np.bincount(np.array(labels)[found.parts == part]).tolist() for part in range(NUM_PARTS)]
    assert parts == [[15, 10]] * 4


def test_another_seed_divides_otherwise():
    pictures = make_pictures([0, 1] * 20, name_groups(range(40)))
    assert (folds.assign(pictures, 5, seed=0).folds != folds.assign(pictures, 5, seed=1).folds).any()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([1, 1, 2, 2, 3, 3], "6 pictures in 3 groups cannot be divided into 5 folds.*Give at most --folds 3"),
        ([1, 2, 3, 4, 5, 6], "no class has as many pictures as there are folds, 5: the largest has 3"),
        ([1] * 6, "all 6 pictures are of one group, which is never divided"),
    ],
)
def test_fewer_groups_than_folds_are_refused_with_what_to_do(groups, words):
    with pytest.raises(DataError, match=words):
        folds.check(make_pictures([0, 1, 0, 1, 0, 1], name_groups(groups)), 5)


def test_a_class_of_a_single_group_is_refused():
    pictures = make_pictures([0, 0, 0, 0, 1, 1], name_groups([1, 2, 3, 4, 5, 5]))
    with pytest.raises(DataError, match="all pictures of dog are of one group: a model that is measured on them has"):
        folds.check(pictures, 2)


def test_classes_with_few_groups_or_none_are_warned_of():
    pictures = make_pictures([0, 0, 0, 1, 1], name_groups(range(5)), ("cat", "dog", "owl"))
    assert folds.check(pictures, 3) == [
        "there is no picture of owl: no figure says anything of that",
        "fewer than 3 groups have pictures of dog: some folds have none, and figures of that class go by few groups",
    ]
