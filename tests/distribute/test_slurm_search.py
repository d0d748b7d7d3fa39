"""A search by an array of jobs/tune.sbatch on a real SLURM: left alone, and when jobs and nodes of it go and come.

All searches are submitted at once. Trainings are held by SIGSTOP until what is to happen to them has happened, so that
no test depends on which is faster.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, command_environment, read_history
from slurm_cluster import Cluster
from test_slurm_stops import LIMIT_S, NOISE, Training, is_told

from harness.diagnostics.resume import compare
from harness.runs.workdir import Workdir

pytestmark = pytest.mark.slow
NUM_EPOCHS = 30
SETTINGS = {
    "model": {"widths": [2, 2], "dense_units": 4},
    "train": {"epochs": NUM_EPOCHS, "batch_size": 10, "patience": 0, "precision": "float32"},
    "runtime": {"deterministic": True},
    "tune": {
        "retrain": 0,
        "space": {
            "optim.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
            "model.dense_units": {"min": 4, "max": 16, "step": 4},
        },
    },
}
FILES = {"best.yaml", "claims", "config.yaml", "records.json", "report.html", "trials"}


@dataclass(frozen=True)
class Search:
    """A search by an array of two jobs."""

    cluster: Cluster
    array: str
    folder: Path  # of the search
    logs: Path

    @property
    def tasks(self) -> tuple[str, str]:
        return f"{self.array}_0", f"{self.array}_1"

    def read_log(self, task: str) -> str:
        path = self.logs / f"{task.rpartition('_')[2]}.log"
        return path.read_text() if path.exists() else ""

    def wait_for(self, words: str, task: str) -> None:
        says = f"the log of {task} says {words}"
        self.cluster.wait_until(lambda: re.search(words, self.read_log(task), re.MULTILINE), says, limit_s=LIMIT_S)

    def wait_for_trainings(self, *counts: int) -> list[list[Training]]:
        """Waits until each job looks after so many trials, and each of these has saved something; returns them."""
        self.cluster.wait_until(
            lambda: [len(found) for found in self._find_trainings()] == [*counts], f"{counts} trials", limit_s=LIMIT_S
        )
        found = self._find_trainings()
        for training in itertools.chain(*found):
            training.wait_until(training.read_step, "a checkpoint")
        return found

    def _find_trainings(self) -> list[list[Training]]:
        found: dict[str, list[Training]] = {task: [] for task in self.tasks}
        for trial in sorted(self.folder.glob("trials/[0-9]*")):
            with contextlib.suppress(OSError, ValueError):  # nobody looks after it, or just not yet
                task = json.loads((self.folder / "claims" / trial.name / ".lock").read_text())["job"]
                found[task].append(Training(self.cluster, task, trial, self.logs))
        return [found[task] for task in self.tasks]

    def end(self) -> list[tuple[str, str, str]]:
        """Waits for the end of both jobs; returns state, exit code and number of restarts of each."""
        ended = [self.cluster.wait(task, limit_s=LIMIT_S) for task in self.tasks]
        return [(job["JobState"], job["ExitCode"], job["Restarts"]) for job in ended]

    def read_taken(self) -> list[list[str]]:
        """What each job has begun or gone on with, as its log says: begun 003, going on 001."""
        line = re.compile(r"^trial (\d+): (going on|\w+\.)", re.MULTILINE)
        return [
            [
                f"{'going on' if how == 'going on' else 'begun'} {name}"
                for name, how in line.findall(self.read_log(task))
            ]
            for task in self.tasks
        ]


@contextlib.contextmanager
def held(trainings: list[Training]) -> Iterator[list[int]]:
    """Stops trainings, so that they do not end before what is to come; gives their processes."""
    with ExitStack() as stack:
        yield [process for training in trainings for process in stack.enter_context(training.held())]


def go_on_to_the_end(search: Search) -> None:
    search.end()


def lose_a_node(search: Search) -> None:
    lives, dies = search.tasks
    node = search.cluster.wait(dies, "RUNNING", limit_s=LIMIT_S)["BatchHost"]
    of_living, of_dead = search.wait_for_trainings(2, 2)
    with held(of_living + of_dead):
        search.cluster.power_off(node)
    with ExitStack() as stack:
        for training in of_dead:  # the living job has two slots, and takes the first one over first
            search.wait_for(f"^trial {training.run.name}: going on$", lives)
            training.wait_for_progress()
            stack.enter_context(training.held())
        search.cluster.wait_until(lambda: search.cluster.show(dies)["Restarts"] == "1", "requeued", limit_s=LIMIT_S)
        search.cluster.power_on(node)
        search.wait_for("^trial 004: ", dies)
    search.end()


def be_warned_then_cancelled(search: Search) -> None:
    _, leaves = search.tasks
    of_one, of_other = search.wait_for_trainings(1, 1)
    with held(of_one):
        with held(of_other) as processes:
            search.cluster.run("scancel", "--batch", "--signal=USR2", leaves)
            search.cluster.wait_until(lambda: all(map(is_told, processes)), "told", limit_s=LIMIT_S)
        search.wait_for("restart 1$", leaves)
        of_other[0].wait_for_progress()
        with held(of_other):
            search.cluster.run("scancel", leaves)
        search.cluster.wait(leaves, "CANCELLED", limit_s=LIMIT_S)
    search.end()


SCENARIOS = {
    "alone": (go_on_to_the_end, ("--exclude=n1,n2", "--cpus-per-task=40"), {"trials": 4, "slots": 2}),
    "lost": (lose_a_node, ("--exclude=n3,n4", "--exclusive"), {"trials": 5, "slots": 2}),
    "stopped": (be_warned_then_cancelled, ("--exclude=n1,n2", "--cpus-per-task=2"), {"trials": 2, "slots": 1}),
}


@pytest.fixture(scope="module")
def searches(cluster, face_records, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """Searches by name, each as the future of a Search whose jobs are at their end."""

    def play(name: str) -> Search:
        action, options, tune = SCENARIOS[name]
        logs = tmp_path_factory.mktemp(name)
        config = {**SETTINGS, "data": {"records": str(face_records)}, "tune": {**SETTINGS["tune"], **tune}}
        (logs / "search.yaml").write_text(yaml.safe_dump(config))
        flags = ("--config", logs / "search.yaml", "--tune.folder", logs / "tune", "--gpus", "none")
        words = ("--array=0-1", "--mem=2G", *options, f"--output={logs}/%a.log", "jobs/tune.sbatch", *flags)
        array = cluster.submit(*words, cwd=ROOT, environment=command_environment())
        search = Search(cluster, array, logs / "tune", logs)
        action(search)
        return search

    pool = ThreadPoolExecutor(len(SCENARIOS))
    yield {name: pool.submit(play, name) for name in SCENARIOS}
    pool.shutdown(wait=False, cancel_futures=True)  # a thread that still waits ends with the cluster


def check_trials(search: Search, num_trials: int) -> None:
    """All trials are completed, and each epoch of each was trained once."""
    trials = sorted((search.folder / "trials").iterdir())
    assert [trial.name for trial in trials] == [f"{number:03d}" for number in range(num_trials)]
    for trial in trials:
        assert json.loads((trial / "trial.json").read_text())["status"] == "completed"
        assert [row["epoch"] for row in read_history(trial)] == list(range(1, NUM_EPOCHS + 1))
        assert NOISE.findall((trial / "train.log").read_text()) == []
    for task in search.tasks:
        assert NOISE.findall(search.read_log(task)) == []
    assert {path.name for path in search.folder.iterdir()} == FILES
    assert list((search.folder / "claims").iterdir()) == []


def check_figures(search: Search, other: Search, num_trials: int) -> None:
    for number in range(num_trials):
        first, second = (Workdir(one.folder / "trials" / f"{number:03d}") for one in (search, other))
        assert compare(first, second) == ""


def count_starts(search: Search) -> list[int]:
    """How often each trial was gone on with from a checkpoint."""
    logs = sorted(search.folder.glob("trials/*/train.log"))
    return [len(re.findall("^going on at epoch", log.read_text(), re.MULTILINE)) for log in logs]


def test_two_jobs_of_an_array_share_the_trials_of_a_search(searches):
    search = searches["alone"].result()
    assert search.end() == [("COMPLETED", "0:0", "0")] * 2
    check_trials(search, 4)
    first, second = search.read_taken()
    assert sorted(first + second) == ["begun 000", "begun 001", "begun 002", "begun 003"]
    assert len(first) == len(second) == 2
    assert count_starts(search) == [0] * 4
    for task in search.tasks:
        assert f"best settings: {search.folder}/best.yaml   report: {search.folder}/report.html" in search.read_log(
            task
        )
        assert search.read_log(task).endswith(f" job {task}: ended with 0: done\n")


def test_the_trials_of_a_dead_node_are_taken_over_and_end_with_the_same_figures(searches):
    search = searches["lost"].result()
    assert search.end() == [("COMPLETED", "0:0", "0"), ("COMPLETED", "0:0", "1")]
    check_trials(search, 5)
    of_living, of_dead = search.read_taken()
    lost = sorted(line.split()[-1] for line in of_dead[:2])
    assert of_dead == [*(f"begun {name}" for name in lost), "begun 004"]
    assert sorted(of_living[2:]) == [f"going on {name}" for name in lost]
    assert count_starts(search) == [int(f"{number:03d}" in lost) for number in range(5)]
    check_figures(search, searches["alone"].result(), 4)


def test_a_job_that_is_warned_saves_and_comes_back_and_one_that_is_cancelled_leaves_its_trial(searches):
    search = searches["stopped"].result()
    stays, leaves = search.tasks
    first, (state, _, num_restarts) = search.end()
    assert first == ("COMPLETED", "0:0", "0") and (state, num_restarts) == ("CANCELLED", "1")
    check_trials(search, 2)
    (begun, gone_on), (other, again) = search.read_taken()
    name = other.split()[-1]
    assert gone_on == again == f"going on {name}" and {begun, other} == {"begun 000", "begun 001"}
    assert count_starts(search) == [2 * int(f"{number:03d}" == name) for number in range(2)]
    log = search.read_log(leaves)
    for reason, then in (
        ("SIGUSR2", "stopped early, and saved (75). It goes back into the queue"),
        ("SIGTERM", "cancelled; not put back. The same line goes on where it stopped"),
    ):
        said = f"stopped by {reason} after 0 trials of {search.folder}; saved: {name}. The same command goes on"
        assert log.count(said) == log.count(f" job {leaves}: {then}\n") == 1
    assert search.read_log(stays).endswith(f" job {stays}: ended with 0: done\n")
