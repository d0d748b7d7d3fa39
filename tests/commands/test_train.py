"""python -m harness.train: what a run leaves, how it stops and goes on, and what it refuses."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMOKE, command_environment, command_line, read_history, run_command, run_command_anew
from PIL import Image

from harness.config import settings
from harness.dataset.records import manifest
from harness.diagnostics import resume
from harness.runs.workdir import Workdir


def train(records, run, *flags, **options):
    return run_command("train", "--config", SMOKE, "--records", records, "--run", run, *flags, **options)


def final_state(run):
    """Figures without timings, and the weights."""
    history = [{name: row[name] for name in row if name != "images_per_s"} for row in read_history(run)]
    return history, keras.models.load_model(run / "export" / "model.keras").get_weights()


def assert_same_state(first, second):
    assert first[0] == second[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def test_a_run_leaves_everything_it_promises(smoke_run):
    names = {path.relative_to(smoke_run).as_posix() for path in smoke_run.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "metrics.json",
        "predictions.csv",
        "curves.png",
        "confusion.png",
        "report.html",
        "export/model.keras",
        "export/emotion_cnn_model.h5",
        "export/saved_model/saved_model.pb",
        "export/signature.json",
        "export/labels.txt",
        "export/export.json",
        "export/MODEL_CARD.md",
        "checkpoints/latest/checkpoint",
        "checkpoints/best/checkpoint",
    } <= names
    assert not [name for name in names if "tmp" in name or name == "INTERRUPTED"]
    for name in ("curves.png", "confusion.png"):
        width, height = Image.open(smoke_run / name).size
        assert min(width, height) > 300


def test_the_figures_agree_with_each_other(smoke_run):
    found = json.loads((smoke_run / "metrics.json").read_text())
    history = read_history(smoke_run)
    assert [row["epoch"] for row in history] == [1, 2, 3] and found["best_epoch"] == 3
    assert found["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-6)
    assert found["accuracy"] == history[-1]["val_accuracy"]
    assert found["num_examples"] == sum(map(sum, found["confusion"])) == 4
    assert found["export_difference"] <= 1e-4


def test_the_config_says_which_pictures_the_records_came_from(smoke_run, faces, face_records):
    """It was trained with --records alone, for which data.images is the default."""
    found = settings.read_file(smoke_run / "config.yaml")
    assert found["data.images"].value == str(faces) and found["data.records"].value == str(face_records)


def test_the_environment_says_what_was_asked_and_what_is_in_force(smoke_run):
    found = json.loads((smoke_run / "environment.json").read_text())
    assert found["in_force"]["precision"] == "float32" and found["in_force"]["devices"] == ["/cpu:0"]
    assert (found["in_force"]["cache"], found["in_force"]["engine"]) == ("memory", "host")
    rows = {row["name"]: row for row in found["settings"]}
    assert rows["devices"] == {
        "name": "devices",
        "asked": "gpus all",
        "in_force": "/cpu:0",
        "reason": "no GPU found: training on the CPU",
    }
    assert rows["cache"]["asked"] == "auto" and rows["cache"]["reason"].startswith("pictures kept in memory: ")
    assert (rows["precision"]["asked"], rows["global batch"]["in_force"]) == ("float32", "16")


def test_both_exports_give_the_same_probabilities(smoke_run):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    keras_model = keras.models.load_model(smoke_run / "export" / "model.keras", safe_mode=True)
    h5_model = keras.models.load_model(smoke_run / "export" / "emotion_cnn_model.h5", compile=False)
    np.testing.assert_allclose(keras_model.predict(pictures), h5_model.predict(pictures), atol=1e-6)
    assert {weight.dtype for weight in keras_model.weights} == {"float32"}


def test_the_saved_config_trains_the_same_run_again(smoke_run, face_records, tmp_path):
    again = tmp_path / "again"
    words = ("--config", smoke_run / "config.yaml", "--run", again, "--quiet", "--runtime.exports", "[]")
    done = run_command("train", *words)
    assert done.returncode == 0, done.stderr
    assert "in force" not in done.stderr
    assert settings.read_file(again / "config.yaml")["train.epochs"].value == 3
    assert_same_state(final_state(again), final_state(smoke_run))


def test_a_finished_run_is_reported_and_not_touched(smoke_run, face_records):
    before = (smoke_run / "metrics.json").stat().st_mtime_ns
    done = train(face_records, smoke_run)
    assert done.returncode == 0 and "is complete" in done.stderr and "validation accuracy" in done.stdout
    assert (smoke_run / "metrics.json").stat().st_mtime_ns == before


def test_another_config_is_refused_with_the_differing_settings(smoke_run, face_records):
    done = train(face_records, smoke_run, "--train.epochs", "4", "--seed", "9")
    assert done.returncode == 5
    assert "train.epochs was 3, now 4" in done.stderr and "train.seed was 0, now 9" in done.stderr


def test_other_records_are_refused(smoke_run, faces, tmp_path):
    flags = ("--config", SMOKE, "--images", faces, "--records", tmp_path / "other", "--split.seed", "7")
    assert run_command("build_records", *flags).returncode == 0
    done = train(tmp_path / "other", smoke_run)
    assert done.returncode == 5 and "with other records than" in done.stderr


def test_a_folder_that_is_no_run_is_left_alone(face_records, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = train(face_records, tmp_path)
    assert done.returncode == 5 and "holds no run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_start_that_was_killed_at_once_is_no_obstacle(face_records, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text("{}")
    (tmp_path / "run" / ".config.yaml.123.tmp").write_text("half")
    done = train(face_records, tmp_path / "run", "--epochs", "1")
    assert done.returncode == 0, done.stderr


def test_a_cut_shard_stops_training_before_it_starts(face_records, tmp_path):
    records = shutil.copytree(face_records, tmp_path / "records")
    shard = next(records.glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    done = train(records, tmp_path / "run")
    assert done.returncode == 3 and shard.name in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_damaged_record_is_named_by_its_shard(face_records, smoke_run, tmp_path, cache):
    records = shutil.copytree(face_records, tmp_path / "records")
    shard = sorted(records.glob("validation-*"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = train(records, tmp_path / "run", "--data.cache", cache)
    assert done.returncode == 3 and f"{shard.name} is damaged in record 2 at byte" in done.stderr
    done = run_command("evaluate", smoke_run, "--records", records)
    assert done.returncode == 3 and f"{shard.name} is damaged in record 2 at byte" in done.stderr


@pytest.mark.parametrize(("asked", "expected"), [("2", "shows 0 GPUs"), ("0,1", "shows 0 GPUs")])
def test_gpus_that_are_not_there_are_refused(face_records, tmp_path, asked, expected):
    done = train(face_records, tmp_path / "run", "--gpus", asked)
    assert done.returncode == 2 and expected in done.stderr


STOPPABLE = ("--epochs", "20", "--train.patience", "0", "--runtime.deterministic", "true", "--batch-size", "4")


@pytest.fixture(scope="module")
def whole_run(face_records, tmp_path_factory):
    """A run that is never interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(face_records, run, *STOPPABLE).returncode == 0
    return run


