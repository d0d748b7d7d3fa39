"""A search that was killed, before whichever of its writes, ends with the same files, and leaves nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command_environment

PROGRAM = Path(__file__).with_name("killed_search.py")


@pytest.mark.slow
def test_a_search_killed_before_any_of_its_writes_ends_as_if_it_had_been_left_alone(search):
    done = subprocess.run(
        [sys.executable, PROGRAM, search],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    number, *names = done.stdout.split()
    assert int(number) > 25
    trials = [f"trials/{name}{file}" for name in ("000", "001") for file in ("", *FILES)]
    assert names == ["best.yaml", "trained", "trials", *trials]


FILES = ("/metrics.json", "/trial.json", "/trial.yaml")
