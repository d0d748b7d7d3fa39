"""Names and tables as text: one line each, lined up, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base import text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("happy", "happy"),
        ("glücklich 幸福", "glücklich 幸福"),
        ("ev\x1b[2Jil\x07", "ev\\x1b[2Jil\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("right \u202eto left", "right \\u202eto left"),
        ("no text \udce9", "no text \\udce9"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(name, expected):
    assert text.visible(name) == expected


@given(st.text())
def test_any_name_is_one_line_that_a_terminal_prints(name):
    shown = text.visible(name)
    assert shown.isprintable() and len(shown.splitlines()) <= 1
    assert len(text.shorten(name, 12)) <= 12


def test_a_long_name_keeps_both_ends():
    assert text.shorten("a" * 30 + "b" * 30, 12) == "aaaa…bbbbbbb"


def test_one_thing_is_singular():
    assert [text.count(number, "test picture") for number in (0, 1, 2000)] == [
        "0 test pictures",
        "1 test picture",
        "2,000 test pictures",
    ]


def test_of_many_names_the_first_are_listed():
    assert text.list_names(["happy", "sad"]) == "happy | sad"
    listed = text.list_names([f"class {number}" for number in range(1000)])
    assert listed.endswith("class 10 | class 11 | … (1,000 in all)") and len(listed) < 200


def test_columns_line_up_whatever_the_writing():
    rows = [("class", "pictures"), ("幸福", 5), ("cafe\u0301", 10), ("a\nb", 1)]
    assert text.format_table(rows).split("\n") == [
        "class  pictures",
        "幸福          5",
        "cafe\u0301         10",
        "a\\nb          1",
    ]


def test_a_terminal_gets_the_first_rows():
    rows = [(number,) for number in range(25)]
    assert text.cap_rows(rows) == (rows[:20], "and 5 more")
    assert text.cap_rows(rows[:20]) == (rows[:20], "")


@given(
    names=st.lists(st.text("ab幸.", min_size=1, max_size=30), min_size=2, max_size=15),
    num_rows=st.integers(0, 3),
    width=st.integers(40, 140),
)
def test_a_wide_table_becomes_several_that_fit_and_lose_no_cell(names, num_rows, width):
    rows = [names, *([f"{row}-{column}" for column in range(len(names))] for row in range(num_rows))]
    parts = text.split_columns(rows, width)
    for row, *others in zip(rows, *parts):
        assert [cell for part in others for cell in part[1:]] == row[1:] and {part[0] for part in others} == {row[0]}
    wide = [part for part in parts if max(map(text._width, text.format_table(part).splitlines())) > width]
    assert all(len(part[0]) == 2 for part in wide)


def test_a_table_that_fits_stays_one():
    rows = [("trial", "val_loss", "epochs"), ("000", "0.5000", "15")]
    assert text.split_columns(rows, 23) == [rows] and len(text.split_columns(rows, 22)) == 2
