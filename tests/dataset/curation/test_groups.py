"""Lists of groups as people write them."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.dataset.curation.groups import assign_groups

PATHS = ("happy/a.png", "happy/b.png", "sad/c.png")


def read(folder, content: str | bytes, rule: str = "auto") -> dict[str, str]:
    (folder / "groups.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return assign_groups(PATHS, folder, rule)[0]


@pytest.mark.parametrize(
    "content",
    [
        "path,group\nhappy/a.png,ann\nsad/c.png,ann\n",
        "\ufeffgroup,path\r\nann,happy/a.png\r\n\r\nann,sad/c.png",
        "note,path,group\n,happy/a.png,ann,and,more\n,sad/c.png,ann\n,happy/b.png\n\n,happy/b.png,\n",
        "path,group\n'=1/x.png,bob\nhappy/a.png,ann\nsad/c.png,ann\nnobody.png,ann\n",
    ],
)
def test_groups_are_read_in_every_form(tmp_path, content):
    assert read(tmp_path, content) == {"happy/a.png": "ann", "happy/b.png": "happy/b.png", "sad/c.png": "ann"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("path,person\nhappy/a.png,ann,too,much\n", "it has path, person"),
        ("file\nhappy/a.png,ann,x\n", "it has file"),
        ("path,group\n", "it has nothing"),
        ("", "it has nothing"),
        ("\n\n", "it has nothing"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, content, found):
    with pytest.raises(DataError, match=r"groups.csv must have the columns path and group; " + found):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [b"path,group\nhappy/\xe4.png,x\n", b'path,group\n"' + 200_000 * b"a" + b'",x\n'])
def test_a_list_that_is_no_text_or_too_large_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"split.group_by needs .*groups.csv, which cannot be read"):
        read(tmp_path, content)


def test_a_pipe_in_place_of_a_list_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "people.csv")
    with pytest.raises(DataError, match=r"split.group_by needs .*people.csv, which cannot be read"):
        assign_groups(PATHS, tmp_path, "people.csv:person")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=40) | st.text("path,group\n\r\"'=\0", max_size=40).map(lambda text: f"path,group{text}".encode())
)
def test_no_list_ends_in_anything_but_groups_or_one_sentence(tmp_path, content):
    try:
        assert set(read(tmp_path, content)) == set(PATHS)
    except DataError as error:
        assert "groups.csv" in str(error)
