"""Names are data, from the pictures to the answers: nobody takes them for a pattern, a formula, a flag or a command."""

import csv
import io
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, command_environment, command_line, draw_face, run_command, write_picture

CLASSES = [
    ("$5_$ [happy]", '=sad \'n "blue"'),
    ("Icon\r", "ev\x1b[2Jil"),
    ("ü\u0308 幸福 😀", "-x\n* ?"),
    ("100%d %(s)s", "y" * 200),
    (" blank ", "back\\slash"),
]
RUNS = ["run [1] $a_$ #b", "2024-11-25", "a*{b,c}?\t\x1b[2J", "y" * 200, ' it\'s "100%" ü\u0308 幸福 😀 \\']


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "run"), [*zip(CLASSES, RUNS)])
def test_a_run_goes_the_whole_way(tmp_path, classes, run):
    images, records = tmp_path / "i [0] %", tmp_path / "r ]*? $"
    for index, name in enumerate(classes):
        for number in range(12):
            write_picture(images / name / f"{number} [$].png", draw_face(100 * index + number, happy=not index))
    flags = ("--config", SMOKE, "--images", images, "--records", records)
    done = run_command("build_records", *flags)
    assert done.returncode == 0, done.stderr
    assert "up to date" in run_command("build_records", *flags).stdout

    words = ("train", "--config", SMOKE, "--records", records, "--run", run, "--epochs", 60)
    process = subprocess.Popen(
        command_line(*words), cwd=tmp_path, env=command_environment(), stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("epoch  3"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 75, rest
    done = run_command(*words, cwd=tmp_path)
    assert done.returncode == 0 and "going on at epoch" in done.stderr, done.stderr
    assert not {"\x1b", "\r"} & {*done.stdout, *done.stderr}
    folder = tmp_path / run
    assert {path.name for path in folder.iterdir()} >= {"report.html", "confusion.png", "curves.png", "export"}
    assert "\x1b" not in (folder / "report.html").read_text()

    done = run_command("evaluate", folder, "--json")
    assert json.loads(done.stdout)["class_names"] == sorted(classes), done.stderr
    words = command_line("predict", folder, images, "--csv")
    found = subprocess.run(words, cwd=ROOT, env=command_environment(), capture_output=True, check=True).stdout
    rows = list(csv.DictReader(io.StringIO(found.decode(), newline="")))
    assert len(rows) == 24 and all(Path(row["path"].removeprefix("'")).is_file() for row in rows)
    shutil.rmtree(records)  # nothing else of the run depends on it
    done = run_command("predict", folder, images)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 24
    assert not {"\x1b", "\r"} & {*done.stdout, *done.stderr}


def test_a_name_that_no_file_system_takes_is_refused_before_training(face_records, tmp_path):
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", "y" * 256, cwd=tmp_path)
    assert done.returncode == 7 and "File name too long" in done.stderr and "epoch" not in done.stderr
    assert list(tmp_path.iterdir()) == []