def start_training(records, run, *flags):
    """Starts a run that is to be interrupted, and returns once its third epoch is done."""
    process = subprocess.Popen(
        command_line("train", "--config", SMOKE, "--records", records, "--run", run, *STOPPABLE, *flags),
        env=command_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch  3"):
            return process
    raise AssertionError(f"training ended with {process.wait()}")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
@pytest.mark.slow
def test_a_stopped_run_ends_as_if_it_had_never_stopped(face_records, whole_run, tmp_path, signal_number):
    run = tmp_path / "stopped"
    process = start_training(face_records, run)
    process.send_signal(signal_number)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 75, rest
    assert f"stopped by {signal_number.name}" in rest and "The same command goes on from there." in rest
    assert (run / "INTERRUPTED").read_text().startswith(signal_number.name)
    step, epoch = map(int, re.search(r"after step (\d+) of epoch (\d+)", rest).groups())
    steps_per_epoch = math.ceil(manifest.load(face_records).splits["train"].num_examples / 4)
    assert 1 <= step <= steps_per_epoch and epoch >= 1  # steps are counted within their epoch
    done = train(face_records, run, *STOPPABLE)
    assert done.returncode == 0 and "going on at epoch" in done.stderr
    assert not (run / "INTERRUPTED").exists()
    assert_same_state(final_state(run), final_state(whole_run))


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "device"])
def test_a_killed_run_goes_on_and_ends_the_same_wherever_pictures_are_kept(face_records, tmp_path, cache):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(face_records, whole, *STOPPABLE, "--data.cache", cache).returncode == 0
    process = start_training(face_records, killed, "--data.cache", cache)
    process.kill()
    process.wait()
    done = train(face_records, killed, *STOPPABLE, "--data.cache", cache)
    assert done.returncode == 0 and "going on at epoch" in done.stderr
    assert_same_state(final_state(killed), final_state(whole))


