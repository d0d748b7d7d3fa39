"""What a command line names: files, folders, patterns and lists; each file once, in the order of the names."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError, DataError
from harness.prediction import named_files


@pytest.fixture
def there(tmp_path, monkeypatch):
    for name in ("b.png", "a.png", "sub/c.png", "sub/.cache/d.png", "sub/Thumbs.db", "[x].png", "empty/"):
        path = tmp_path / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def list_files(*names, content=b"", **options):
    return named_files.list_files(names, follow_links=False, file=io.BytesIO(content), **options)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b.png", "a.png", "b.png"], ["b.png", "a.png", "b.png"]),
        (["gone.png", "a.png"], ["gone.png", "a.png"]),
        (["sub"], ["sub/c.png"]),
        (["sub/", "a.png"], ["sub/c.png", "a.png"]),
        (["./a.png"], ["./a.png"]),
        (["*.png"], ["[x].png", "a.png", "b.png"]),
        (["**/*.png"], ["[x].png", "a.png", "b.png", "sub/c.png"]),
        (["s*"], ["sub/c.png"]),
        (["[ab].png"], ["a.png", "b.png"]),
        (["[x].png"], ["[x].png"]),
        (["*.gif"], ["*.gif"]),
    ],
)
def test_files_folders_and_patterns_are_listed_in_the_order_of_their_names(there, names, expected):
    assert list_files(*names) == expected


@pytest.mark.parametrize("names", [("sub", "sub"), ("sub", "sub/"), ("sub", "sub/../sub"), ("sub", "link")])
def test_a_folder_that_is_given_twice_is_taken_once(there, names, caplog, monkeypatch):
    monkeypatch.setattr(named_files.log, "propagate", True)
    (there / "link").symlink_to("sub")
    with caplog.at_level("INFO", "harness"):
        assert list_files(*names) == ["sub/c.png"]
    assert "taken once of folders that were given twice, or lie in one another: 1 file" in caplog.text
    assert "left out as junk by their names: 4 files" in caplog.text


def test_a_pattern_that_nothing_matches_is_told_as_one(there, caplog, monkeypatch):
    monkeypatch.setattr(named_files.log, "propagate", True)
    assert list_files("s*/*.gif", "a.png") == ["s*/*.gif", "a.png"]
    assert "no file is called like the pattern s*/*.gif" in caplog.text


def test_an_empty_folder_is_told(there, caplog, monkeypatch):
    monkeypatch.setattr(named_files.log, "propagate", True)
    assert list_files("empty", "a.png") == ["a.png"]
    assert "empty holds no file" in caplog.text


def test_an_empty_name_is_not_the_current_folder(there):
    with pytest.raises(ConfigError, match="an empty text was given for a file"):
        list_files("a.png", "")


@pytest.mark.parametrize(
    ("content", "separator", "expected"),
    [
        (b"", b"\n", []),
        (b"\n\n", b"\n", []),
        (b"x.png", b"\n", ["x.png"]),
        (b"x.png\r\n\r\n  \r\ny z.png\r\n", b"\n", ["x.png", "y z.png"]),
        (b"\xef\xbb\xbfx.png\ny.png\n", b"\n", ["x.png", "y.png"]),
        (b" x.png \n", b"\n", [" x.png "]),
        (b"sub\nb*.png\n", b"\n", ["sub/c.png", "b*.png"]),
        (b"a\nb.png\0c\r\0\0", b"\0", ["a\nb.png", "c\r"]),
        (b"\xff\xfe.png\n", b"\n", ["\udcff\udcfe.png"]),
    ],
)
def test_a_list_is_read_as_it_was_written(there, content, separator, expected):
    assert list_files("a.png", "-", content=content, separator=separator) == ["a.png", *expected]


@given(names=st.lists(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name), max_size=30))
def test_paths_between_nul_bytes_come_back_whatever_they_are(names):
    content = b"".join(name + b"\0" for name in names)
    assert [os.fsencode(path) for path in named_files.read_list(io.BytesIO(content), b"\0")] == names


@pytest.mark.parametrize(
    ("content", "separator", "expected"),
    [
        (b"x" * 5000, b"\n", "path 1 .* has more than 4096 bytes"),
        (b"a.png\n" + b"x" * 500_000, b"\n", "path 2 .* has more than 4096 bytes"),
        (b"a.png\n" * 2000, b"\0", "path 1 .* has more than 4096 bytes"),
        (b"a.png\0b.png\0", b"\n", "line 1 .* holds a NUL byte. Give the flag -0"),
        ("\ufeffa.png\n".encode("utf-16-le"), b"\n", "line 1 .* UTF-16"),
    ],
)
def test_what_is_no_list_of_paths_is_refused(there, content, separator, expected):
    with pytest.raises(DataError, match=expected):
        list_files("-", content=content, separator=separator)


def test_a_list_without_an_end_is_not_read_for_ever(there, monkeypatch):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return b"y\n" * (size // 2)

    monkeypatch.setattr(named_files, "_MOST_FILES", 100_000)
    with pytest.raises(DataError, match="more than 100,000 files are named, at last y"):
        named_files.list_files(["-"], follow_links=False, file=Endless())
