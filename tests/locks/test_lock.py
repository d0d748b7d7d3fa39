"""A folder has one owner on a machine, whatever becomes of it, and whether or not the file system has locks."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import SMOKE, command_environment, command_line, run_command, run_without_privileges
from hypothesis import given, settings
from hypothesis import strategies as st
from owners import BEAT_S, FLOCKS, enter, go_to

from harness.base.errors import CheckpointError
from harness.locks import lock, lock_file
from harness.locks.lock import InUse
from harness.locks.lock_file import LockFile
from harness.locks.verdict import Rhythm, Verdict


def wait_for(condition, limit_s=60):
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("flock", FLOCKS)
def test_a_folder_has_one_owner_who_is_named(tmp_path, flock):
    owner = enter(tmp_path / "run", flock=flock, SLURM_JOB_ID="1234")
    host = re.escape(socket.gethostname())
    expected = rf"run is in use by process {owner.pid} on {host} \(job 1234\) since 20\d\d-\d\d-\d\d .*another folder"
    with pytest.raises(InUse, match=expected), lock.hold_folder(tmp_path / "run"):
        pass
    code, errors = enter(tmp_path / "run", flock=flock).finish()
    assert code == 5 and re.search(expected, errors) and len(errors.splitlines()) == 1
    assert owner.finish() == (0, "")
    with lock.hold_folder(tmp_path / "run"):
        assert f'"pid": {os.getpid()}' in (tmp_path / "run" / ".lock").read_text()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flock", FLOCKS)
def test_an_owner_that_was_killed_keeps_nobody_waiting(tmp_path, flock):
    owner = enter(tmp_path, flock=flock)
    os.kill(owner.pid, signal.SIGKILL)
    owner.process.wait()
    code, errors = enter(tmp_path, flock=flock, still_s=3600).finish()
    assert code == 0
    assert errors.startswith(f"{tmp_path}: its owner is gone, process {owner.pid} on ") and errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flock", FLOCKS)
def test_an_owner_that_is_suspended_stays_the_owner(tmp_path, flock):
    owner = enter(tmp_path, flock=flock)
    os.kill(owner.pid, signal.SIGSTOP)
    code, errors = enter(tmp_path, flock=flock, still_s=0).finish()
    assert code == 5 and f"is in use by process {owner.pid} on" in errors
    os.kill(owner.pid, signal.SIGCONT)
    assert owner.finish() == (0, "")


def test_one_look_tells_who_owns_a_folder_and_changes_nothing(tmp_path):
    assert lock.look_for_owner(tmp_path / "none") == ("", Verdict.GONE)
    owner = enter(tmp_path)
    path = tmp_path / ".lock"
    content, host = path.read_text(), socket.gethostname()
    who, found = lock.look_for_owner(tmp_path)
    assert found is Verdict.LIVES and who.startswith(f"process {owner.pid} on {host} since 20")
    owner.process.kill()
    owner.process.wait()
    assert lock.look_for_owner(tmp_path) == (who, Verdict.GONE)
    assert path.read_text() == content
    path.write_text(json.dumps(json.loads(content) | {"boot": "another", "host": "n7"}))
    assert lock.look_for_owner(tmp_path) == (who.replace(f"on {host} ", "on n7 "), None)


def test_an_owner_that_ends_leaves_nothing(tmp_path):
    with lock.hold_folder(tmp_path / "a" / "run"):
        pass
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "run").mkdir()
    with lock.hold_folder(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_an_error_of_the_owner_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold_folder(tmp_path):
        raise ZeroDivisionError
    with lock.hold_folder(tmp_path), pytest.raises(InUse, match="in use by process"), lock.hold_folder(tmp_path):
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["pid", "host", "token", "boot"]) | st.text(), inner)
    ),
)


@settings(max_examples=25)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_lock_file_of_whatever_content_is_taken_over_once_it_stands_still(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("run")
    (folder / ".lock").write_bytes(content)
    with lock.hold_folder(folder, Rhythm(0.001, 0.002)):
        assert f'"pid": {os.getpid()}' in (folder / ".lock").read_text()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", [b"\xa8 \xff", "é 😀".encode(), b"x" * 255])
def test_a_lock_of_any_name_is_taken_and_taken_over(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    for content in (None, b"", b"{}"):
        if content is not None:
            path.write_bytes(content)
        with lock.hold(path, "it", Rhythm(0.01, 0.05)):
            assert f'"pid": {os.getpid()}' in path.read_text()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[" * 9000, b'{"pid": "x"}', b"\xff", b"1" * (1 << 20)])
def test_an_owner_that_cannot_be_read_is_another_process(tmp_path, content):
    owner = enter(tmp_path)
    (tmp_path / ".lock").write_bytes(content)
    code, errors = enter(tmp_path).finish()
    assert code == 5 and "is in use by another process" in errors
    assert owner.finish() == (0, "")


def test_an_owner_whose_lock_file_is_removed_puts_it_back(tmp_path):
    owner = enter(tmp_path / "run")
    path = tmp_path / "run" / ".lock"
    since = json.loads(path.read_text())["since"]
    path.unlink()
    wait_for(lambda: path.is_file() and path.stat().st_size)
    code, errors = enter(tmp_path / "run").finish()
    assert code == 5 and f"in use by process {owner.pid} on" in errors and since in errors
    assert owner.finish() == (0, "") and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to(path), lambda path: path.write_text("{}"), Path.touch]
)
def test_what_comes_in_place_of_its_lock_file_ends_no_owner(tmp_path, make):
    owner = enter(tmp_path / "run")
    make(tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "run" / ".lock")
    time.sleep(5 * BEAT_S)  # that nothing happens takes time to see
    owner.write()
    assert owner.finish() == (0, "")
    assert (tmp_path / "run" / "written").exists() and os.path.lexists(tmp_path / "run" / ".lock")


def test_what_is_no_lock_file_is_refused(tmp_path):
    for name, make in {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "link": lambda path: path.symlink_to(tmp_path / "elsewhere"),
        "link to itself": lambda path: path.symlink_to(path),
    }.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / ".lock")
        with pytest.raises(CheckpointError, match=r"\.lock is no file, where"), lock.hold_folder(tmp_path / name):
            pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=r"cannot write to .*Give another folder"), lock.hold_folder(folder):
            pass


@pytest.mark.parametrize(("limit", "name"), [("read-only", "Permission denied"), ("full", "No space left on device")])
def test_a_folder_that_cannot_be_written_is_told(small_disk, limit, name):
    if limit == "full":
        with pytest.raises(OSError, match="No space"), (small_disk / "all").open("wb") as file:
            file.write(bytes(4 << 20))
    else:
        small_disk.chmod(0o555)
    program = (
        "import sys; from pathlib import Path; from harness.base import app; from harness.locks import lock\n"
        f"def main(argv):\n with lock.hold_folder(Path({str(small_disk)!r})): return 0\n"
        "sys.exit(app.run(main))"
    )
    done = run_without_privileges(program)
    assert done.returncode == 7 and name in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in small_disk.iterdir()] in ([], ["all"])


def test_who_wakes_up_while_taken_for_gone_does_not_own_the_folder_beside_another(tmp_path, monkeypatch):
    """One is suspended between making its file and writing it, and goes on when another is about to replace it."""
    is_made, is_judged, is_over, owners = threading.Event(), threading.Event(), threading.Event(), []
    lock_anew, move = lock_file._lock, LockFile.move

    def lock_late(*arguments):
        if threading.current_thread().name == "first" and not is_made.is_set():
            is_made.set()
            assert is_judged.wait(60)
        return lock_anew(*arguments)

    def move_late(*arguments):
        is_judged.set()
        first.join(1)  # time to go on, and to own the folder
        return move(*arguments)

    def own():
        with contextlib.suppress(InUse), lock.hold_folder(tmp_path, Rhythm(60, 0.1)):
            owners.append(threading.current_thread().name)
            is_over.wait(60)

    monkeypatch.setattr(lock_file, "_lock", lock_late)
    monkeypatch.setattr(LockFile, "move", move_late)
    first, second = (threading.Thread(target=own, name=name) for name in ("first", "second"))
    first.start()
    assert is_made.wait(60)
    second.start()
    first.join(20)
    is_over.set()
    second.join(60)
    assert owners == ["second"] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("owner_lives", [False, True])
def test_a_claim_that_a_dead_process_left_keeps_nobody_out_for_ever(tmp_path, owner_lives):
    """It died just before it would have moved its file over one that said nothing, which is gone since."""
    owner = enter(tmp_path / "other")
    left = (tmp_path / "other" / ".lock").read_text()
    if not owner_lives:
        owner.process.kill()
        owner.process.wait()
    claim = lock._name_claim(tmp_path / ".lock", lock._NOTHING_SHA256)
    claim.write_text(left)
    entering = contextlib.nullcontext() if not owner_lives else pytest.raises(InUse)
    with entering, lock.hold_folder(tmp_path, Rhythm(0.02, 0.1)):
        assert f'"pid": {os.getpid()}' in (tmp_path / ".lock").read_text() and not claim.exists()


# Each attempt is a process of its own. Some are killed, while it owns the folder or at one of the changes to the
# file system that it makes before and after.
ATTEMPTS = """
import errno, fcntl, os, random, signal, sys, time
from pathlib import Path

