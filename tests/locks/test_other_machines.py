"""A folder has one owner on all machines that share it, also where the file system's locks end at each of them."""

import fcntl
import os
import signal

import pytest
from owners import enter

pytestmark = pytest.mark.slow
JOB = {"SLURM_CLUSTER_NAME": "c", "SLURM_JOB_ID": "71", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}


def kill(owner):
    os.kill(owner.pid, signal.SIGKILL)
    owner.process.wait()


@pytest.mark.parametrize("flock", ["real", "none", "local"])
def test_an_owner_elsewhere_is_named_as_long_as_its_heart_beats(tmp_path, flock):
    owner = enter(tmp_path, flock=flock, host="n7", **JOB)
    assert owner.holds
    code, errors = enter(tmp_path, flock=flock, host="n8", SLURM_JOB_ID="99").finish()
    assert code == 5 and "is in use by process 1 on n7 (job 70_3) since 20" in errors
    code, errors = enter(tmp_path, flock=flock).finish()
    assert code == 5 and "is in use by process 1 on n7 (job 70_3) since 20" in errors
    assert owner.finish() == (0, "")


@pytest.mark.parametrize(("flock", "host"), [("real", ""), ("none", "n8"), ("local", "n8")])
def test_a_node_that_died_is_succeeded(tmp_path, flock, host):
    kill(enter(tmp_path, flock=flock, host="n7", **JOB))
    code, errors = enter(tmp_path, flock=flock, host=host).finish()
    assert code == 0
    assert [line.split(" is gone")[0].split(": ", 1)[1] for line in errors.splitlines()[1:]] == ["its owner"]
    assert "looking for up to 3 s whether that still lives" in errors.splitlines()[0]


def test_a_container_of_the_same_machine_needs_no_heartbeat(tmp_path):
    """On one kernel the flock tells, at once, whether an owner in another namespace lives."""
    owner = enter(tmp_path, host="n7")
    assert enter(tmp_path, host="n7", still_s=0).finish()[0] == 5
    kill(owner)
    assert enter(tmp_path, host="n7", still_s=3600).finish()[0] == 0


@pytest.mark.parametrize("flock", ["none", "local"])
def test_an_owner_that_was_suspended_and_replaced_ends_and_writes_nothing(tmp_path, flock):
    owner = enter(tmp_path / "run", flock=flock, host="n7")
    os.kill(owner.pid, signal.SIGSTOP)
    successor = enter(tmp_path / "run", flock=flock, host="n8")
    assert successor.holds
    os.kill(owner.pid, signal.SIGCONT)
    owner.process.wait(timeout=60)
    code, errors = owner.finish()
    assert code == 5 and "run belongs to process 1 on n8 since 20" in errors
    assert "was taken for gone, and ends here" in errors
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert successor.finish()[0] == 0


def test_a_suspended_owner_whose_flock_reaches_here_stays_the_owner(tmp_path):
    owner = enter(tmp_path, host="n7")
    os.kill(owner.pid, signal.SIGSTOP)
    code, errors = enter(tmp_path, host="n8").finish()
    assert code == 5 and f"if its machine is gone, remove {tmp_path / '.lock'}" in errors
    os.kill(owner.pid, signal.SIGCONT)
    assert owner.finish() == (0, "")


class TestRequeued:
    """A job that SLURM starts again has its own lock to take back."""

    def test_what_is_gone_is_taken_at_once_on_the_same_machine(self, tmp_path):
        kill(enter(tmp_path, **JOB))
        assert enter(tmp_path, still_s=3600, **JOB, SLURM_RESTART_COUNT="1").finish()[0] == 0

    def test_what_still_lives_is_waited_for(self, tmp_path):
        owner = enter(tmp_path, flock="local", host="n7", **JOB)
        code, errors = enter(tmp_path, flock="local", host="n8", patience_s=1, **JOB, SLURM_RESTART_COUNT="1").finish()
        assert code == 5
        waits, refused = errors.splitlines()
        assert "still held by an earlier start of this job, process 1 on n7 (job 70_3)" in waits
        assert "waiting up to 1 s for its end" in waits
        assert "is in use by process 1 on n7 (job 70_3)" in refused
        assert owner.finish() == (0, "")

    def test_what_ends_meanwhile_hands_over(self, tmp_path):
        owner = enter(tmp_path, flock="none", host="n7", **JOB)
        owner.process.stdin.close()
        later = enter(tmp_path, flock="none", host="n8", patience_s=60, **JOB, SLURM_RESTART_COUNT="1")
        assert later.holds and later.finish()[0] == 0

    @pytest.mark.parametrize("job", [{**JOB, "SLURM_RESTART_COUNT": "1"}, {"SLURM_JOB_ID": "72"}, JOB])
    def test_a_flock_that_a_file_server_keeps_for_a_dead_node_stops_only_other_jobs(self, tmp_path, job):
        kill(enter(tmp_path, host="n7", **JOB))
        with (tmp_path / ".lock").open("r+") as kept:
            fcntl.flock(kept, fcntl.LOCK_EX)
            code, errors = enter(tmp_path, host="n8", **job).finish()
        is_own = "SLURM_RESTART_COUNT" in job
        assert code == (0 if is_own else 5)
        assert ("its owner is gone" in errors) == is_own != ("remove" in errors)

    def test_the_later_start_is_not_waited_for_by_the_earlier(self, tmp_path):
        owner = enter(tmp_path, host="n7", **JOB, SLURM_RESTART_COUNT="2")
        code, errors = enter(tmp_path, host="n8", patience_s=3600, **JOB, SLURM_RESTART_COUNT="1").finish()
        assert code == 5 and "in use by process 1 on n7" in errors
        assert owner.finish() == (0, "")
