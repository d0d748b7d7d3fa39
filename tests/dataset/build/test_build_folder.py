"""The folder of a build is held by one build at a time, leaves nothing behind, and costs no records."""

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from conftest import command_environment, files_of

from harness.base.errors import DataError
from harness.dataset.build.build_folder import open_folder
from harness.locks.lock import InUse
from harness.locks.verdict import Rhythm

OLD, NEW = {"manifest.json": b"old", "a.tfrecord": b"1"}, {"manifest.json": b"new", "b.tfrecord": b"2"}


def names_beside(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_nothing_stays_beside_the_records(tmp_path):
    target = tmp_path / "records"
    with open_folder(target, "rules") as work:
        work.prepare(is_shared=False)
        write_all(work.root, NEW)
        assert names_beside(target) == {".records.building", ".records.lock"}
        work.publish(NEW)
    assert names_beside(target) == {"records"} and files_of(target) == NEW


@pytest.mark.parametrize("share", [None, "2-of-3"])
def test_nothing_stays_of_a_build_that_had_nothing_to_do(tmp_path, share):
    with open_folder(tmp_path / "records", "rules", share=share) as work:
        work.prepare(is_shared=share is not None)
        (work.cache / "chunk.csv").write_text("examined for nothing: the records are up to date")
        work.abandon()
    assert names_beside(tmp_path / "records") == set()


def test_a_build_that_fails_leaves_what_is_finished_and_nothing_else(tmp_path):
    for chunk, expected in (("", set()), ("chunk.csv", {".records.building"})):
        with (
            pytest.raises(DataError, match="no pictures"),
            open_folder(tmp_path / "r" / "records", "rules") as work,
        ):
            work.prepare(is_shared=False)
            if chunk:
                (work.cache / chunk).write_text("finished")
            raise DataError("no pictures")
        assert names_beside(tmp_path / "r" / "records") == expected


@pytest.mark.parametrize("rules", [b"other", b"\xcd\x00", b""])
def test_what_was_made_by_other_rules_is_removed_whatever_these_were(tmp_path, rules):
    root = tmp_path / ".records.building"
    (root / "spool").mkdir(parents=True)
    (root / "rules").write_bytes(rules)
    (root / "spool" / "old.csv").write_bytes(b"old")
    with open_folder(tmp_path / "records", "rules") as work:
        work.prepare(is_shared=False)
        assert not list(work.cache.iterdir()) and (root / "rules").read_bytes() == b"rules"


def test_the_last_of_several_tasks_clears_away(tmp_path):
    target = tmp_path / "records"
    with open_folder(target, "rules", share="0-of-2") as first:
        first.prepare(is_shared=True)
        with open_folder(target, "rules", share="1-of-2") as second:
            second.prepare(is_shared=True)
            second.abandon()
        assert names_beside(target) == {".records.building", ".records.lock.0-of-2"}, "the first uses them"
        with pytest.raises(InUse, match="records is in use by process"), open_folder(target, "rules"):
            pass
    assert names_beside(target) == set()


SOON = Rhythm(0.05, 1, yield_s=0.1)


@pytest.mark.parametrize(("first", "second"), [(None, "1-of-2"), ("1-of-2", None), ("1-of-2", "1-of-2"), (None, None)])
def test_whoever_is_there_keeps_out_all_who_would_do_the_same_work(tmp_path, first, second):
    with open_folder(tmp_path / "records", "rules", share=first, rhythm=SOON):
        expected = rf"records is in use by process {os.getpid()} on "
        with (
            pytest.raises(InUse, match=expected),
            open_folder(tmp_path / "records", "rules", share=second, rhythm=SOON),
        ):
            pass
    with open_folder(tmp_path / "records", "rules", share=second, rhythm=SOON):
        pass
    assert names_beside(tmp_path / "records") == set()


def test_tasks_that_were_killed_keep_nobody_out(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from harness.dataset.build.build_folder import open_folder\n"
        "with open_folder(Path(sys.argv[1]), 'rules', share=sys.argv[2]) as work:\n"
        " work.prepare(is_shared=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for share in ("0-of-3", "1-of-3"):
        command = [sys.executable, "-c", program, tmp_path / "records", share]
        assert subprocess.run(command, env=command_environment(), check=False).returncode == -signal.SIGKILL
    with open_folder(tmp_path / "records", "rules", share="0-of-3"):
        pass
    assert names_beside(tmp_path / "records") == {".records.building", ".records.lock.1-of-3"}
    with open_folder(tmp_path / "records", "rules"):
        pass
    assert names_beside(tmp_path / "records") == set()


ONE_AT_A_TIME = """
import sys
import traceback
from pathlib import Path
from harness.dataset.build.build_folder import open_folder
from harness.locks.lock import InUse

num_held, marker = 0, Path(sys.argv[1], "held")
while num_held < 40:
    try:
        with open_folder(Path(sys.argv[1], "records"), "rules") as work:
            marker.touch(exist_ok=False)
            work.prepare(is_shared=False)
            work.cache.joinpath("chunk").touch(exist_ok=False)
            work.abandon()
            marker.unlink()
            num_held += 1
    except InUse as error:
        assert "is in use by" in str(error), error
"""


def test_no_two_builds_hold_the_folder_however_fast_they_come_and_go(tmp_path):
    command = [sys.executable, "-c", ONE_AT_A_TIME, tmp_path]
    running = [
        subprocess.Popen(command, env=command_environment(), stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, told
    assert names_beside(tmp_path / "records") == set()


def kill_while_publishing(target: Path, after: int) -> bool:
    """Publishes in a process that kills itself before its change number `after` of the file system."""
    changes = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.link", "os.truncate"}
    num_seen = 0

    def count(event: str, arguments: object) -> None:
        nonlocal num_seen
        num_seen += event in changes
        if event in changes and num_seen == after:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            with open_folder(target, "rules") as work:
                work.prepare(is_shared=False)
                (work.cache / "chunk.csv").write_text("examined")
                write_all(work.root, {**NEW, "left-over.tfrecord": b"3"})
                sys.addaudithook(count)
                work.publish(NEW)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("share", [None, "0-of-2"])
def test_a_kill_while_records_are_replaced_costs_neither_the_old_nor_the_new_ones(tmp_path, share):
    target, outcomes = tmp_path / "records", []
    for after in range(1, 100):
        subprocess.run(["rm", "-rf", tmp_path], check=True)
        write_all(target, OLD)
        was_killed = kill_while_publishing(target, after)
        with open_folder(target, "rules", share=share):
            outcomes.append(files_of(target))
        assert names_beside(target) - {".records.building"} == {"records"}
        if not was_killed:
            break
    assert outcomes[0] == OLD and outcomes[-1] == NEW and len(outcomes) > 5
    assert all(files in (OLD, NEW) for files in outcomes)
