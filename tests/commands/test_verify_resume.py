"""The command that proves on the user's machine that a killed training ends as if it had been left alone."""

import json
import shutil
import zipfile

import pytest
from conftest import SMOKE, name_tasks, read_history, run_command, run_command_anew

from harness.diagnostics import resume
from harness.runs.workdir import Workdir

NUM_KILLS = 10
FLAGS = ("--config", SMOKE, "--batch-size", "2", "--train.epochs", "6", "--model.widths", "[4,8,4]")  # 60 steps


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "none", "device"])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_training_killed_again_and_again_ends_identical(face_records, tmp_path, cache, num_devices):
    done = run_command_anew(
        "verify_resume",
        *("--records", face_records, "--kills", NUM_KILLS, "--keep", tmp_path / "kept", "--data.cache", cache),
        *("--runtime.logical_cpus", num_devices, *FLAGS),
        timeout_s=400,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    told, _, steps = done.stdout.rstrip().rpartition(" step ")
    assert told == "IDENTICAL: 6 epochs, killed at"
    steps = [int(step) for step in steps.split(", ")]
    assert len(steps) == NUM_KILLS, done.stderr  # else it was at its end before
    assert steps == sorted(steps) and len(set(steps)) >= 4 and steps[-1] <= 60
    environment = json.loads((tmp_path / "kept" / "killed" / "environment.json").read_text())
    assert environment["in_force"]["cache"] == cache and len(environment["in_force"]["devices"]) == num_devices


@pytest.mark.slow
def test_with_batch_normalisation_on_two_devices_it_ends_identical_and_keeps_what_it_measured(face_records, tmp_path):
    network = ("--model.name", "residual_cnn", "--model.widths", "[4,8]", "--runtime.logical_cpus", 2)
    flags = ("--config", SMOKE, "--records", face_records, "--batch-size", 4, "--train.epochs", 4, "--kills", 4)
    done = run_command_anew("verify_resume", *flags, *network, "--keep", tmp_path / "kept", timeout_s=400)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("IDENTICAL: 4 epochs, killed at step ")
    run = tmp_path / "kept" / "whole"
    kept = json.loads((run / "metrics.json").read_text())
    measured = {row["epoch"]: row["val_loss"] for row in read_history(run)}
    assert measured[kept["best_epoch"]] == kept["loss"]
    with zipfile.ZipFile(run / "export" / "model.keras") as file:
        layers = json.loads(file.read("config.json"))["config"]["layers"]
    normalising = [layer for layer in layers if layer["class_name"] == "BatchNormalization"]
    assert len(normalising) == 6 and not any(layer["config"]["synchronized"] for layer in normalising)
    assert [layer["module"] for layer in layers if layer["class_name"] == "Dropout"] == ["keras.layers"]


@pytest.mark.slow
def test_more_kills_than_steps_fall_before_the_first(face_records):
    flags = ("--config", SMOKE, "--records", face_records, "--batch-size", "20", "--train.epochs", "1", "--kills", "3")
    done = run_command_anew("verify_resume", *flags)
    assert done.returncode == 0, done.stderr + done.stdout
    told, _, last = done.stdout.rstrip().rpartition(", ")
    assert told == "IDENTICAL: 1 epochs, killed at step 0, 0" and last in ("0", "1")


def test_one_of_several_tasks_is_refused_before_anything_is_trained(face_records, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", name_tasks()[0]["TF_CONFIG"])
    kept = tmp_path / "kept"
    done = run_command_anew("verify_resume", "--records", face_records, "--keep", kept, *FLAGS, timeout_s=60)
    assert done.returncode == 6 and not kept.exists(), done.stderr
    assert done.stderr.splitlines() == [
        "error: verify_resume trains in one process, but TF_CONFIG or SLURM's step names several tasks. Unset "
        "TF_CONFIG, or start it outside of srun."
    ]


@pytest.mark.slow
def test_a_training_that_cannot_be_is_told_as_it_tells_itself(face_records):
    flags = ("--config", SMOKE, "--records", face_records, "--batch-size", "5", "--runtime.logical_cpus", "2")
    done = run_command_anew("verify_resume", *flags)
    assert done.returncode == 5
    assert "the training to compare with ended with 2: error: train.batch_size is 5, which 2 devices" in done.stderr


@pytest.mark.slow
def test_both_trainings_get_the_precision_that_the_first_chose(face_records, tmp_path):
    flags = ("--kills", 1, "--keep", tmp_path / "kept", "--train.precision", "auto", *FLAGS)
    flags += ("--runtime.logical_cpus", 2)
    done = run_command_anew("verify_resume", "--records", face_records, *flags, timeout_s=400)
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
    difference = resume.compare(Workdir(smoke_run), Workdir(tmp_path / "other"))
    assert difference.startswith("optimizer/_trainable_variables/0, by up to 0.") and "of 108 values" in difference
    assert resume.compare(Workdir(smoke_run), Workdir(smoke_run)) == ""


@pytest.mark.slow
def test_other_devices_are_no_difference_of_numbers(smoke_run, tmp_path):
    other = Workdir(shutil.copytree(smoke_run, tmp_path / "other"))
    environment = json.loads(other.environment.read_text())
    environment["in_force"]["devices"] = ["/gpu:0"]
    other.environment.write_text(json.dumps(environment))
    difference = resume.compare(Workdir(smoke_run), other)
    assert difference == "the devices: ['/cpu:0'] in one go, ['/gpu:0'] after kills"
