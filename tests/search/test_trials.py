"""The folders of the trials are all that a search knows: damaged, changed by hand, or ended by another process."""

import json
from types import SimpleNamespace

import pytest

from harness.base.errors import CheckpointError
from harness.config import settings
from harness.config.settings import Setting
from harness.results import predictions
from harness.results.predictions import Prediction
from harness.runs.workdir import Workdir
from harness.search import outcome
from harness.search.space.space import make_trial_config, start_values
from harness.search.trial_queue import TrialQueue
from harness.search.trials import trial_folder
from harness.search.trials.claims import Claims
from harness.search.trials.trial_folder import Record
from harness.search.tuner import load_trials

SPACE = {
    "model.dense_units": {"values": [4, 8]},
    "model.widths": {"values": [[2, 2], [2, 4]]},
    "model.dropout": {"min": 0.0, "max": 0.5},
    "model.dense_dropout": {"tied": "model.dropout"},
}
TRIED = {"model.dense_units": 8, "model.widths": "[2, 4]", "model.dropout": 0.25}


def state(folder, **tune):
    stated = {"tune.folder": str(folder), "tune.space": SPACE, "model.dense_units": 4}
    stated |= {f"tune.{name}": value for name, value in tune.items()}
    return {name: Setting(value, "a test") for name, value in stated.items()}


def add_trial(folder, name, values, loss=None, *, parent=None):
    """A trial that is completed with this loss, or was begun."""
    record = Record(values, {}, 7, "2026-01-01 00:00:00", "running" if loss is None else "completed")
    config = make_trial_config(state(folder), values, "a test")
    workdir = trial_folder.create(parent or trial_folder.trials_of(folder), name, record, config)
    if loss is not None:
        workdir.metrics.write_text(json.dumps({"loss": loss, "accuracy": 0.5, "epochs": 1}))
    return workdir


def test_a_completed_trial_whose_figures_are_removed_is_gone_on_with(tmp_path):
    workdir = add_trial(tmp_path, "000", TRIED, 0.5)
    assert trial_folder.read(workdir).status == "completed"
    workdir.metrics.unlink()
    assert trial_folder.read(workdir).status == "running"
    given = state(tmp_path)
    taken = TrialQueue(settings.make_config(given), given, lambda: None).take()
    with taken.claim:
        assert taken.workdir == workdir


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"plan": {"tuner/epochs": 3}}, "it should have whole numbers as tuner/epochs, tuner/initial_epoch"),
        ({"plan": {"tuner/bracket": "2"}}, "it should have whole numbers"),
        ({"finished": "yesterday"}, "finished is 'yesterday'"),
        ({"status": "done"}, "status is 'done'"),
        ({"seconds": -1.0}, "seconds is -1.0"),
        ({"values": {"model.dense_units": [4]}}, "values.model.dense_units"),
        ({"more": 1}, "more is 1"),
    ],
)
def test_a_record_that_was_changed_by_hand_is_compared_with_its_form(tmp_path, changed, expected):
    workdir = add_trial(tmp_path, "000", TRIED, 0.5)
    workdir.record.write_text(json.dumps(json.loads(workdir.record.read_text()) | changed))
    with pytest.raises(CheckpointError) as refused:
        trial_folder.read(workdir)
    assert str(refused.value).startswith(f"{workdir.record} cannot be read: ") and expected in str(refused.value)


@pytest.mark.parametrize("content", ["", '{"values": {', "[1]", '{"values": {}}', None])
def test_a_record_is_made_anew_from_what_was_trained(tmp_path, content):
    workdir = add_trial(tmp_path, "000", TRIED, 0.5)
    workdir.record.unlink()
    if content is not None:
        workdir.record.write_text(content)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*--tune\.rebuild true"):
        trial_folder.read(workdir)
    assert trial_folder.rebuild(tmp_path, settings.make_config(state(tmp_path))) == ["000"]
    assert trial_folder.read(workdir).values == TRIED


def test_a_trial_that_another_process_has_ended_meanwhile_is_not_trained_again(tmp_path, monkeypatch):
    workdir = add_trial(tmp_path, "000", TRIED)
    given = state(tmp_path, trials=1)
    queue, take = TrialQueue(settings.make_config(given), given, lambda: None), Claims.take

    def end_before(claims, name):
        if name == "000":  # whose owner notes the end and goes, between the look at the record and this claim
            trial_folder.write(workdir, Record(TRIED, {}, 7, "", "failed", seconds=60.0, reason="it diverged"))
        return take(claims, name)

    monkeypatch.setattr(Claims, "take", end_before)
    assert queue.take() is None
    assert trial_folder.read(workdir).seconds == 60.0