@pytest.mark.slow
def test_a_killed_run_of_two_replicas_with_every_option_goes_on_and_ends_the_same(face_records, tmp_path):
    options = {
        "train.precision": "mixed_float16",
        "runtime.logical_cpus": 2,
        "optim.name": "adamw",
        "optim.learning_rate": 0.3,  # so high that the validation loss rises
        "optim.weight_decay": 0.01,
        "optim.schedule": "plateau",
        "optim.plateau_epochs": 1,
        "optim.scale_with_batch": "sqrt",
        "optim.clip_norm": 0.5,
        "optim.accumulate_steps": 3,
        "optim.ema": 0.9,
        "train.class_weights": "balanced",
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(face_records, whole, *STOPPABLE, *flags).returncode == 0
    process = start_training(face_records, killed, *flags)
    process.kill()
    process.wait()
    done = train(face_records, killed, *STOPPABLE, *flags)
    assert done.returncode == 0 and "going on at epoch" in done.stderr
    assert_same_state(final_state(killed), final_state(whole))
    assert len({row["lr"] for row in read_history(whole)}) > 1


def read_scalars(run, tag):
    """The values of one tag in TensorBoard's events of the training, by step."""
    (path,) = (run / "train").glob("*tfevents*")
    found = [
        (event.step, value) for event in tf.compat.v1.train.summary_iterator(str(path)) for value in event.summary.value
    ]
    return {step: float(tf.make_ndarray(value.tensor)) for step, value in found if value.tag == tag}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [("--optim.name", "adam"), ("--train.precision", "mixed_float16"), ("--optim.accumulate_steps", "2")],
    ids=["plain", "float16", "accumulated"],
)
def test_the_norm_of_the_gradient_of_two_replicas_is_that_of_one(face_records, tmp_path, options):
    flags = ("--model.dropout", "0", "--model.dense_dropout", "0", "--batch-size", "2", "--train.patience", "0")
    flags += ("--epochs", "20", "--optim.learning_rate", "1e-5", *options)
    assert train(face_records, tmp_path / "one", *flags).returncode == 0
    assert train(face_records, tmp_path / "two", *flags, "--runtime.logical_cpus", "2").returncode == 0
    one, two = (read_scalars(tmp_path / run, "window/gradient_norm") for run in ("one", "two"))
    assert list(one) == list(two) == [100, 200]
    assert list(two.values()) == pytest.approx(list(one.values()), rel=0.02 if "mixed_float16" in options else 1e-3)
    assert all(0.01 < norm < 100 for norm in one.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [(), ("--optim.clip_norm", "0.1"), ("--optim.accumulate_steps", "3", "--optim.ema", "0.9")],
    ids=["plain", "clipped", "accumulated and averaged"],
)
def test_two_replicas_learn_what_one_does(face_records, tmp_path, options):
    flags = ("--model.dropout", "0", "--model.dense_dropout", "0", "--batch-size", "6", "--train.patience", "0")
    flags += ("--optim.name", "sgd", "--optim.learning_rate", "0.1", *options) if options else ()
    assert train(face_records, tmp_path / "one", *flags).returncode == 0
    done = train(face_records, tmp_path / "two", *flags, "--runtime.logical_cpus", "2")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["in_force"]["strategy"] == "MirroredStrategy"
    one, two = read_history(tmp_path / "one"), read_history(tmp_path / "two")
    for name in ("loss", "val_loss"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], rel=1e-4)


@pytest.mark.slow
def test_a_batch_for_each_replica_is_the_whole_one_divided(face_records, tmp_path):
    replicas = ("--train.batch_per", "replica", "--runtime.logical_cpus", "2", "--runtime.deterministic", "true")
    done = train(face_records, tmp_path / "each", "--batch-size", "4", *replicas)
    assert done.returncode == 0 and "global batch    4 a replica" in done.stderr and "8, 4 a replica" in done.stderr
    whole = ("--batch-size", "8", "--runtime.logical_cpus", "2", "--runtime.deterministic", "true")
    assert train(face_records, tmp_path / "whole", *whole).returncode == 0
    assert resume.compare(Workdir(tmp_path / "each"), Workdir(tmp_path / "whole")) == ""
    (tmp_path / "each" / "metrics.json").unlink()
    done = train(face_records, tmp_path / "each", "--batch-size", "4", "--train.batch_per", "replica")
    assert done.returncode == 5
    assert "was started with 8 pictures a step; " in done.stderr and "there are now a step has 4." in done.stderr


