"""A cross-validation by an array of jobs/cross_validate.sbatch on a real SLURM, one job of which is warned."""

import contextlib
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, command_environment, read_history
from slurm_cluster import Cluster
from test_slurm_stops import LIMIT_S, NOISE, SETTINGS, Training, is_told

pytestmark = pytest.mark.slow
NUM_EPOCHS = 30
FOLDS = ("small-repeat-1-fold-1", "small-repeat-1-fold-2")


@dataclass(frozen=True)
class Folds:
    """A cross-validation of two folds by an array of two jobs."""

    cluster: Cluster
    array: str
    folder: Path
    logs: Path

    @property
    def tasks(self) -> tuple[str, str]:
        return f"{self.array}_0", f"{self.array}_1"

    def read_log(self, task: str) -> str:
        return (self.logs / f"{task.rpartition('_')[2]}.log").read_text()

    def find_trainings(self) -> dict[str, Training]:
        """The trainings that jobs look after, each by its job."""
        found = {}
        for name in FOLDS:
            with contextlib.suppress(OSError, ValueError):  # nobody looks after it, or just not yet
                task = json.loads((self.folder / "claims" / name / ".lock").read_text())["job"]
                found[task] = Training(self.cluster, task, self.folder / "trainings" / name, self.logs)
        return found

    def wait_until(self, is_so, what: str) -> None:
        self.cluster.wait_until(is_so, what, limit_s=LIMIT_S)


@pytest.fixture(scope="module")
def folds(cluster, face_records, tmp_path_factory) -> Folds:
    """Both jobs at their end; the second was warned while each trained a fold, and the first held until it is back."""
    logs = tmp_path_factory.mktemp("folds")
    (logs / "small.yaml").write_text(SETTINGS.replace("epochs: 40", f"epochs: {NUM_EPOCHS}"))
    flags = ("--config", logs / "small.yaml", "--records", face_records, "--run", logs / "cv", "--folds", 2)
    options = ("--array=0-1", "--mem=2G", "--exclude=n1,n2", "--cpus-per-task=2", f"--output={logs}/%a.log")
    words = (*options, "jobs/cross_validate.sbatch", *flags, "--gpus", "none")
    array = cluster.submit(*map(str, words), cwd=ROOT, environment=command_environment())
    made = Folds(cluster, array, logs / "cv", logs)
    made.wait_until(lambda: len(made.find_trainings()) == 2, "a training each")
    stays, leaves = (made.find_trainings()[task] for task in made.tasks)
    leaves.wait_until(leaves.read_step, "a checkpoint")
    with ExitStack() as stack:
        with leaves.held() as processes:
            stays.wait_until(stays.read_step, "a checkpoint")
            stack.enter_context(stays.held())
            cluster.run("scancel", "--batch", "--signal=USR2", leaves.job)
            made.wait_until(lambda: all(map(is_told, processes)), "told")
        leaves.wait_for_restart(1)
        leaves.wait_for_progress()
    for task in made.tasks:
        cluster.wait(task, limit_s=LIMIT_S)
    return made


def test_each_epoch_of_each_fold_is_trained_once(folds):
    for name in FOLDS:
        run = folds.folder / "trainings" / name
        assert json.loads((run / "trial.json").read_text())["status"] == "completed"
        assert [row["epoch"] for row in read_history(run)] == list(range(1, NUM_EPOCHS + 1))
    assert {path.name for path in (folds.folder / "trainings").iterdir()} == set(FOLDS)
    assert list((folds.folder / "claims").iterdir()) == []


def test_the_job_that_is_warned_saves_and_comes_back_and_both_end_with_the_same_figures(folds):
    jobs = [folds.cluster.show(task) for task in folds.tasks]
    assert [(job["JobState"], job["ExitCode"], job["Restarts"]) for job in jobs] == [
        ("COMPLETED", "0:0", "0"),
        ("COMPLETED", "0:0", "1"),
    ]
    stays, leaves = map(folds.read_log, folds.tasks)
    for log in (stays, leaves):
        assert NOISE.findall(log) == [] and log.endswith(": ended with 0: done\n")
    assert (
        len(re.findall(r"^stopped by SIGUSR2 after 0 trainings of .*; saved: small-repeat", leaves, re.MULTILINE)) == 1
    )
    assert leaves.count("stopped early, and saved (75). It goes back into the queue") == 1
    accuracy = json.loads((folds.folder / "figures.json").read_text())["accuracy"]
    said = f"cross-validation accuracy {accuracy:.3f} (95 % interval"
    assert stays.count(said) == leaves.count(said) == 1
