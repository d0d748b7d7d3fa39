"""Class folders: what is in the images folder, and links that would give pictures twice."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import read_findings, run_without_privileges, write_faces

from harness.base.errors import DataError
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.dataset.build import builder
from harness.dataset.listing import class_folders, pictures

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


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_without_permission_is_one_sentence(tmp_path, mode):
    images = write_faces(tmp_path / "images", num_each=1)
    images.chmod(mode)
    done = run_without_privileges(f"""
from pathlib import Path
from harness.base.errors import DataError
from harness.dataset.listing import class_folders, pictures
try:
    class_folders.list_folders(Path({str(images)!r}))
except DataError as error:
    print(error)
""")
    images.chmod(0o700)
    assert done.stdout.startswith(f"the images folder {images} cannot be listed: Permission denied."), done.stderr


def test_class_folders_are_listed_once_for_all(tmp_path):
    images = write_faces(tmp_path / "images", num_each=1)
    (images / ".hidden").mkdir()
    assert class_folders.list_folders(images) == ["happy", "sad"]
    assert class_folders.list_folders(images / "happy") == []
    with pytest.raises(DataError, match="there is no images folder"):
        class_folders.list_folders(tmp_path / "nowhere")
    picture = next(images.rglob("*.png"))
    with pytest.raises(DataError, match=f"^{re.escape(str(picture))} is a file, no images folder. Give one with"):
        class_folders.list_folders(picture)
    Path(os.fsdecode(os.fsencode(images) + b"/\xff")).mkdir()
    with pytest.raises(DataError, match="is not valid UTF-8"):
        class_folders.list_folders(images)


@pytest.mark.parametrize(("group_by", "num_told"), [("auto", 1), ("folder", 0)])
def test_a_doubt_about_the_classes_is_told_once_and_stands_in_the_report(tmp_path, caplog, group_by, num_told):
    for name in ("ann", "bob"):
        write_faces(tmp_path / "images" / name, num_each=4)
    sections = {"data": {"images": tmp_path / "images", "records": tmp_path / "records"}}
    settings = {**sections, "records": {"image_size": 32}, "split": {"group_by": group_by}}
    builder.build(Config.model_validate({**settings, "clean": {"near_copies": "ignore", "label_conflicts": "keep"}}))
    doubt = "ann, bob are taken as the classes, but each holds the same folders: happy, sad."
    assert sum(doubt in record.getMessage() for record in caplog.records) == num_told
    assert (tmp_path / "records" / "report.html").read_text().count(doubt) == num_told


def test_the_command_that_makes_a_table_of_names_works(tmp_path):
    folder = tmp_path / "it's flat"
    folder.mkdir()
    names = ("cat.0.jpg", "cat.1.jpg", "shiba_inu_10.JPG", "shiba_inu_2.JPG", "a-b (1).png", "a-b (2).png")
    for name in names:
        (folder / name).touch()
    with pytest.raises(DataError, match=r"If their names tell the classes \(a-b, cat, shiba_inu\)") as refused:
        pictures.list_pictures(DataConfig(images=folder))
    command = re.search("makes the table: (.*); then --data.labels classes.csv$", str(refused.value))[1]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    found = pictures.list_pictures(DataConfig(images=folder, labels=f"{tmp_path}/classes.csv"))
    assert {item.path: item.class_name for item in found.pictures} == {
        name: re.split(r"[. _]\(?[0-9]", name)[0] for name in names
    }


@pytest.mark.parametrize(
    "names", [("IMG_1.jpg", "IMG_2.jpg"), ("cat1.jpg", "dog1.jpg"), ("1.jpg", "2.jpg"), ("a1.jpg", "a2.jpg", "b.jpg")]
)
def test_names_that_tell_no_classes_give_no_command(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"--data.labels labels.csv$"):
        pictures.list_pictures(DataConfig(images=tmp_path))
