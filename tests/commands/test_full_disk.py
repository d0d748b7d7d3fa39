"""A disk that is full or fails during a training or a search: one sentence, code 7, and the same command goes on."""

import re
import subprocess

import pytest
from conftest import SMOKE, command_environment, command_line, run_command


def remount(disk, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def train(records, run, exports="[]"):
    words = ("--config", SMOKE, "--records", records, "--run", run, "--epochs", 3, "--runtime.exports", exports)
    return run_command("train", *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kilobytes", "exports"), [*((size, "[]") for size in (8, 60, 130, 200, 300, 420, 460)), (470, "[saved_model]")]
)
def test_a_training_on_a_full_disk_goes_on_once_there_is_room(face_records, small_disk, kilobytes, exports):
    remount(small_disk, f"size={kilobytes}k")
    run = small_disk / "run"
    done = train(face_records, run, exports)
    assert done.returncode == 7, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: writing") and "No space left on device" in last and "out of memory" not in last
    assert "Make room, and the same command goes on." in last and "Traceback" not in done.stderr
    assert not [path for path in run.rglob("*") if path.is_file() and "tmp" in path.name and "_temp" not in str(path)]
    remount(small_disk, "size=20m")
    done = train(face_records, run, exports)
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.json").is_file()
    assert (run / "export" / "saved_model").is_dir() == ("saved_model" in exports)
    assert not [path for path in run.rglob("*") if "tmp" in path.name or "_temp" in path.name]


@pytest.mark.slow
def test_a_disk_that_is_read_only_is_no_fault_of_ours(face_records, small_disk):
    remount(small_disk, "ro")
    done = train(face_records, small_disk / "run")
    assert done.returncode == 7 and "Read-only file system" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [20, 130, 700])
def test_a_search_on_a_full_disk_goes_on_once_there_is_room(search, small_disk, kilobytes):
    remount(small_disk, f"size={kilobytes}k")
    folder = small_disk / "a search"
    done = run_command("tune", "--config", search, "--tune.folder", folder, "--retrain", 0)
    assert done.returncode == 7, done.stderr
    last = done.stderr.splitlines()[-1]
    # A training on the full disk says so itself, as that of a trial.
    assert re.match("error: (trial 00[01]: )?writing", last) and "No space left on device" in last
    assert (
        "out of memory" not in last
        and "/proc/" not in done.stderr
        and "Traceback" not in done.stderr
        and str(folder) in last
    )
    remount(small_disk, "size=40m")
    done = run_command("tune", "--config", search, "--tune.folder", folder, "--retrain", 0)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "trials").iterdir()) == ["000", "001"]
    assert (folder / "best.yaml").is_file() and not list(folder.rglob("*.tmp"))


@pytest.mark.slow
def test_a_training_survives_a_disk_that_fails_in_the_middle(face_records, failing_disk):
    run = failing_disk.path / "run"
    words = ("train", "--config", SMOKE, "--records", face_records, "--run", run, "--epochs", 30)
    process = subprocess.Popen(
        command_line(*words), env=command_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for line in process.stderr:
        if line.startswith("epoch  6/30"):
            failing_disk.abort()
    last = line
    assert process.wait(timeout=60) == 7
    assert last.startswith("error: writing") and "Read-only file system. Once that is mended, the same" in last
    failing_disk.mend()  # what was not written to disk is lost, as after a crash of the machine
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    assert "going on at epoch" in done.stderr and (run / "metrics.json").is_file()
