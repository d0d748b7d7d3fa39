"""The scripts of jobs/ on a real SLURM: whole pipelines, arrays, and what they say when something is wrong.

All jobs are submitted before the first is waited for, so that they overlap.
"""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, bytes_of, command_environment
from slurm_cluster import Cluster
from test_jobs import shown_jobs

pytestmark = pytest.mark.slow
LIMIT_S = 300  # for what takes 30 s on an idle machine
SETTINGS = {
    "records": {"image_size": 32},
    "model": {"widths": [2, 2], "dense_units": 4},
    "train": {"epochs": 2, "batch_size": 10, "precision": "float32"},
}
SMALL = ("--mem=2G", "--cpus-per-task=2")


@dataclass(frozen=True)
class Project:
    """A folder with jobs/ from which jobs are submitted."""

    cluster: Cluster
    root: Path

    def submit(self, *words: object, log: str) -> str:
        return self.cluster.submit(*SMALL, f"--output={log}", *words, cwd=self.root, environment=command_environment())

    def run_pipeline(self, *words: object) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = command_environment() | {"PATH": path}
        return self.cluster.run("jobs/pipeline.sh", *words, "--sbatch", *SMALL, cwd=self.root, environment=environment)

    def end(self, job: str) -> tuple[str, str, str]:
        """Waits for a job's end; returns its state, exit code and number of restarts."""
        found = self.cluster.wait(job, limit_s=LIMIT_S)
        return found["JobState"], found["ExitCode"], found["Restarts"]

    def read(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def wait_for(self, words: str, log: str) -> None:
        """Waits until a log has these words."""
        self.cluster.wait_until(lambda: words in self.read(log), f"{log} says {words}", limit_s=LIMIT_S)

    def warn(self, job: str) -> None:
        """Does what SLURM does before a time limit."""
        self.cluster.run("scancel", "--batch", "--signal=USR2", job)


@pytest.fixture(scope="module")
def make_project(cluster, faces, tmp_path_factory):
    """A function that makes a project, of which jobs/site.sh is given."""

    def make(site: str = "") -> Project:
        root = tmp_path_factory.mktemp("project")
        shutil.copytree(ROOT / "jobs", root / "jobs", ignore=shutil.ignore_patterns("site.sh"))
        (root / "settings.yaml").write_text(yaml.safe_dump({"data": {"images": str(faces)}, **SETTINGS}))
        if site:
            (root / "jobs" / "site.sh").write_text(site)
        return Project(cluster, root)

    yield make
    cluster.run("scancel", "--user=root")  # what a failed test has left


@pytest.fixture(scope="module")
def project(make_project) -> Project:
    return make_project()


@pytest.fixture(scope="module")
def pipeline(project) -> str:
    words = ("runs/whole", "--config", "settings.yaml", "--records", "records/whole")
    return project.run_pipeline(*words, "--train", "--gpus", "none", "--epochs", 3)


@pytest.fixture(scope="module")
def hopeless(project) -> str:
    words = ("runs/none", "--config", "settings.yaml", "--images", "missing", "--records", "records/none")
    return project.run_pipeline(*words)


@pytest.fixture(scope="module")
def divided(project) -> tuple[str, str]:
    """A build of three tasks whose numbers are 1, 3 and 5, and the job that does what is left."""
    words = ("--config", "settings.yaml", "--records", "records/divided", "--runtime.workers", 1)
    tasks = project.submit("--array=1-5:2", "jobs/build_records_array.sbatch", *words, log="share-%a.log")
    after = (f"--dependency=afterok:{tasks}", "--kill-on-invalid-dep=yes")
    return tasks, project.submit(*after, "jobs/build_records.sbatch", *words, log="rest.log")


@pytest.fixture(scope="module")
def told(project) -> str:
    """A build that is warned as soon as it runs."""
    words = ("--config", "settings.yaml", "--records", "records/told")
    job = project.submit("jobs/build_records.sbatch", *words, log="told.log")
    project.wait_for("starts on", "told.log")
    project.warn(job)
    return job


@pytest.fixture(scope="module")
def early(project, face_records) -> str:
    """A training that is warned as soon as it runs."""
    words = ("--records", face_records, "--run", "runs/early", "--gpus", "none")
    job = project.submit("jobs/train.sbatch", "--config", "settings.yaml", *words, log="early.log")
    project.wait_for("starts on", "early.log")
    project.warn(job)
    return job


@pytest.fixture(scope="module")
def limited(project, face_records) -> str:
    """A training with the header's warning of two minutes, and no more time than that."""
    words = (
        "--records",
        face_records,
        "--run",
        "runs/limited",
        "--gpus",
        "none",
        "--epochs",
        10000,
        "--train.patience",
        0,
    )
    return project.submit("--time=2", "jobs/train.sbatch", "--config", "settings.yaml", *words, log="limited.log")


@pytest.fixture(scope="module")
def seeds(project, face_records) -> str:
    words = ("runs/seeds", "--config", "settings.yaml", "--records", face_records, "--gpus", "none")
    return project.submit("--array=3-4", "jobs/seeds.sbatch", *words, log="seed-%a.log")


@pytest.fixture(scope="module")
def blind(project, face_records) -> str:
    """A training that was given GPUs, which TensorFlow does not see: they are the cluster's claims."""
    words = ("--config", "settings.yaml", "--records", face_records, "--run", "runs/blind")
    return project.submit("--gpus-per-node=1", "jobs/train.sbatch", *words, log="blind.log")


@pytest.fixture(scope="module", autouse=True)
def everything(pipeline, hopeless, divided, told, early, limited, seeds, blind):
    """Has all jobs submitted before the first test waits."""


def read_jobs(said: str) -> list[str]:
    """The jobs of a pipeline, in their order."""
    return list(re.match(r"build (\d+), then train (\d+), then evaluate (\d+)\.", said).groups())


def test_a_pipeline_without_pictures_ends_at_its_first_job(project, hopeless):
    build, train, evaluate = read_jobs(hopeless)
    assert project.end(build) == ("FAILED", "3:0", "0")
    last = project.read(f"build_records-{build}.log").splitlines()[-1]
    assert last.endswith(f"job {build}: ended with 3: data refused, see the error above; not put back")
    assert [project.end(job)[0] for job in (train, evaluate)] == ["CANCELLED", "CANCELLED"]


def test_a_pipeline_ends_with_a_report_and_figures(project, pipeline):
    build, train, evaluate = read_jobs(pipeline)
    root = project.root
    assert f"tail -F {root}/build_records-{build}.log {root}/train-{train}.log\n" in pipeline
    assert pipeline.endswith(f"runs/whole/report.html, and the figures in {root}/evaluate-{evaluate}.log")
    assert [project.end(job) for job in (build, train, evaluate)] == [("COMPLETED", "0:0", "0")] * 3
    assert (root / "runs" / "whole" / "report.html").is_file()
    assert len(project.read("runs/whole/metrics.csv").splitlines()) == 1 + 3
    assert "\naccuracy " in project.read(f"evaluate-{evaluate}.log")
    assert project.read(f"train-{train}.log").endswith(f" job {train}: ended with 0: done\n")


def test_shares_of_an_array_come_to_the_records_of_one_build(project, divided, face_records):
    tasks, rest = divided
    assert project.end(rest) == ("COMPLETED", "0:0", "0")
    for share, number in enumerate((1, 3, 5)):
        assert project.end(f"{tasks}_{number}") == ("COMPLETED", "0:0", "0")
        assert f"task {share} of 3: " in project.read(f"share-{number}.log")
    assert bytes_of(project.root / "records" / "divided") == bytes_of(face_records)


def test_a_build_that_is_warned_saves_comes_back_and_ends_with_the_same_bytes(project, told, face_records):
    assert project.end(told) == ("COMPLETED", "0:0", "1")
    log = project.read("told.log")
    assert len(re.findall(r"^stopped by SIGUSR2 .*; the same command goes on from there, with what ", log, re.M)) == 1
    assert log.count(f"job {told}: stopped early, and saved (75). It goes back into the queue\n") == 1
    assert "24 files were examined before\n" in log
    assert bytes_of(project.root / "records" / "told") == bytes_of(face_records)


def test_a_warning_before_it_listens_brings_the_training_back(project, early):
    assert project.end(early) == ("COMPLETED", "0:0", "1")
    log = project.read("early.log")
    assert log.count("stopped by SIGUSR2 after step 1 of epoch 1") == 1
    assert log.count(f"job {early}: stopped early, and saved (75). It goes back into the queue\n") == 1
    assert re.search(rf"job {early}: starts on n\d, restart 1\n", log)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--sbatch", "--output=logs/%x-%j.log"), "cannot write its log: .*/logs is missing or read-only"),
        (("--sbatch-train", "--gpus-per-node=9"), r"SLURM refuses the job after \d+"),  # a node has 8
    ],
)
def test_a_pipeline_that_cannot_be_leaves_no_job(project, option, said):
    with pytest.raises(RuntimeError, match=said):
        project.run_pipeline("runs/refused", "--config", "settings.yaml", "--records", "records/refused", *option)
    jobs = project.cluster.run("scontrol", "show", "job", "--oneliner").splitlines()
    left = [job for job in jobs if "records/refused" in job and not re.search("JobState=(CANCELLED|FAILED)", job)]
    assert left == []


