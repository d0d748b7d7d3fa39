"""Records copied to a disk of the node: whole, compared, once for all that read them there."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from conftest import SMOKE, command_environment, files_of, read_history, run_command

from harness.base.errors import ClusterError, ConfigError, DataError, StorageError
from harness.config.dataset_sections import DataConfig
from harness.dataset.records import manifest, staging, tfrecord
from harness.dataset.records.manifest import Manifest, ShardInfo, SplitInfo
from harness.locks import lock


@pytest.fixture
def records(tmp_path):
    """A records folder of four shards, with its manifest."""
    folder, shards = tmp_path / "server" / "flowers", []
    folder.mkdir(parents=True)
    for index in range(4):
        name = tfrecord.shard_name("train", index, 4)
        written = tfrecord.write_shard(folder / name, [b"%d" % index * 1000] * 5)
        shards.append(ShardInfo(name, 5, written.num_bytes, written.sha256))
    splits = {"train": SplitInfo(20, 20, {"cat": 15, "dog": 5}, tuple(shards))}
    data = Manifest(("cat", "dog"), 32, "png", splits, {}, "data", "0" * 64, "0" * 64, "0" * 64, {})
    manifest.save(data, folder)
    (folder / "report.html").write_text("not for training")
    return folder, data


def stage(records, parent, **options):
    folder, data = records
    return staging.stage(data, folder, parent, environment={}, **options)


def shards_of(folder):
    return {name: content for name, content in files_of(folder).items() if name.endswith(".tfrecord")}


def test_the_copy_is_a_records_folder_of_the_same_bytes(records, tmp_path):
    folder, data = records
    copy = stage(records, tmp_path / "scratch")
    assert copy == tmp_path / "scratch" / f"flowers-{data.digest[:16]}"
    assert manifest.load(copy) == data
    assert shards_of(copy) == shards_of(folder)
    assert sorted(path.name for path in copy.iterdir()) == [*["manifest.json"], *shards_of(folder)]
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [copy.name]  # no lock, nothing half-finished


def test_a_copy_that_is_whole_is_used_again_and_only_what_is_damaged_is_copied(records, tmp_path):
    copy = stage(records, tmp_path)
    names = sorted(shards_of(copy))
    damaged, cut, missing, whole = (copy / name for name in names)
    content = bytearray(damaged.read_bytes())
    content[40] ^= 1
    damaged.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-7])
    missing.unlink()
    (copy / f".{names[3]}.4711.tmp").write_bytes(b"of a copy that was killed")
    before = whole.stat().st_mtime_ns
    assert stage(records, tmp_path) == copy
    assert shards_of(copy) == shards_of(records[0])
    assert whole.stat().st_mtime_ns == before
    assert not list(copy.glob(".*"))


def test_other_records_of_the_same_name_get_a_folder_of_their_own(records, tmp_path):
    first, (folder, data) = stage(records, tmp_path), records
    written = tfrecord.write_shard(folder / tfrecord.shard_name("train", 0, 4), [b"other"] * 5)
    shards = data.splits["train"].shards
    shards = (ShardInfo(shards[0].file, 5, written.num_bytes, written.sha256), *shards[1:])
    other = Manifest(**{**vars(data), "splits": {"train": SplitInfo(20, 20, {"cat": 15, "dog": 5}, shards)}})
    second = stage((folder, other), tmp_path)
    assert second != first
    assert manifest.load(first) == data and manifest.load(second) == other


def test_a_source_that_is_not_what_its_manifest_says_is_refused_and_not_kept(records, tmp_path):
    path = records[0] / tfrecord.shard_name("train", 2, 4)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"server/flowers/train-00002-of-00004.tfrecord is not what was written: the sha256"
    ):
        stage(records, tmp_path / "scratch")
    (copy,) = (tmp_path / "scratch").iterdir()
    assert not (copy / path.name).exists() and not (copy / "manifest.json").exists() and not list(copy.glob(".*"))


def test_too_little_room_is_told_before_anything_is_copied(records, small_disk):
    (small_disk / "other").write_bytes(bytes((2 << 20) - 12_000))
    with pytest.raises(StorageError, match=r"copying the records to .* takes 0\.0 MB, but 0\.0 MB are free there"):
        stage(records, small_disk)
    assert not list(small_disk.rglob("*.tfrecord"))


@pytest.mark.parametrize(
    ("path", "where"), [("$JOB_DIR", ""), ("${JOB_DIR}", ""), ("$JOB_DIR/a b/$c", "a b/$c"), ("/$JOB_DIR", None)]
)
def test_a_variable_in_front_is_that_of_the_node(records, tmp_path, path, where):
    folder, data = records
    parent = tmp_path / "$JOB_DIR" if where is None else tmp_path / "node" / where
    config = DataConfig(records=folder, stage=path if where is not None else f"{tmp_path}{path}")
    copy = staging.find_records(config, data, {"JOB_DIR": str(tmp_path / "node")})
    assert copy == parent / f"flowers-{data.digest[:16]}"
    assert manifest.load(copy) == data


@pytest.mark.parametrize("environment", [{}, {"SCRATCH": ""}])
def test_a_variable_that_is_not_set_is_named(records, environment):
    config = DataConfig(records=records[0], stage="$SCRATCH/x")
    with pytest.raises(ConfigError, match=r"data.stage is \$SCRATCH/x, but \$SCRATCH is not set on this node"):
        staging.find_records(config, records[1], environment)


def test_without_a_stage_records_are_read_where_they_lie(records):
    assert staging.find_records(DataConfig(records=records[0]), records[1], {}) == records[0]


STAGE = """
import os, sys
from pathlib import Path
from harness.dataset.records import manifest, staging
folder = Path(sys.argv[1])
staging.stage(manifest.load(folder), folder, Path(sys.argv[2]), environment=os.environ)
"""


def start_staging(folder, parent):
    return subprocess.Popen([sys.executable, "-c", STAGE, folder, parent], env=command_environment())


def test_many_that_start_at_once_make_one_whole_copy(records, tmp_path):
    started = [start_staging(records[0], tmp_path / "scratch") for _ in range(4)]
    assert [process.wait(timeout=120) for process in started] == [0] * 4
    (copy,) = (tmp_path / "scratch").iterdir()
    assert shards_of(copy) == shards_of(records[0])


@pytest.mark.slow
def test_a_copy_that_is_killed_at_any_moment_goes_on(tmp_path):
    folder, shards = tmp_path / "server" / "large", []
    folder.mkdir(parents=True)
    for index in range(12):
        name = tfrecord.shard_name("train", index, 12)
        written = tfrecord.write_shard(folder / name, [os.urandom(1 << 20)] * 16)
        shards.append(ShardInfo(name, 16, written.num_bytes, written.sha256))
    splits = {"train": SplitInfo(192, 192, {"cat": 96, "dog": 96}, tuple(shards))}
    manifest.save(Manifest(("cat", "dog"), 32, "png", splits, {}, "data", "0" * 64, "0" * 64, "0" * 64, {}), folder)
    num_killed = 0
    for index in range(20):
        process = start_staging(folder, tmp_path / "scratch")
        while process.poll() is None and len(list((tmp_path / "scratch").rglob("*.tfrecord"))) <= min(index, 11):
            time.sleep(0.005)
        process.kill()
        num_killed += process.wait() == -9
        for shard in (tmp_path / "scratch").rglob("[!.]*.tfrecord"):
            assert shard.stat().st_size == written.num_bytes
    assert num_killed
    assert start_staging(folder, tmp_path / "scratch").wait(timeout=120) == 0
    (copy,) = (path for path in (tmp_path / "scratch").iterdir() if path.is_dir())
    assert shards_of(copy) == shards_of(folder) and not list(copy.glob(".*"))


def test_another_that_comes_no_further_is_not_waited_for_without_end(records, tmp_path):
    target = tmp_path / f"flowers-{records[1].digest[:16]}"
    with (
        lock.hold(tmp_path / f".{target.name}.lock", target),
        pytest.raises(
            ClusterError, match=rf"no record was copied for 0.3 s .*: {target} is in use by process {os.getpid()} "
        ),
    ):
        stage(records, tmp_path, patience_s=0.3)
    assert manifest.load(stage(records, tmp_path)) == records[1]


def test_ctrl_c_ends_the_copying(records, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stage(records, tmp_path / "scratch", should_stop=lambda: "SIGINT")
    assert not list((tmp_path / "scratch").rglob("manifest.json"))
    assert manifest.load(stage(records, tmp_path / "scratch", should_stop=lambda: "SIGUSR2")) == records[1]


def test_ctrl_c_ends_the_wait_for_the_copy_of_another(records, tmp_path):
    target = tmp_path / f"flowers-{records[1].digest[:16]}"
    with lock.hold(tmp_path / f".{target.name}.lock", target), pytest.raises(KeyboardInterrupt):
        stage(records, tmp_path, should_stop=lambda: "SIGINT", patience_s=60)


@pytest.mark.slow
def test_a_training_reads_the_copy_and_learns_the_same(face_records, tmp_path, monkeypatch):
    records, scratch = tmp_path / "server" / "faces", tmp_path / "scratch"
    shutil.copytree(face_records, records)
    monkeypatch.setenv("SCRATCH", str(scratch))
    words = ("--config", SMOKE, "--records", records, "--data.cache", "none")
    first = run_command("train", *words, "--run", tmp_path / "first", "--data.stage", "$SCRATCH")
    assert first.returncode == 0, first.stderr
    assert re.search(
        r"records 0.\d MB copied to .*/scratch/faces-\w{16} in [\d.]+ s, every byte as written", first.stderr
    )
    for shard in records.glob("*.tfrecord"):
        shard.write_bytes(bytes(shard.stat().st_size))  # whoever reads these from now on fails
    second = run_command("train", *words, "--run", tmp_path / "second", "--data.stage", "$SCRATCH")
    assert second.returncode == 0, second.stderr
    assert re.search(r"records found in .*/scratch/faces-\w{16} in ", second.stderr)
    plain = run_command("train", *words, "--run", tmp_path / "plain")
    assert plain.returncode == 3 and "is damaged in record" in plain.stderr
    kept = (tmp_path / "second" / "config.yaml").read_text()
    assert f"records: {records}\n" in kept and "stage: $SCRATCH\n" in kept

    def losses(run):
        return [row["val_loss"] for row in read_history(run)]

    assert losses(tmp_path / "second") == losses(tmp_path / "first")
