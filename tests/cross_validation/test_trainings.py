"""What was begun is gone on with only by the settings it was begun with; what damage there is says what to do."""

import pytest

from harness.base.errors import CheckpointError
from harness.config.schema import Config
from harness.config.settings import Setting, make_config
from harness.cross_validation import trainings
from harness.cross_validation.trainings import Training
from harness.search.trials import trial_folder
from harness.search.trials.trial_folder import Record

FIRST = Training("small", 0, 0)


def make(**values) -> Config:
    return make_config({name.replace("__", "."): Setting(value, "test") for name, value in values.items()})


def begin(folder, config: Config, **record):
    (folder / "trainings").mkdir()
    return trial_folder.create(folder / "trainings", FIRST.name, Record({"fold": 1}, {}, 0, "", **record), config)


def make_queue(folder, config: Config):
    return trainings.make_queue(folder, {FIRST: config}, lambda: None)


def test_a_training_that_was_begun_with_other_settings_is_refused(tmp_path):
    """As where the file of --against was changed: its old answers would be taken for the new ones."""
    begin(tmp_path, make(optim__learning_rate=0.5))
    with pytest.raises(CheckpointError) as refused:
        make_queue(tmp_path, make(optim__learning_rate=0.25))
    assert str(refused.value) == (
        f"{tmp_path}/trainings/small-repeat-1-fold-1 was trained with other settings than small has now: "
        "optim.learning_rate was 0.5, now 0.25. Give the same to go on, the new ones in a file of another name, or "
        "another folder: --run runs/NEW"
    )


def test_the_precision_that_was_found_is_that_of_the_same_settings(tmp_path, monkeypatch):
    """So is a path from another current folder, and where the records lie."""
    monkeypatch.chdir(tmp_path)
    found = make(train__precision="mixed_bfloat16", model__name="ResNet50", model__weights="a.h5", data__records="a")
    begin(tmp_path, found)
    asked = make(train__precision="auto", model__name="ResNet50", model__weights="a.h5", data__records="b")
    make_queue(tmp_path, asked)


def test_one_that_failed_is_begun_again(tmp_path):
    workdir = begin(tmp_path, make(), status="failed", reason="no memory")
    make_queue(tmp_path, make())
    assert trial_folder.read(workdir).status == "running"


@pytest.mark.parametrize(("name", "said"), [("trial.json", ""), ("trial.yaml", "Or ")])
def test_a_damaged_training_says_what_to_remove(name, said, tmp_path):
    workdir = begin(tmp_path, make())
    (workdir.root / name).write_text("{")
    with pytest.raises(CheckpointError, match=f"{name}.* {said}[Rr]emove {workdir.root}, and the same command trains"):
        make_queue(tmp_path, make())
