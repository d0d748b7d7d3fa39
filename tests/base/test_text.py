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
