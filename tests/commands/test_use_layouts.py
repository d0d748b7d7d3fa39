"""python -m harness.evaluate and predict on folders as people have them, with the classes of the run."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import SMOKE, draw_face, run_command, write_picture

pytestmark = pytest.mark.usefixtures("smoke_run")


def write_class(folder: Path, start: int, *, happy: bool, num: int = 3) -> None:
    for index in range(start, start + num):
        write_picture(folder / f"{index:03d}.png", draw_face(index, happy=happy))


def evaluate(run: Path, images: Path, *flags: object):
    done = run_command("evaluate", run, "--images", images, "--json", *flags)
    return done, json.loads(done.stdout) if done.returncode == 0 else None


def test_junk_and_linked_folders_are_left_out_and_told(smoke_run, tmp_path):
    images = tmp_path / "images"
    write_class(images / "happy", 0, happy=True)
    write_class(images / "sad", 100, happy=False)
    write_class(images / "happy" / "@eaDir", 200, happy=True)
    write_class(images / "lost+found", 300, happy=True)
    (images / "sad" / "Thumbs.db").write_bytes(b"x")
    write_class(tmp_path / "elsewhere", 400, happy=False, num=2)
    (images / "sad" / "more").symlink_to(tmp_path / "elsewhere")
    done, found = evaluate(smoke_run, images)
    assert (found["num_examples"], found["skipped"]) == (6, 0), done.stderr
    assert "left out beside the classes, as junk by their names: lost+found" in done.stderr
    assert "left out among the pictures, as junk by their names: 4 files" in done.stderr
    assert "1 linked folder is left out, such as sad/more (a link to a folder with 2 files)" in done.stderr
    done, found = evaluate(smoke_run, images, "--data.follow_links", "true")
    assert found["num_examples"] == 8, done.stderr


def test_predicting_leaves_out_what_a_build_leaves_out(smoke_run, tmp_path):
    write_class(tmp_path / "images", 0, happy=True)
    write_class(tmp_path / "images" / ".cache", 100, happy=True)
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"x")
    write_class(tmp_path / "elsewhere", 400, happy=False, num=2)
    (tmp_path / "images" / "more").symlink_to(tmp_path / "elsewhere")
    done = run_command("predict", smoke_run, tmp_path / "images", "--json")
    assert len(done.stdout.splitlines()) == 3 and '"error"' not in done.stdout
    assert "left out as junk by their names: 4 files" in done.stderr
    assert "1 linked folder is left out" in done.stderr and "(a link to a folder with 2 files)" in done.stderr
    followed = run_command("predict", smoke_run, tmp_path / "images", "--data.follow_links", "true")
    assert len(followed.stdout.splitlines()) == 5
    named = run_command("predict", smoke_run, tmp_path / "images" / ".cache" / "100.png")
    assert len(named.stdout.splitlines()) == 1  # whoever names a file means it


@pytest.mark.parametrize("test", ["test", "test/images"])
def test_several_splits_are_refused_with_one_to_give(smoke_run, tmp_path, test):
    for split in (test.replace("test", "train"), test):
        write_class(tmp_path / split / "happy", 0, happy=True)
        write_class(tmp_path / split / "sad", 0, happy=False)
    done, _ = evaluate(smoke_run, tmp_path)
    assert done.returncode == 3
    told = "has pictures of several splits (test, train). Give a folder with those of one, such as --images"
    assert f"{told} {tmp_path}/{test}\n" in done.stderr
    assert evaluate(smoke_run, tmp_path / test)[1]["num_examples"] == 6


@pytest.mark.slow
def test_a_run_on_merged_classes_is_measured_on_what_was_merged(tmp_path):
    images, merged = tmp_path / "images", "{happy: [joy, smile], sad: [sad, cry]}"
    for start, name in enumerate(("angry", "cry", "joy", "sad", "smile")):
        write_class(images / name, 100 * start, happy=name in ("joy", "smile"), num=12)
    flags = ("--config", SMOKE, "--records", tmp_path / "records")
    built = run_command("build_records", *flags, "--images", images, "--data.classes", merged)
    assert built.returncode == 0, built.stderr
    trained = run_command("train", *flags, "--run", tmp_path / "run", "--train.epochs", "1")
    assert trained.returncode == 0, trained.stderr
    shutil.rmtree(tmp_path / "records")  # the run knows by itself
    done, found = evaluate(tmp_path / "run", images)
    assert found["class_names"] == ["happy", "sad"]
    assert [sum(row) for row in found["confusion"]] == [24, 24]
    assert "classes left out by data.classes: angry" in done.stderr
    for name in ("angry", "cry"):
        shutil.rmtree(images / name)
    (images / "joy").rename(images / "happy")
    assert [sum(row) for row in evaluate(tmp_path / "run", images)[1]["confusion"]] == [24, 12]