def test_each_seed_has_a_run_folder(project, seeds):
    for seed in (3, 4):
        assert project.end(f"{seeds}_{seed}") == ("COMPLETED", "0:0", "0")
        run = project.root / "runs" / "seeds" / f"seed-{seed}"
        assert yaml.safe_load((run / "config.yaml").read_text())["train"]["seed"] == seed
        assert (run / "metrics.json").is_file()
    assert len({project.read(f"runs/seeds/seed-{seed}/metrics.csv") for seed in (3, 4)}) == 2


def test_a_job_whose_gpus_cannot_be_seen_does_not_train_on_the_cpu(project, blind):
    assert project.end(blind) == ("FAILED", "6:0", "0")
    log = project.read("blind.log")
    assert re.search(
        r"error: SLURM gave this job GPUs \(SLURM_\w+ is \S+\), but TensorFlow sees none on n\d\. See ", log
    )
    assert "ended with 6: nodes or environment unfit" in log.splitlines()[-1]
    assert not (project.root / "runs" / "blind").exists()


def test_slurm_takes_every_job_that_is_shown(cluster):
    shown = [(options.split(), name) for options, name, _ in shown_jobs() if "$" not in options]
    assert len(shown) > 5
    for options, name in shown:
        cluster.run("sbatch", "--test-only", *options, f"jobs/{name}.sbatch", cwd=ROOT)  # raises where it is refused


