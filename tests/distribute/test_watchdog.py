"""The watchdog ends what hangs, and leaves alone what does not."""

import subprocess
import sys
import threading

import pytest
from conftest import SMOKE, command_environment, run_command

from harness.distribute.watchdog import watch

HANG = """
import sys, threading
from pathlib import Path
from harness.distribute.watchdog import watch

def wait_for_a_lost_worker():
    threading.Event().wait()

with watch(0.4, Path(sys.argv[1])) as tell:
    tell()
    wait_for_a_lost_worker()
"""


def test_what_hangs_ends_with_6_and_its_stacks(tmp_path):
    stacks = tmp_path / "stacks.txt"
    command = [sys.executable, "-c", HANG, str(stacks)]
    done = subprocess.run(command, env=command_environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 6
    assert "no progress for 0.4 s (runtime.stall_s)" in done.stderr and str(stacks) in done.stderr
    for text in (done.stderr, stacks.read_text()):
        assert "in wait_for_a_lost_worker" in text


def test_a_folder_that_is_gone_does_not_keep_it_alive(tmp_path):
    command = [sys.executable, "-c", HANG, str(tmp_path / "gone" / "stacks.txt")]
    done = subprocess.run(command, env=command_environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 6 and "in wait_for_a_lost_worker" in done.stderr


HANGING_RUN = """
import sys, threading
from pathlib import Path
from harness.config import settings
from harness.config.settings import Setting
from harness.dataset.records import manifest
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.training import trainer
from harness.training.setup import set_up

config, records, run = sys.argv[1:]
flags = {"data.records": Setting(records, "test"), "runtime.stall_s": Setting(20, "test")}
config, workdir = settings.make_config({**settings.read_file(Path(config)), **flags}), Workdir(Path(run))
setup = set_up(config, manifest.load(config.data.records_folder))
identity.claim(workdir, config, setup.data, effective=setup.effective)

def hang():
    threading.Event().wait()

trainer.train_and_evaluate(setup, workdir, should_stop=hang)
"""


@pytest.mark.slow
def test_a_run_that_hangs_leaves_its_stacks_in_the_run_folder(face_records, tmp_path):
    command = [sys.executable, "-c", HANGING_RUN, SMOKE, face_records, tmp_path]
    done = subprocess.run(command, env=command_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 6, done.stderr
    stacks = (tmp_path / "stalled-worker0.txt").read_text()
    assert "in hang" in stacks and "in _train_epoch" in stacks and "in _train_epoch" in done.stderr


def test_what_goes_on_is_left_alone(tmp_path):
    with watch(0.4, tmp_path / "stacks.txt") as tell:
        for _ in range(20):
            threading.Event().wait(0.05)
            tell()
    assert list(tmp_path.iterdir()) == []
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_0_watches_over_nothing(tmp_path):
    with watch(0, tmp_path / "stacks.txt") as tell:
        tell()
        assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_a_limit_below_zero_is_refused():
    done = run_command("train", "--runtime.stall_s", "-1")
    assert done.returncode == 2 and "runtime.stall_s" in done.stderr
