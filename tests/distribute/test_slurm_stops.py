"""What becomes of jobs/train.sbatch when SLURM stops it, when it fails and when a node dies, on a real SLURM.

All jobs are submitted at once and share the nodes; each has a thread that does to it what its test is about.
"""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, command_environment
from slurm_cluster import Cluster

from harness.diagnostics.resume import compare
from harness.runs.workdir import Workdir

pytestmark = pytest.mark.slow
LIMIT_S = 400  # for what takes 30 s on an idle machine
SETTINGS = """
model: {widths: [2, 2], dense_units: 4}
train: {epochs: 40, batch_size: 10, patience: 0, precision: float32}
runtime: {deterministic: true}
"""
NOISE = re.compile(
    r"^(Traceback|[EWI]\d{4} |WARNING|\d{4}-\d\d-\d\d \S+: [EWI] ).*", re.MULTILINE
)  # of Python and TensorFlow


@dataclass(frozen=True)
class Training:
    """A job of jobs/train.sbatch."""

    cluster: Cluster
    job: str
    run: Path
    log: Path

    def show(self) -> dict[str, str]:
        return self.cluster.show(self.job)

    def wait(self, *states: str) -> dict[str, str]:
        return self.cluster.wait(self.job, *states, limit_s=LIMIT_S)

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        self.cluster.wait_until(is_so, f"job {self.job}: {what}", limit_s=LIMIT_S, job=self.job)

    def wait_for_restart(self, number: int) -> None:
        self.wait_until(lambda: int(self.show()["Restarts"]) >= number, f"restart {number}")

    def read_step(self) -> int:
        """The step of the last checkpoint."""
        names = Workdir(self.run).checkpoints.glob("*.index")
        return max((int(path.stem.rpartition("-")[2]) for path in names), default=0)

    def wait_for_progress(self) -> None:
        before = self.read_step()
        self.wait_until(lambda: self.read_step() > before, f"a checkpoint after step {before}")

    def find_processes(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                words = (process / "cmdline").read_text().split("\0")
                if words[1:3] == ["-m", "harness.train"] and str(self.run) in words:
                    found.append(int(process.name))
        return found

    @contextlib.contextmanager
    def held(self) -> Iterator[list[int]]:
        """Stops its processes, so that it does not end before what is to come, however fast it is."""
        processes = self.find_processes()
        try:
            send(signal.SIGSTOP, processes)
            self.wait_until(lambda: all(look_at(process)[0] in "TZ" for process in processes), "stopped")
            yield processes
        finally:
            send(signal.SIGCONT, processes)


def send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def look_at(process: int) -> tuple[str, int]:
    """A process's state, Z if it has ended, and the bits of the signals that wait for it."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "Z", 0
    state, waiting = (re.search(rf"^{name}:\s*(\w+)", status, re.MULTILINE)[1] for name in ("State", "ShdPnd"))
    return state, int(waiting, 16)


def is_told(process: int) -> bool:
    """Whether a stopped process has a signal waiting for it, or goes on: SLURM ends a stop when it ends a job."""
    state, waiting = look_at(process)
    return state != "T" or waiting != 0


def go_on_to_the_end(training: Training) -> None:
    training.wait()


def reach_the_time_limit_twice(training: Training) -> None:
    for number in (1, 2):
        training.wait_for_progress()  # told before it begins, it does one step
        with training.held() as processes:
            training.wait_until(lambda: all(map(is_told, processes)), "told of the time limit")
        training.wait_for_restart(number)
    training.wait("COMPLETED")


def be_preempted(training: Training) -> None:
    training.wait_for_progress()
    with training.held() as processes:
        urgent = ("--partition=urgent", "--exclusive", "--nodelist=n2", "--output=/dev/null", "--wrap", "true")
        job = training.cluster.submit(*urgent, cwd=training.run)
        training.wait_until(lambda: all(map(is_told, processes)), "preempted")
    training.cluster.wait(job, "COMPLETED", limit_s=LIMIT_S)
    training.wait("COMPLETED")


def be_cancelled(training: Training) -> None:
    training.wait_for_progress()
    with training.held():
        training.cluster.run("scancel", training.job)
    training.wait("CANCELLED")
    training.cluster.wait_until(lambda: not training.find_processes(), "no process of it is left", limit_s=LIMIT_S)


def lose_a_node(training: Training) -> None:
    training.wait_for_progress()
    training.cluster.power_off("n4")
    training.wait_for_restart(1)
    training.cluster.power_on("n4")
    training.wait("COMPLETED")


WARNED = ("--time=4", "--signal=B:USR2@200")  # SLURM looks twice a minute: it warns after 10 to 40 s
SCENARIOS = {
    "limited": (reach_the_time_limit_twice, ("--nodelist=n1", *WARNED)),
    "preempted": (be_preempted, ("--nodelist=n2",)),
    "cancelled": (be_cancelled, ("--nodelist=n1",)),
    "lost": (lose_a_node, ("--nodes=2", "--nodelist=n3,n4")),
    "undisturbed": (go_on_to_the_end, ("--nodes=2", "--nodelist=n1,n3")),
    "failing": (go_on_to_the_end, ("--nodelist=n1",)),
}


@pytest.fixture(scope="module")
def trainings(cluster, face_records, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """Trainings by name, each as the future of a Training whose job is at its end."""
    folder = tmp_path_factory.mktemp("jobs")
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS)

    def submit(name: str, *options: str, run: Path | None = None) -> Training:
        run, log = run or folder / name, folder / f"{name}.log"
        records = folder / "missing" if name == "failing" else face_records
        flags = ("--config", settings, "--records", records, "--run", run, "--gpus", "none")
        words = (*options, f"--output={log}", "jobs/train.sbatch", *flags)
        return Training(cluster, cluster.submit(*words, cwd=ROOT, environment=command_environment()), run, log)

    def play(name: str) -> Training:
        action, options = SCENARIOS[name]
        training = submit(name, *options)
        action(training)
        return training

    def play_two_in_one_folder() -> tuple[Training, Training]:
        first = submit("first", "--nodelist=n1")
        first.wait_for_progress()
        with first.held():
            second = submit("second", "--nodelist=n3", run=first.run)  # on n2 an urgent job would preempt it
            second.wait()
        first.wait()
        return first, second

    pool = ThreadPoolExecutor(len(SCENARIOS) + 1)
    both = pool.submit(play_two_in_one_folder)
    yield {"both": both, **{name: pool.submit(play, name) for name in SCENARIOS}}
    pool.shutdown(wait=False, cancel_futures=True)  # a thread that still waits ends with the cluster


def test_a_time_limit_that_strikes_twice_changes_no_bit(trainings):
    limited, (whole, _) = trainings["limited"].result(), trainings["both"].result()
    job, log = limited.show(), limited.log.read_text()
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0") and int(job["Restarts"]) >= 2
    assert compare(Workdir(whole.run), Workdir(limited.run)) == ""
    assert log.count("stopped by SIGUSR2 after step") >= 2
    assert log.count("It goes back into the queue") == int(job["Restarts"])
    assert log.rstrip().endswith("ended with 0: done")
    assert NOISE.findall(log) == []


def test_a_preempted_job_saves_within_the_grace_time_and_comes_back(trainings):
    preempted, (whole, _) = trainings["preempted"].result(), trainings["both"].result()
    job, log = preempted.show(), preempted.log.read_text()
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert compare(Workdir(whole.run), Workdir(preempted.run)) == ""
    assert log.count("stopped by SIGTERM after step") == log.count("It goes back into the queue") == 1
    assert NOISE.findall(log) == []


def test_a_cancelled_job_saves_and_stays_away(trainings):
    cancelled = trainings["cancelled"].result()
    job, log = cancelled.show(), cancelled.log.read_text()
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")
    assert Workdir(cancelled.run).interrupted.is_file() and "stopped by SIGTERM after step" in log
    assert "cancelled; not put back" in log
    assert NOISE.findall(log) == []


def test_a_job_that_fails_is_not_put_back_and_says_why(trainings):
    failing = trainings["failing"].result()
    job, log = failing.show(), failing.log.read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "3:0", "0")
    assert "error: " in log and f"{failing.run.parent / 'missing'}" in log
    assert "ended with 3: data refused" in log and "not put back" in log
    assert NOISE.findall(log) == []


def test_two_nodes_of_which_one_dies_learn_what_they_would_have(trainings):
    lost, undisturbed = trainings["lost"].result(), trainings["undisturbed"].result()
    job = lost.show()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "1")
    assert "worker 0 of 2 lost another" in lost.log.read_text()
    assert undisturbed.show()["Restarts"] == "0"
    assert compare(Workdir(undisturbed.run), Workdir(lost.run)) == ""


def test_a_second_job_in_a_run_folder_is_refused(trainings):
    first, second = trainings["both"].result()
    job, log = second.show(), second.log.read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "5:0", "0")
    assert re.search(rf"error: {re.escape(str(first.run))} is in use by process \d+ on n1 .*since ", log)
    assert first.show()["JobState"] == "COMPLETED" and "exported" in first.log.read_text()
