"""What stands in a run folder is compared with its form before anything follows from it."""

import json

import pytest
from conftest import SMOKE, run_command

from harness.base.errors import CheckpointError
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.runs import identity
from harness.runs.workdir import Workdir

IN_FORCE = {"devices": ["/cpu:0"], "strategy": "none", "workers": 1, "precision": "float32", "cache": "none"}


@pytest.fixture
def claimed(face_records, tmp_path):
    """A run folder as it is when a training begins."""
    config, data = Config(data=DataConfig(records=face_records)), manifest.load(face_records)
    workdir = Workdir(tmp_path / "run")
    with identity.own(workdir, config, data):
        identity.claim(workdir, config, data, effective={**IN_FORCE, "engine": "host", "batch": 16})
    return workdir, config, data


def test_what_was_claimed_is_read_back(claimed):
    workdir, config, data = claimed
    identity.check(workdir, config, data)
    assert identity.read_effective(workdir) == {**IN_FORCE, "engine": "host", "batch": 16}
    assert sorted(path.name for path in workdir.root.iterdir()) == ["config.yaml", "environment.json"]


@pytest.mark.parametrize("below", ["more", "checkpoints/latest/deep"])
def test_no_run_begins_in_the_folder_of_another(claimed, below):
    workdir, config, data = claimed
    with pytest.raises(CheckpointError, match=r"lies within the run .*run\. Give another folder: --run runs/NEW"):
        identity.check(Workdir(workdir.root / below), config, data)
    identity.check(Workdir(workdir.root.parent / "beside"), config, data)


def test_nothing_is_in_force_where_nothing_was_started(tmp_path):
    assert identity.read_effective(Workdir(tmp_path)) == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "object"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"records_sha256": 3, "in_force": {}}', "records_sha256 is 3"),
        (b'{"records_sha256": "a"}', "in_force: Field required"),
        (b'{"records_sha256": "a", "in_force": {"batch": "16"}}', "in_force.batch is '16'"),
        (b'{"records_sha256": "a", "in_force": {"precision": "int4"}}', "in_force.precision is 'int4'"),
        (b'{"records_sha256": "a", "in_force": {"cache": 7}}', "in_force.cache is 7"),
        (b'{"records_sha256": "a", "in_force": {}, "settings": [{}]}', "settings.0.name: Field required"),
    ],
)
def test_a_damaged_environment_is_a_sentence(claimed, content, expected):
    workdir, config, data = claimed
    workdir.environment.write_bytes(content)
    for read in (lambda: identity.check(workdir, config, data), lambda: identity.read_effective(workdir)):
        with pytest.raises(CheckpointError, match=rf"environment\.json cannot be read: .*{expected}.*--run runs/NEW"):
            read()


def test_what_killed_processes_have_left_is_removed_by_the_next_owner(claimed):
    workdir, config, data = claimed
    workdir.export.mkdir()
    left = [workdir.root / ".metrics.json.123.tmp", workdir.export / ".tmp-19653-model.keras"]
    for path in left:
        path.write_bytes(b"half")
    (workdir.export / ".tmp-7-saved_model").mkdir()
    (workdir.export / ".tmp-7-saved_model" / "file").touch()
    kept = workdir.export / "model.keras"
    kept.touch()
    with identity.own(workdir, config, data):
        assert list(workdir.export.iterdir()) == [kept]
        assert not left[0].exists()


def test_a_start_that_was_killed_before_it_wrote_its_config_is_no_other_run(face_records, tmp_path):
    config, data = Config(data=DataConfig(records=face_records)), manifest.load(face_records)
    for name in (".lock", "environment.json", ".config.yaml.7.tmp"):
        (tmp_path / name).touch()
    with identity.own(Workdir(tmp_path), config, data):
        pass


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100_000, b'{"accuracy": "high"}', b"\xff"])
def test_damaged_figures_of_a_finished_run_are_a_sentence(claimed, face_records, content):
    workdir, _, _ = claimed
    workdir.metrics.write_bytes(content)
    done = run_command("train", "--records", face_records, "--run", workdir.root, "--train.precision", "auto")
    assert done.returncode == 5, done.stderr
    assert "metrics.json cannot be read: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_whose_figures_were_removed_writes_them_again(face_records, tmp_path):
    run = tmp_path / "a[1]"
    words = ("--config", SMOKE, "--records", face_records, "--run", run, "--epochs", 2)
    done = run_command("train", *words)
    assert done.returncode == 0, done.stderr
    figures = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").unlink()
    done = run_command("train", *words)
    assert done.returncode == 0 and "nothing is left to train" in done.stderr
    assert json.loads((run / "metrics.json").read_text())["loss"] == figures["loss"]
    evaluated = run_command("evaluate", run, "--json")
    assert evaluated.returncode == 0 and json.loads(evaluated.stdout)["loss"] == pytest.approx(
        figures["loss"], abs=1e-4
    )
