"""python -m harness.tune: every trial a run, the best a config."""

import json
import signal
import subprocess

import pytest
import yaml
from conftest import command_environment, command_line, run_command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.config import settings


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_a_search_ends_in_a_config_that_trains(search, tmp_path, algorithm):
    done = run_command("tune", "--config", search, "--tune.algorithm", algorithm)
    assert done.returncode == 0, done.stderr
    trials = sorted((tmp_path / "tune" / "trials").iterdir())
    assert len(trials) >= 2
    losses = {trial.name: json.loads((trial / "metrics.json").read_text())["loss"] for trial in trials}
    best = min(losses, key=losses.get)
    found = settings.make_config(settings.read_file(tmp_path / "tune" / "best.yaml"))
    tried = settings.make_config(settings.read_file(tmp_path / "tune" / "trials" / best / "config.yaml"))
    assert (found.model, found.optim) == (tried.model, tried.optim)
    assert 1e-4 <= found.optim.learning_rate <= 1e-2 and found.model.dense_units in (4, 8, 12, 16)
    assert done.stdout.splitlines()[1].split()[0] == best
    for trial in trials:
        events = EventAccumulator(str(trial / "hparams")).Reload()
        assert "_hparams_/session_start_info" in events.summary_metadata
        assert set(events.Tags()["tensors"]) >= {"val_loss", "val_accuracy"}
    if algorithm == "random":
        done = run_command("train", "--config", tmp_path / "tune" / "best.yaml", "--run", tmp_path / "final")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_networks_optimizers_and_schedules_can_be_searched(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["model"] = {"name": "MobileNetV3Small"}
    tree["optim"] = {"ema": 0.5}
    tree["train"]["epochs"] = 1
    tree["tune"]["space"] = {
        "model.name": {"values": ["MobileNetV3Small", "residual_cnn"]},
        "optim.name": {"values": ["adam", "sgd"]},
        "optim.schedule": {"values": ["cosine", "plateau"]},
    }
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "tune" / "trials").glob("*/report.html"))) == 2


@pytest.mark.slow
def test_a_precision_that_is_searched_is_in_force(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["tune"]["space"] = {"train.precision": {"values": ["float32", "mixed_bfloat16"]}}
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search, "--train.precision", "auto")
    assert done.returncode == 0, done.stderr
    found = [
        {row["name"]: row for row in json.loads((trial / "environment.json").read_text())["settings"]}["precision"]
        for trial in (tmp_path / "tune" / "trials").iterdir()
    ]
    assert {row["asked"] for row in found} == {"float32", "mixed_bfloat16"}
    assert all(row["in_force"] == row["asked"] and not row["reason"] for row in found)


@pytest.mark.slow
def test_trials_that_ask_for_any_precision_keep_to_the_first_ones(search, tmp_path):
    flags = ("--config", search, "--train.precision", "auto", "--tune.algorithm", "hyperband")
    done = run_command("tune", *flags)
    assert done.returncode == 0, done.stderr
    trials = sorted((tmp_path / "tune" / "trials").iterdir())
    assert len({json.loads((trial / "environment.json").read_text())["in_force"]["precision"] for trial in trials}) == 1
    done = run_command("tune", *flags)
    assert done.returncode == 0 and "as when the run was started" in done.stderr


@pytest.mark.slow
def test_a_stopped_search_goes_on_with_the_same_trials(search, tmp_path):
    flags = ("--config", search, "--train.epochs", "12", "--train.patience", "0")
    process = subprocess.Popen(
        command_line("tune", *flags),
        env=command_environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch  2"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 75, rest
    done = run_command("tune", *flags)
    assert done.returncode == 0, done.stderr
    assert "going on at epoch" in done.stderr
    assert sorted(path.name for path in (tmp_path / "tune" / "trials").iterdir()) == ["0", "1"]
    refused = run_command("tune", *flags, "--tune.trials", "3")
    assert refused.returncode == 5 and "tune.trials was 2, now 3" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(search, tmp_path, algorithm):
    tree = yaml.safe_load(search.read_text())
    tree["tune"] |= {"trials": 4, "space": {"optim.learning_rate": {"values": [10.0, 1e-3]}}}
    tree["optim"] = {"name": "adamw", "weight_decay": 1.0}  # which takes ten times each weight off at every step
    tree["train"] |= {"batch_size": 1, "patience": 0, "epochs": 4}
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search, "--tune.algorithm", algorithm)
    assert done.returncode == 0, done.stderr
    assert "warning: trial " in done.stderr and " failed: " in done.stderr and "Traceback" not in done.stderr
    assert settings.make_config(settings.read_file(tmp_path / "tune" / "best.yaml")).optim.learning_rate == 1e-3
    rows = [line.split() for line in done.stdout.split("\n\n")[0].splitlines()[1:]]
    assert rows and all(row[2] == "0.001" for row in rows)
    again = run_command("tune", "--config", search, "--tune.algorithm", algorithm)
    assert again.returncode == 0 and again.stdout == done.stdout, again.stderr


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"optim.learning_rat": {"values": [1.0]}}, "Did you mean 'optim.learning_rate'?"),
        ({"data.cache": {"values": ["none"]}}, "data.cache cannot be searched"),
        ({"model.dropout": {"min": 0.1, "max": 1.5}}, "model.dropout is 1.5: it should be less than 1"),
        ({"model.dropout": {"min": 0.5}}, "model.dropout needs either values, or a min below a max"),
        ({"model.dropout": {"mim": 0.5}}, "tune.space"),
        (
            {"optim.name": {"values": ["sgd", "adam"]}, "optim.weight_decay": {"min": 1e-3, "max": 0.1}},
            "optim.weight_decay is 0.001: it should be 0 with optim.name adam",
        ),
    ],
)
def test_a_wrong_space_is_refused_before_the_first_trial(search, tmp_path, space, expected):
    tree = yaml.safe_load(search.read_text())
    tree["tune"]["space"] = space
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search)
    assert done.returncode == 2 and expected in done.stderr
    assert not (tmp_path / "tune").exists()
