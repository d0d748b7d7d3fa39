"""How the process of a trial is watched: suspended together with the search or alone, and interrupted twice."""

import contextlib
import os
import signal
import sys
import time

import pytest

from harness.runs.workdir import Workdir
from harness.search.trials import child
from harness.search.trials.slots import Slot

SLOT = Slot(0, 1, None, frozenset(os.sched_getaffinity(0)))


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that makes a shell script the training; its log says when it has begun."""

    def begin(script: str) -> Workdir:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        (tmp_path / "000").mkdir()
        return Workdir(tmp_path / "000")

    return begin


def wait_for_pid(workdir, limit_s=30):
    limit = time.monotonic() + limit_s
    while not workdir.log.exists() or not workdir.log.read_text().endswith("\n"):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return int(workdir.log.read_text())


def test_a_suspended_training_is_woken_to_save(start):
    workdir = start("trap 'exit 75' TERM; echo $$; while :; do sleep 0.05; done")

    def stop():
        with contextlib.suppress(ProcessLookupError):  # it is asked for the reason again once the training has ended
            os.kill(wait_for_pid(workdir), signal.SIGSTOP)
        return "SIGTERM"

    ending = child.train(workdir, SLOT, should_stop=stop)
    assert ending.is_paused and ending.seconds < 60


def test_a_search_that_is_interrupted_twice_waits_for_no_training(start):
    workdir = start("trap '' TERM; echo $$; while :; do sleep 0.05; done")
    ending = child.train(workdir, SLOT, should_stop=lambda: str(wait_for_pid(workdir)), is_urgent=lambda: True)
    assert ending.is_paused and ending.seconds < 60


def test_the_time_in_which_a_search_was_suspended_is_not_that_of_its_trials(start, monkeypatch):
    workdir, monotonic = start("sleep 0.5"), time.monotonic
    first = monotonic()
    monkeypatch.setattr(child.time, "monotonic", lambda: monotonic() + (3600 if monotonic() > first + 0.3 else 0))
    ending = child.train(workdir, SLOT, should_stop=lambda: None, limit_s=60)
    assert ending.exit_code == 0 and ending.seconds < 60


def test_a_training_that_takes_longer_than_its_time_has_failed(start):
    ending = child.train(start("exec sleep 60"), SLOT, should_stop=lambda: None, limit_s=0.5)
    assert ending.reason == "it took longer than tune.minutes_per_trial" and ending.seconds > 0.5
