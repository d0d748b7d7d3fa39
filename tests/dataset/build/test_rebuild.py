"""Builds that are killed, repeated, divided over tasks, or run into a wall."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import (
    ROOT,
    SMOKE,
    bytes_of,
    command_environment,
    command_line,
    files_of,
    read_findings,
    run_command,
    write_faces,
    write_picture,
)

from harness.dataset.curation import findings
from harness.dataset.records import manifest

FLAGS = ("--records.image_size", 64, "--records.min_shards", 4)


def build(images, records, *flags, **options):
    return run_command("build_records", "--images", images, "--records", records, *FLAGS, *flags, **options)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Enough pictures for a few chunks, none like another, and a copy."""
    folder = tmp_path_factory.mktemp("many") / "many"
    for index in range(320):
        write_picture(folder / ("happy", "sad")[index % 2] / f"face {index:03d}.png", draw_blobs(index))
    shutil.copy(folder / "sad" / "face 001.png", folder / "sad" / "zz copy.png")
    return folder


def draw_blobs(seed: int) -> np.ndarray:
    """A picture like no other: uint8 [200, 200, 3]."""
    colors = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(colors, (200, 200), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def uninterrupted(many, tmp_path_factory) -> Path:
    records = tmp_path_factory.mktemp("whole") / "many"
    done = build(many, records)
    assert done.returncode == 0, done.stderr
    return records


@pytest.mark.parametrize("seed", ["1", "2"])
def test_no_byte_depends_on_the_order_of_sets(many, uninterrupted, tmp_path, seed):
    """Which is another in each process, but for those that are forked from one."""
    words = command_line("build_records", "--images", many, "--records", tmp_path / "many", *FLAGS)
    environment = command_environment() | {"PYTHONHASHSEED": seed}
    subprocess.run(words, cwd=ROOT, env=environment, check=True, timeout=180, capture_output=True)
    assert bytes_of(tmp_path / "many") == bytes_of(uninterrupted)


def start(images, records, *flags, **options) -> subprocess.Popen:
    return subprocess.Popen(
        command_line("build_records", "--images", images, "--records", records, *FLAGS, *flags),
        cwd=ROOT,
        env=command_environment(),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        **options,
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 90
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("spool/*.stored", marks=pytest.mark.slow),
        "spool/*.csv",
        pytest.param("near_copies.json", marks=pytest.mark.slow),
        "done/*.json",
        pytest.param("cleaning.csv", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_build_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes(many, uninterrupted, tmp_path, moment):
    records = tmp_path / "many"
    work = tmp_path / ".many.building"
    process = start(many, records)
    wait_for(lambda: any(work.glob(moment)), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (records / "manifest.json").exists() or moment == "cleaning.csv"
    num_chunks = len(list(work.glob("spool/*.csv")))
    done = build(many, records)
    assert done.returncode == 0, done.stderr
    if num_chunks:
        assert "files were examined before" in done.stderr
    assert bytes_of(records) == bytes_of(uninterrupted)
    assert not work.exists()


@pytest.mark.slow
def test_a_build_whose_parent_is_killed_twenty_times_ends_with_the_same_bytes(many, uninterrupted, tmp_path):
    """Only the parent: its workers may still be writing when the next build begins. It replaces other records."""
    records = tmp_path / "many"
    flags = ("--split.seed", 7, "--clean.near_copies", "ignore")
    assert build(many, records, *flags).returncode == 0
    before, moments = bytes_of(records), np.random.default_rng(0).uniform(0.1, 4, 20)
    for seconds in moments:
        process = start(many, records, "--overwrite")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()
        seen = bytes_of(records)
        assert seen in (before, bytes_of(uninterrupted)) or not (records / "manifest.json").exists()
    done = build(many, records, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert bytes_of(records) == bytes_of(uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["many"]


def test_a_changed_file_rebuilds_only_its_shard(many, uninterrupted, tmp_path):
    images, records = tmp_path / "images", tmp_path / "records"
    shutil.copytree(many, images)
    shutil.copytree(uninterrupted, records)
    changed = next(item for item in read_findings(records).values() if item["verdict"] == "kept")
    write_picture(images / changed["path"], draw_blobs(9999))
    before = {path.name: path.stat().st_ino for path in records.glob("*.tfrecord")}
    done = build(images, records, "--overwrite")
    assert done.returncode == 0, done.stderr
    after = {path.name: path.stat().st_ino for path in records.glob("*.tfrecord")}
    assert {name for name in after if after[name] != before[name]} == {changed["file"]}
    fresh = tmp_path / "fresh"
    assert build(images, fresh).returncode == 0
    assert bytes_of(records)["cleaning.csv"] == bytes_of(fresh)["cleaning.csv"]
    assert {k: v for k, v in bytes_of(records).items() if k.endswith("record")} == {
        k: v for k, v in bytes_of(fresh).items() if k.endswith("record")
    }


def test_a_damaged_shard_is_not_taken_over(many, uninterrupted, tmp_path):
    images, records = tmp_path / "images", tmp_path / "records"
    shutil.copytree(many, images)
    shutil.copytree(uninterrupted, records)
    shard = sorted(records.glob("train-*"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert build(images, records, "--overwrite").returncode == 0
    assert {k: v for k, v in bytes_of(records).items() if k.endswith("record")} == {
        k: v for k, v in bytes_of(uninterrupted).items() if k.endswith("record")
    }


@pytest.mark.parametrize("content", [b"", b"path\nx\n", b"\xff\xfe", b"happy/Icon\r,happy\n"], ids=str)
def test_findings_that_cannot_be_read_stop_no_overwriting(faces, face_records, tmp_path, content):
    records = shutil.copytree(face_records, tmp_path / "faces")
    (records / "cleaning.csv").write_bytes(content)
    flags = ("--config", SMOKE)
    done = run_command("build_records", "--images", faces, "--records", records, *flags)
    assert done.returncode == 3 and "cleaning.csv cannot be read" in done.stderr and "--overwrite" in done.stderr
    done = run_command("build_records", "--images", faces, "--records", records, *flags, "--overwrite")
    assert done.returncode == 0 and "Every picture is examined anew" in done.stderr, done.stderr
    assert bytes_of(records) == bytes_of(face_records)


def test_findings_with_a_value_that_somebody_changed_are_not_believed(faces, face_records, tmp_path):
    records = shutil.copytree(face_records, tmp_path / "faces")
    content = (records / "cleaning.csv").read_bytes()
    (records / "cleaning.csv").write_bytes(content.replace(b",64,64,", b",64,65,", 1))
    flags = ("--config", SMOKE, "--images", faces, "--records", records)
    done = run_command("build_records", *flags)
    assert done.returncode == 3 and "cleaning.csv cannot be read: it was changed since the build" in done.stderr
    done = run_command("build_records", *flags, "--move-rejects", tmp_path / "rejects", "--overwrite")
    assert done.returncode == 0 and "Every picture is examined anew" in done.stderr, done.stderr
    assert (records / "cleaning.csv").read_bytes() == content


@pytest.mark.parametrize(
    ("column", "value"), [("fingerprint", "00"), ("verdict", "good"), ("split", "dev"), ("reason", "ugly")]
)
def test_findings_of_another_form_are_not_used(face_records, tmp_path, column, value):
    path = shutil.copy(face_records / "cleaning.csv", tmp_path / "cleaning.csv")
    rows = [list(item.values()) for item in read_findings(tmp_path).values()]
    rows[3][findings.COLUMNS.index(column)] = value
    path.write_text("\n".join(",".join(row) for row in [findings.COLUMNS, *rows]) + "\n")
    with pytest.raises(ValueError, match=f"{column}.*{value}|fingerprint of 1 bytes"):
        findings.read(path)


def test_tasks_share_the_work_and_the_last_step_joins_it(many, uninterrupted, tmp_path):
    records = tmp_path / "many"
    first = [build(many, records, "--task-index", index, "--num-tasks", 3) for index in (2, 0)]
    assert all(done.returncode == 0 and "other shares are not" in done.stdout for done in first)
    third = build(many, records, "--task-index", 1, "--num-tasks", 3)
    assert third.returncode == 0 and "shards are written" in third.stdout
    assert "shards are written" in build(many, records, "--task-index", 0, "--num-tasks", 3).stdout
    written = {path.name: path.stat().st_ino for path in (tmp_path / ".many.building").glob("*.tfrecord")}
    assert 2 <= len(written) < 8 and not records.exists()
    done = build(many, records)
    assert done.returncode == 0, done.stderr
    assert bytes_of(records) == bytes_of(uninterrupted)
    assert all((records / name).stat().st_ino == inode for name, inode in written.items())


@pytest.mark.parametrize("flags", [("--task-index", 3, "--num-tasks", 3), ("--task-index", 0), ("--num-tasks", 2)])
def test_wrong_tasks_are_explained(faces, tmp_path, flags):
    done = build(faces, tmp_path / "records", *flags)
    assert done.returncode == 2 and "give both, with an index from 0" in done.stderr


def test_two_builds_of_one_folder_at_a_time_are_one_too_many(many, tmp_path):
    process = start(many, tmp_path / "many")
    wait_for(lambda: (tmp_path / ".many.building").exists(), process)
    done = build(many, tmp_path / "many")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert done.returncode == 5 and f"many is in use by process {process.pid} on " in done.stderr


def test_a_full_disk_is_one_sentence_and_the_build_goes_on_later(many, uninterrupted, tmp_path):
    """A limit on the size of files fails in the same place as a full disk: in the middle of a write."""
    records = tmp_path / "many"
    limited = subprocess.run(
        command_line(
            "build_records",
            *("--images", many, "--records", records, "--records.image_size", 64, "--records.min_shards", 4),
        ),
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
    )
    assert limited.returncode == 7, limited.stderr
    assert "failed: File too large" in limited.stderr and "Traceback" not in limited.stderr
    assert "Nothing was published; what is finished is kept" in limited.stderr
    assert not records.exists()
    assert build(many, records).returncode == 0
    assert bytes_of(records) == bytes_of(uninterrupted)


def test_a_disk_that_is_full_and_one_that_is_read_only(many, uninterrupted, small_disk):
    done = build(many, small_disk / "many", "--records.encoding", "raw")
    assert done.returncode == 7 and "failed: No space left on device" in done.stderr, done.stderr
    assert " MB are free there. Nothing was published" in done.stderr
    assert "Traceback" not in done.stderr and not (small_disk / "many").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    assert build(many, small_disk / "many").returncode == 0
    assert bytes_of(small_disk / "many") == bytes_of(uninterrupted)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = build(many, small_disk / "other")
    assert done.returncode == 7 and f"cannot write to {small_disk}: Read-only file system" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_worker_that_is_killed_while_it_cleans_is_replaced(many, uninterrupted, tmp_path):
    process = start(many, tmp_path / "many")
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: any((tmp_path / ".many.building").glob("spool/*.csv")), process)
    os.kill(int(listing.read_text().split()[-1]), signal.SIGKILL)
    assert process.wait(timeout=120) == 0
    assert bytes_of(tmp_path / "many") == bytes_of(uninterrupted)


def test_a_folder_that_cannot_be_made_is_one_sentence(faces, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = build(faces, tmp_path / "file" / "records")
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write to {tmp_path / 'file'}:")


class TestVerify:
    @pytest.fixture
    def records(self, uninterrupted, tmp_path):
        return shutil.copytree(uninterrupted, tmp_path / "records")

    def test_whole_records_are_said_to_be_so(self, records):
        done = run_command("build_records", "--verify", records)
        assert done.returncode == 0
        found = manifest.load(records)
        num_shards = sum(len(info.shards) for info in found.splits.values())
        assert f"{num_shards} shards with {found.num_examples} records" in done.stdout
        assert "every byte as written" in done.stdout
        num_bytes = sum(path.stat().st_size for path in records.glob("*.tfrecord"))
        assert json.loads(run_command("build_records", "--verify", records, "--json").stdout) == {
            "records": str(records),
            "num_shards": num_shards,
            "num_examples": found.num_examples,
            "num_bytes": num_bytes,
        }

    def test_the_first_bad_record_is_named(self, records):
        finding = next(item for item in read_findings(records).values() if item["file"].startswith("validation-00001"))
        shard = records / finding["file"]
        content = bytearray(shard.read_bytes())
        content[int(finding["offset"]) + 5] ^= 0x10
        shard.write_bytes(content)
        position = sorted(
            int(item["offset"]) for item in read_findings(records).values() if item["file"] == finding["file"]
        ).index(int(finding["offset"]))
        done = run_command("build_records", "--verify", records)
        assert done.returncode == 3
        assert f"{shard} is damaged in record {position} at byte" in done.stderr
        assert "its checksum is wrong" in done.stderr

    def test_a_shard_swapped_for_another_of_its_size_is_found(self, records):
        """Every record of it is whole, and still it is not what was written."""
        shard = sorted(records.glob("train-*"))[0]
        content = shard.read_bytes()
        length = int.from_bytes(content[:8], "little") + 16
        shard.write_bytes(content[length:] + content[:length])
        done = run_command("build_records", "--verify", records)
        assert done.returncode == 3 and "every record is whole, but the sha256 differs" in done.stderr

    def test_a_folder_without_records_is_an_error(self, tmp_path):
        done = run_command("build_records", "--verify", tmp_path)
        assert done.returncode == 3 and "there are no records in" in done.stderr


class TestRejects:
    @pytest.fixture
    def images(self, tmp_path):
        images = write_faces(tmp_path / "faces")
        (images / "happy" / "broken's.jpg").write_bytes(b"not a picture")
        (images / "sad" / "deep er").mkdir()
        shutil.copy(images / "sad" / "face_03.png", images / "sad" / "deep er" / "again\nand again.png")
        return images

    def test_rejects_move_away_and_come_back(self, images, tmp_path):
        before = files_of(images)
        done = build(images, tmp_path / "records", "--move-rejects", tmp_path / "rejects")
        assert done.returncode == 0, done.stderr
        assert "2 rejected files moved" in done.stderr
        moved = set(files_of(tmp_path / "rejects")) - {"undo.sh"}
        assert len(moved) == 2 and "happy/broken's.jpg" in moved
        assert {**files_of(images), **{name: before[name] for name in moved}} == before
        subprocess.run(["sh", tmp_path / "rejects" / "undo.sh"], check=True, cwd=tmp_path)
        assert files_of(images) == before
        assert set(files_of(tmp_path / "rejects")) == {"undo.sh"}

    def test_nothing_is_overwritten_by_a_move(self, images, tmp_path):
        (tmp_path / "rejects" / "happy").mkdir(parents=True)
        (tmp_path / "rejects" / "happy" / "broken's.jpg").write_text("mine")
        before = files_of(tmp_path / "rejects")
        done = build(images, tmp_path / "records", "--move-rejects", tmp_path / "rejects")
        assert done.returncode == 3 and "exists already. Nothing was moved" in done.stderr
        assert files_of(tmp_path / "rejects") == before

    def test_rejects_do_not_move_into_the_images_folder(self, images, tmp_path):
        done = build(images, tmp_path / "records", "--move-rejects", images / "rejects")
        assert done.returncode == 3 and "would be found again" in done.stderr


class TestPreviousSplit:
    def test_added_pictures_leave_the_old_ones_where_they_were(self, many, uninterrupted, tmp_path):
        images, records = shutil.copytree(many, tmp_path / "images"), tmp_path / "records"
        for index in range(60):
            write_picture(images / "happy" / f"new {index}.png", draw_blobs(5000 + index))
        done = build(images, records, "--split-from", uninterrupted, "--clean.near_copies", "ignore")
        assert done.returncode == 0, done.stderr
        before, after = read_findings(uninterrupted), read_findings(records)
        kept = [path for path, item in before.items() if item["verdict"] == "kept"]
        assert all(after[path]["split"] == before[path]["split"] for path in kept)
        new = [item["split"] for path, item in after.items() if path not in before]
        assert "train" in new and "validation" in new

    def test_records_can_grow_in_place(self, many, uninterrupted, tmp_path):
        images, records = shutil.copytree(many, tmp_path / "images"), tmp_path / "records"
        shutil.copytree(uninterrupted, records)
        before = read_findings(records)
        write_picture(images / "happy" / "a new one.png", draw_blobs(7777))
        flags = ("--split-from", records, "--overwrite")
        done = build(images, records, *flags)
        assert done.returncode == 0, done.stderr
        after = read_findings(records)
        assert set(after) == {*before, "happy/a new one.png"}
        assert all(after[path]["split"] == row["split"] for path, row in before.items())
        assert "is up to date" in build(images, records, "--split-from", records).stdout

    def test_a_group_that_was_in_two_splits_is_a_leak(self, faces, tmp_path):
        loose = ("--clean.near_copies", "ignore")
        assert build(faces, tmp_path / "old", *loose).returncode == 0
        done = build(
            faces, tmp_path / "new", *loose, "--split-from", tmp_path / "old", "--split.group_by", "(face_)[0-9]+"
        )
        assert done.returncode == 3
        assert "they are one group now ('face_'): the split cannot be kept without a leak" in done.stderr
        assert not (tmp_path / "new").exists()

    def test_a_previous_split_that_is_not_there_is_an_error(self, faces, tmp_path):
        done = build(faces, tmp_path / "new", "--split-from", tmp_path / "nothing")
        assert done.returncode == 3 and "split.previous needs the cleaning.csv of a records folder" in done.stderr
