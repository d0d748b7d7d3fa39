"""Tasks on several machines have a share of a folder each, or one process has it all."""

import os
import re
import signal

import pytest
from owners import enter

pytestmark = pytest.mark.slow


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".x") or path.name == "cleared")


@pytest.mark.parametrize("flock", ["real", "none", "local"])
def test_tasks_work_side_by_side_and_keep_out_what_would_do_the_same(tmp_path, flock):
    first = enter(tmp_path, flock=flock, host="n1", share="0-of-2", SLURM_JOB_ID="5")
    second = enter(tmp_path, flock=flock, host="n2", share="1-of-2")
    assert first.holds and second.holds and names(tmp_path) == [".x.lock.0-of-2", ".x.lock.1-of-2"]
    for share in ("0-of-2", "whole"):
        code, errors = enter(tmp_path, flock=flock, host="n3", share=share).finish()
        assert code == 5 and re.search(r"is in use by process 1 on n[12] ", errors)
    assert first.finish() == (0, "") and names(tmp_path) == [".x.lock.1-of-2"]
    assert second.finish() == (0, "") and names(tmp_path) == ["cleared"]


def test_tasks_are_refused_while_one_process_has_it_all(tmp_path):
    owner = enter(tmp_path, flock="local", host="n1", share="whole")
    code, errors = enter(tmp_path, flock="local", host="n2", share="0-of-2").finish()
    assert code == 5 and "is in use by process 1 on n1" in errors
    assert names(tmp_path) == [".x.lock"]
    assert owner.finish() == (0, "") and names(tmp_path) == ["cleared"]


@pytest.mark.parametrize("flock", ["real", "none"])
def test_tasks_whose_nodes_died_are_looked_at_together(tmp_path, flock):
    shares = [f"{index}-of-4" for index in range(4)]
    owners = [enter(tmp_path, flock=flock, host=f"n{share[0]}", share=share) for share in shares]
    for owner in owners:
        os.kill(owner.pid, signal.SIGKILL)
        owner.process.wait()
    assert len(names(tmp_path)) == 4
    code, errors = enter(tmp_path, flock=flock, share="whole").finish()
    assert code == 0 and errors.count("its owner is gone, process 1 on n") == 4
    lines = [line.split(": ")[1][:7] for line in errors.splitlines()]
    assert lines == ["looking"] * 4 + ["its own"] * 4
    assert names(tmp_path) == ["cleared"]


def test_a_task_takes_the_share_of_one_whose_node_died(tmp_path):
    owner = enter(tmp_path, flock="none", host="n1", share="0-of-2")
    os.kill(owner.pid, signal.SIGKILL)
    owner.process.wait()
    later = enter(tmp_path, flock="none", host="n2", share="0-of-2")
    assert later.holds
    assert later.finish()[0] == 0 and names(tmp_path) == ["cleared"]
