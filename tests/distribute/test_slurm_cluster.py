"""The SLURM of the tests: jobs, nodes that die, and that it leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm_cluster
from conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
import slurm_cluster
with slurm_cluster.start(Path(sys.argv[1]), num_nodes=1) as cluster:
    cluster.submit("--wrap", "sleep 1234.5", cwd=Path(sys.argv[1]))
    time.sleep(600)
"""


def list_processes(folder: Path) -> list[str]:
    """The processes here whose machine has the folder as SLURM's own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{folder} " in (process / "mountinfo").read_text().replace("\\040", " "):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended
            continue
    return found


def test_the_gate_and_the_docs_install_what_is_needed():
    for name in (".ci/run", "docs/extending.md"):
        assert slurm_cluster.PACKAGES in (ROOT / name).read_text()


def test_a_job_runs_on_two_nodes_with_the_gpus_it_asked_for(cluster, tmp_path):
    command = "srun --label bash -c 'echo $(hostname) has $CUDA_VISIBLE_DEVICES'"
    job = cluster.submit("--nodes=2", "--gpus-per-node=2", "--output=told.log", "--wrap", command, cwd=tmp_path)
    assert cluster.wait(job)["ExitCode"] == "0:0"
    assert sorted((tmp_path / "told.log").read_text().splitlines()) == ["0: n1 has 0,1", "1: n2 has 0,1"]


def test_a_job_that_fails_is_told_with_its_log(cluster, tmp_path):
    job = cluster.submit("--wrap", "echo no such picture; exit 3", cwd=tmp_path)
    assert cluster.wait(job, "FAILED")["ExitCode"] == "3:0"
    with pytest.raises(AssertionError, match=r"is not .*COMPLETED(.|\n)*no such picture"):
        cluster.wait(job, "COMPLETED")
    with pytest.raises(AssertionError, match=rf"job {job} ended before it flies(.|\n)*no such picture"):
        cluster.wait_until(lambda: False, "it flies", limit_s=60, job=job)


@pytest.mark.slow
def test_a_node_that_dies_takes_its_job_along_and_comes_back(cluster, tmp_path):
    job = cluster.submit("--requeue", "--nodelist=n3", "--wrap", "sleep 300", cwd=tmp_path)
    cluster.wait(job, "RUNNING")
    cluster.power_off("n3")
    cluster.wait_until(lambda: cluster.show(job)["Restarts"] == "1", "the job is requeued", limit_s=120)
    cluster.power_on("n3")
    cluster.wait(job, "RUNNING")
    cluster.run("scancel", job)
    assert cluster.wait(job)["JobState"] == "CANCELLED"


def test_two_clusters_run_beside_each_other_and_a_path_may_have_blanks(cluster, tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    with slurm_cluster.start(folder, num_nodes=1) as other:
        job = other.submit("--wrap", "hostname", cwd=folder)
        assert other.wait(job)["JobState"] == "COMPLETED"
        assert (folder / f"slurm-{job}.out").read_text() == "n1\n"
        assert list_processes(folder) != []
    assert list_processes(folder) == []


def test_nothing_of_it_outlives_tests_that_are_killed(cluster, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(slurm_cluster.__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], env=environment) as tests:
        try:
            wait_until(lambda: any("1234.5" in words for words in list_processes(tmp_path)))
        finally:
            tests.kill()
    wait_until(lambda: list_processes(tmp_path) == [])


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
