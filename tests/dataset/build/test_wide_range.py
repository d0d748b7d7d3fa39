"""Pictures of more than 8 bits in builds: one range for all, however the build is made, and kept for use."""

import json

import cv2
import numpy as np
import pytest
from conftest import bytes_of, read_findings, run_command

FLAGS = ("--records.image_size", 32, "--records.encoding", "png", "--records.min_shards", 2)


def build(images, records, *flags, code: int = 0):
    done = run_command("build_records", "--images", images, "--records", records, *FLAGS, *flags)
    assert done.returncode == code, done.stderr
    return done


def write(path, seed: int, low: int, high: int) -> None:
    """A grey picture of 16 bits whose values begin and end there."""
    random = np.random.default_rng(seed)
    pixels = cv2.resize(random.integers(low, high, (8, 8), np.uint16), (64, 64), interpolation=cv2.INTER_NEAREST)
    pixels[0, 0], pixels[-1, -1] = low, high
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def thermal(tmp_path):
    """24 pictures of 7000 to 7999, each of which uses a part of that, and 8 of 8 bits."""
    folder = tmp_path / "thermal"
    for index in range(24):
        write(folder / ("cold", "warm")[index % 2] / f"{index:02d}.png", index, 7000 + 20 * index, 7500 + 20 * index)
    write(folder / "warm" / "last.png", 99, 7100, 7999)
    for index in range(8):
        colors = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
        large = cv2.resize(colors, (64, 64), interpolation=cv2.INTER_NEAREST)
        assert cv2.imwrite(str(folder / ("cold", "warm")[index % 2] / f"plain {index}.png"), large)
    return folder


def read_stored(records, name: str) -> np.ndarray:
    row = read_findings(records)[name]
    content = (records / row["file"]).read_bytes()[int(row["offset"]) :][: int(row["length"])]
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, 0]


def test_one_range_scales_all_and_is_told(thermal, tmp_path):
    done = build(thermal, tmp_path / "r")
    assert "25 pictures of more than 8 bits: 7000 is black, 7999 white" in done.stderr
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["range"] == [7000, 7999]
    rows = read_findings(tmp_path / "r")
    assert rows["cold/00.png"]["range"] == "[7000, 7999]" and rows["cold/00.png"]["levels"].startswith(
        "uint16 7000 7500 "
    )
    assert rows["cold/plain 0.png"]["range"] == rows["cold/plain 0.png"]["levels"] == ""
    assert [row["verdict"] for row in rows.values()] == ["kept"] * 33
    values = cv2.imread(str(thermal / "cold" / "00.png"), cv2.IMREAD_UNCHANGED)
    scaled = np.rint((values.astype(float) - 7000) * 255 / 999).astype(np.uint8)
    assert (
        np.abs(
            read_stored(tmp_path / "r", "cold/00.png") - cv2.resize(scaled, (32, 32), interpolation=3).astype(int)
        ).max()
        <= 1
    )
    report = (tmp_path / "r" / "report.html").read_text()
    assert "25 of uint16, with values from 7000 to 7999. For all of them 7000 is black, 7999 white." in report
    assert "is up to date" in build(thermal, tmp_path / "r").stdout


def test_the_same_bytes_come_of_any_number_of_workers_tasks_and_starts(thermal, tmp_path):
    build(thermal, tmp_path / "whole")
    expected = bytes_of(tmp_path / "whole")
    build(thermal, tmp_path / "one", "--runtime.workers", 1)
    assert bytes_of(tmp_path / "one") == expected
    for _ in range(3):
        for index in (1, 0):
            build(thermal, tmp_path / "tasks", "--task-index", index, "--num-tasks", 2)
    build(thermal, tmp_path / "tasks")
    assert bytes_of(tmp_path / "tasks") == expected


def test_a_picture_that_widens_the_range_has_only_wide_ones_encoded_again(thermal, tmp_path):
    build(thermal, tmp_path / "r")
    write(thermal / "cold" / "colder.png", 50, 6000, 7600)
    assert "was built from other pictures" in build(thermal, tmp_path / "r", code=3).stderr
    done = build(thermal, tmp_path / "r", "--overwrite")
    assert "26 pictures of more than 8 bits: 6000 is black, 7999 white" in done.stderr
    build(thermal, tmp_path / "anew")
    assert bytes_of(tmp_path / "r") == bytes_of(tmp_path / "anew")
    (thermal / "cold" / "colder.png").unlink()
    build(thermal, tmp_path / "r", "--overwrite")
    build(thermal, tmp_path / "before")
    assert bytes_of(tmp_path / "r") == bytes_of(tmp_path / "before")


def test_a_given_range_clips_and_counts(thermal, tmp_path):
    done = build(thermal, tmp_path / "r", "--clean.range", "[7000, 7500]")
    assert "24 of 25 pictures of more than 8 bits have values outside clean.range, [7000, 7500]" in done.stderr
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["range"] == [7000, 7500]
    assert "clipped" in read_findings(tmp_path / "r")["warm/last.png"]["notes"]
    full = build(thermal, tmp_path / "full", "--clean.range", "full")
    assert json.loads((tmp_path / "full" / "manifest.json").read_text())["range"] == "full"
    assert (
        "a small part of full: single pixels, or the setting, take most of the levels. Set clean.range: [70"
        in full.stderr
    )


def test_a_dead_pixel_and_several_kinds_are_warned_of(thermal, tmp_path):
    write(thermal / "cold" / "dead.png", 60, 7200, 7300)
    values = cv2.imread(str(thermal / "cold" / "dead.png"), cv2.IMREAD_UNCHANGED)
    values[3, 3] = 65535
    assert cv2.imwrite(str(thermal / "cold" / "dead.png"), values)
    assert cv2.imwrite(str(thermal / "cold" / "float.tif"), np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64))
    done = build(thermal, tmp_path / "r")
    assert "are of several kinds: 1 of float32 (from 0 to 1), 26 of uint16 (from 7000 to 65535)" in done.stderr
    assert "nearly all values of pictures of more than 8 bits lie from 0.0" in done.stderr


def test_pictures_that_lose_their_levels_to_others_are_counted(thermal, tmp_path):
    """Where the values differ so much, what most of them lie between says nothing."""
    for index in range(9):
        write(thermal / "cold" / f"bright {index}.png", 70 + index, 0, 65535)
    done = build(thermal, tmp_path / "r")
    assert "25 of 34 pictures of more than 8 bits keep fewer than 32 levels, for [0, 65535] is so much" in done.stderr
    assert "few_levels" in read_findings(tmp_path / "r")["warm/last.png"]["notes"]
    assert "few_levels" not in read_findings(tmp_path / "r")["cold/bright 0.png"]["notes"]


def test_a_folder_without_wide_pictures_has_no_range(thermal, tmp_path):
    for path in thermal.rglob("[0-9l]*.png"):
        path.unlink()
    done = build(thermal, tmp_path / "r")
    assert "more than 8 bits" not in done.stderr
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["range"] is None


@pytest.mark.parametrize("given", ["[5, 5]", "[9, 1]", "[1]", "most"])
def test_what_is_no_range_is_refused_with_all_that_may_stand_there(tmp_path, given):
    done = build(tmp_path, tmp_path / "r", "--clean.range", given, code=2)
    assert "it should be auto, full, or two numbers, the first below the second, such as [0, 4095]" in done.stderr
