"""Properties of the split."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.plan import make_plan
from harness.dataset.curation.splits import assign_splits
from harness.dataset.listing.listed import Listed, Listing

classes = st.dictionaries(st.sampled_from(["happy", "sad", "angry"]), st.integers(1, 9), min_size=1)
group_sets = st.dictionaries(st.text(min_size=1, max_size=6), classes, min_size=1, max_size=60)


@given(group_sets, st.integers(0, 99))
def test_every_group_is_on_one_side_whatever_the_order(groups, seed):
    shuffled = list(groups.items())
    random.Random(seed).shuffle(shuffled)
    sides = assign_splits(groups, validation=0.2, test=0.1, seed=seed)
    assert sides == assign_splits(dict(shuffled), validation=0.2, test=0.1, seed=seed)
    assert set(sides) == set(groups)
    assert set(sides.values()) <= {"train", "validation", "test"}


@given(st.integers(2, 200), st.integers(2, 200), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 99))
def test_shares_of_single_pictures_are_exact_to_one_picture(num_happy, num_sad, validation, seed):
    groups = {f"h{i}": {"happy": 1} for i in range(num_happy)} | {f"s{i}": {"sad": 1} for i in range(num_sad)}
    sides = assign_splits(groups, validation=validation, seed=seed)
    found = Counter((key[0], side) for key, side in sides.items())
    for letter, total in (("h", num_happy), ("s", num_sad)):
        assert abs(found[letter, "validation"] - validation * total) <= 1
        assert found[letter, "validation"] >= 1 and found[letter, "train"] >= 1


@given(group_sets, st.integers(0, 99))
def test_a_class_with_two_groups_of_its_own_is_in_train_and_validation(groups, seed):
    sides = assign_splits(groups, validation=0.2, seed=seed)
    for name in {name for counts in groups.values() for name in counts}:
        own = [key for key, counts in groups.items() if set(counts) == {name}]
        if len(own) >= 2:
            present = {sides[key] for key, counts in groups.items() if name in counts}
            assert present == {"train", "validation"}


def test_another_seed_gives_another_split():
    groups = {f"g{i}": {"happy": 1} for i in range(50)}
    assert assign_splits(groups, validation=0.2, seed=0) != assign_splits(groups, validation=0.2, seed=1)


def test_no_validation_share_leaves_everything_in_train():
    assert assign_splits({"a": {"x": 1}, "b": {"x": 2}}, validation=0.0) == {"a": "train", "b": "train"}


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([0.0, 0.1]))
def test_added_groups_move_only_old_ones_beside_the_ends_of_a_split(seed, validation, test):
    old = {f"old{seed}-{i}": {"happy": 1} for i in range(300)}
    new = {f"new{seed}-{i}": {"happy": 1} for i in range(30)}
    before = assign_splits(old, validation=validation, test=test, seed=seed)
    after = assign_splits(old | new, validation=validation, test=test, seed=seed)
    moved = [key for key in old if before[key] != after[key]]
    assert len(moved) <= 20
    # Whoever left a held-out split went back to train: nothing that was held out becomes another held-out picture.
    assert all("train" in (before[key], after[key]) for key in moved)


def test_a_given_split_is_kept_and_the_rest_fills_up_around_it():
    groups = {f"g{i}": {"happy": 1, "sad": 1} for i in range(100)}
    fixed = {f"g{i}": "validation" for i in range(8)} | {f"g{i}": "train" for i in range(8, 40)}
    sides = assign_splits(groups, validation=0.2, seed=3, fixed=fixed)
    assert {key: sides[key] for key in fixed} == fixed
    assert Counter(sides.values()) == {"train": 80, "validation": 20}


def test_the_only_group_of_a_class_is_trained_on():
    groups = {"a": {"happy": 5}, **{f"s{i}": {"sad": 1} for i in range(9)}}
    assert assign_splits(groups, validation=0.6, seed=1)["a"] == "train"


def test_a_group_too_large_for_validation_is_left_out_and_smaller_ones_fill_it():
    groups = {"crowd": {"happy": 500}, **{f"g{i}": {"happy": 5} for i in range(100)}}
    for seed in range(10):
        sides = assign_splits(groups, validation=0.2, seed=seed)
        assert sides["crowd"] == "train"
        assert sum(groups[key]["happy"] for key, side in sides.items() if side == "validation") == 200


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (
            {"group_by": "folder"},
            "no picture is left for validation: of each class of faces at least one group is for training, and its 8 "
            "pictures are 2 groups (the folder below the class). Let split.group_by, which is folder, make smaller "
            "groups (none: every picture by itself), or add pictures of other groups. Without validation: "
            "--split.validation 0, and no training takes these records.",
        ),
        ({"group_by": "folder", "validation": 0.0, "test": 0.2}, "no picture is left for test: "),
        ({"group_by": "folder", "validation": 0.0}, None),
        ({"group_by": "none"}, None),
    ],
)
def test_a_split_that_is_asked_for_and_has_no_picture_is_refused(split, expected):
    paths = [f"{folder}/{index}.png" for folder in ("happy/ann", "sad/bob") for index in range(4)]
    found = [Finding(path, path.partition("/")[0], pixels_sha256=path) for path in paths]
    listing = Listing(tuple(Listed(item.path, item.class_name) for item in found), ("happy", "sad"))
    config = Config.model_validate({"data": {"images": "faces"}, "split": split})
    if expected is None:
        make_plan(found, listing, config, lambda kept: [])
        return
    with pytest.raises(DataError) as refused:
        make_plan(found, listing, config, lambda kept: [])
    assert str(refused.value).startswith(expected)
