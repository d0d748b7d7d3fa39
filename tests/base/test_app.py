"""How a command meets its surroundings: streams that are closed or full, little memory, stop signals, odd names."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMOKE, command_environment, command_line, files_of, run_python

from harness.base import errors
from harness.base.errors import ExitCode


def run_in_shell(redirection: str, *words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs `python -m harness...` below a shell that redirects, limits or ignores something first."""
    return subprocess.run(
        ["bash", "-c", redirection.replace("COMMAND", '"$@"'), "bash", *command_line(*words)],
        cwd=cwd,
        env=command_environment() | variables,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def build(redirection: str, faces: Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    words = ("build_records", "--config", SMOKE, "--images", faces, "--records", cwd / "records")
    return run_in_shell(redirection, *words, cwd=cwd, **variables)


def shards_of(records: Path) -> dict[str, bytes]:
    shards = {name: content for name, content in files_of(records).items() if name.endswith(".tfrecord")}
    assert shards
    return shards


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_byte(faces, face_records, tmp_path, closed):
    done = build(f"COMMAND {closed}", faces, tmp_path)
    assert done.returncode == 0, done.stderr
    assert shards_of(tmp_path / "records") == shards_of(face_records)


def test_a_full_standard_output_is_one_sentence(tmp_path):
    done = run_in_shell("COMMAND > /dev/full", "train", "--show-config", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stderr.startswith("error: writing") and len(done.stderr.splitlines()) == 1
    assert "failed: No space left on device." in done.stderr


def test_a_full_standard_error_stops_nothing(faces, tmp_path):
    done = build("COMMAND 2> /dev/full", faces, tmp_path)
    assert done.returncode == 0 and "records: " in done.stdout
    done = run_in_shell("COMMAND 2> /dev/full", "train", "--records", "missing", cwd=tmp_path)
    assert done.returncode == 3
    assert run_in_shell("COMMAND 2> /dev/full", "train", "--epoch", "1", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_a_full_standard_error_hides_no_picture_of_predict(smoke_run, faces, tmp_path):
    (tmp_path / "no_picture.jpg").write_text("text")
    words = ("predict", smoke_run, tmp_path / "no_picture.jpg", faces / "happy")
    done = run_in_shell("COMMAND 2> /dev/full", *words, cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 12


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    done = run_in_shell("set -o pipefail; COMMAND | head -1", "train", "--show-config", cwd=tmp_path)
    assert done.returncode in (0, 141) and done.stderr == ""


@pytest.mark.parametrize(
    "variables", [{"HOME": "/dev/null"}, {"TMPDIR": "missing"}, {"LC_ALL": "C"}, {"TZ": "Asia/Kathmandu"}]
)
def test_an_odd_environment_changes_no_byte(faces, face_records, tmp_path, variables):
    done = build("COMMAND", faces, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert shards_of(tmp_path / "records") == shards_of(face_records)


@pytest.mark.parametrize("kilobytes", [300_000, 900_000])
def test_too_little_address_space_is_told_as_memory(face_records, tmp_path, kilobytes):
    words = ("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "run")
    done = run_in_shell(f"ulimit -v {kilobytes}; COMMAND", *words, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: out of memory: ") and "Traceback" not in done.stderr


def test_a_name_cannot_write_to_the_terminal(tmp_path):
    done = run_in_shell("COMMAND", "train", "--records", "ev\x1b[2Jil\nerror: forged", cwd=tmp_path)
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: there are no records in ev\\x1b[2Jil\\nerror: forged (no manifest.json)")


def start_training(face_records: Path, cwd: Path, before: str = "") -> subprocess.Popen:
    words = command_line("train", "--config", SMOKE, "--records", face_records, "--run", "run", "--epochs", "2000")
    process = subprocess.Popen(
        ["bash", "-c", f'{before} exec "$@"', "bash", *words],
        cwd=cwd,
        env=command_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch"):
            return process
    raise AssertionError(f"the training ended with {process.wait()}")


def test_a_terminal_that_is_closed_saves_the_run(face_records, tmp_path):
    process = start_training(face_records, tmp_path)
    process.send_signal(signal.SIGHUP)
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 75, rest
    assert "SIGHUP" in (tmp_path / "run" / "INTERRUPTED").read_text()


def test_nohup_lets_a_run_go_on(face_records, tmp_path):
    process = start_training(face_records, tmp_path, before="trap '' HUP;")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75


@pytest.mark.slow
def test_signals_to_the_very_end_change_no_exit_code(face_records, tmp_path):
    process = start_training(face_records, tmp_path)
    while process.poll() is None:
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.002)
    assert process.returncode == 75


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_what_a_disk_does_is_one_sentence(tmp_path, code):
    found = errors.explain(OSError(code, os.strerror(code), str(tmp_path / "a b")), memory_advice="")
    assert found.exit_code == ExitCode.STORAGE == 7
    assert str(found).startswith(f"writing or reading {tmp_path / 'a b'} failed: {os.strerror(code)}")
    assert (" MB are free there. Make room" in str(found)) == (code in (errno.ENOSPC, errno.EDQUOT))


def test_a_full_disk_under_tensorflow_is_none_of_memory():
    import tensorflow as tf

    with pytest.raises(tf.errors.OpError) as caught:
        tf.io.write_file("/dev/full", "x")
    found = errors.explain(caught.value, memory_advice="")
    assert found.exit_code == 7 and "/dev/full failed: No space left on device" in str(found)


@pytest.mark.parametrize("folder", ["run", "my run/é", "{ABSOLUTE}/a b"])
def test_a_file_that_tensorflow_cannot_write_is_named_however_its_path_is_given(tmp_path, folder):
    place = folder.replace("{ABSOLUTE}", str(tmp_path / "absolute"))
    (tmp_path / place).mkdir(parents=True)
    program = (
        f"import os, resource; os.chdir({str(tmp_path)!r})\n"
        "import tensorflow as tf\n"
        "from harness.base import errors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        f"    tf.train.Checkpoint(value=tf.Variable(tf.zeros(10_000))).write({place!r} + '/ckpt')\n"
        "except tf.errors.OpError as error:\n"
        "    print(errors.explain(error, memory_advice=''))\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"writing or reading {place}/ckpt"), done.stdout
    assert done.stdout.rstrip().endswith("failed: File too large. Once that is mended, the same command goes on.")


def test_memory_that_tensorflow_lacks_is_told_with_what_to_do():
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[99]")
    found = errors.explain(error, memory_advice="Use a smaller --batch-size.")
    assert found.exit_code == 4
    assert str(found) == "out of memory: OOM when allocating tensor with shape[99]. Use a smaller --batch-size."


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), FileNotFoundError(2, "No such file", "x")])
def test_a_bug_stays_a_bug(error):
    assert errors.explain(error, memory_advice="") is None
