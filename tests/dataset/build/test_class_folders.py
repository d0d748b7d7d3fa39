"""Class folders that are links, and class names that look alike."""

import unicodedata
from pathlib import Path

import pytest
from conftest import read_findings, write_faces

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder
from harness.dataset.images.class_folders import describe_alike

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def images(tmp_path) -> Path:
    return write_faces(tmp_path / "above" / "images", num_each=4)


def build(images: Path, records: Path) -> dict[str, dict[str, str]]:
    sections = {"data": {"images": images, "records": records}, "clean": {"near_copies": "ignore"}}
    builder.build(Config.model_validate({**sections, "records": {"image_size": 32}}))
    return read_findings(records)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (".", "which holds the class folders"),
        ("..", "which holds the class folders"),
        ("../..", "which holds the class folders"),
        ("happy", "as the class 'happy' does"),
        ("happy/deep", "which is a part of the class 'happy'"),
    ],
)
def test_a_link_that_would_give_pictures_twice_is_refused(images, tmp_path, target, words):
    (images / "happy" / "deep").mkdir()
    (images / "zz").symlink_to(target)
    with pytest.raises(DataError, match=f"the class folder .* leads to .*{words}: pictures would be found twice"):
        build(images, tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_link_to_a_folder_elsewhere_is_a_class(images, tmp_path):
    (images / "sad").rename(tmp_path / "elsewhere")
    (images / "sad").symlink_to(tmp_path / "elsewhere")
    found = build(images, tmp_path / "records")
    assert sum(path.startswith("sad/") for path in found) == 4
    assert {row["verdict"] for row in found.values()} == {"kept"}


def test_class_names_that_look_alike_are_warned_of(images, tmp_path, caplog):
    (images / "happy").rename(images / unicodedata.normalize("NFC", "caf\xe9"))
    (images / "sad").rename(images / unicodedata.normalize("NFD", "caf\xe9"))
    build(images, tmp_path / "records")
    told = r"the class names 'cafe\u0301', 'caf\xe9' look alike: they are 2 classes"
    assert told in caplog.text
    assert "look alike: they are 2 classes" in (tmp_path / "records" / "report.html").read_text()


def test_names_differ_by_more_than_case_blanks_and_unicode_form():
    assert describe_alike(["happy", "sad", "happier", "unhappy", "a b", "ab"]) == []
    (first, second) = describe_alike(["Happy", "happy ", "happy", "sad", "stra\xdfe", "STRASSE"])
    assert "'Happy', 'happy ', 'happy' look alike: they are 3 classes" in first
    assert r"'stra\xdfe', 'STRASSE' look alike: they are 2 classes" in second
