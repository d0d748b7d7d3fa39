"""Files that change, come or vanish during a build: it ends in records that hold, or in one sentence."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from conftest import draw_face, list_recorded, read_findings, write_faces, write_picture

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import build_folder, builder, process_pool
from harness.dataset.records import manifest

pytestmark = pytest.mark.usefixtures("warm_workers")
STEPS = ("cleaning", "searching", "writing", "report")


def make_config(folder: Path) -> Config:
    sections = {"data": {"images": folder / "images", "records": folder / "records"}}
    return Config.model_validate({**sections, "records": {"image_size": 64, "min_shards": 2}})


def write_pictures(folder: Path) -> Path:
    images = write_faces(folder / "images", num_each=5)
    (images / "happy" / "text.png").write_text("no picture")
    (images / "groups.csv").write_text("path,group\nhappy/face_00.png,ann\nhappy/face_01.png,ann\n")
    return images


@pytest.fixture
def at_step(monkeypatch):
    """A function that has something done just before a step begins its work."""
    waiting = []

    def set_up(step: str, change) -> None:
        waiting.append(change)

        def watch(run):
            def changed(*arguments, title: str, **options):
                if title == step and waiting:
                    waiting.pop()()
                return run(*arguments, title=title, **options)

            return changed

        for name in ("run_all", "try_all"):
            monkeypatch.setattr(process_pool, name, watch(getattr(process_pool, name)))

    yield set_up
    assert not waiting, "there is no such step"


def vanish(images: Path) -> None:
    (images / "happy" / "face_02.png").unlink()
    (images / "happy" / "text.png").unlink()


def become_other_pictures(images: Path) -> None:
    write_picture(images / "happy" / "face_02.png", draw_face(77, happy=True))
    write_picture(images / "happy" / "text.png", draw_face(78, happy=True))


def become_folders(images: Path) -> None:
    vanish(images)
    write_picture(images / "happy" / "face_02.png" / "inside.png", draw_face(77, happy=True))
    (images / "happy" / "text.png").mkdir()


def become_links_to_nothing(images: Path) -> None:
    vanish(images)
    (images / "happy" / "face_02.png").symlink_to("nothing")
    (images / "happy" / "text.png").symlink_to("text.png")


def grow_old(images: Path) -> None:
    """The clock was set back: to 1970, and before."""
    for index, path in enumerate(sorted(images.rglob("*.png"))):
        os.utime(path, ns=(-index, -index))


def lose_a_class(images: Path) -> None:
    shutil.rmtree(images / "sad")


def get_another_class(images: Path) -> None:
    write_picture(images / "angry" / "new.png", draw_face(79, happy=False))


def lose_everything(images: Path) -> None:
    images.rename(images.with_name("elsewhere"))


CHANGES = (
    vanish,
    become_other_pictures,
    become_folders,
    become_links_to_nothing,
    grow_old,
    lose_a_class,
    get_another_class,
    lose_everything,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_change_during_a_build_ends_in_records_that_hold(tmp_path, at_step, step, change):
    images, records = write_pictures(tmp_path), tmp_path / "records"
    content = {path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*.png")}
    at_step(step, lambda: change(images))
    config = make_config(tmp_path)
    try:
        builder.build(config)
    except DataError as error:
        assert "usable picture" in str(error) or "groups.csv" in str(error) or "table of groups" in str(error), error
        assert not records.exists()
    else:
        check(records, content if step != "cleaning" else {})
    if (images / "sad").exists():  # what is there now can be built
        builder.build(config, overwrite=True)
        there = {path.relative_to(images).as_posix() for path in images.rglob("*.png") if not path.is_dir()}
        assert set(read_findings(records)) == there
        assert "is up to date" in builder.build(config)


def check(records: Path, content: dict[str, bytes]) -> None:
    found = read_findings(records)
    kept = {path for path, row in found.items() if row["verdict"] == "kept"}
    assert list_recorded(records) == kept and manifest.load(records).num_examples == len(kept)
    for path, before in content.items():  # examined before the change: the records hold what was there then
        assert found[path]["sha256"] == hashlib.sha256(before).hexdigest()


@pytest.mark.parametrize("step", ["searching", "writing"])
def test_groups_that_change_during_a_build_are_not_mixed(tmp_path, at_step, step):
    images = write_pictures(tmp_path)
    at_step(step, lambda: (images / "groups.csv").write_text("path,group\nhappy/face_00.png,bob\n"))
    config = make_config(tmp_path)
    if step == "searching":
        with pytest.raises(DataError, match="changed during the build: start it again"):
            builder.build(config)
    else:  # they were read by then
        builder.build(config)
        with pytest.raises(DataError, match="was built from other pictures"):
            builder.build(config)
    builder.build(config, overwrite=True)
    assert read_findings(tmp_path / "records")["happy/face_00.png"]["group"] == "bob"
    assert "is up to date" in builder.build(config)


def test_a_picture_that_changes_between_two_looks_is_what_it_was_at_the_second(tmp_path, at_step):
    """The old shards are damaged, so that their pictures are encoded again after all were looked at."""
    images, config = write_pictures(tmp_path), make_config(tmp_path)
    builder.build(config)
    for shard in (tmp_path / "records").glob("*.tfrecord"):
        shard.write_bytes(bytes(shard.stat().st_size))
    at_step("comparing", lambda: write_picture(images / "happy" / "face_02.png", draw_face(77, happy=True)))
    builder.build(config, overwrite=True)
    now = hashlib.sha256((images / "happy" / "face_02.png").read_bytes()).hexdigest()
    assert read_findings(tmp_path / "records")["happy/face_02.png"]["sha256"] == now
    assert "is up to date" in builder.build(config)


def test_records_that_another_build_has_just_published_are_not_replaced(tmp_path, monkeypatch):
    write_pictures(tmp_path)
    config = make_config(tmp_path)
    other = config.model_copy(update={"split": config.split.model_copy(update={"seed": 5})})
    open_folder = build_folder.open_folder

    def build_other_first(*arguments, **options):
        monkeypatch.setattr(build_folder, "open_folder", open_folder)
        builder.build(other)
        return open_folder(*arguments, **options)

    monkeypatch.setattr(build_folder, "open_folder", build_other_first)
    with pytest.raises(DataError, match="was built from other settings"):
        builder.build(config)
    assert "is up to date" in builder.build(other)
