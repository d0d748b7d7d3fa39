"""What a person is told of a split: how much near copies bind together, which names recur or are numbered in series,
which class it lacks.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dataset.curation.findings import Finding
from harness.dataset.report.data_warnings import describe_namesakes, describe_series, describe_split

CURE = "set clean.near_copies: ignore"


def make(name: str, groups: list[int], split: str = "train") -> list[list[Finding]]:
    """Pictures of a class in near groups of these sizes; a group of one is a picture like no other."""
    made = []
    for place, size in enumerate(groups):
        made.append(
            [
                Finding(
                    f"{name}/{place}-{index}",
                    name,
                    split=split,
                    group=f"{name}{place}",
                    near_copy_of=f"{name}/{place}-0" if size > 1 else "",
                )
                for index in range(size)
            ]
        )
    return made


def tell(groups: list[list[Finding]], asked=("train",)) -> list[str]:
    return describe_split(
        [group for group in groups if len(group) > 1], [item for group in groups for item in group], asked
    )


def test_a_few_copies_are_nothing_to_tell():
    assert tell(make("a", [1] * 90 + [2, 3, 5]) + make("b", [9, 1, 1])) == []


def test_a_group_of_over_a_fifth_of_a_class_is_told_with_its_numbers():
    told = tell(make("a", [1] * 400) + make("b", [1] * 40 + [12]) + make("c", [30, 40]))
    assert len(told) == 1 and CURE in told[0]
    assert told[0].startswith(
        "the largest group of near copies holds 40 of 522 pictures, among them 40 of the 70 of c, and such groups over "
        "a fifth of 1 more class. A group is on one side of the split as a whole"
    )


def test_a_group_of_a_twentieth_of_all_is_told():
    told = tell(make("a", [1] * 400 + [30]))
    assert len(told) == 1 and told[0].startswith(
        "the largest group of near copies holds 30 of 430 pictures, all on one"
    )


def test_a_class_most_of_which_are_copies_of_another_is_told():
    told = tell(make("a", [2] * 30 + [1] * 40) + make("b", [1] * 100))
    assert len(told) == 1 and CURE in told[0]
    assert told[0].startswith("60 of the 100 pictures of a are near copies of another, in 30 groups. A group is on one")


def test_a_split_that_lacks_a_class_is_told_with_what_gives_it_one():
    both = make("a", [1] * 5) + make("a2", [1], "validation")
    person = [Finding(f"c/{index}", "c", split="train", group="ann") for index in range(7)]
    assert tell([*both, *make("b", [9])], ("train", "validation"))[0].startswith(
        "train has no picture of a2: there is only 1 of it, and nothing is learnt of it."
    )
    assert tell([*both[:5], *make("a", [1], "validation"), *make("b", [9])], ("train", "validation")) == [
        "validation has no picture of b: its 9 pictures are one group, which stays whole, and no figure there says "
        "anything of it. If they are different things that look alike, as before a fixed camera, set "
        "clean.near_copies: ignore. If they are one thing seen many times, as in a film, leave it so and add others."
    ]
    assert tell([*both[:5], *make("a", [1], "validation"), person], ("train", "validation")) == [
        "validation has no picture of c: its 7 pictures are one group, which stays whole, and no figure there says "
        "anything of it. Add pictures of others, or let split.group_by make smaller groups."
    ]


def test_a_split_that_was_given_is_told_as_such():
    groups = [*make("a", [1] * 5), *make("b", [30]), *make("a", [1], "test")]
    assert describe_split([], [item for group in groups for item in group], ("train", "test"), ("train", "test")) == [
        "test has no picture of b: as it was given, and no figure there says anything of it. Add pictures of it."
    ]


def test_each_class_that_a_split_lacks_has_a_sentence_and_of_many_the_others_are_counted():
    groups = [group for name in "abcdefgh" for group in make(name, [1])] + make("z", [1], "validation") + make("z", [1])
    assert tell(groups, ("train", "validation")) == [
        *(
            f"validation has no picture of {name}: there is only 1 of it, and no figure there says anything of it."
            for name in "abcd"
        ),
        "validation has no picture of e: there is only 1 of it, and no figure there says anything of it. Add pictures "
        "of it.",
        "validation has no picture of 3 more classes either: f, g, h.",
    ]


def test_a_cure_is_told_once():
    told = tell(make("a", [20]) + make("b", [1] * 9) + make("b", [1], "validation"), ("train", "validation"))
    assert len(told) == 2 and [CURE in sentence for sentence in told] == [False, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.sampled_from(["train", "validation"]))))
def test_any_groups_are_told_of_in_whole_sentences(drawn):
    groups = [group for name, size, split in drawn for group in make(name, [size], split)]
    told = tell(groups, ("train", "validation"))
    assert len(told) <= 1 + 2 * 3  # each class may be missing in each split
    assert all(sentence.endswith(".") and "  " not in sentence and len(sentence) < 700 for sentence in told)


def name(paths: list[str], group_of=lambda path: path) -> list[Finding]:
    return [Finding(path, path.partition("/")[0], group=group_of(path)) for path in paths]


SIZES = [f"apps/{side}/{letter}.png" for side in (22, 24) for letter in "abcdef"]


def test_names_that_recur_within_a_class_are_told_with_the_ways_out():
    told = describe_namesakes(name([*SIZES, "apps/alone.png"]))
    assert len(told) == 1 and told[0].startswith(
        "12 of 13 pictures are called like another of their class, such as apps/22/a.png and apps/24/a.png, and may be "
        "on either side of the split."
    )
    assert all(f"--split.group_by {rule}" in told[0] for rule in ("'^(.+)[.]'", "folder", "none"))


def test_names_tell_nothing_where_they_are_of_other_classes_one_group_few_or_the_minority():
    of_other_classes = [path.replace("apps/24", "places/24") for path in SIZES]
    assert describe_namesakes(name(of_other_classes)) == []
    assert describe_namesakes(name(SIZES, lambda path: path[-5])) == []  # as near copies join them
    assert describe_namesakes(name(SIZES[:4] + SIZES[6:10])) == []
    assert describe_namesakes(name(SIZES + [f"apps/{number}.png" for number in range(12)])) == []
    assert describe_namesakes([]) == []


PEOPLE = [
    f"{label}/{name}_{take:02d}.jpg"
    for label in ("sad", "happy")
    for name in ("Anna", "Ben", "Cleo")
    for take in range(4)
]


def test_several_series_of_a_class_are_told_with_the_rule_that_groups_them():
    told = describe_series(name([*PEOPLE, "sad/x.jpg"]))
    assert len(told) == 1 and told[0].startswith(
        "24 of 25 pictures are numbered in 6 series, the longest from sad/Anna_00.jpg to sad/Anna_03.jpg, and may be "
        "on either side of the split."
    )
    assert "--split.group_by '^(.+?)[-_ ]+[0-9]+[.]'" in told[0] and "--split.group_by none" in told[0]
    told = describe_series(name([path.replace("_0", "") for path in PEOPLE]))
    assert len(told) == 1 and "--split.group_by '^(.*[^0-9])[0-9]+[.]'" in told[0]


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [f"{label}/{label}_{number:03d}.png" for label in ("cat", "dog") for number in range(50)],
        [f"{label}/{number:05d}.png" for label in ("cat", "dog") for number in range(50)],
        [f"cat/{maker}_{number}.jpg" for maker in ("IMG", "DSC") for number in range(50)],
        [f"cat/{number:016x}.jpg" for number in range(3, 10**15, 10**13)],
        [*PEOPLE, *(f"sad/{number:x}z.jpg" for number in range(24))],
    ],
)
def test_one_series_or_none_tells_nothing(paths):
    assert describe_series(name(paths)) == []


def test_series_that_are_groups_already_tell_nothing():
    assert describe_series(name(PEOPLE, lambda path: path[:-6])) == []
