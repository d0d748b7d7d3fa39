"""The doctor command: what it shows, its object, its exit codes, that it writes nothing, and that nothing hangs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, command_environment, run_command, run_command_anew

from harness.locks import lock

GROUPS = ["software", "machine", "memory", "gpus", "storage", "cluster", "records"]
FLAGS = ("--config", SMOKE, "--gpus", "none")


def doctor(*flags, cwd=ROOT, anew=False, **others):
    return (run_command_anew if anew else run_command)("doctor", *flags, cwd=cwd, **others)


def examine(*flags, **others):
    done = doctor(*flags, "--json", **others)
    assert done.returncode in (0, 6), done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (6 if told["num_problems"] else 0)
    return told, {(one["group"], one["name"]): one for one in told["checks"]}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to start in, outside of any job."""
    for name in [name for name in os.environ if name.startswith("SLURM_")] + ["TF_CONFIG"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_what_needs_no_tensorflow_is_shown_in_groups_with_a_verdict(face_records, place):
    done = doctor(*FLAGS, "--records", face_records, "--run", place / "run", "--quick")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in GROUPS] == GROUPS
    assert lines[-1].startswith("Nothing speaks against a training here as far as was looked: ")
    assert max(map(len, lines)) <= 120 and "\x1b" not in done.stdout
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_the_training_as_asked_is_tried_to_its_first_step(face_records, place):
    flags = (*FLAGS, "--records", face_records, "--run", place / "run", "--runtime.logical_cpus", "2")
    told, found = examine(*flags, "--verify", "--train.precision", "float32")
    assert told["format"] == 1 and told["num_problems"] == 0
    assert told["verdict"].startswith("A training will run here on ") and " as 2 devices; " in told["verdict"]
    for name in ("import", "step /cpu:0", "step /cpu:1"):
        assert found["tensorflow", name]["status"] == "ok"
    assert found["tensorflow", "devices"]["values"]["devices"] == ["/cpu:0", "/cpu:1"]
    assert found["tensorflow", "all-reduce"]["values"]["num_replicas"] == 2
    assert found["training", "precision"]["values"] == {"asked": "float32", "in_force": "float32"}
    assert found["training", "run"]["found"] == f"starts in {place / 'run'}"
    assert 0 < found["training", "step"]["values"]["loss"] < 10
    assert found["records", "every byte"]["found"] == "24 records are as they were written"
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_settings_that_do_not_go_together_are_a_problem_in_the_words_of_a_training(face_records, place):
    flags = (*FLAGS, "--records", face_records, "--run", place / "run", "--runtime.logical_cpus", "3")
    _, found = examine(*flags, "--batch-size", "16")
    assert found["tensorflow", "devices"]["status"] == "problem"
    assert found["training", "settings"]["found"] == "train.batch_size is 16, which 3 devices cannot share evenly"


@pytest.mark.slow
def test_a_run_folder_of_another_run_is_a_problem(face_records, smoke_run, place):
    run = shutil.copytree(smoke_run, place / "run")
    told, found = examine(*FLAGS, "--records", face_records, "--run", run, "--optim.learning_rate", "0.5")
    assert "was started with other settings" in found["training", "settings"]["found"]
    assert found["training", "settings"]["fix"].startswith("Give the same settings to go on")
    assert told["verdict"].startswith("A training as asked will not run here: 1 problem")


@pytest.mark.slow
def test_a_run_folder_in_use_is_a_problem_and_stays_its_owners(face_records, place):
    with lock.hold_folder(place / "run"):
        told, found = examine(*FLAGS, "--records", face_records, "--run", place / "run", "--train.precision", "float32")
        assert (place / "run" / ".lock").exists()
    assert found["training", "run"]["found"].startswith(f"{place / 'run'} is in use by process {os.getpid()} on ")
    assert found["training", "run"]["status"] == "problem" and told["num_problems"] == 1


def test_nothing_is_made_where_nothing_was(place):
    told, found = examine("--quick", "--gpus", "none", cwd=place)
    assert found["storage", "run"]["found"].startswith("runs/emotion_cnn (to be made) on ")
    assert found["records", "manifest"]["status"] == "warning" and told["num_problems"] == 0
    assert list(place.iterdir()) == []


def test_named_records_that_are_missing_are_a_problem(place):
    done = doctor("--quick", "--records", place / "none", "--gpus", "none")
    assert done.returncode == 6
    end = done.stdout[done.stdout.index("What to do") :]
    assert "records, manifest: there are no records in" in end
    assert "-> Build them first: python -m harness.build_records" in end
    assert done.stdout.splitlines()[-1].startswith("A training as asked will not run here: 1 problem")


def test_broken_variables_are_a_problem_not_a_traceback(place, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{nonsense")
    _, found = examine("--quick", "--run", place / "run", "--gpus", "none")
    assert found["cluster", "tasks"]["status"] == "problem" and "it is no JSON" in found["cluster", "tasks"]["found"]


@pytest.mark.parametrize(
    ("flags", "word"),
    [(("--recrods", "x"), "Did you mean"), (("--batch-size", "0"), "batch_size"), (("--nodes",), "salloc")],
)
def test_a_mistake_of_use_ends_with_2(place, flags, word):
    done = doctor(*flags)
    assert done.returncode == 2 and word in done.stderr and done.stdout == ""


@pytest.mark.slow
def test_a_driver_that_hangs_is_told_while_all_else_is_seen(place, monkeypatch):
    hanging = place / "bin" / "nvidia-smi"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 60; done\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging.parent}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    told, found = examine("--quick", "--run", place / "run")
    assert found["gpus", "driver"]["found"] == "nvidia-smi did not answer within 20 s"
    assert found["gpus", "driver"]["status"] == "problem" and told["num_problems"] == 1
    assert {group for group, _ in found} == set(GROUPS) and time.monotonic() - started < 120


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_stopped_leaves_no_process(face_records, place, number):
    name, value = "HARNESS_TEST_MARK", str(place)

    def list_processes():
        return [path for path in Path("/proc").glob("[0-9]*/environ") if f"{name}={value}" in read(path)]

    def wait_until(is_so):
        limit = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < limit, list_processes()
            time.sleep(0.1)

    command = [sys.executable, "-m", "harness.doctor", *map(str, FLAGS), "--records", str(face_records)]
    environment = command_environment() | {name: value}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("importing TensorFlow")
        wait_until(lambda: len(list_processes()) == 3)  # with one that has imported it, and the check that it forked
        process.send_signal(number)
        process.stderr.read()
        assert process.wait(60) == 128 + number
    wait_until(lambda: not list_processes())


def read(path):
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has just ended
        return ""


def test_help_comes_without_tensorflow_and_names_what_it_takes():
    done = doctor("--help-all", anew=True)
    assert done.returncode == 0 and "--verify" in done.stdout and "--runtime.logical_cpus" in done.stdout
    assert "--as-node" not in done.stdout
