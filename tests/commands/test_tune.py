"""python -m harness.tune: every trial a run, the best a config."""

import json
import signal
import subprocess

import pytest
import yaml
from conftest import command_environment, command_line, run_command, wait_for

from harness.config import settings
from harness.diagnostics import resume
from harness.runs.workdir import Workdir


@pytest.mark.slow
def test_hyperband_trains_promoted_trials_from_where_they_stopped(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["tune"]["space"] = {"optim.learning_rate": {"values": [1e-3, 3e-3]}}  # fewer than a round has
    search.write_text(yaml.safe_dump(tree))
    done = run_command(
        *("tune", "--config", search, "--tune.algorithm", "hyperband", "--tune.max_epochs", "3", "--retrain", "0"),
        *("--runtime.deterministic", "true"),
    )
    assert done.returncode == 0, done.stderr
    records = {
        path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "tune").glob("trials/*/trial.json")
    }
    name, plan = next((name, one["plan"]) for name, one in records.items() if "tuner/trial_id" in one["plan"])
    promoted, origin = (tmp_path / "tune" / "trials" / one for one in (name, plan["tuner/trial_id"]))
    first, whole = ((run / "metrics.csv").read_text().splitlines() for run in (origin, promoted))
    assert len(first) == 2 and len(whole) == 4 and whole[:2] == first  # a header, and a row an epoch
    log = (promoted / "train.log").read_text()
    assert "going on at epoch 2, step 0" in log and "epoch 1/3" not in log
    flags = ("--config", promoted / "trial.yaml", "--run", tmp_path / "straight")
    done = run_command("train", *flags)
    assert done.returncode == 0, done.stderr
    assert resume.compare(Workdir(tmp_path / "straight"), Workdir(promoted)) == ""


@pytest.mark.slow
def test_a_bayesian_search_of_networks_and_optimizers_keeps_conditions_ties_and_values_to_start_with(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["train"]["epochs"] = 1
    tree["model"]["name"] = "residual_cnn"
    tree["optim"] = {"ema": 0.5}
    first = {"model.name": "emotion_cnn", "optim.name": "sgd", "optim.momentum": 0.5, "optim.schedule": "plateau"}
    tree["tune"] |= {
        "algorithm": "bayesian",
        "trials": 4,
        "retrain": 0,
        "slots": 2,
        "start": [first],
        "space": {
            "model.name": {"values": ["residual_cnn", "emotion_cnn"]},
            "optim.schedule": {"values": ["cosine", "plateau"]},
            "optim.name": {"values": ["adam", "sgd"]},
            "optim.momentum": {"min": 0.0, "max": 0.9, "when": {"optim.name": "sgd"}},
            "model.dropout": {"tied": "model.dense_dropout"},
            "model.dense_dropout": {"min": 0.1, "max": 0.6, "step": 0.1},
        },
    }
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "tune" / "trials").iterdir())
    assert len(runs) == 4 and all((run / "report.html").is_file() for run in runs)
    configs = [settings.make_config(settings.read_file(run / "config.yaml")) for run in runs]
    networks = [(c.model.name, c.optim.schedule) for c in configs]
    assert networks[:2] == [("residual_cnn", "cosine"), ("emotion_cnn", "plateau")]
    tried = [(c.optim.name, c.optim.momentum, c.model.dropout, c.model.dense_dropout) for c in configs]
    assert tried[:2] == [("adam", 0.9, 0.1, 0.5), ("sgd", 0.5, 0.5, 0.5)] and len(set(zip(networks, tried))) == 4
    for name, momentum, dropout, dense_dropout in tried[1:]:
        assert dropout == dense_dropout and (name == "sgd" or momentum == 0.9)


