"""The bench command: what it measures is there, it judges, and what it draws are pictures."""

import io
import json

import numpy as np
import pytest
from conftest import run_command
from PIL import Image

SMALL = ("--model.widths", "[4,8,4]", "--model.dense_units", "16", "--seconds", "0.1", "--batch-size", "4")


def bench(records, *flags):
    return run_command("bench", "--records", records, *SMALL, *flags)


def test_figures_and_verdict_are_printed(face_records, tmp_path):
    done = bench(face_records, "--plot", tmp_path / "rates.png")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == ("emotion_cnn on /cpu:0, float32, batch 4; pictures kept in memory, augmented on the host")
    assert [line.split("  ")[0] for line in lines[3:6]] == ["input alone", "steps alone", "both"]
    assert lines[7].startswith("waiting for input: ") and "MFLOP an image; " in lines[9]
    assert any(line.startswith(("INPUT-BOUND: ", "COMPUTE-BOUND: ", "BALANCED: ")) for line in lines)
    with Image.open(tmp_path / "rates.png") as image:
        assert image.format == "PNG" and image.width > 600


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "device"])
def test_the_figures_as_json_hang_together(face_records, cache):
    done = bench(face_records, "--json", "--data.cache", cache, "--runtime.logical_cpus", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cache"], found["engine"]) == (cache, "device" if cache == "device" else "host")
    assert found["devices"] == ["/cpu:0", "/cpu:1"]
    for name in ("input", "compute", "overlapped"):
        assert found["rates"][name]["images_per_s"] > 0 and found["rates"][name]["cpu_ms"] > 0
    assert 0 <= found["rates"]["wait_share"] <= 1
    assert found["training_flops"] > 2 * found["answer_flops"] > 0
    assert found["peak_flops"] > 1e8 and found["peak_memory_bytes"] > 1e8 and found["peak_device_bytes"] is None
    assert found["verdict"][0].split(":")[0] in ("INPUT-BOUND", "COMPUTE-BOUND", "BALANCED")


@pytest.mark.parametrize("flag", ["--plot", "--show-augmentation"])
def test_a_place_that_takes_no_picture_is_told_first(face_records, flag):
    done = bench(face_records, flag, "/proc/picture.png")
    assert (done.returncode, done.stdout) == (7, "") and done.stderr.startswith("error: /proc/picture.png cannot be")


@pytest.mark.parametrize("engine", ["host", "device"])
def test_augmentation_is_shown_beside_what_is_stored(face_records, tmp_path, engine):
    path = tmp_path / "augmented.png"
    done = bench(face_records, "--show-augmentation", path, "--augment.engine", engine)
    assert done.returncode == 0 and str(path) in done.stdout
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert image.format == "PNG" and pixels.std() > 20


def test_missing_records_are_one_sentence(tmp_path):
    done = run_command("bench", "--records", tmp_path / "nothing")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and "nothing" in done.stderr


def test_no_time_at_all_is_refused(face_records):
    done = bench(face_records, "--seconds", "-1")
    assert done.returncode == 2 and "-1 should be between 0 and 3600" in done.stderr


def test_a_batch_for_each_replica_is_measured_as_the_whole_one(face_records):
    done = bench(face_records, "--train.batch_per", "replica", "--runtime.logical_cpus", "2")
    assert done.returncode == 0, done.stderr
    assert "global batch    4 a replica" in done.stderr and "8, 4 a replica" in done.stderr
    assert "float32, batch 8" in done.stdout
