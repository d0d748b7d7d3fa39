"""Whatever a cell holds comes back from CSV, and a spreadsheet runs none of it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base import csv_files

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# What files are called is seldom what CSV stumbles over, so that is drawn far more often than it occurs.
CELL = TEXT | st.text("'=+-@\t\r\n\", a", max_size=6)


def write(rows) -> str:
    file = io.StringIO(newline="")
    csv_files.write_rows(file, rows)
    return file.getvalue()


@given(st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=5))
def test_every_text_comes_back(rows):
    assert list(csv_files.read_rows(io.StringIO(write(rows), newline=""))) == rows


@given(st.lists(CELL, min_size=1, max_size=4))
def test_no_cell_begins_as_a_formula_does(row):
    (cells,) = csv.reader(io.StringIO(write([row]), newline=""))
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in cells)


def test_ordinary_rows_look_as_they_always_did():
    assert write([["path", "width"], ["happy/a, b.png", 64], ['say "x"', -0.5]]) == (
        'path,width\n"happy/a, b.png",64\n"say ""x""",-0.5\n'
    )


def test_a_carriage_return_ends_no_row():
    assert write([["Icon\r", "x"]]) == '"Icon\r",x\n'


def test_a_formula_gets_an_apostrophe_and_an_apostrophe_none():
    assert write([["=cmd|' '!A0", "'tis", "'=1"]]) == "'=cmd|' '!A0,'tis,''=1\n"


def test_files_of_older_versions_are_read():
    text = "happy/'a.png,'quoted',=1,-x\n"
    assert list(csv_files.read_rows(io.StringIO(text, newline=""))) == [["happy/'a.png", "'quoted'", "=1", "-x"]]


def test_what_is_no_csv_is_a_value_error():
    with pytest.raises(ValueError, match="field larger than field limit"):
        list(csv_files.read_rows(io.StringIO("x" * 200_000)))
