"""What is shown does not grow with the number of classes; the whole is in the files and in --json."""

import json

import cv2
import numpy as np
import pytest
from conftest import SMOKE, run_command, write_picture

NUM_CLASSES, NUM_EACH = 1000, 6


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("many") / "images", np.random.default_rng(0)
    for index in range(NUM_CLASSES):
        for number in range(NUM_EACH):
            colors = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            pixels = cv2.resize(colors, (48, 48), interpolation=cv2.INTER_CUBIC)
            write_picture(folder / f"class {index:03d} {'x' * (index % 200)}" / f"{number}.png", pixels)
    (folder / f"class 077 {'x' * 77}" / "text.png").write_text("not a picture")
    return folder


@pytest.mark.slow
def test_of_many_classes_the_worst_are_shown_and_all_are_written(images, tmp_path):
    flags = ("--config", SMOKE, "--images", images, "--records", tmp_path / "records")
    done = run_command("build_records", *flags)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) < 35 and max(map(len, lines[:-1])) < 150
    assert lines[1].split() == ["class", "077", "xxx…" + "x" * 26, "7", "6", "1"]
    assert lines[21] == "and 980 more classes"
    assert "fewest of a class  most of a class" in done.stdout
    assert max(map(len, done.stderr.splitlines())) < 700
    page = (tmp_path / "records" / "report.html").read_text()
    assert "<summary>900 more classes</summary>" in page and len(page) < 2_000_000

    flags = ("--config", SMOKE, "--records", tmp_path / "records", "--run", tmp_path / "run", "--epochs", 1)
    done = run_command("train", *flags)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stderr.splitlines())) < 700
    assert " | … (1,000 in all); run folder" in done.stderr
    height, width = cv2.imread(str(tmp_path / "run" / "confusion.png")).shape[:2]
    assert max(height, width) <= 2400
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The 40 with the lowest F1 of 1,000 classes; metrics.json has all." in page and len(page) < 2_000_000

    done = run_command("evaluate", tmp_path / "run")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) < 90 and max(map(len, lines[:-1])) <= 100
    assert lines[-1].startswith("measured: ")
    assert "the classes with the lowest F1 (and 980 more; all of them: --json)" in lines
    assert any(line.startswith("most often taken for another class (and ") for line in lines)
    found = json.loads(run_command("evaluate", tmp_path / "run", "--json").stdout)
    assert len(found["class_names"]) == len(found["confusion"]) == len(found["per_class"]) == NUM_CLASSES
