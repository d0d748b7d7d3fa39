"""JSON files of a known form: whatever is in them, they are read or refused in a phrase."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harness.base import json_files

FORM = TypeAdapter(dict[str, int])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


def test_a_file_of_its_form_is_read(tmp_path):
    (tmp_path / "file").write_text('{"a": 1}')
    assert json_files.read(tmp_path / "file", FORM) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": "1"}', "a is '1': Input should be a valid integer"),
        (b'{"a": 1.0}', "a is 1.0: Input should be a valid integer"),
        (b'["' + b"x" * 1000 + b'"]', "Input should be an object"),
        (b"", "Invalid JSON: EOF"),
        (b'{"a": 1', "Invalid JSON: EOF"),
        (b'{"a": "\xff"}', "Invalid JSON: invalid unicode"),
        (b"[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        (b'{"a":' * 100_000, "Invalid JSON: recursion limit exceeded"),
    ],
)
def test_what_is_wrong_is_said_in_a_few_words(tmp_path, content, expected):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(json_files.WrongForm) as refused:
        json_files.read(tmp_path / "file", FORM)
    assert str(refused.value).startswith(expected) and len(str(refused.value)) < 300


def test_what_cannot_be_read_is_said(tmp_path):
    for path, expected in ((tmp_path / "gone", "No such file"), (tmp_path, "it is no file")):
        with pytest.raises(json_files.WrongForm, match=expected):
            json_files.read(path, FORM)


def test_a_giant_is_not_read(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(json_files.WrongForm, match="it has more than 256 MiB"):
        json_files.read(tmp_path / "file", FORM)


@given(anything.map(json.dumps).map(str.encode) | st.binary())
@example(b'{"a": 1' + b"0" * 10_000 + b"}")
def test_nothing_but_the_form_or_a_phrase_comes_of_anything(content):
    try:
        found = json_files.parse(content, FORM)
    except json_files.WrongForm as refused:
        assert 0 < len(str(refused)) < 500
    else:
        assert all(isinstance(name, str) and isinstance(value, int) for name, value in found.items())
