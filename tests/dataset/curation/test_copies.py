"""What becomes of copies of one picture, and what is said of them, for any mixture of equal and nearly equal ones."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from harness.config.dataset_sections import CleanConfig
from harness.dataset.curation import duplicates
from harness.dataset.curation.findings import KEPT, Finding
from harness.dataset.images.rejection import Reason

# Pictures by what they show, the same digest for the same pixels, and the class that each is in.
PICTURES = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["cat", "dog", "cow"])), max_size=12)
NEAR = st.sets(st.sampled_from(list(combinations("abcde", 2))))
POLICIES = st.sampled_from(["drop", "keep"])


def judge(pictures, near, label_conflicts, near_conflicts):
    """The findings by path and the conflicts, where each digest of a pair in `near` looks nearly like the other."""
    found = [
        Finding(f"{name}/{number:02d}.png", name, verdict=KEPT, pixels_sha256=digest)
        for number, (digest, name) in enumerate(pictures)
    ]
    policies = CleanConfig(label_conflicts=label_conflicts, near_conflicts=near_conflicts)
    copies = duplicates.find_equal(found)
    first = {item.pixels_sha256: item.path for item in copies.distinct}
    pairs = [(first[one], first[other]) for one, other in near if one in first and other in first]
    copies = duplicates.add_near(copies, pairs)
    judged = {item.path: item for item in duplicates.judge(found, copies, policies)}
    return judged, copies.find_conflicts(policies)


@given(PICTURES, NEAR, POLICIES, POLICIES)
def test_what_is_said_of_a_conflict_is_what_became_of_both_pictures(pictures, near, label_conflicts, near_conflicts):
    judged, conflicts = judge(pictures, near, label_conflicts, near_conflicts)
    for conflict in conflicts:
        first, second = judged[conflict.first], judged[conflict.second]
        assert first.class_name != second.class_name
        assert (first.pixels_sha256 == second.pixels_sha256) == conflict.is_exact
        if (label_conflicts if conflict.is_exact else near_conflicts) == "drop":
            assert first.reason == second.reason == Reason.LABEL_CONFLICT
        elif "drop" not in (label_conflicts, near_conflicts):
            assert first.is_kept and second.is_kept
        elif not conflict.is_exact:
            assert first.is_kept and second.is_kept  # no near conflict is told of what equal ones leave out


@given(PICTURES, NEAR, POLICIES, POLICIES)
def test_a_picture_is_noted_or_left_out_for_a_conflict_only_if_that_is_told(
    pictures, near, label_conflicts, near_conflicts
):
    judged, conflicts = judge(pictures, near, label_conflicts, near_conflicts)
    told = {path for conflict in conflicts for path in (conflict.first, conflict.second)}
    digests = {(judged[path].pixels_sha256, judged[path].class_name) for path in told}
    for item in judged.values():
        if item.reason == Reason.LABEL_CONFLICT or {"label_conflict", "near_conflict"} & {*item.notes.split()}:
            assert (item.pixels_sha256, item.class_name) in digests


def test_a_picture_that_is_near_to_left_out_ones_stays_without_a_word():
    """Boxes for letters that a font lacks are one picture in many classes; a letter may look nearly like such a box."""
    judged, conflicts = judge([("a", "cat"), ("a", "dog"), ("b", "cow")], {("a", "b")}, "drop", "drop")
    assert [conflict.is_exact for conflict in conflicts] == [True]
    assert [item.path for item in judged.values() if item.is_kept] == ["cow/02.png"]
    assert judged["cow/02.png"].notes == ""
