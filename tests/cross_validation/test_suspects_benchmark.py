"""The benchmark of suspects: which labels it makes wrong, what it counts of what was found, and its table."""

import json
import subprocess
import sys

import cv2
import measurements
import numpy as np
import pytest
import suspects as benchmark
from conftest import ROOT, command_environment, files_of, list_recorded, read_findings
from suspects import Measurement, Picture

from harness.cross_validation.labels import suspects
from harness.cross_validation.labels.suspects import Suspect
from harness.results import predictions
from harness.results.predictions import Prediction

PICTURES = [Picture(f"{number}.png", "abc"[number % 3], f"group {number // 2}") for number in range(60)]


def test_a_share_of_the_labels_is_wrong_and_the_same_ones_for_a_seed():
    given = benchmark.flip(PICTURES, 0.1, np.random.default_rng(0))
    wrong = [picture for picture in PICTURES if given[picture.path] != picture.label]
    assert len(wrong) == 6 and set(given.values()) == set("abc") and len(given) == 60
    assert benchmark.flip(PICTURES, 0.1, np.random.default_rng(0)) == given
    assert benchmark.flip(PICTURES, 0.1, np.random.default_rng(1)) != given


def test_shapes_are_drawn_the_same_each_time_in_groups(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    folder, pictures = benchmark.draw_shapes(tmp_path / "one")
    other, same = benchmark.draw_shapes(tmp_path / "two")
    assert pictures == same and files_of(folder) == files_of(other)
    assert len(pictures) == 360 and len({picture.group for picture in pictures}) == 90
    assert pictures[-1] == Picture("triangle_14_3.png", "triangle", "triangle 14")
    assert cv2.imread(str(folder / pictures[0].path)).shape == (64, 64, 3)


@pytest.mark.slow
def test_records_have_the_wrong_labels_and_the_groups_of_the_sample(tmp_path):
    before = files_of(benchmark.SAMPLE)
    records, wrong = benchmark.build(Measurement("sample", 0.1, 0, 32, 1), tmp_path)
    assert files_of(benchmark.SAMPLE) == before and len(wrong) == 19
    findings = read_findings(records)
    assert wrong <= list_recorded(records)
    is_wrong = {path: row["class_name"] != path.split("/")[0] for path, row in findings.items() if row["class_name"]}
    assert {path for path, is_so in is_wrong.items() if is_so} == wrong
    assert findings["happy/noto_1f600.png"]["group"] == findings["happy/twemoji_1f600.png"]["group"]


def write_results(folder):
    """Of ten pictures 3.png and 7.png are wrong, and 12.png, which the build left out."""
    validated, trained = folder / "validated", folder / "trained"
    own = [0.9, 0.8, 0.2, 0.1, 0.9, 0.9, 0.9, 0.3, 0.9, 0.9]
    lines = [f"{place}.png,g,a,0,0,{chance},{1 - chance}" for place, chance in enumerate(own)]
    validated.mkdir()
    (validated / "out_of_fold.csv").write_text("\n".join(["path,group,label,fold,repeat,p:a,p:b", *lines, ""]))
    found = [Suspect(place, f"{place}.png", "a", "b", own[place], 0.5, own[place]) for place in (3, 2, 7)]
    suspects.write(validated / "suspects.csv", found)
    rows = [Prediction(f"{place}.png", "g", "a", "a", 0.9, chance) for place, chance in ((0, 0.4), (7, 0.1), (8, 0.3))]
    trained.mkdir()
    predictions.write(trained / "predictions.csv", rows)
    return validated, trained


def test_what_was_found_is_counted_of_the_wrong_labels_that_are_in_the_records(tmp_path):
    assert benchmark.judge(*write_results(tmp_path), {"3.png", "7.png", "12.png"}) == {
        "num_wrong": 2,
        "num_suspects": 3,
        "cross-validation": 0.5,
        "one split": 0.5,
        "random": 0.2,
        "suspects right": 2 / 3,
        "suspects found": 1.0,
    }


def test_of_several_repeats_the_mean_counts(tmp_path):
    rows = ("1.png,g,a,0,0,0.4,0.6", "2.png,g,b,0,0,0.5,0.5", "1.png,g,a,1,1,0.8,0.2", "2.png,g,b,1,1,0.5,0.5")
    (tmp_path / "out.csv").write_text("\n".join(["path,group,label,fold,repeat,p:a,p:b", *rows, ""]))
    assert benchmark.rank_out_of_fold(tmp_path / "out.csv") == ["2.png", "1.png"]


def test_finished_measurements_are_read_again_and_make_the_table(tmp_path, capsys):
    found = dict.fromkeys(benchmark.COLUMNS, 0.5) | {"num_wrong": 36, "num_suspects": 30}
    lines = [
        {"name": "shapes", "rate": 0.1, "seed": seed, "image_size": 64, "epochs": 30, "found": {**found, column: value}}
        for seed, (column, value) in enumerate([("cross-validation", 0.7), ("one split", 0.1)])
    ]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    benchmark.print_table(measurements.read(tmp_path / "out.jsonl", Measurement))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| shapes | 10% | 36 | 2 | 0.60 (0.50 to 0.70) | 0.30 | 0.50 | 0.50 | 0.50 |"
    ]


def run_benchmark(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "suspects.py", *map(str, arguments)],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_the_probability_of_the_label_finds_most_on_made_probabilities():
    done = run_benchmark("--scores", "--seeds", 1)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    means = {name: sum(map(float, values)) / 3 for name, *values in rows[2:]}
    assert len(means) == 5 and max(means, key=means.get) == "self confidence" and means["self confidence"] > 0.75


@pytest.mark.slow
def test_a_measurement_of_all_ways(tmp_path):
    out = tmp_path / "out.jsonl"
    size = ("--image-size", 32, "--epochs", 2, "--sets", "shapes", "--rates", 0.1, "--seeds", 1)
    done = run_benchmark("--out", out, *size)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("| shapes | 10% | 36 | 1 | ")
    assert json.loads(out.read_text())["found"]["num_wrong"] == 36