folder, flock, seed, num_attempts, killed, still_s = sys.argv[1:]

def fail(*_):
    raise OSError(errno.ENOLCK, "No locks available")

if flock == "none":
    fcntl.flock = fail

from harness.locks import lock
from harness.locks.lock import InUse
from harness.locks.verdict import Rhythm

log = os.open(f"{folder}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
chance = random.Random(int(seed))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def attempt(moment):
    num_changes = 0

    def count(event, arguments):
        nonlocal num_changes
        is_change = event in ("os.rename", "os.remove") or event == "open" and arguments[2] & os.O_CREAT
        num_changes += is_change
        if is_change and num_changes == moment:
            die()

    sys.addaudithook(count)
    try:
        with lock.hold_folder(Path(folder), Rhythm(0.05, float(still_s))):
            os.write(log, b"<")
            time.sleep(0.001)
            os.write(log, b">")
            if moment == 0:
                die()
    except InUse:
        pass

for _ in range(int(num_attempts)):
    moment = chance.randrange(6) if chance.random() < float(killed) else None
    child = os.fork()
    if not child:
        attempt(moment)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
"""


def start_attempts(folder, flock, hosts, *, num_attempts, killed, still_s):
    words = [(sys.executable, "-c", ATTEMPTS, folder, flock, seed, num_attempts, killed, still_s) for seed in range(4)]
    commands = [(*go_to(host, folder.parent), *word) for host, word in zip(hosts, words)]
    started = [subprocess.Popen(list(map(str, command)), env=command_environment()) for command in commands]
    assert [process.wait(timeout=300) for process in started] == [0] * 4
    log = folder.with_name(f"{folder.name}.log").read_text()
    assert re.fullmatch(r"(<>)+", log) and len(log) >= num_attempts


@pytest.mark.parametrize("flock", ["real", "none"])
def test_many_that_start_at_once_never_own_a_folder_together(tmp_path, flock):
    start_attempts(tmp_path / "run", flock, ("",) * 4, num_attempts=60, killed=0.2, still_s=1)


@pytest.mark.slow
@pytest.mark.parametrize("flock", ["real", "none", "local"])
def test_many_machines_that_start_at_once_never_own_a_folder_together(tmp_path, flock):
    start_attempts(tmp_path / "run", flock, ("", "n1", "n2", "n3"), num_attempts=20, killed=0.5, still_s=5)


@pytest.mark.slow
def test_a_second_training_in_the_same_folder_is_refused(face_records, tmp_path):
    owner = enter(tmp_path / "run")
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "run")
    assert done.returncode == 5, done.stderr
    assert f"run is in use by process {owner.pid} on " in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert owner.finish() == (0, "")


@pytest.mark.slow
def test_a_training_owns_its_folder_until_it_is_killed(face_records, tmp_path):
    words = ("--config", SMOKE, "--records", face_records, "--run", tmp_path / "run")
    process = subprocess.Popen(
        command_line("train", *words, "--epochs", 500), env=command_environment(), stderr=subprocess.PIPE, text=True
    )
    assert any(line.startswith("epoch") for line in process.stderr)
    refused = run_command("train", *words, "--epochs", 500)
    assert refused.returncode == 5 and f"is in use by process {process.pid} on" in refused.stderr
    process.kill()
    process.wait()
    refused = run_command("train", *words, "--epochs", 400)
    assert refused.returncode == 5 and "was started with other settings" in refused.stderr
