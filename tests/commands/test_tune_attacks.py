"""A search used as nobody meant it: folders of other things, odd names, wrong flags, other current folders."""

import json
import shlex

import pytest
from conftest import files_of, run_command

from harness.base.text import visible


@pytest.mark.parametrize("flags", [(), ("--tune.rebuild", "true")])
@pytest.mark.parametrize("name", ["metrics.csv", "manifest.json", "notes", "report.html"])
def test_a_folder_of_something_else_is_left_as_it_is(search, tmp_path, name, flags):
    folder = tmp_path / "tune"
    folder.mkdir()
    for each in {name, "report.html", "config.yaml"}:
        (folder / each).write_text("of somebody else")
    before = files_of(folder)
    done = run_command("tune", "--config", search, *flags)
    assert done.returncode == 5 and str(folder) in done.stderr and "--tune.folder runs/NEW" in done.stderr
    assert files_of(folder) == before and sorted(path.name for path in folder.iterdir()) == sorted(before)


@pytest.mark.parametrize("folder", ["FILE", "FILE/below", "/proc/nothing", "y" * 256])
def test_a_folder_that_cannot_be_is_refused_at_once(search, tmp_path, folder):
    (tmp_path / "file").write_text("")
    folder = folder.replace("FILE", str(tmp_path / "file"))
    done = run_command("tune", "--config", search, "--tune.folder", folder, cwd=tmp_path, timeout_s=60)
    assert done.returncode == (7 if folder.startswith("y") else 5), done.stderr
    assert done.stderr.startswith("error: ") and folder in done.stderr and done.stderr.count("\n") == 1


ODD = 'a "b" ü %s $x [1]*\t\x1b[2J'


@pytest.mark.slow
def test_a_search_of_any_name_with_relative_paths_goes_on_in_another_current_folder(search, face_records, tmp_path):
    begun, gone_on, folder = tmp_path / "one", tmp_path / "other" / "below", tmp_path / ODD
    for each in (begun, gone_on):
        each.mkdir(parents=True)
    (begun / "records").symlink_to(face_records)
    # Told to stop before it begins, a trial trains for one call of steps, which may be a whole epoch.
    flags = ("--config", search, "--epochs", "4", "--tune.trials", "1", "--retrain", "0", "--tune.folder", folder)
    done = run_command("tune", *flags, "--records", "records", "--tune.minutes_per_trial", "0.0001", cwd=begun)
    reason = "it took longer than tune.minutes_per_trial"
    assert done.returncode == 3 and f"not one of 1 trials of the search in {visible(folder)} finished" in done.stderr
    assert reason in done.stderr and reason in (folder / "report.html").read_text()
    trial = folder / "trials" / "000"
    record = json.loads((trial / "trial.json").read_text())
    (trial / "trial.json").write_text(json.dumps(record | {"status": "running", "finished": "", "reason": ""}))
    done = run_command("tune", *flags, "--records", face_records, cwd=gone_on)
    assert done.returncode == 0 and "trial 000: going on" in done.stderr, done.stderr
    assert "\x1b" not in done.stdout + done.stderr and visible(shlex.quote(str(folder))) in done.stdout
    assert list(gone_on.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--run", "runs/x"),
            "a search has a run folder for each trial. Say where the search itself lies: --tune.folder",
        ),
        (("--tune.space", "{}"), "tune.space is no flag: state it in the config file"),
        (("--tune.slots", "0"), "tune.slots is 0: it should be auto, or a whole number from 1 to 1024"),
        (("--tune.folder", "s3://bucket/x"), "it should be a local path"),
        (("--tune.minutes_per_trial", ".nan"), "tune.minutes_per_trial"),
        (
            ("more",),
            "error: 'more' belongs to no flag. A flag takes one word: --gpus 0,1 or --model.widths '[16, 32]'.\n",
        ),
    ],
)
def test_a_wrong_flag_is_told_before_anything_is_made(search, tmp_path, flags, expected):
    done = run_command("tune", "--config", search, *flags, cwd=tmp_path)
    assert done.returncode == 2 and expected in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["search.yaml"]
