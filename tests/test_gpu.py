"""What only a GPU can show. Elsewhere these tests are skipped."""

import csv
import functools
import json
import shutil
import subprocess

import pytest
from conftest import SMOKE, run_command_anew

from harness.diagnostics import resume
from harness.runs.workdir import Workdir


def list_gpus() -> list[str]:
    """One line for each GPU that the driver shows; TensorFlow is not asked, which would take it for all tests."""
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("GPU ")] if done.returncode == 0 else []


GPUS = list_gpus()
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.skipif(not GPUS, reason="the driver shows no GPU here")]
several = pytest.mark.skipif(len(GPUS) < 2, reason=f"needs two GPUs, and the driver shows {len(GPUS)}")

PLAIN = ("--model.dropout", "0", "--model.dense_dropout", "0", "--augment.enabled", "false", "--train.patience", "0")
on_gpus = functools.partial(run_command_anew, uses_gpus=True)


def train(records, run, *flags):
    done = on_gpus("train", "--config", SMOKE, "--records", records, "--run", run, *flags)
    assert done.returncode == 0, done.stderr
    return read_in_force(run)


def read_in_force(run):
    return json.loads((run / "environment.json").read_text())["in_force"]


def losses_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_one_gpu_gets_no_strategy_and_the_pictures(face_records, tmp_path):
    found = train(face_records, tmp_path / "run", "--gpus", "1", "--train.precision", "auto")
    assert found["devices"] == ["/gpu:0"] and found["strategy"] == "none"
    assert found["cache"] == found["engine"] == "device"
    capability = subprocess.run(
        ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "-i", "0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = {True: "mixed_bfloat16", False: "mixed_float16"}[float(capability) >= 8]
    assert found["precision"] == (expected if float(capability) >= 7 else "float32")


@pytest.mark.parametrize("cache", ["device", "memory", "none"])
def test_a_gpu_learns_what_a_cpu_does(face_records, tmp_path, cache):
    flags = (*PLAIN, "--data.cache", cache, "--optim.name", "sgd", "--optim.learning_rate", "0.01")
    train(face_records, tmp_path / "gpu", *flags, "--gpus", "1")
    train(face_records, tmp_path / "cpu", *flags, "--gpus", "none")
    assert losses_of(tmp_path / "gpu") == pytest.approx(losses_of(tmp_path / "cpu"), rel=1e-2)


def test_xla_on_a_gpu_learns_the_same(face_records, tmp_path):
    train(face_records, tmp_path / "plain", *PLAIN, "--gpus", "1")
    train(face_records, tmp_path / "compiled", *PLAIN, "--gpus", "1", "--runtime.xla", "true")
    assert losses_of(tmp_path / "compiled") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-2)


@several
def test_two_gpus_learn_what_one_does(face_records, tmp_path):
    flags = (*PLAIN, "--batch-size", "8", "--optim.name", "sgd", "--optim.learning_rate", "0.01")
    train(face_records, tmp_path / "one", *flags, "--gpus", "1")
    found = train(face_records, tmp_path / "two", *flags, "--gpus", "2")
    assert found["strategy"] == "MirroredStrategy" and found["devices"] == ["/gpu:0", "/gpu:1"]
    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-2)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_training_killed_on_a_gpu_ends_identical(face_records, tmp_path, precision):
    done = on_gpus(
        "verify_resume",
        *("--config", SMOKE, "--records", face_records, "--kills", 4, "--keep", tmp_path / "kept"),
        *("--batch-size", "4", "--train.precision", precision),
        timeout_s=900,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("IDENTICAL: 3 epochs, killed at step ")
    assert read_in_force(tmp_path / "kept" / "killed")["devices"][0] == "/gpu:0"


def test_steps_that_share_a_call_learn_the_same_bits(face_records, tmp_path):
    flags = ("--gpus", "1", "--batch-size", "4", "--runtime.deterministic", "true")
    train(face_records, tmp_path / "one", *flags, "--runtime.steps_per_loop", "1")
    train(face_records, tmp_path / "many", *flags, "--runtime.steps_per_loop", "64")
    assert resume.compare(Workdir(tmp_path / "one"), Workdir(tmp_path / "many")) == ""


def test_bench_tells_the_gpus_memory_and_tries_xla(face_records):
    done = on_gpus("bench", "--config", SMOKE, "--records", face_records, "--seconds", "0.2", "--gpus", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cache"] == "device" and found["peak_device_bytes"] > 0
    assert "trying --runtime.xla true" in done.stderr or "INPUT-BOUND" in found["verdict"][0]


def test_a_number_of_gpus_that_is_not_there_is_refused(face_records, tmp_path):
    flags = ("--config", SMOKE, "--records", face_records, "--run", tmp_path / "run", "--gpus", str(len(GPUS) + 1))
    done = on_gpus("train", *flags)
    assert done.returncode == 2 and f"this machine shows {len(GPUS)} GPU" in done.stderr
