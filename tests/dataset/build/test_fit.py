"""Pictures that are no squares, from files to records: what is stored, what is measured, and what is said about it."""

import json

import cv2
import numpy as np
import pytest
from conftest import read_findings, run_command, write_picture

FLAGS = ("--records.image_size", 32, "--records.encoding", "png", "--records.min_shards", 1)


def build(images, records, *flags):
    return run_command("build_records", "--images", images, "--records", records, *FLAGS, *flags)


def draw(seed: int, height: int, width: int) -> np.ndarray:
    colors = np.random.default_rng(seed).integers(150, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Six pictures of twice the width and six squares."""
    folder = tmp_path_factory.mktemp("wide") / "wide"
    for index in range(12):
        pixels = draw(index, 64, 128 if index % 2 else 64)
        write_picture(folder / ("a", "b")[index // 2 % 2] / f"{index:02d}.png", pixels)
    return folder


def read_stored(records, name: str) -> np.ndarray:
    row = read_findings(records)[name]
    with (records / row["file"]).open("rb") as file:
        content = file.read()[int(row["offset"]) :][: int(row["length"])]
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_the_build_says_that_stretching_changes_many(wide, tmp_path):
    done = build(wide, tmp_path / "r")
    assert done.returncode == 0, done.stderr
    line = "stretching to a square changes the proportions of 6 of 12 pictures by more than a quarter."
    assert f"{line} If shapes matter, set records.fit: crop" in done.stderr
    report = (tmp_path / "r" / "report.html").read_text()
    assert "more than a quarter in 6 of 12 pictures (50.0%). Stretching to a square changes their" in report
    described = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert (described["fit"], described["pad_color"]) == ("stretch", [0, 0, 0])


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fitted_pictures_are_stored_and_nothing_is_said_against_them(wide, tmp_path, fit):
    done = build(wide, tmp_path / "r", "--records.fit", fit, "--records.pad_color", "[9, 8, 7]")
    assert done.returncode == 0, done.stderr
    assert "stretching" not in done.stderr
    described = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert (described["fit"], described["pad_color"]) == (fit, [9, 8, 7])
    stored, pixels = read_stored(tmp_path / "r", "a/01.png"), draw(1, 64, 128)
    half = cv2.resize(pixels, (64, 32), interpolation=cv2.INTER_AREA)
    if fit == "crop":
        assert np.array_equal(stored, half[:, 16:48])
    else:
        assert np.array_equal(stored[8:24], cv2.resize(pixels, (32, 16), interpolation=cv2.INTER_AREA))
        assert (stored[:8] == (9, 8, 7)).all() and (stored[24:] == (9, 8, 7)).all()
    again = build(wide, tmp_path / "r")
    assert again.returncode == 3 and "was built from other settings" in again.stderr
    assert f"): records.fit was {fit}, now stretch; records.pad_color was [9, 8, 7], now [0, 0, 0]. " in again.stderr


def test_records_of_an_earlier_harness_are_called_so(wide, tmp_path):
    assert build(wide, tmp_path / "r").returncode == 0
    path = tmp_path / "r" / "manifest.json"
    old = json.loads(path.read_text())
    del old["config"]["records"]["fit"], old["config"]["clean"]["range"], old["fit"], old["pad_color"], old["range"]
    path.write_text(json.dumps(old | {"config_sha256": "0" * 64}))
    again = build(wide, tmp_path / "r")
    words = "an earlier harness, which did not know clean.range, records.fit, built them. Replace it with --overwrite"
    assert again.returncode == 3 and words in again.stderr


def test_bars_are_no_part_of_what_is_measured(wide, tmp_path):
    for fit in ("stretch", "pad"):
        done = build(wide, tmp_path / fit, "--records.fit", fit)
        assert done.returncode == 0, done.stderr
    stretched, padded = read_findings(tmp_path / "stretch"), read_findings(tmp_path / "pad")
    for name, row in stretched.items():
        for column in ("red", "green", "blue"):
            assert abs(float(row[column]) - float(padded[name][column])) < 3
        assert abs(float(row["dark"]) - float(padded[name]["dark"])) < 0.05
