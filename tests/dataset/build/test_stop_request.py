"""Builds that are told to stop: in which phase, by which signal, what they say, and that the next start goes on."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, bytes_of, command_environment, write_picture

# A build that sends itself and its workers signals, one after another, once some tasks of a phase are done.
BUILD = """
import os, signal, sys
from harness import build_records
from harness.base import app
from harness.dataset.build import process_pool

phase, num_done, names = sys.argv[1], int(sys.argv[2]), sys.argv[3].split()
del sys.argv[1:4]

def told(run):
    def run_told(*arguments, title, should_stop, **options):
        def ask(num):
            if title == phase and num == num_done and names:
                os.killpg(0, signal.Signals[names.pop(0)])
            return should_stop(num)
        return run(*arguments, title=title, should_stop=ask, **options)
    return run_told

process_pool.run_all, process_pool.try_all = told(process_pool.run_all), told(process_pool.try_all)
raise SystemExit(app.run(build_records.main, continues=True))
"""
FLAGS = ("--records.image_size", "64", "--records.min_shards", "4", "--runtime.workers", "1")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Pictures for three chunks, of which each has a near copy."""
    folder = tmp_path_factory.mktemp("many") / "many"
    for index in range(150):
        colors = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(colors, (200, 200), interpolation=cv2.INTER_CUBIC)
        label = ("happy", "sad")[index % 2]
        write_picture(folder / label / f"{index:03d}.png", picture)
        write_picture(folder / label / f"{index:03d} small.png", cv2.resize(picture, (150, 150)))
    return folder


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory) -> Path:
    records = tmp_path_factory.mktemp("whole") / "many"
    assert build(images, records) == (0, "")
    return records


def build(images: Path, records: Path, *, told: tuple[str, int, str] = ("", 0, "SIGTERM")) -> tuple[int, str]:
    """Returns the exit code and the last words of a build that stopped."""
    words = [sys.executable, "-c", BUILD, *map(str, told), "--images", images, "--records", records, *FLAGS]
    done = subprocess.run(
        list(map(str, words)),
        cwd=ROOT,
        env=command_environment(),
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "Traceback" not in done.stderr and "resource_tracker" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    return done.returncode, last if done.returncode else ""


def saved(records: Path) -> str:
    return f"; the same command goes on from there, with what {records.parent}/.{records.name}.building keeps."


UNSAVED = ", with nothing new to save; the same command goes on where this one began."


def test_a_build_told_before_its_first_picture_examines_some_and_goes_on_from_there(images, undisturbed, tmp_path):
    records = tmp_path / "many"
    said = "stopped by SIGUSR2 after 128 of 300 files were examined"
    assert build(images, records, told=("cleaning", 0, "SIGUSR2 " * 20)) == (75, said + saved(records))
    assert [path.name for path in tmp_path.iterdir()] == [".many.building"]
    assert build(images, records) == (0, "")
    assert bytes_of(records) == bytes_of(undisturbed)


def test_a_second_ctrl_c_does_not_wait_for_the_pictures_in_work(images, tmp_path):
    said = "stopped by Ctrl-C. No incomplete file was left; the same command continues."
    assert build(images, tmp_path / "many", told=("cleaning", 0, "SIGINT SIGINT")) == (130, said)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_build_told_in_every_phase_ends_with_the_same_bytes(images, undisturbed, tmp_path):
    """75 where the start has saved something, so that a job cannot come back for ever; else the signal's own code."""
    records = tmp_path / "many"

    def start(phase: str, num_done: int, name: str) -> tuple[int, str]:
        return build(images, records, told=(phase, num_done, name))

    examined = "stopped by SIGTERM after 128 of 300 files were examined"
    assert start("cleaning", 1, "SIGTERM") == (75, examined + saved(records))
    examined = "stopped by SIGINT after 256 of 300 files were examined"
    assert start("cleaning", 1, "SIGINT") == (75, examined + saved(records))
    searched = "in searching, after 0 of 1 parts"
    assert start("searching", 0, "SIGINT") == (75, f"stopped by SIGINT {searched}{saved(records)}")
    assert start("searching", 0, "SIGHUP") == (129, f"stopped by SIGHUP {searched}{UNSAVED}")
    code, said = start("comparing", 1, "SIGINT")
    assert code == 130 and re.fullmatch(f"stopped by SIGINT in comparing, after 32 of \\d+ pairs{UNSAVED}", said), said
    wrote = "in writing, after 0 of 300 pictures"
    assert start("writing", 0, "SIGUSR2") == (75, f"stopped by SIGUSR2 {wrote}{saved(records)}")
    code, said = start("writing", 0, "SIGTERM")
    assert code == 75 and re.match(r"stopped by SIGTERM in writing, after [1-9]\d* of 300 pictures", said), said
    assert len(list((tmp_path / ".many.building").glob("*.tfrecord"))) == 1
    code, said = start("report", 0, "SIGUSR2")
    assert code == 75 and said.startswith("stopped by SIGUSR2 in report, after 0 of "), said
    code, said = start("report", 0, "SIGUSR2")
    assert code == 140 and said.endswith(UNSAVED), said
    assert not records.exists()
    assert build(images, records) == (0, "")
    assert bytes_of(records) == bytes_of(undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["many"]