def add_seed(folder, name, chance):
    workdir = add_trial(folder, f"{name}-seed-1", TRIED, 0.5, parent=trial_folder.seeds_of(folder))
    rows = [Prediction(f"{index}.png", str(index), "happy", "happy", chance, chance) for index in range(6)]
    predictions.write(workdir.predictions, rows)


def judge(config):
    data = SimpleNamespace(splits={})
    return outcome.judge(config, data, load_trials(config)).sentence


def test_a_best_trial_that_comes_later_is_not_judged_by_the_seeds_of_another(tmp_path):
    config = settings.make_config(state(tmp_path, retrain=1))
    (own,) = start_values(config)
    add_trial(tmp_path, "000", own, 0.5)
    add_trial(tmp_path, "001", TRIED, 0.4)
    add_seed(tmp_path, "default-000", 0.6)
    add_seed(tmp_path, "best-001", 0.9)
    assert judge(config).startswith("better: ")
    add_trial(tmp_path, "002", {**TRIED, "model.dropout": 0.125}, 0.3)
    assert judge(config) == ""


def test_a_search_without_the_default_settings_takes_no_others_for_them(tmp_path):
    config = settings.make_config(state(tmp_path))
    add_trial(tmp_path, "000", TRIED, 0.5)
    trials = load_trials(config)
    assert outcome.find_default(config, trials) is None and judge(config) == ""
    outcome.write_report(config, trials, outcome.Verdict(), (SimpleNamespace(gpus=None),), "tune")
    assert "no trial of the default settings is completed" in (tmp_path / "report.html").read_text()
    add_trial(tmp_path, "001", dict(start_values(config)[0]), 0.6)
    assert outcome.find_default(config, load_trials(config)).name == "001"


def test_other_files_among_the_trials_disturb_nothing(tmp_path):
    add_trial(tmp_path, "000", TRIED, 0.5)
    parent = trial_folder.trials_of(tmp_path)
    (parent / "notes.txt").write_text("x")
    (parent / "001 copy").mkdir()
    (parent / ".002.tmp").mkdir()
    assert trial_folder.list_trials(tmp_path) == [Workdir(parent / "000")]


def test_what_a_trial_is_trained_with_names_the_same_files_in_every_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = state(tmp_path, space={"model.weights": {"values": ["null", "a.keras"]}})
    stated = {"data.images": "pictures/faces", "data.stage": "disk", "model.name": "MobileNetV3Small"}
    given |= {name: Setting(value, "a test") for name, value in stated.items()}
    values = {"model.weights": "a.keras"}
    workdir = trial_folder.create(tmp_path, "000", Record(values, {}, 1, ""), make_trial_config(given, values, ""))
    monkeypatch.chdir("/")
    tried = trial_folder.read_config(workdir)
    paths = (tried.data.images, tried.data.records, tried.data.stage, tried.model.weights)
    assert paths == tuple(tmp_path / name for name in ("pictures/faces", "tfrecords/faces", "disk", "a.keras"))


def test_addresses_and_variables_of_a_node_stay_what_they_are(tmp_path):
    stated = {"data.records": "s3://bucket/records", "data.stage": "$TMPDIR/stage"}
    given = state(tmp_path) | {name: Setting(value, "a test") for name, value in stated.items()}
    config = make_trial_config(given, TRIED, "a test")
    workdir = trial_folder.create(tmp_path, "000", Record(TRIED, {}, 1, ""), config)
    tried = trial_folder.read_config(workdir).data
    assert (str(tried.records), str(tried.stage)) == ("s3://bucket/records", "$TMPDIR/stage")


def test_a_path_of_a_record_that_is_made_anew_is_the_one_of_the_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = state(tmp_path, space={"model.weights": {"values": ["null", "a.keras"]}})
    given["model.name"] = Setting("MobileNetV3Small", "a test")
    values = {"model.weights": "a.keras"}
    config = make_trial_config(given, values, "a test")
    workdir = trial_folder.create(trial_folder.trials_of(tmp_path), "000", Record(values, {}, 1, ""), config)
    workdir.record.unlink()
    assert trial_folder.rebuild(tmp_path, settings.make_config(given)) == ["000"]
    assert trial_folder.read(workdir).values == values