def test_a_batch_that_replicas_cannot_share_is_refused(face_records, tmp_path):
    done = train(face_records, tmp_path / "run", "--runtime.logical_cpus", "2", "--batch-size", "5")
    assert done.returncode == 2 and "2 devices cannot share evenly" in done.stderr


@pytest.mark.slow
def test_xla_learns_the_same(face_records, tmp_path):
    flags = ("--model.widths", "[4, 4]", "--model.dropout", "0", "--model.dense_dropout", "0", "--epochs", "2")
    flags += ("--augment.engine", "device")
    for run, xla in (("plain", "false"), ("compiled", "true")):
        assert train(face_records, tmp_path / run, *flags, "--runtime.xla", xla).returncode == 0
    plain, compiled = read_history(tmp_path / "plain"), read_history(tmp_path / "compiled")
    assert [row["loss"] for row in compiled] == pytest.approx([row["loss"] for row in plain], rel=1e-4)


def test_xla_on_several_devices_is_refused(face_records, tmp_path):
    done = train(face_records, tmp_path / "run", "--runtime.logical_cpus", "2", "--runtime.xla", "true")
    assert done.returncode == 2 and "Use one device, such as --gpus 1, or --runtime.xla false" in done.stderr


def test_a_batch_that_cannot_be_mixed_in_pairs_is_refused(face_records, tmp_path):
    flags = ("--runtime.logical_cpus", "2", "--batch-size", "6", "--augment.mixup", "0.2")
    done = train(face_records, tmp_path / "run", *flags)
    assert done.returncode == 2 and "Use a multiple of 4, or augment.mixup 0" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_exports_in_float32(face_records, tmp_path, precision):
    done = train(face_records, tmp_path / "run", "--train.precision", precision, "--model.head", "softmax")
    assert done.returncode == 0, done.stderr
    model = keras.models.load_model(tmp_path / "run" / "export" / "model.keras")
    assert model.get_layer("conv2").compute_dtype == "float32"
    assert model.output.shape == (None, 2)


