"""python -m harness.tune: every trial a run, the best a config."""

import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from conftest import command_environment, command_line, run_command, write_search
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.config import settings
from harness.diagnostics import resume
from harness.runs.workdir import Workdir

DETERMINISTIC = ("--runtime.deterministic", "true", "--train.precision", "auto")


def write_learning_search(folder, records):
    """Writes a search whose proposals learn faces, while the settings without a search learn nothing."""
    path = write_search(folder, records)
    tree = yaml.safe_load(path.read_text())
    tree["augment"] = {"enabled": False}
    tree["model"] |= {"dropout": 0.0, "dense_dropout": 0.0}
    tree["optim"] = {"learning_rate": 1e-7}
    tree["train"] |= {"epochs": 60, "patience": 0}
    tree["tune"] |= {
        "trials": 3,
        "space": {"optim.learning_rate": {"min": 5e-3, "max": 2e-2}, "model.dense_units": {"values": [12, 16]}},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def undisturbed(face_records, tmp_path_factory):
    """Such a search that is left alone, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_learning_search(folder, face_records)
    done = run_command("tune", "--config", config, *DETERMINISTIC, "--retrain", "2", timeout_s=600)
    assert done.returncode == 0, done.stderr
    assert "cuda" not in done.stderr
    return folder / "tune", done.stdout


@pytest.mark.slow
def test_a_search_ends_in_a_config_that_trains(undisturbed, tmp_path):
    folder, told = undisturbed
    losses = read_losses(folder)
    assert sorted(losses) == ["000", "001", "002"]
    best = min(losses, key=losses.get)
    found = settings.make_config(settings.read_file(folder / "best.yaml"))
    tried = settings.make_config(settings.read_file(folder / "trials" / best / "config.yaml"))
    assert (found.model, found.optim) == (tried.model, tried.optim)
    defaults = settings.make_config(settings.read_file(folder / "trials" / "000" / "config.yaml"))
    assert (defaults.optim.learning_rate, defaults.model.dense_units, defaults.model.head) == (1e-7, 4, "auto")
    assert told.splitlines()[1].split()[0] == best
    for name in losses:
        events = EventAccumulator(str(folder / "trials" / name / "hparams")).Reload()
        assert "_hparams_/session_start_info" in events.summary_metadata
        files = {path.name for path in (folder / "trials" / name / "export").iterdir()}
        assert files == {"model.keras", "signature.json", "labels.txt", "MODEL_CARD.md"}
    assert f"trials/{best}/report.html" in (folder / "report.html").read_text()
    again = run_command("tune", "--config", folder.parent / "search.yaml", *DETERMINISTIC, "--retrain", "2")
    assert (again.returncode, again.stdout) == (0, told), again.stderr
    done = run_command("train", "--config", folder / "best.yaml", "--run", tmp_path / "final")
    assert done.returncode == 0, done.stderr


def read_losses(folder):
    return {path.parent.name: json.loads(path.read_text())["loss"] for path in folder.glob("trials/*/metrics.json")}


@pytest.mark.slow
def test_the_winner_is_trained_again_with_other_seeds_and_compared(undisturbed):
    folder, told = undisturbed
    losses = read_losses(folder)
    best = min(losses, key=losses.get)
    assert best != "000"
    seeds = {
        path.name: settings.make_config(settings.read_file(path / "config.yaml")).train.seed
        for path in (folder / "retrain").iterdir()
    }
    runs = {f"best-{best}-seed-1": 1, f"best-{best}-seed-2": 2, "default-000-seed-1": 1, "default-000-seed-2": 2}
    assert seeds == runs
    sentence = next(line for line in told.splitlines() if ": validation loss " in line)
    assert "2 seeds each" in sentence
    assert f"# {sentence}" in (folder / "best.yaml").read_text().splitlines()


@pytest.mark.slow
def test_trials_that_ask_for_any_precision_keep_to_the_first_one(undisturbed):
    folder, _ = undisturbed
    trials = sorted((folder / "trials").iterdir())
    assert len({json.loads((trial / "environment.json").read_text())["in_force"]["precision"] for trial in trials}) == 1
    stated = [settings.make_config(settings.read_file(trial / "trial.yaml")).train.precision for trial in trials]
    assert stated[0] == "auto" and "auto" not in stated[1:]


@pytest.mark.slow
def test_a_search_that_is_killed_in_every_way_ends_as_if_it_had_been_left_alone(undisturbed, face_records, tmp_path):
    """A training is killed, then the search without its training, then both."""
    flags = ("--config", write_learning_search(tmp_path, face_records), *DETERMINISTIC, "--retrain", "0")
    trials, told = tmp_path / "tune" / "trials", tmp_path / "told.txt"

    def start() -> subprocess.Popen:
        with told.open("ab") as file:
            return subprocess.Popen(command_line("tune", *flags), env=command_environment(), stderr=file, stdout=file)

    def signal_training(name: str, number: signal.Signals) -> None:
        wait_until(lambda: list(Workdir(trials / name).checkpoints.glob("*.index")))
        os.kill(json.loads((trials / name / ".lock").read_text())["pid"], number)

    process = start()
    signal_training("000", signal.SIGKILL)
    signal_training("001", signal.SIGSTOP)  # lest it end before the next search is there
    kill(process)
    process = start()
    wait_until(lambda: "still trains it" in told.read_text())
    signal_training("001", signal.SIGCONT)
    signal_training("002", signal.SIGKILL)
    kill(process)
    done = run_command("tune", *flags)
    assert done.returncode == 0, done.stderr
    assert "trial 000: killed by SIGKILL, most often for memory; it is started again" in told.read_text()
    for name, num_starts in (("000", 1), ("001", 0), ("002", 1)):
        assert resume.compare(Workdir(undisturbed[0] / "trials" / name), Workdir(trials / name)) == ""
        assert (trials / name / "train.log").read_text().count("going on at epoch") == num_starts


def kill(process):
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.slow
def test_hyperband_trains_promoted_trials_from_where_they_stopped(search, tmp_path):
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
def test_a_bayesian_search_keeps_conditions_ties_and_values_to_start_with(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["train"]["epochs"] = 1
    tree["tune"] |= {
        "algorithm": "bayesian",
        "trials": 4,
        "retrain": 0,
        "slots": 2,
        "start": [{"optim.name": "sgd", "optim.momentum": 0.5}],
        "space": {
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
    configs = [settings.make_config(settings.read_file(run / "config.yaml")) for run in runs]
    tried = [(c.optim.name, c.optim.momentum, c.model.dropout, c.model.dense_dropout) for c in configs]
    assert tried[:2] == [("adam", 0.9, 0.1, 0.5), ("sgd", 0.5, 0.5, 0.5)] and len(set(tried)) == 4
    for name, momentum, dropout, dense_dropout in tried[1:]:
        assert dropout == dense_dropout and (name == "sgd" or momentum == 0.9)


@pytest.mark.slow
def test_networks_optimizers_and_schedules_can_be_searched(search, tmp_path):
    tree = yaml.safe_load(search.read_text())
    tree["model"]["name"] = "residual_cnn"
    tree["optim"] = {"ema": 0.5}
    tree["train"]["epochs"] = 1
    tree["tune"]["space"] = {
        "model.name": {"values": ["residual_cnn", "emotion_cnn"]},
        "optim.name": {"values": ["adam", "sgd"]},
        "optim.schedule": {"values": ["cosine", "plateau"]},
    }
    search.write_text(yaml.safe_dump(tree))
    done = run_command("tune", "--config", search, "--retrain", "0")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "tune" / "trials").glob("*/report.html"))) == 2


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
    assert sorted(read_losses(tmp_path / "tune")) == ["000"]
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


def wait_for(path):
    wait_until(path.exists)


def wait_until(is_so, limit_s=120):
    limit = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < limit, is_so
        time.sleep(0.05)


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
