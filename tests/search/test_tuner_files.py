"""The files of KerasTuner in a search's folder are compared with their form before it believes them."""

import json
import shutil

import pytest
from conftest import run_command

from harness.config import settings

TRIAL = {
    "trial_id": "0",
    "hyperparameters": {
        "space": [],
        "values": {"optim.learning_rate": 0.01, "model.dense_units": 8, "model.head": "softmax"},
    },
    "score": 0.5,
    "status": "COMPLETED",
}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("oracle.json", b"", "Invalid JSON"),
        ("oracle.json", b"[" * 100_000, "recursion limit exceeded"),
        ("tuner0.json", b"[]", "should be an object"),
        ("trial_0/trial.json", b"\xff", "Invalid JSON"),
        ("trial_0/trial.json", {"trial_id": "../../elsewhere"}, "trial_id is '../../elsewhere'"),
        ("trial_0/trial.json", {"score": None}, "it is completed and has no score"),
        ("trial_0/trial.json", {"score": "0.5"}, "score is '0.5'"),
        ("trial_0/trial.json", {"status": "DONE"}, "status is 'DONE'"),
        (
            "trial_0/trial.json",
            {"hyperparameters": {"values": {"a": 1}}},
            "a is in the trial or in tune.space, but not",
        ),
        (
            "trial_0/trial.json",
            {"hyperparameters": {"values": {}}},
            "model.dense_units is in the trial or in tune.spac",
        ),
    ],
)
def test_a_damaged_file_of_a_search_is_named(search, tmp_path, name, content, expected):
    from harness.base.errors import CheckpointError
    from harness.search import tuner

    config = settings.make_config(settings.read_file(search))
    project = tmp_path / "a[1]" / "search"
    (project / "trial_0").mkdir(parents=True)
    (project / "trial_0" / "trial.json").write_text(json.dumps(TRIAL))
    tuner._check_files(project, config)
    (project / name).write_bytes(json.dumps(TRIAL | content).encode() if isinstance(content, dict) else content)
    with pytest.raises(CheckpointError) as refused:
        tuner._check_files(project, config)
    assert str(refused.value).startswith(f"{project / name} cannot be read: ")
    assert expected in str(refused.value) and str(refused.value).endswith("--tune.folder runs/NEW")


@pytest.mark.slow
def test_a_search_goes_on_in_a_folder_of_any_name_and_refuses_what_kerastuner_cannot_read(search, tmp_path):
    folder = tmp_path / "a[1]"
    flags = ("--config", search, "--tune.folder", folder)
    done = run_command("tune", *flags)
    assert done.returncode == 0, done.stderr
    trials = sorted(path.name for path in (folder / "trials").iterdir())
    again = run_command("tune", *flags)
    assert again.returncode == 0 and again.stdout == done.stdout and "trial 0: " not in again.stderr
    assert sorted(path.name for path in (folder / "trials").iterdir()) == trials
    shutil.copy(folder / "search" / "tuner0.json", folder / "search" / "oracle.json")
    refused = run_command("tune", *flags)
    assert refused.returncode == 5, refused.stderr
    assert "search cannot be read: " in refused.stderr and "Traceback" not in refused.stderr
