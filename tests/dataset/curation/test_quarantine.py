"""Rejects move away and come back as they were."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from harness.base.errors import DataError
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.quarantine import move_rejects
from harness.dataset.images.rejection import Reason


def reject(images: Path, path: str, reason: Reason = Reason.NOT_AN_IMAGE) -> Finding:
    content = (images / path).read_bytes() if (images / path).is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    finding = Finding(path, path.partition("/")[0], num_bytes=len(content), sha256=digest)
    return finding.rejected(reason, "this", "that")


def undo(rejects: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", rejects / "undo.sh"], cwd="/", check=False, capture_output=True, text=True)


@pytest.fixture
def images(tmp_path) -> Path:
    (tmp_path / "images" / "happy" / "deep").mkdir(parents=True)
    (tmp_path / "images" / "happy" / "text.png").write_text("no picture")
    return tmp_path / "images"


def test_links_come_back_as_links(images, tmp_path):
    (tmp_path / "outside.png").write_text("no picture")
    links = {
        "happy/absolute.png": tmp_path / "outside.png",
        "happy/relative.png": Path("text.png"),
        "happy/deep/relative.png": Path("..", "..", "..", "outside.png"),
    }
    for path, target in links.items():
        (images / path).symlink_to(target)
    found = [reject(images, path) for path in [*links, "happy/text.png"]]
    assert move_rejects(found, images, tmp_path / "rejects") == 4
    assert not any(os.path.lexists(images / path) for path in links)
    assert {path: (tmp_path / "rejects" / path).readlink() for path in links} == links
    done = undo(tmp_path / "rejects")
    assert done.returncode == 0, done.stderr
    assert {path: (images / path).readlink() for path in links} == links
    assert (images / "happy" / "text.png").read_text() == "no picture"
    assert [path.name for path in (tmp_path / "rejects").rglob("*") if not path.is_dir()] == ["undo.sh"]


def test_a_file_of_a_class_folder_elsewhere_comes_back_there(images, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "text.png").write_text("no picture")
    (images / "sad").symlink_to(tmp_path / "elsewhere")
    found = [reject(images, "sad/text.png")]
    assert move_rejects(found, images, tmp_path / "rejects") == 1
    assert undo(tmp_path / "rejects").returncode == 0
    assert (tmp_path / "elsewhere" / "text.png").read_text() == "no picture"
    with pytest.raises(DataError, match="would be found again"):
        move_rejects(found, images, tmp_path / "elsewhere" / "rejects")


def test_a_link_in_the_way_is_not_overwritten(images, tmp_path):
    (tmp_path / "rejects" / "happy").mkdir(parents=True)
    (tmp_path / "rejects" / "happy" / "text.png").symlink_to("nothing")
    with pytest.raises(DataError, match="exists already"):
        move_rejects([reject(images, "happy/text.png")], images, tmp_path / "rejects")


def test_what_cannot_be_moved_back_is_said_by_the_exit_code(images, tmp_path):
    assert move_rejects([reject(images, "happy/text.png")], images, tmp_path / "rejects") == 1
    (images / "happy" / "deep").rmdir()
    (images / "happy").rename(images / "glad")
    assert undo(tmp_path / "rejects").returncode == 1
    (images / "glad").rename(images / "happy")
    assert undo(tmp_path / "rejects").returncode == 0
    assert undo(tmp_path / "rejects").returncode == 0, "a second time does no harm"
    assert (images / "happy" / "text.png").read_text() == "no picture"


def test_a_file_that_has_changed_since_it_was_judged_stays(images, tmp_path, caplog):
    """It may have been copied to its end only after the build had looked at it."""
    (images / "happy" / "other.png").write_text("no picture either")
    found = [reject(images, "happy/text.png", Reason.CUT_OFF), reject(images, "happy/other.png")]
    (images / "happy" / "text.png").write_text("now it is one")
    assert move_rejects(found, images, tmp_path / "rejects") == 1
    assert (images / "happy" / "text.png").read_text() == "now it is one"
    assert "1 rejected files have changed since they were judged, such as happy/text.png" in caplog.text


def test_system_files_and_too_large_ones_move_unread(images, tmp_path):
    (images / "happy" / "Thumbs.db").write_bytes(b"x")
    (images / "happy" / "large.png").write_bytes(b"12345")
    hidden = Finding("happy/Thumbs.db", "happy").rejected(Reason.SYSTEM_FILE, "Thumbs.db", "a picture")
    large = Finding("happy/large.png", "happy", num_bytes=5, sha256="of some bytes").rejected(
        Reason.TOO_LARGE, "5", "4"
    )
    assert move_rejects([hidden, large], images, tmp_path / "rejects") == 2
    assert undo(tmp_path / "rejects").returncode == 0
    assert (images / "happy" / "large.png").read_bytes() == b"12345"


@pytest.mark.parametrize("path", ["happy/../../secret", "/secret", "../secret"])
def test_records_of_a_stranger_move_nothing_from_elsewhere(images, tmp_path, path):
    (tmp_path / "secret").write_text("mine")
    with pytest.raises(DataError, match="which does not lie in"):
        move_rejects([Finding(path, "happy").rejected(Reason.CORRUPT, "", "")], images, tmp_path / "rejects")
    assert (tmp_path / "secret").read_text() == "mine" and not (tmp_path / "rejects").exists()
