"""Names are data: whatever the file system takes as a name is built, read back, replaced, moved away and given back."""

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
from attacks.names import ODD_LETTERS
from conftest import draw_face, list_recorded
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from harness.config.schema import Config
from harness.dataset.build import builder
from harness.dataset.curation import build_cache, findings, quarantine
from harness.dataset.curation.build_cache import Examined
from harness.dataset.curation.findings import Finding

pytestmark = pytest.mark.usefixtures("warm_workers")
GOOD = [cv2.imencode(".png", draw_face(seed, happy=True))[1].tobytes() for seed in range(7)]
ODD = st.text(ODD_LETTERS, min_size=1, max_size=12)
TEXT = ODD | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60)
NAME = TEXT.filter(lambda name: name not in (".", "..") and len(name.encode()) <= 200)
CLASS_NAME = NAME.filter(lambda name: not name.startswith("."))
ANY_BYTES = st.binary(min_size=1, max_size=20).filter(
    lambda name: not {b"/"[0], 0} & {*name} and name not in (b".", b"..")
)
FILE_NAME = NAME | ANY_BYTES.map(os.fsdecode)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("names")


def write_pictures(images: Path, classes, names) -> None:
    """Six pictures, and of each name a picture, a file that is none, and links to these, beside them or above."""
    for position, class_name in enumerate(classes):
        folder = images / class_name
        (folder / "deep").mkdir(parents=True)
        for index in range(3):
            (folder / f"good {index}.png").write_bytes(GOOD[3 * position + index])
    first, second = (images / name for name in classes)
    (first / names[0]).write_bytes(GOOD[6])
    (second / names[0]).write_bytes(b"not a picture")
    (first / "deep" / names[1]).symlink_to(Path("..", "..", classes[1], names[0]))
    (second / "deep" / names[1]).symlink_to((images / classes[1] / names[0]).resolve())


def snapshot(folder: Path) -> dict[str, object]:
    """Every file below a folder with its bytes, every link with where it leads."""
    return {
        os.fspath(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CLASS_NAME, min_size=2, max_size=2, unique=True),
    st.lists(FILE_NAME, min_size=2, max_size=2),
    FILE_NAME,
    FILE_NAME,
)
@example(["happy", "sad"], ["Icon\r", "x"], "images", "records")
@example(["=cmd|' '!A0", "Icon\r"], ["-", "+"], "=", "@")
@example(["a", "b"], ["\n\r\n", "'"], "\r", "'")
@example(["a", "b"], [os.fsdecode(b"latin-\xe9.png"), "latin-\\xe9.png"], os.fsdecode(b"i\xe9"), os.fsdecode(b"r\xe9"))
def test_every_name_goes_the_whole_way(place, classes, names, images_name, records_name):
    assume("deep" not in names and not any(name.startswith("good ") for name in names))
    shutil.rmtree(place)
    images, records, rejects = place / "a" / images_name, place / "b" / records_name, place / "c" / records_name
    write_pictures(images, classes, names)
    before = snapshot(images)
    sections = {"data": {"images": images, "records": records}, "clean": {"near_copies": "ignore"}}
    config = Config.model_validate({**sections, "records": {"image_size": 32, "min_shards": 2}})

    builder.build(config)
    found = findings.read(records / "cleaning.csv")
    assert sorted(item.path for item in found) == sorted(map(shown, before))
    assert {item.path for item in found if item.is_kept} == list_recorded(records)
    assert "is up to date" in builder.build(config)
    builder.build(config, overwrite=True)
    assert findings.read(records / "cleaning.csv") == found
    assert [path.name for path in records.parent.iterdir()] == [records_name]

    num_moved = quarantine.move_rejects(found, images, rejects)
    assert num_moved == sum(item.reason not in ("", "bad_name", "unreadable") for item in found)
    assert len(snapshot(images)) == len(before) - num_moved
    if num_moved:
        subprocess.run(["sh", rejects / "undo.sh"], check=True, cwd="/")
        assert set(snapshot(rejects)) == {"undo.sh"}
    assert snapshot(images) == before


@given(st.lists(NAME, min_size=1, max_size=5, unique=True))
def test_an_unfinished_build_finds_every_name_again(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("cache")
    written = build_cache.write_chunk(
        folder, [Examined(Finding(f"{name}/{name}", name, notes=name), 7) for name in names]
    )
    assert build_cache.read(folder) == {item.path: (item, 7) for item in written}