@pytest.mark.slow
def test_a_test_split_is_what_the_verdict_is_about_and_is_measured_once(faces, tmp_path):
    records, run = tmp_path / "records", tmp_path / "run"
    flags = ("--images", faces, "--records", records, "--split.test", "0.3", "--split.validation", "0.3")
    assert run_command("build_records", "--config", SMOKE, *flags).returncode == 0
    done = train(records, run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test accuracy ") and "chosen on these same pictures" not in done.stdout
    before = (run / "metrics.json").read_bytes()
    found = json.loads(before)
    assert (found["split"], found["test"]["split"]) == ("validation", "test")
    measured = json.loads(run_command("evaluate", run, "--split", "test", "--json").stdout)
    for name, value in found["test"].items():
        assert measured[name] == value, name
    # One that was killed while it wrote its results comes to the same.
    (run / "metrics.json").unlink()
    assert train(records, run).returncode == 0
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch(face_records, tmp_path):
    flags = ("--epochs", "60", "--train.keep", "best", "--train.min_epochs", "1", "--train.patience", "2")
    done = train(face_records, tmp_path / "run", *flags, "--optim.learning_rate", "0.05")
    assert done.returncode == 0
    history = read_history(tmp_path / "run")
    best = min(history, key=lambda row: row["val_loss"])
    assert len(history) == best["epoch"] + 2 < 60
    assert f"stopped: no better validation loss since epoch {best['epoch']:.0f} (train.patience 2)\n" in done.stderr
    assert f"kept: epoch {best['epoch']:.0f} of {len(history)}, " in done.stdout
    assert ", the lowest of all epochs\n" in done.stdout
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["loss"] == pytest.approx(
        best["val_loss"], rel=1e-5
    )


@pytest.mark.slow
def test_three_classes_get_a_softmax(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "images")
    shutil.copytree(faces / "sad", images / "upside_down")
    for path in (images / "upside_down").iterdir():
        Image.open(path).rotate(180).save(path)
    flags = ("--config", SMOKE, "--records", tmp_path / "records")
    assert run_command("build_records", *flags, "--images", images).returncode == 0
    done = run_command("train", *flags, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["class_names"] == ["happy", "sad", "upside_down"]
    assert keras.models.load_model(tmp_path / "run" / "export" / "model.keras").output.shape == (None, 3)


@pytest.mark.slow
def test_a_network_of_keras_trains_from_a_file_of_weights(face_records, faces, tmp_path):
    network = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "start.weights.h5")
    flags = (
        "--model.name",
        "MobileNetV3Small",
        "--model.freeze_backbone",
        "true",
        "--epochs",
        "2",
        "--optim.ema",
        "0.5",
    )
    run = tmp_path / "run"
    done = train(face_records, run, *flags, "--model.weights", tmp_path / "start.weights.h5")
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    names = ["MODEL_CARD.md", "labels.txt", "model.keras", "signature.json"]
    assert sorted(path.name for path in (run / "export").iterdir()) == names
    model = keras.models.load_model(run / "export" / "model.keras", safe_mode=True)
    inside = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert all(np.array_equal(a, b) for a, b in zip(inside.get_weights(), network.get_weights(), strict=True))
    trained, done = json.loads((run / "metrics.json").read_text()), run_command("evaluate", run, "--json")
    assert json.loads(done.stdout)["loss"] == pytest.approx(trained["loss"], rel=1e-4)
    done = run_command("predict", run, faces / "happy", "--json")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 12


@pytest.mark.slow
def test_a_large_network_without_weights_is_warned_of(face_records, tmp_path):
    flags = ("--model.name", "MobileNetV3Small", "--epochs", "1", "--runtime.exports", "[]")
    done = train(face_records, tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr
    told = "MobileNetV3Small starts from random weights, and learns next to nothing from 20 pictures."
    assert told in " ".join(done.stderr.split()) and "--model.weights FILE" in done.stderr


def test_weights_that_are_not_there_are_named_before_the_run_starts(face_records, tmp_path):
    done = train(face_records, tmp_path / "run", "--model.name", "VGG16", "--model.weights", "missing.h5")
    assert done.returncode == 2 and "model.weights is missing.h5, which is no file" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_cnn_learns_faces(face_records, tmp_path):
    flags = ("--epochs", "60", "--optim.learning_rate", "3e-3", "--model.dense_dropout", "0", "--train.patience", "0")
    assert train(face_records, tmp_path / "run", *flags, "--model.widths", "[8, 8]").returncode == 0
    history = read_history(tmp_path / "run")
    assert max(row["accuracy"] for row in history[-5:]) > 0.8
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]


@pytest.mark.slow
def test_a_training_leaves_nothing_in_the_temporary_folder(face_records, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    flags = ("--config", SMOKE, "--records", face_records, "--run", tmp_path / "run", "--epochs", "1")
    done = run_command_anew("train", *flags)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_a_trace_of_some_steps_is_recorded_when_asked(face_records, tmp_path):
    done = train(face_records, tmp_path / "run", "--profile", "0:2", "--epochs", "1", "--batch-size", "8")
    assert done.returncode == 0, done.stderr
    (trace,) = (tmp_path / "run" / "train" / "plugins" / "profile").rglob("*.xplane.pb")
    assert b"train_step" in trace.read_bytes()


def test_a_run_too_short_for_its_trace_says_so(face_records, tmp_path):
    done = train(face_records, tmp_path / "run", "--profile", "10:20", "--epochs", "1", "--batch-size", "8")
    assert done.returncode == 0
    assert "runtime.profile is 10:20, but the run ended with step 3: no trace was recorded" in done.stderr


def test_tensorboard_shows_the_run(smoke_run):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            smoke_run.parent,
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        tags = _fetch_until(f"http://127.0.0.1:{port}/data/plugin/scalars/tags", "smoke/validation", timeout_s=60)
        curves = _fetch_until(f"http://127.0.0.1:{port}/data/plugin/pr_curves/tags", "smoke/validation", timeout_s=60)
        texts = _fetch_until(f"http://127.0.0.1:{port}/data/plugin/text/tags", "smoke/train", timeout_s=60)
        shown = _fetch_until(f"http://127.0.0.1:{port}/data/plugin/images/tags", "smoke/train", timeout_s=60)
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert set(tags["smoke/train"]) == {"loss", "accuracy", "lr", "images_per_s"}
    assert set(shown["smoke/train"]) == {"augmented inputs"} and "confusion" in shown["smoke/validation"]
    assert set(curves["smoke/validation"]) == {"happy/pr_curves", "sad/pr_curves"}
    assert texts["smoke/train"] == ["config"]
    assert set(tags["smoke/validation"]) >= {"loss", "accuracy", "Kept epoch/loss", "Kept epoch/accuracy"}
    assert set(tags) == {"smoke/train", "smoke/validation"}  # no run without curves


def _fetch_until(url, key, *, timeout_s):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.load(answer)
            if key in found:
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.3)
    raise AssertionError(f"{url} did not list {key} within {timeout_s} s")
