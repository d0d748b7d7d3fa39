"""The job scripts as text: resources in the header, one command, no logic. tests/distribute has SLURM run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command_environment, run_command

JOBS = {path.stem: path for path in sorted((ROOT / "jobs").glob("*.sbatch"))}
COMMANDS = {
    "build_records": "build_records",
    "build_records_array": "build_records",
    "cross_validate": "cross_validate",
    "evaluate": "evaluate",
    "seeds": "train",
    "train": "train",
    "tune": "tune",
}
SHOWN = re.compile(r"sbatch (?:--parsable )?((?:--\S+ )*)jobs/(\w+)\.sbatch([^`\n)]*)")


def shown_jobs() -> list[tuple[str, str, str]]:
    """Every sbatch line of the pages and scripts once: its options, the script's name, and what follows that."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "jobs").iterdir())]
    texts = [page.read_text() for page in pages]
    return list(dict.fromkeys(found for text in texts for found in SHOWN.findall(text)))


def read_header(name: str) -> dict[str, str]:
    """The options of a script, by name."""
    options = re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", JOBS[name].read_text(), re.MULTILINE)
    assert len(dict(options)) == len(options)
    return dict(options)


def test_there_is_a_job_for_each_long_command():
    assert list(JOBS) == list(COMMANDS)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.*")), ids=lambda path: path.name)