@pytest.mark.slow
def test_a_stopped_search_goes_on_with_the_same_trials(search, tmp_path):
    flags = ("--config", search, "--tune.trials", "1", "--train.epochs", "12", "--train.patience", "0")
    process = subprocess.Popen(
        command_line("tune", *flags), env=command_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait_for(tmp_path / "tune" / "trials" / "000" / "metrics.csv")
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read().decode()
    assert process.wait(timeout=60) == 75, rest
    assert f"stopped by SIGTERM after 0 trials of {tmp_path}/tune; saved: 000. The same command goes on" in rest
    done = run_command("tune", *flags)
    assert done.returncode == 0, done.stderr
    assert "trial 000: going on" in done.stderr
    assert "going on at epoch" in (tmp_path / "tune" / "trials" / "000" / "train.log").read_text()
    assert [path.parent.name for path in (tmp_path / "tune").glob("trials/*/metrics.json")] == ["000"]
    refused = run_command("tune", *flags, "--tune.seed", "3")
    assert refused.returncode == 5 and "tune.seed was 0, now 3" in refused.stderr


@pytest.mark.slow
def test_a_search_that_is_stopped_before_it_could_save_does_not_end_as_if_it_had(search, tmp_path):
    (tmp_path / "slow").mkdir()
    program = "import sys, time\nif 'harness.train' in sys.orig_argv: time.sleep(300)\n"
    (tmp_path / "slow" / "sitecustomize.py").write_text(program)  # as from a file server that is busy
    environment = command_environment()
    environment["PYTHONPATH"] = f"{tmp_path / 'slow'}:{environment['PYTHONPATH']}"
    command = command_line("tune", "--config", search, "--retrain", "0")
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for(tmp_path / "tune" / "trials" / "000" / "train.log")
    process.send_signal(signal.SIGUSR2)
    rest = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 128 + signal.SIGUSR2, rest
    told = (
        "stopped by SIGUSR2 before trials 000 had anything new to save; the same command goes on where this one began."
    )
    assert rest.splitlines()[-1] == told


@pytest.mark.slow
def test_failed_trials_are_told_with_the_reason_and_the_search_goes_on(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["tune"] |= {"algorithm": "grid", "trials": 9, "space": {"optim.learning_rate": {"values": [10.0, 1e-3]}}}
    tree["optim"] = {"name": "adamw", "weight_decay": 1.0}  # which takes ten times each weight off at every step
    tree["train"] |= {"batch_size": 1, "patience": 0, "epochs": 4}
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search)
    assert done.returncode == 0, done.stderr
    assert "warning: trial 001 failed: " in done.stderr and "Traceback" not in done.stderr
    assert settings.make_config(settings.read_file(tmp_path / "tune" / "best.yaml")).optim.learning_rate == 1e-3
    record = json.loads((tmp_path / "tune" / "trials" / "001" / "trial.json").read_text())
    assert record["status"] == "failed" and record["reason"] and record["log_end"][-1].startswith("error: ")
    assert "trial 001 failed: " in done.stdout and record["reason"][:40] in done.stdout
    again = run_command("tune", "--config", search)
    assert again.returncode == 0 and again.stdout == done.stdout, again.stderr


@pytest.mark.slow
def test_trials_that_all_fail_alike_end_the_search_with_the_reason(search, tmp_path):
    flags = ("--config", search, "--tune.minutes_per_trial", "0.0001", "--tune.trials", "9", "--train.epochs", "500")
    done = run_command("tune", *flags, "--tune.max_failures", "2")
    assert done.returncode == 3
    assert (
        "2 trials in a row have failed (000, 001), all alike: it took longer than tune.minutes_per_trial" in done.stderr
    )
    assert sorted(path.name for path in (tmp_path / "tune" / "trials").iterdir()) == ["000", "001"]


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


@pytest.mark.parametrize("content", ["", "tune: [", "[1, 2]", None])
@pytest.mark.parametrize("name", ["config.yaml", "records.json"])
def test_a_folder_that_does_not_say_what_is_searched_in_it_is_refused(search, tmp_path, name, content):
    folder = tmp_path / "tune"
    (folder / "trials" / "000").mkdir(parents=True)
    config = settings.make_config(settings.read_file(search))
    (folder / "config.yaml").write_text(settings.as_yaml(config))
    (folder / "records.json").write_text('{"records_sha256": "0"}')
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    done = run_command("tune", "--config", search)
    assert done.returncode == 5 and "--tune.rebuild true" in done.stderr and "Traceback" not in done.stderr
    assert str(folder / name) in done.stderr
    done = run_command("tune", "--config", search, "--tune.rebuild", "true", "--train.epochs", "99")
    refused = "train.epochs was 2, now 99" if name == "records.json" else "other records than"
    assert done.returncode == 5 and refused in done.stderr


def test_a_search_of_an_earlier_version_is_named_and_taken_over(search, tmp_path):
    folder = tmp_path / "tune"
    (folder / "search").mkdir(parents=True)
    (folder / "search" / "oracle.json").write_text("{}")
    (folder / "trials" / "0").mkdir(parents=True)
    done = run_command("tune", "--config", search)
    assert done.returncode == 5 and "a search of an earlier version" in done.stderr
    for flags in (("--tune.rebuild", "true"), ()):  # it is one of this version then, with a trial to be named
        done = run_command("tune", "--config", search, *flags)
        assert done.returncode == 5 and str(folder / "trials" / "0") in done.stderr, done.stderr
        assert "earlier version" not in done.stderr


def test_a_search_with_another_space_is_told_what_differs(search, tmp_path):
    config = settings.make_config(settings.read_file(search))
    folder = tmp_path / "tune"
    folder.mkdir()
    (folder / "config.yaml").write_text(settings.as_yaml(config))
    (folder / "records.json").write_text('{"records_sha256": "0"}')
    tree = yaml.safe_load(search.read_text())
    tree["tune"]["space"]["model.head"] = {"values": ["softmax"]}
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search, "--train.precision", "auto")
    assert done.returncode == 5
    assert "tune.space.model.head was {values: [sigmoid, softmax]}, now {values: [softmax]}." in done.stderr
