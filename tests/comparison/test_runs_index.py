"""index.html of a folder of runs: what it lists, what it leaves alone, and several trainings that end at once."""

import json
import logging
import os
import subprocess
import sys

import pytest
from conftest import command_environment, run_without_privileges
from made_runs import start_run, write_run

from harness.comparison import index, run_list
from harness.runs.workdir import Workdir

GOOD = [0.9] * 8 + [0.1] * 8
WORSE = [0.2] * 7 + GOOD[7:]
OTHER = "b2" * 32


def renew(root):
    index.renew(Workdir(root))
    return (root.parent / "index.html").read_text()


def rows_of(page):
    """The cells of each row as text, without the headers."""
    rows = page.split("<tr>")[1:]
    cells = [[cell.split("</td>")[0] for cell in row.split("<td>")[1:]] for row in rows]
    return [row for row in cells if row]


def test_all_runs_are_listed_the_best_of_each_records_first(tmp_path):
    worse = write_run(tmp_path / "worse", WORSE)
    good = write_run(tmp_path / "good", GOOD)
    (good / "report.html").write_text("a report")
    os.utime(good / "metrics.json", (1_700_000_000, 1_700_000_000))
    other = write_run(tmp_path / "other", GOOD, records=OTHER)
    os.utime(other / "metrics.json", (1_600_000_000, 1_600_000_000))
    start_run(tmp_path / "begun")
    (start_run(tmp_path / "stopped").root / "INTERRUPTED").touch()
    page = renew(worse)
    rows = rows_of(page)
    assert [row[1] for row in rows] == ["complete", "complete", "interrupted", "unfinished", "complete"]
    assert rows[0][0] == '<a href="good/report.html">good</a>' and rows[1][0] == "worse"
    assert rows[4][0] == "other" and rows[4][-1] == "2020-09-13 12:26"
    assert rows[0][2:4] == ["validation", '<span class="not shown">Not shown to be good</span>']
    assert rows[0][4:] == [
        *("1.000", "0.806 to 1.000"),
        *("0.1054", "0.1054 to 0.1054"),
        *("1.000", "unknown"),
        *("1.000", "unknown"),
        *("1,234", "1.5", "2023-11-14 22:13"),
    ]
    assert rows[2][2:-1] == [""] * 12
    assert "5 runs, 3 of them complete" in page
    for digest in ("a1a1a1a1", "b2b2b2b2"):
        assert f'<section id="tfrecords-faces-sha256-{digest}"><h2>tfrecords/faces, sha256 {digest}</h2>' in page
    assert page.index("<h2>tfrecords/faces, sha256 a1") < page.index("<h2>tfrecords/faces, sha256 b2")
    assert "happy | sad, 16 validation pictures</p>" in page


def test_figures_are_of_the_split_that_the_verdict_speaks_of(tmp_path):
    groups = ["one"] * 7 + ["two"] * 7
    first = write_run(tmp_path / "first", GOOD, test=WORSE[1:-1], test_groups=groups)
    write_run(tmp_path / "second", WORSE, test=GOOD[1:-1], test_groups=groups)
    page = renew(first)
    rows = rows_of(page)
    assert [(row[0], row[2], row[4]) for row in rows] == [("second", "test", "1.000"), ("first", "test", "0.571")]
    assert "happy | sad, 14 test pictures in 2 groups</p>" in page


def test_a_damaged_run_is_named_with_its_reason(tmp_path):
    good = write_run(tmp_path / "good", GOOD)
    (write_run(tmp_path / "half", GOOD) / "metrics.json").write_text('{"accuracy": ')
    (write_run(tmp_path / "odd", GOOD) / "environment.json").write_text("[]")
    page = renew(good)
    assert [row[1] for row in rows_of(page)] == ["complete", "cannot be read", "cannot be read"]
    assert "half: " in page and "metrics.json cannot be read" in page and "odd: " in page