def test_a_script_is_valid_shell(path):
    if path.suffix in (".sbatch", ".sh", ".example"):
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize(("options", "name", "words"), shown_jobs(), ids=" ".join)
def test_what_a_shown_job_is_given_is_accepted(options, name, words):
    arguments = shlex.split(words, comments=True)
    if COMMANDS[name] == "evaluate":
        help_text = run_command("evaluate", "--help").stdout
        assert {word for word in arguments if word.startswith("--")} <= set(re.findall(r"--[\w.-]+", help_text))
        return
    if name == "seeds":
        assert arguments and not arguments.pop(0).startswith("-")
    done = run_command(COMMANDS[name], *arguments, "--show-config")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_a_header_and_one_command(name):
    lines = JOBS[name].read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[0].startswith("source jobs/requeue.sh || { echo ")
    assert re.match(rf"run python -m harness\.{COMMANDS[name]} ", commands[-1])
    assert len(commands) == {"build_records_array": 3, "seeds": 4}.get(name, 2)
    last_directive = max(index for index, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last_directive < lines.index(commands[0])  # sbatch reads none after the first command


@pytest.mark.parametrize("name", JOBS)
def test_a_job_comes_back_into_the_same_log(name):
    header = read_header(name)
    assert header["requeue"] == "" and header["open-mode"] == "append"
    assert header["output"] == ("%x-%A_%a.log" if "array" in header else "%x-%j.log")


@pytest.mark.parametrize("name", [name for name in JOBS if name != "evaluate"])  # which begins anew, and is short
def test_what_can_go_on_is_warned_before_its_end(name):
    warning = re.fullmatch(r"B:USR2@(\d+)", read_header(name)["signal"])  # B: to the script, which passes it on
    assert int(warning.group(1)) >= 60


@pytest.mark.parametrize("name", JOBS)
def test_a_job_takes_no_more_than_a_small_cluster_has(name):
    header = read_header(name)
    assert "exclusive" not in header and header["nodes"] == "1"
    assert header.get("gpus-per-node", "1") == "1" and header["cpus-per-task"] == "8"


def run_pipeline(*words: str, cwd: Path, programs: str = "") -> subprocess.CompletedProcess:
    """Runs it; in the folder `programs` are those that are found first."""
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [ROOT / "jobs" / "pipeline.sh", *words],
        cwd=cwd,
        env=command_environment() | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--images", "data"), 2, "The run folder comes first"),
        (("",), 2, "The run folder comes first"),
        (("runs/a", "--epoch", "1"), 2, "--epoch (train.epochs) is a setting of python -m harness.train"),
        (("runs/a", "--train", "--epochs", "many"), 2, "train.epochs"),
        (("runs/a", "--build", "--records.encoding", "tiff"), 2, "records.encoding"),
    ],
)
def test_a_pipeline_refuses_before_it_submits(words, code, said):
    done = run_pipeline(*words, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "sbatch: " not in done.stderr


def test_a_pipeline_from_another_folder_says_where_to_start_it(tmp_path):
    done = run_pipeline("runs/a", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"There is no {tmp_path}/jobs/pipeline.sh: start it in the project's folder.\n"


def test_a_pipeline_without_an_environment_names_the_reason(tmp_path):
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")
    (tmp_path / "jobs" / "site.sh").write_text("launcher=(env PYTHONPATH= /nowhere/container)\n")
    done = run_pipeline("runs/a", cwd=tmp_path)
    assert done.returncode == 6
    assert "(env: '/nowhere/container': No such file or directory)" in done.stderr.replace("‘", "'").replace("’", "'")
    assert "see jobs/site.sh.example" in done.stderr


SLURM = """#!/usr/bin/env bash
echo "${0##*/} $*" >>"${0%/*}/called"
case ${0##*/} in
    sbatch) [[ $* != *"$REFUSED"* ]] && grep -c sbatch "${0%/*}/called" || { echo "sbatch: error: no." >&2; exit 1; } ;;
    scontrol) echo "   StdOut=$PWD/job-$3.log" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with jobs/ and a blank in its name, and beside it programs that answer as those of SLURM do."""
    root = tmp_path / "my project"
    shutil.copytree(ROOT / "jobs", root / "jobs", ignore=shutil.ignore_patterns("site.sh"))
    (tmp_path / "slurm").mkdir()
    for name in ("sbatch", "scontrol", "scancel"):
        (tmp_path / "slurm" / name).write_text(SLURM)
        (tmp_path / "slurm" / name).chmod(0o755)
    return root


@pytest.mark.parametrize(
    ("refused", "said", "cancelled"),
    [
        ("build_records.sbatch", "SLURM refuses the job, see", []),
        ("train.sbatch", "SLURM refuses the job after 1, see", ["scancel 1"]),
        ("evaluate.sbatch", "SLURM refuses the job after 2, see", ["scancel 1 2"]),
    ],
)
def test_a_pipeline_of_which_a_job_is_refused_cancels_those_before(project, refused, said, cancelled):
    (project / "jobs" / "site.sh").write_text(f"export REFUSED=jobs/{refused}\n")
    done = run_pipeline("runs/a", cwd=project, programs=project.parent / "slurm")
    assert done.returncode == 2
    first, second, *others = done.stderr.splitlines()
    assert first == "sbatch: error: no." and second.startswith(said)
    assert others == [line.replace("scancel", "Cancelled again:") for line in cancelled]
    called = (project.parent / "slurm" / "called").read_text().splitlines()
    assert [line for line in called if line.startswith("scancel")] == cancelled


def test_what_a_site_sources_need_not_set_its_variables_or_end_with_0(project):
    """As the scripts of modules and of conda do not."""
    (project / "jobs" / "site.sh").write_text("[[ $UNSET_BY_ANYBODY == a ]]\nfalse\nexport REFUSED=nothing\n")
    done = run_pipeline("runs/a", cwd=project, programs=project.parent / "slurm")
    assert done.returncode == 0, done.stderr
    logs = shlex.split(re.search("^  tail -F (.*)$", done.stdout, re.MULTILINE)[1])
    assert logs == [f"{project}/job-1.log", f"{project}/job-2.log"]


def test_a_pipeline_forgives_a_site_that_uses_unset_variables(tmp_path):
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")
    (tmp_path / "jobs" / "site.sh").write_text('cd / && PATH=$PATH:$NOT_SET && false\necho "PS1 is $PS1"\n')
    done = run_pipeline("runs/a", "--epoch", "1", cwd=tmp_path)
    assert done.returncode == 2 and "--epoch (train.epochs) is a setting of" in done.stderr, done.stderr
