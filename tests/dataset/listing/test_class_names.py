"""Which classes are taken, merged, and in which order."""

import shlex
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError, DataError
from harness.config import settings
from harness.dataset.listing.class_names import also_merged, choose, describe_alike, sort_names, write_list

CAFE_NFC, CAFE_NFD = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "2", "1", "0"], ["0", "1", "2", "10"]),
        (["-1", "1", "0.5", "-10"], ["-10", "-1", "0.5", "1"]),
        (["step10", "step2", "step"], ["step", "step2", "step10"]),
        (["20-29", "0-9", "10-19", "100+"], ["0-9", "10-19", "20-29", "100+"]),
        (["02", "2", "1"], ["1", "02", "2"]),
        (["b", "B", "a", "\xe4"], ["B", "a", "b", "\xe4"]),
    ],
)
def test_numbers_sort_by_their_values(names, expected):
    assert sort_names(names) == expected


@given(st.sets(st.integers(0, 10**6)))
def test_numeric_names_are_in_the_order_of_the_numbers(numbers):
    assert sort_names(map(str, numbers)) == [str(number) for number in sorted(numbers)]


@given(st.sets(st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=5)))
def test_names_without_digits_are_in_the_order_of_their_characters(names):
    assert sort_names(names) == sorted(names)


@given(st.lists(st.text("a10-. \u0661", max_size=6), unique=True), st.randoms())
def test_the_order_does_not_depend_on_how_names_come(names, random):
    shuffled = random.sample(names, len(names))
    assert sort_names(shuffled) == sort_names(names)


def test_a_list_takes_some_in_its_order():
    chosen = choose(["angry", "happy", "sad"], ("sad", "happy"), "data")
    assert chosen.class_names == ("sad", "happy")
    assert chosen.class_of == {"sad": "sad", "happy": "happy"}
    assert not chosen.is_merged


def test_a_mapping_merges():
    chosen = choose(["cry", "happy", "sad", "smile"], {"sad": ("sad", "cry"), "happy": ("happy", "smile")}, "data")
    assert chosen.class_names == ("sad", "happy")
    assert chosen.class_of == {"sad": "sad", "cry": "sad", "happy": "happy", "smile": "happy"}
    assert chosen.is_merged


def test_an_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"names 'hapy', but data has happy \| sad. Did you mean 'happy'\?"):
        choose(["happy", "sad"], ("hapy", "sad"), "data")
    with pytest.raises(DataError, match="Did you mean 'Sad '"):
        choose(["happy", "Sad "], ("happy", "sad"), "data")
    assert choose(["happy"], ("happy", "sad"), "data", is_partial=True).class_of == {"happy": "happy"}


def test_a_name_is_found_in_the_other_unicode_form():
    assert choose([CAFE_NFD, "bar"], (CAFE_NFC, "bar"), "data").class_of == {CAFE_NFD: CAFE_NFC, "bar": "bar"}


@pytest.mark.parametrize("names", [("Happy", "happy"), ("happy", "happy "), (CAFE_NFC, CAFE_NFD)])
def test_names_that_hardly_differ_are_refused_with_both_unless_they_are_asked_for(names):
    with pytest.raises(DataError, match="differ in case, blanks or Unicode form only") as refused:
        choose([*names, "sad"], None, "data")
    assert all(ascii(name) in str(refused.value) for name in names)
    assert choose([*names, "sad"], names, "data").class_names == names
    assert choose([*names, "sad"], {"happy": names, "sad": ("sad",)}, "data").class_names == ("happy", "sad")


def test_names_that_look_alike_are_told():
    assert describe_alike(["happy", "sad", "happier", "unhappy", "a b", "ab"]) == []
    (first, second) = describe_alike(["Happy", "happy ", "happy", "sad", "stra\xdfe", "STRASSE"])
    assert "'Happy', 'happy ', 'happy' look alike: they are 3 classes" in first
    assert "merge them by data.classes" in second


def test_a_merged_set_is_found_under_its_own_names_too():
    assert also_merged({"happy": ("joy", "smile"), "sad": ("sad",)}) == {
        "happy": ("happy", "joy", "smile"),
        "sad": ("sad",),
    }
    swapped = {"a": ("b",), "b": ("a",)}
    assert also_merged(swapped) == swapped
    assert also_merged(("sad", "happy")) == {"sad": ("sad",), "happy": ("happy",)}
    assert also_merged(None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[happy, sad]", ("happy", "sad")),
        ("[0, 10, 007]", ("0", "10", "007")),
        ("[no, yes, null, 1e3, 2024-11-25]", ("no", "yes", "null", "1e3", "2024-11-25")),
        ("{happy: [happy, smile], sad: cry}", {"happy": ("happy", "smile"), "sad": ("cry",)}),
        ("{1: [0, 1], 2: [2]}", {"1": ("0", "1"), "2": ("2",)}),
        ("null", None),
    ],
)
def test_names_are_text_in_a_flag_and_in_a_file(tmp_path, text, expected):
    given_flag = settings.make_config({"data.classes": settings.parse_flag("data.classes", text)})
    assert given_flag.data.classes == expected
    (tmp_path / "config.yaml").write_text(f"data:\n  classes: {text}\n")
    config = settings.make_config(settings.read_file(tmp_path / "config.yaml"))
    assert config.data.classes == expected
    (tmp_path / "again.yaml").write_text(settings.as_yaml(config))
    again = settings.make_config(settings.read_file(tmp_path / "again.yaml")).data.classes
    assert again == expected and list(again or ()) == list(expected or ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("happy", "it should be a list, such as"),
        ("[happy, happy]", "it should name 'happy' once"),
        ("{happy: [a], happy: [b]}", "it should name 'happy' once"),
        ("{happy: [a], sad: [a]}", "it should name 'a' once"),
        ("[happy]", "two classes or more"),
        ("[happy, '']", "names of classes"),
        ("[[happy], sad]", "names of classes"),
        ("{happy: [], sad: [sad]}", "data.classes"),
        ("{happy: {a: b}, sad: [sad]}", "data.classes"),
    ],
)
def test_what_names_no_classes_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        settings.make_config({"data.classes": settings.parse_flag("data.classes", text)})


def test_the_advice_on_names_that_look_alike_can_be_typed():
    with pytest.raises(DataError) as refused:
        choose(["a'b\n", "a'b"], None, "here")
    assert r"""--data.classes '["a\x27b", "a\x27b\n", …]'""" in str(refused.value)


names_of_folders = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(st.lists(names_of_folders, min_size=2, max_size=6, unique_by=lambda name: name.strip().casefold()))
def test_a_list_that_is_to_be_typed_is_read_as_the_same_names(names):
    (word,) = shlex.split(write_list(names))
    try:
        asked = settings.parse_flag("data.classes", word).value
    except ConfigError:  # names that no folder of a class has, such as blanks alone
        assert any(name != name.strip() or not name.isprintable() for name in names)
        return
    assert list(asked) == names


def test_a_list_that_is_to_be_typed_is_quoted_no_more_than_it_needs():
    assert write_list(["cat", "Kaffee & Kuchen", "1", "no", "it's", "a, b"]) == (
        """'[cat, Kaffee & Kuchen, "1", "no", "it\\x27s", "a, b"]'"""
    )