def test_hostile_names_are_escaped(tmp_path):
    root = write_run(tmp_path / "<img src=x onerror=alert(1)>", GOOD)
    (root / "report.html").write_text("a report")
    environment = json.loads((root / "environment.json").read_text())
    (root / "environment.json").write_text(json.dumps({**environment, "records": "<script>alert(2)</script>"}))
    write_run(tmp_path / "a\u202eb\n#?%", GOOD)
    page = renew(root)
    assert "<img" not in page and "<script" not in page and "\u202e" not in page
    assert 'href="%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E/report.html"' in page


def test_a_page_of_the_users_stays(tmp_path, caplog):
    root = write_run(tmp_path / "good", GOOD)
    (tmp_path / "index.html").write_text("<html>my own</html>")
    with caplog.at_level(logging.WARNING, "harness"):
        assert renew(root) == "<html>my own</html>"
    assert "is not of harness, and stays as it is" in caplog.text
    (tmp_path / "index.html").unlink()
    (tmp_path / "index.html").mkdir()
    index.renew(Workdir(root))
    assert (tmp_path / "index.html").is_dir()


def test_its_own_page_is_renewed(tmp_path):
    assert len(rows_of(renew(write_run(tmp_path / "one", GOOD)))) == 1
    assert len(rows_of(renew(write_run(tmp_path / "two", GOOD)))) == 2


def test_trials_and_the_current_folder_get_none(tmp_path, monkeypatch):
    root = write_run(tmp_path / "runs" / "trial", GOOD)
    (root / "trial.json").write_text("{}")
    index.renew(Workdir(root))
    (root / "trial.json").unlink()
    (tmp_path / "runs" / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "runs" / "notes")
    index.renew(Workdir(root))
    assert not (tmp_path / "runs" / "index.html").exists()
    monkeypatch.chdir(tmp_path)
    assert len(rows_of(renew(root))) == 1


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path):
    root = write_run(tmp_path / "good", GOOD)
    tmp_path.chmod(0o555)
    program = (
        "from pathlib import Path\nfrom harness.base import app\nfrom harness.comparison import index\n"
        "from harness.runs.workdir import Workdir\napp.start_logging()\n"
        f"index.renew(Workdir(Path({str(root)!r})))"
    )
    done = run_without_privileges(program)
    tmp_path.chmod(0o755)
    assert done.returncode == 0 and "could not be written" in done.stderr, done.stderr


def test_a_run_that_ends_while_the_list_is_written_is_in_it(tmp_path, monkeypatch):
    root, list_runs = write_run(tmp_path / "one", GOOD), run_list.list_runs

    def list_and_end_another(folder):
        found = list_runs(folder)
        if not (folder / "two").exists():
            write_run(folder / "two", GOOD)
        return found

    monkeypatch.setattr(run_list, "list_runs", list_and_end_another)
    assert [row[0] for row in rows_of(renew(root))] == ["one", "two"]


@pytest.mark.slow
def test_of_several_trainings_that_end_at_once_none_is_missing(tmp_path):
    """Each finishes its run, and renews the list at once."""
    tasks, each = 3, 8
    for task in range(tasks):
        for number in range(each):
            root = write_run(tmp_path / f"run-{task}-{number}", GOOD)
            (root / "metrics.json").rename(root / "later")
    program = (
        "import sys\nfrom pathlib import Path\nfrom harness.comparison import index\n"
        "from harness.runs.workdir import Workdir\n"
        f"for number in range({each}):\n"
        f"    root = Path({str(tmp_path)!r}) / f'run-{{sys.argv[1]}}-{{number}}'\n"
        "    (root / 'later').rename(root / 'metrics.json')\n"
        "    index.renew(Workdir(root))\n"
    )
    words = [sys.executable, "-c", program]
    started = [subprocess.Popen([*words, str(task)], env=command_environment()) for task in range(tasks)]
    assert [one.wait(120) for one in started] == [0] * tasks
    page = (tmp_path / "index.html").read_text()
    assert [row[1] for row in rows_of(page)] == ["complete"] * (tasks * each)
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*.tmp"))
