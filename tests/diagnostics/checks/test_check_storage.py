"""Folders and their file systems: real ones as far as this machine has them, tables of mounts for the others."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import files_of, run_without_privileges
from hypothesis import given
from hypothesis import strategies as st

from harness.base.storage import RemotePath
from harness.diagnostics.checks import mounts, storage
from harness.diagnostics.checks.mounts import Mount

NAMES = ["run", "run speed", "run locks", "run clock"]
TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 0:40 / /scratch rw,noatime shared:1 master:2 - lustre 10.0.0.1@o2ib:/scratch rw,localflock,lazystatfs
32 27 0:41 /home /home rw - nfs4 server:/home rw,vers=4.2,local_lock=none
33 32 0:42 / /home/a\040b ro,relatime - tmpfs tmpfs rw
34 27 0:43 / /home rw - nfs server:/other rw,nolock
"""


def look(folder, **others):
    return {finding.name: finding for finding in storage.check_folder("run", folder, **others)}


def test_a_folder_to_be_made_is_tried_where_it_will_be_and_nothing_is_left(tmp_path):
    found = look(tmp_path / "runs" / "new")
    assert list(found) == NAMES and {one.status for one in found.values()} == {"ok"}, found
    assert "(to be made) on " in found["run"].found and found["run"].values["free_bytes"] > 0
    assert found["run speed"].values["write_bytes_per_s"] > 0 and found["run speed"].values["read_bytes_per_s"] > 0
    assert found["run locks"].values == {"locks": True, "fcntl_locks": True, "renames": True, "hard_links": True}
    assert abs(found["run clock"].values["ahead_s"]) < 2
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_there_is_left_alone(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("train: {}\n")
    before, changed = files_of(run), run.stat().st_mtime_ns
    assert list(look(run)) == NAMES
    assert files_of(run) == before and run.stat().st_mtime_ns == changed
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_second_folder_on_the_same_file_system_is_not_measured_again(tmp_path):
    assert list(look(tmp_path / "records", beside=tmp_path / "runs")) == ["run"]


def test_a_small_disk_is_a_problem_and_named_by_its_kind(small_disk):
    found = look(small_disk / "run", beside=Path("/"))
    assert found["run"].status == "problem" and "on tmpfs: 2.1 MB" in found["run"].found
    assert "run speed" not in found  # it has no room for that
    assert found["run locks"].status == "ok" and list(small_disk.iterdir()) == []


def test_a_read_only_disk_is_told(small_disk):
    subprocess.run(["mount", "-o", "remount,ro,size=3g", small_disk], check=True)
    found = look(small_disk / "run")
    assert found["run"].status == "problem" and "it is mounted read-only" in found["run"].found
    assert found["run files"].status == "problem" and "Read-only file system" in found["run files"].found


@pytest.mark.parametrize("name", ["run", "run/below"])
def test_a_folder_without_the_right_to_write_is_a_problem(tmp_path, name):
    tmp_path.chmod(0o755)
    (tmp_path / "run").mkdir(mode=0o555)
    program = (
        "from pathlib import Path; from harness.diagnostics.checks import storage\n"
        f"for one in storage.check_folder('run', Path({str(tmp_path)!r}) / {name!r}): print(one.status, one.found)"
    )
    lines = run_without_privileges(program).stdout.splitlines()
    assert lines[-1] == f"problem {tmp_path}/run cannot be written: Permission denied"
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_or_a_broken_link_in_the_place_of_a_folder_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nothing")
    for name, word in (("file", "it is no folder"), ("link", "it is a link to nothing")):
        found = look(tmp_path / name / "run")
        assert list(found) == ["run"]
        assert (found["run"].status, found["run"].found) == ("problem", f"{tmp_path / name}: {word}")


def test_a_name_that_is_too_long_is_a_problem(tmp_path):
    found = look(tmp_path / ("x" * 300))
    assert found["run"].status == "problem" and "File name too long" in found["run"].found


def test_storage_elsewhere_is_not_looked_at():
    assert look(RemotePath("bucket", "records"))["run"].status == "unknown"


def test_a_table_that_is_missing_leaves_the_kind_open(tmp_path):
    assert " on a disk: " in look(tmp_path / "run", mountinfo=tmp_path / "missing")["run"].found


@pytest.mark.parametrize(
    ("folder", "kind", "point"),
    [
        ("/work/runs", "ext4", "/"),
        ("/scratch/me", "lustre", "/scratch"),
        ("/scratchpad", "ext4", "/"),
        ("/home/me", "nfs", "/home"),  # mounted over the other
        ("/home/a b/c", "tmpfs", "/home/a b"),
    ],
)
def test_the_mount_of_a_folder_is_the_innermost_and_last(folder, kind, point):
    found = mounts.find_mount(Path(folder), TABLE)
    assert (found.kind, found.point) == (kind, point)


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("ext4", "rw,relatime", ""),
        ("ext4", "ro,relatime", "read-only"),
        ("nfs4", "rw,vers=4.2,local_lock=none", ""),
        ("nfs", "rw,vers=3,nolock", "on this node only"),
        ("nfs", "rw,vers=3,local_lock=all", "on this node only"),
        ("lustre", "rw,flock,lazystatfs", ""),
        ("lustre", "rw,localflock", "on this node only"),
        ("lustre", "rw,lazystatfs", "its locks are off"),
        ("tmpfs", "rw,size=1g", "memory"),
        ("overlay", "rw,lowerdir=/a", "container"),
        ("gpfs", "rw", ""),
    ],
)
def test_what_matters_of_a_file_system_is_said(kind, options, word):
    matter, fix = mounts.judge(Mount("/x", kind, frozenset(options.split(","))))
    assert (word in matter) if word else (matter, fix) == ("", "")
    assert bool(fix) == bool(word)


def test_what_need_not_stay_may_lie_in_memory_or_a_container():
    for kind in ("tmpfs", "overlay"):
        assert mounts.judge(Mount("/x", kind, frozenset()), is_kept=False) == ("", "")


@given(st.text(max_size=200))
def test_a_table_of_any_content_raises_nothing(text):
    found = mounts.find_mount(Path("/a/b"), text)
    assert found is None or Path("/a/b").is_relative_to(found.point)


def test_a_lock_that_holds_nobody_out_is_seen(tmp_path):
    assert storage.excludes(tmp_path / "file", lambda file, operation: None) is False

    def refuse(file, operation):
        raise OSError(37, "No locks available")

    assert storage.excludes(tmp_path / "file", refuse) is False


def test_findings_can_be_told_as_json(tmp_path):
    assert all(json.dumps(dict(one.values)) for one in look(tmp_path / os.fsdecode(b"\xff")).values())
