"""A run of another version of harness: used as far as it can be read, and refused with both versions."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import run_command

from harness import __version__
from harness.base.errors import CheckpointError, ConfigError
from harness.config import settings
from harness.config.schema import Config
from harness.runs import versions
from harness.runs.workdir import Workdir


def write_run(folder, version, **sections) -> Workdir:
    workdir = Workdir(folder)
    tree = yaml.safe_load(settings.as_yaml(Config()))
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    workdir.config.write_text(yaml.safe_dump(tree))
    workdir.environment.write_text(json.dumps({"harness": version, "form": "as nobody knows it yet"}))
    return workdir


@pytest.fixture
def warnings(caplog, monkeypatch):
    monkeypatch.setattr(versions.log, "propagate", True)
    return caplog


def test_a_later_run_is_read_by_the_settings_that_are_known(tmp_path, warnings):
    workdir = write_run(
        tmp_path,
        "9.8.7",
        clean={"min_side": 8, "sharpness": 3, "salvaged": "mend"},
        data={"follow_links": True},
        model={"name": "hyper_cnn", "depth": 9},
        quantum={"bits": 3},
    )
    config = versions.load_reading(workdir)
    assert (config.clean.min_side, config.data.follow_links) == (8, True)
    assert config.clean.salvaged == Config().clean.salvaged
    assert f"{tmp_path} was made by harness 9.8.7, this is harness {__version__}" in warnings.text
    assert "left out of its settings, which this version does not know so: clean.sharpness | clean.salvaged" in (
        warnings.text
    )


def test_an_unknown_setting_in_a_run_of_this_version_is_refused(tmp_path, warnings):
    with pytest.raises(ConfigError, match=r"there is no setting 'clean\.sharpness'"):
        versions.load_reading(write_run(tmp_path, __version__, clean={"sharpness": 3}))
    assert warnings.text == ""


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"is no run folder .* Train one: "):
        versions.load_reading(Workdir(tmp_path / "runs"))


@pytest.mark.parametrize("near", ["runs", "runs/one/export", "runs/one/export/model.keras"])
def test_a_path_that_ends_too_early_or_too_late_is_told_with_the_run_that_is_meant(tmp_path, near):
    run = tmp_path / "runs" / "one"
    (run / "export").mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").touch()
    write_run(run, __version__)
    with pytest.raises(CheckpointError) as told:
        versions.load_reading(Workdir(tmp_path / near))
    assert str(told.value) == f"{tmp_path / near} is no run folder (config.yaml is missing). Did you mean {run}?"


@pytest.mark.parametrize(
    ("near", "meant"), [("roses", "runs/roses"), ("rose", "runs/roses"), ("other/tulips", "other/tulip")]
)
def test_a_run_is_found_by_its_name_alone_or_by_one_like_it(tmp_path, monkeypatch, near, meant):
    monkeypatch.chdir(tmp_path)
    for place in ("runs/roses", "runs/asters", "other/tulip"):
        (tmp_path / place).mkdir(parents=True)
        write_run(tmp_path / place, __version__)
    with pytest.raises(CheckpointError) as told:
        versions.load_reading(Workdir(Path(near)))
    assert str(told.value) == f"{near} is no run folder (config.yaml is missing). Did you mean {meant}?"


@pytest.mark.parametrize("content", [None, "", "[]", '{"harness": 3}', "{}", "\0"])
def test_a_version_that_is_not_told_is_not_known(tmp_path, content):
    if content is not None:
        (tmp_path / "environment.json").write_text(content)
    assert versions.read_version(Workdir(tmp_path)) == ""
    with pytest.raises(CheckpointError, match=r"^it is damaged$"), versions.naming(Workdir(tmp_path)):
        raise CheckpointError("it is damaged")


def test_predicting_by_a_later_run_works_or_names_both_versions(smoke_run, faces, tmp_path):
    run = Workdir(shutil.copytree(smoke_run, tmp_path / "run"))
    expected = run_command("predict", run.root, faces / "happy", "--json")
    tree = yaml.safe_load(run.config.read_text())
    tree["model"] = {"name": "hyper_cnn"}
    run.config.write_text(yaml.safe_dump(tree))
    run.environment.write_text(json.dumps({"harness": "9.8.7"}))
    found = run_command("predict", run.root, faces / "happy", "--json")
    assert (found.returncode, found.stdout) == (0, expected.stdout) and len(found.stdout.splitlines()) == 12
    signature = json.loads(run.signature.read_text())
    run.signature.write_text(json.dumps({**signature, "image_size": "any"}))
    refused = run_command("predict", run.root, faces / "happy")
    assert refused.returncode == 5
    assert f"The run was made by harness 9.8.7, and this is harness {__version__}: use that." in refused.stderr