def test_a_missing_environment_is_told_before_srun(make_project):
    project = make_project("PATH=/usr/bin:/bin; unset PYTHONPATH\n")
    job = project.submit("jobs/train.sbatch", log="train.log")
    assert project.end(job) == ("FAILED", "6:0", "0")
    log = project.read("train.log")
    assert re.search(r"harness cannot be started on n\d \(.*(command not found|No module named .*)\)\. Activate ", log)
    assert "srun" not in log and "see jobs/site.sh.example" in log


def test_what_site_sh_does_to_its_shell_keeps_no_job_from_coming_back(make_project, face_records):
    project = make_project("set -euo pipefail\ntrap 'exit 1' TERM USR2\ncd /tmp\n")
    words = ("--config", "settings.yaml", "--records", face_records, "--run", "runs/site", "--gpus", "none")
    job = project.submit("jobs/train.sbatch", *words, "--epochs", 1000, log="site.log")
    project.wait_for("starts on", "site.log")
    project.warn(job)
    project.wait_for("restart 1", "site.log")
    project.cluster.run("scancel", job)
    assert "stopped early, and saved (75). It goes back into the queue\n" in project.read("site.log")
    assert (project.root / "runs" / "site" / "config.yaml").is_file()


def test_a_job_whose_warning_is_as_long_as_its_time_limit_works_for_a_minute(project, limited):
    project.wait_for("restart 1", "limited.log")
    project.cluster.run("scancel", limited)
    lines = [line for line in project.read("limited.log").splitlines() if f" job {limited}: " in line]
    assert "starts on" in lines[0] and "stopped early, and saved (75)" in lines[1]
    started, ended = (datetime.fromisoformat(line[:19]) for line in lines[:2])
    assert (ended - started).total_seconds() >= 58  # SLURM has warned it after at most 30


