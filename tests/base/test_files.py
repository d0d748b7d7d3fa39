"""Files are complete or not there at all, and a place that takes none is told."""

import re
from pathlib import Path

import pytest

from harness.base import files
from harness.base.errors import StorageError


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path):
    files.write_text(tmp_path / "new" / "folder" / "page.html", "page")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["page.html"]
    assert (tmp_path / "new" / "folder" / "page.html").read_text() == "page"


def test_what_fails_half_way_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("earlier")
    with pytest.raises(ValueError, match="half"), files.open_new(path) as file:
        file.write(b"new")
        raise ValueError("half")
    assert [found.name for found in tmp_path.iterdir()] == ["page.html"] and path.read_text() == "earlier"


@pytest.mark.parametrize("place", ["/proc/page.html", "/proc/no/page.html", "file/page.html", "dangling/page.html"])
def test_a_place_that_takes_no_file_is_told(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("missing")
    path = tmp_path / place
    for write in (files.check_new, lambda path: files.write_text(path, "page")):
        with pytest.raises(StorageError, match=re.escape(f"{path} cannot be written: {path.parent} takes no files.")):
            write(path)


def test_a_place_is_looked_at_without_a_trace(tmp_path):
    files.check_new(tmp_path / "new" / "folder" / "page.html")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "page.html").write_text("page")
    files.check_new(tmp_path / "page.html")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["page"]
    with pytest.raises(OSError, match="File name too long") as told:
        files.check_new(tmp_path / ("n" * 251))
    assert told.value.filename == str(tmp_path / ("n" * 251))


def test_a_folder_that_was_removed_takes_no_file(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match=r"page\.html cannot be written"):
        files.write_text(Path("page.html"), "page")
    monkeypatch.chdir(tmp_path)
    assert list(tmp_path.iterdir()) == []
