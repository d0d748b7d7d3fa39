"""The command that proves on the user's machine that a killed training ends as if it had been left alone."""

import json

import pytest
from conftest import SMOKE, run_command

from harness import verify_resume
from harness.workdir import Workdir

FLAGS = ("--config", SMOKE, "--batch-size", "4", "--train.epochs", "2", "--model.widths", "[4,8,4]")


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "none", "device"])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_training_killed_again_and_again_ends_identical(face_records, tmp_path, cache, num_devices):
    done = run_command(
        "verify_resume",
        *("--records", face_records, "--kills", 3, "--keep", tmp_path / "kept", "--data.cache", cache),
        *("--runtime.logical_cpus", num_devices, *FLAGS),
        timeout_s=400,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("IDENTICAL: 2 epochs, killed at step ")
    environment = json.loads((tmp_path / "kept" / "killed" / "environment.json").read_text())
    assert environment["in_force"]["cache"] == cache and len(environment["in_force"]["devices"]) == num_devices


@pytest.mark.slow
def test_both_trainings_get_the_precision_that_the_first_chose(face_records, tmp_path):
    flags = ("--kills", 1, "--keep", tmp_path / "kept", "--train.precision", "auto", *FLAGS)
    flags += ("--runtime.logical_cpus", 2)
    done = run_command("verify_resume", "--records", face_records, *flags, timeout_s=400)
    assert done.returncode == 0, done.stderr + done.stdout
    whole, killed = (
        {
            row["name"]: row
            for row in json.loads((tmp_path / "kept" / name / "environment.json").read_text())["settings"]
        }
        for name in ("whole", "killed")
    )
    assert whole["precision"]["asked"] == "auto"
    assert killed["precision"]["asked"] == killed["precision"]["in_force"] == whole["precision"]["in_force"]


@pytest.mark.slow
def test_the_first_tensor_that_differs_is_named(face_records, smoke_run, tmp_path):
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "other", "--seed", 9)
    assert done.returncode == 0, done.stderr
    difference = verify_resume.compare(Workdir(smoke_run), Workdir(tmp_path / "other"))
    assert difference.startswith("optimizer/_trainable_variables/0, by up to 0.") and "of 108 values" in difference
    assert verify_resume.compare(Workdir(smoke_run), Workdir(smoke_run)) == ""