def test_a_job_that_a_task_of_an_array_submits_is_itself(project):
    inner = f"sbatch --parsable {' '.join(SMALL)} --output=inner.log jobs/train.sbatch --show-config"
    tasks = project.submit("--array=5", "--wrap", inner, log="outer.log")
    assert project.end(f"{tasks}_5") == ("COMPLETED", "0:0", "0")
    job = project.read("outer.log").strip()
    assert project.end(job) == ("COMPLETED", "0:0", "0")
    assert project.read("inner.log").endswith(f" job {job}: ended with 0: done\n")


def test_seeds_without_a_run_folder_are_refused(project):
    tasks = project.submit("--array=0", "jobs/seeds.sbatch", "--images", "data/flowers", log="no-folder.log")
    assert project.end(f"{tasks}_0") == ("FAILED", "2:0", "0")
    assert "The folder of the runs comes first" in project.read("no-folder.log")


def test_a_job_from_another_folder_says_where_to_submit(project, tmp_path):
    job = project.cluster.submit(*SMALL, "--output=train.log", ROOT / "jobs" / "train.sbatch", cwd=tmp_path)
    assert project.end(job) == ("FAILED", "2:0", "0")
    expected = f"There is no {tmp_path}/jobs/requeue.sh: submit from the project's folder.\n"
    assert (tmp_path / "train.log").read_text().endswith(expected)


def test_starts_that_save_nothing_end_some_time(make_project, face_records):
    project = make_project("most_wasted=1\n")
    words = ("--config", "settings.yaml", "--records", face_records, "--run", "runs/wasted", "--gpus", "none")
    comment = "--comment=a word of the user's"
    job = project.submit(comment, "jobs/train.sbatch", *words, "--epochs", 1000, log="wasted.log")

    def is_noted(count: int) -> bool:
        return f"a word of the user's wasted starts: {count}" in project.cluster.run("scontrol", "show", "job", job)

    for count, started in ((1, "starts on"), (2, "restart 1")):
        project.wait_for(started, "wasted.log")
        project.warn(job)
        project.cluster.wait_until(lambda count=count: is_noted(count), f"{count} is noted", limit_s=LIMIT_S)
        project.cluster.run("scancel", "--signal=KILL", f"{job}.0")
    assert project.end(job) == ("FAILED", "143:0", "1")
    first, last = re.findall(r"job \d+: stopped before it could save .*", project.read("wasted.log"))
    assert "as in 1 of at most 1 starts in a row. It goes back into the queue" in first
    assert "as in the 1 starts before; not put back. Submit it with a longer --time" in last


def test_a_job_that_may_not_be_put_back_says_what_to_do(project, face_records):
    words = ("--config", "settings.yaml", "--records", face_records, "--run", "runs/refused", "--gpus", "none")
    job = project.submit("--no-requeue", "jobs/train.sbatch", *words, "--epochs", 1000, log="refused.log")
    project.wait_for("starts on", "refused.log")
    project.warn(job)
    assert project.end(job) == ("FAILED", "75:0", "0")
    assert "SLURM refused that: submit the same line again" in project.read("refused.log").splitlines()[-1]
