"""A search used as nobody meant it: folders of other things, odd names, wrong flags, other current folders."""

import pytest
from conftest import files_of, run_command


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
