"""A process is told from all that are and were, as far as the system shows it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command_environment

from harness.locks import owner
from harness.locks.owner import identify

HERE = identify({})


def test_a_process_is_itself_until_it_has_ended():
    assert owner.is_running(HERE)
    child = subprocess.Popen(["sleep", "60"])
    started = int(Path(f"/proc/{child.pid}/stat").read_text().split()[21])
    found = dataclasses.replace(HERE, pid=child.pid, started=started)
    assert owner.is_running(found)
    assert not owner.is_running(dataclasses.replace(found, started=started - 1)), "another had the same number before"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.is_running(found), "nobody has asked how it ended"
    child.wait()
    assert not owner.is_running(found)


HIDDEN = """
import dataclasses, sys
from pathlib import Path
from harness.locks import owner

assert not Path("/proc", sys.argv[1]).exists()
found = dataclasses.replace(owner.identify({}), pid=int(sys.argv[1]), started=1)
gone = dataclasses.replace(found, pid=2**22 - 1)
print(owner.is_running(found), owner.is_running(gone))
"""


@pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (5, 8), reason="one /proc for all mounts")
def test_a_process_of_another_user_that_the_system_hides_is_there():
    try:
        other = subprocess.Popen(["setpriv", "--reuid=65534", "sleep", "60"])
    except FileNotFoundError:
        pytest.skip("there is no setpriv")
    mount = 'mount -t proc -o hidepid=2,gid=65533 proc /proc && exec setpriv --bounding-set=-sys_ptrace,-kill "$@"'
    command = [
        "unshare",
        "--mount",
        "--propagation=slave",
        "sh",
        "-c",
        mount,
        "sh",
        sys.executable,
        "-c",
        HIDDEN,
        str(other.pid),
    ]
    done = subprocess.run(command, env=command_environment(), capture_output=True, text=True, check=False)
    other.kill()
    other.wait()
    if done.returncode and "Traceback" not in done.stderr:
        pytest.skip(f"no processes can be hidden here: {done.stderr.strip()[-200:]}")
    assert done.stdout == "True False\n", done.stderr


@pytest.mark.parametrize(
    ("environment", "job", "restarts"),
    [
        ({}, "", 0),
        ({"SLURM_JOB_ID": "12"}, "12", 0),
        ({"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "3"}, "12", 3),
        ({"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "0"}, "12_0", 0),
        ({"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_RESTART_COUNT": "-1"}, "14", 0),
    ],
)
def test_the_job_is_that_of_slurm(environment, job, restarts):
    found = identify(environment)
    assert (found.job, found.restarts) == (job, restarts)
    assert str(found).endswith(f" (job {job}) since {found.since}" if job else f" since {found.since}")


def test_only_a_requeued_job_comes_after_itself():
    first, second = ({"SLURM_CLUSTER_NAME": "c", "SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": n} for n in "12")
    others = ({**second, "SLURM_JOB_ID": "2"}, {**second, "SLURM_CLUSTER_NAME": "d"}, first, {}, {"SLURM_JOB_ID": ""})
    assert identify(first).is_earlier_start_of(identify(second))
    assert not any(identify(first).is_earlier_start_of(identify(other)) for other in others)
    assert not identify({}).is_earlier_start_of(identify({"SLURM_RESTART_COUNT": "1"}))
