"""One owner for a run folder and for the folder of a search, whatever becomes of it."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from conftest import SMOKE, command_environment, command_line, run_command

from harness.base.errors import CheckpointError
from harness.runs import lock

HOLD = "import sys, time; from pathlib import Path; from harness.runs import lock\nwith lock.hold(Path(sys.argv[1])):\n"


def start_owner(folder, then="print('held', flush=True); time.sleep(300)"):
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HOLD} {then}", folder], env=command_environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_has_one_owner_who_is_named(tmp_path):
    owner = start_owner(tmp_path / "run")
    expected = (
        rf"run is in use by process {owner.pid} on {re.escape(socket.gethostname())} since 20\d\d-.*another folder"
    )
    with pytest.raises(CheckpointError, match=expected), lock.hold(tmp_path / "run"):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with lock.hold(tmp_path / "run"):
        assert f'"pid": {os.getpid()}' in (tmp_path / "run" / ".lock").read_text()
    assert not (tmp_path / "run" / ".lock").exists()


def test_an_owner_that_ends_leaves_nothing(tmp_path):
    with lock.hold(tmp_path / "a" / "run"):
        pass
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "run").mkdir()
    with lock.hold(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_an_error_of_the_owner_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path):
        raise ZeroDivisionError
    with lock.hold(tmp_path), pytest.raises(CheckpointError, match="is in use by process"), lock.hold(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"[" * 9000, b'{"pid": "x"}', b"\xff"])
def test_an_owner_that_cannot_be_read_is_another_process(tmp_path, content):
    with lock.hold(tmp_path):
        (tmp_path / ".lock").write_bytes(content)
        with pytest.raises(CheckpointError, match="is in use by another process"), lock.hold(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=r"cannot write to .*Give another folder"), lock.hold(folder):
            pass


def test_many_that_start_at_once_never_own_a_folder_together(tmp_path):
    then = "[open(f'{sys.argv[1]}.log', 'a').write(w) or time.sleep(0.001) for w in '<>']"
    program = (
        "import sys, time; from pathlib import Path; from harness.base.errors import CheckpointError\n"
        "from harness.runs import lock\n"
        f"for _ in range(150):\n try:\n  with lock.hold(Path(sys.argv[1])):\n   {then}\n except CheckpointError: pass\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "run"]
    started = [subprocess.Popen(command, env=command_environment()) for _ in range(4)]
    assert [process.wait(timeout=120) for process in started] == [0] * 4
    log = (tmp_path / "run.log").read_text()
    assert re.fullmatch(r"(<>)+", log) and len(log) >= 2 * 150


@pytest.mark.slow
@pytest.mark.parametrize("module", ["train", "tune"])
def test_a_second_command_in_the_same_folder_is_refused(face_records, tmp_path, module):
    flag = {"train": "--run", "tune": "--tune.folder"}[module]
    owner = start_owner(tmp_path / "run")
    words = ["--config", SMOKE if module == "train" else SMOKE.with_name("tune.yaml"), "--records", face_records]
    done = run_command(module, *words, flag, tmp_path / "run")
    assert done.returncode == 5, done.stderr
    assert f"run is in use by process {owner.pid} on " in done.stderr
    owner.kill()
    owner.wait()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


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
