"""A search from its start to its comparison, and the same one killed in every way."""

import json
import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, command_environment, command_line, run_command, wait_until, write_search
from forked import start_forked
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
    tree["train"] |= {"epochs": 40, "patience": 0}
    tree["tune"] |= {
        "trials": 2,
        "space": {"optim.learning_rate": {"min": 2e-3, "max": 8e-3}, "model.dense_units": {"values": [12, 16]}},
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
    assert sorted(losses) == ["000", "001"]
    best = min(losses, key=losses.get)
    found = settings.make_config(settings.read_file(folder / "best.yaml"))
    tried = settings.make_config(settings.read_file(folder / "trials" / best / "config.yaml"))
    assert (found.model, found.optim) == (tried.model, tried.optim)
    defaults = settings.make_config(settings.read_file(folder / "trials" / "000" / "config.yaml"))
    assert (defaults.optim.learning_rate, defaults.model.dense_units, defaults.model.head) == (1e-7, 4, "auto")
    assert told.splitlines()[1].split()[0] == best
    for name in losses:
        events = EventAccumulator(str(folder / "trials" / name / "validation")).Reload()
        assert "_hparams_/session_start_info" in events.summary_metadata
        files = {path.name for path in (folder / "trials" / name / "export").iterdir()}
        assert files == {"model.keras", "signature.json", "labels.txt", "MODEL_CARD.md"}
    assert f"trials/{best}/report.html" in (folder / "report.html").read_text()
    again = run_command("tune", "--config", folder.parent / "search.yaml", *DETERMINISTIC, "--retrain", "2")
    assert (again.returncode, again.stdout) == (0, told), again.stderr
    done = run_command("train", "--config", folder / "best.yaml", "--run", tmp_path / "final", "--epochs", "1")
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
    """A training is killed, then the search with its training, then the search alone."""
    flags = ("--config", write_learning_search(tmp_path, face_records), *DETERMINISTIC, "--retrain", "0")
    first, second = tmp_path / "tune" / "trials" / "000", tmp_path / "tune" / "trials" / "001"
    _, _, name, *words = command_line("tune", *flags)
    told = [tmp_path / f"told-{number}" for number in range(3)]

    def start(number: int) -> BaseProcess:
        told[number].touch()
        files = (tmp_path / "printed", told[number])
        return start_forked(name, words, cwd=ROOT, environment=command_environment(), told=files)

    def signal_training(run: Path, number: signal.Signals) -> None:
        os.kill(json.loads((run / ".lock").read_text())["pid"], number)

    def count_starts(run: Path) -> int:
        return (run / "train.log").read_text().count("going on at epoch")

    process = start(0)
    wait_until(lambda: has_saved(first))
    signal_training(first, signal.SIGKILL)
    wait_until(lambda: count_starts(first) == 1)
    kill(process)
    signal_training(first, signal.SIGKILL)
    process = start(1)
    wait_until(lambda: has_saved(second))
    signal_training(second, signal.SIGSTOP)  # lest it end before the next search is there
    kill(process)
    process = start(2)
    wait_until(lambda: "still trains it" in told[2].read_text())
    signal_training(second, signal.SIGCONT)
    process.join(180)
    assert process.exitcode == 0, told[2].read_text()
    assert "trial 000: killed by SIGKILL, most often for memory; it is started again" in told[0].read_text()
    for run, num_starts in ((first, 2), (second, 0)):
        assert resume.compare(Workdir(undisturbed[0] / "trials" / run.name), Workdir(run)) == ""
        assert count_starts(run) == num_starts


def has_saved(run):
    return any(Workdir(run).checkpoints.glob("*.index"))


def kill(process):
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
