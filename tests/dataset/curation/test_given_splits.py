"""Splits that come with the pictures: kept as they are, completed, and looked through for leaks."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.dataset.curation.splits import Leaks, complete_given, find_leaks


def complete(members, given_splits, *, validation=0.2, test=0.0, move=False):
    met = [(members[path][0], split) for path, split in given_splits.items() if path in members]
    return complete_given(members, given_splits, met, validation=validation, test=test, seed=1, move=move)


def pictures(num: int) -> dict[str, tuple[str, str]]:
    """Pictures of two classes, each a group of its own."""
    return {f"{name}/{index}": (f"{name}/{index}", name) for name in ("happy", "sad") for index in range(num)}


def test_a_split_that_is_given_is_kept():
    members = pictures(20)
    wanted = {path: ("train", "validation", "test")[index % 3] for index, path in enumerate(members)}
    assert complete(members, wanted, validation=0.5, test=0.5) == wanted


def test_validation_is_cut_from_train_where_there_is_none():
    members = pictures(100)
    wanted = {path: "test" if path.endswith("9") else "train" for path in members}
    found = complete(members, wanted)
    assert {path for path, split in found.items() if split == "test"} == {p for p in members if p.endswith("9")}
    assert Counter((path.partition("/")[0], split) for path, split in found.items()) == {
        ("happy", "train"): 72,
        ("happy", "validation"): 18,
        ("happy", "test"): 10,
        ("sad", "train"): 72,
        ("sad", "validation"): 18,
        ("sad", "test"): 10,
    }
    assert "test" not in complete(members, dict.fromkeys(members, "train")).values()


def test_a_picture_without_a_split_goes_where_its_group_is_held_out():
    members = {"a": ("one", "happy"), "b": ("one", "happy"), "c": ("two", "happy"), "d": ("three", "sad")}
    found = complete(members, {"a": "test", "d": "train", "e": "validation"})
    assert found == {"a": "test", "b": "test", "c": "train", "d": "train"}


def test_a_group_moves_to_where_it_is_held_out():
    members = {"a": ("one", "happy"), "b": ("one", "happy"), "c": ("one", "sad"), "d": ("two", "sad")}
    wanted = {"a": "train", "b": "validation", "c": "test", "d": "train"}
    assert complete(members, wanted) == wanted
    assert complete(members, wanted, move=True) == {"a": "test", "b": "test", "c": "test", "d": "train"}


def test_leaks_are_counted_with_an_example():
    placed = {"a": ("one", "train"), "b": ("one", "test"), "c": ("one", "test"), "d": ("two", "test")}
    assert find_leaks(placed) == Leaks(frozenset({"one"}), 2, ("a", "b"), ("train", "test"))
    assert find_leaks({"a": ("one", "train"), "b": ("two", "test")}) is None


_SPLITS = st.sampled_from(["", "train", "validation", "test"])
_MEMBERS = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["happy", "sad"]), _SPLITS), min_size=1, max_size=40)


@given(_MEMBERS, st.floats(0, 0.5), st.floats(0, 0.4))
def test_moved_groups_never_leak_and_kept_splits_are_kept(listed, validation, test):
    members = {str(index): (str(key), name) for index, (key, name, _) in enumerate(listed)}
    wanted = {str(index): split for index, (_, _, split) in enumerate(listed) if split}
    kept = complete(members, wanted, validation=validation, test=test)
    assert all(kept[path] == split for path, split in wanted.items() if split != "train")
    moved = complete(members, wanted, validation=validation, test=test, move=True)
    assert set(moved) == set(kept) == set(members)
    assert find_leaks({path: (members[path][0], split) for path, split in moved.items()}) is None
