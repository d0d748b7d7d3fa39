"""The job scripts as text: resources in the header, one command, no logic. tests/distribute has SLURM run them."""

import re
import subprocess

import pytest
from conftest import ROOT

JOBS = {path.stem: path for path in sorted((ROOT / "jobs").glob("*.sbatch"))}
COMMANDS = {
    "build_records": "build_records",
    "build_records_array": "build_records",
    "evaluate": "evaluate",
    "seeds": "train",
    "train": "train",
    "tune": "tune",
}


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


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_a_header_and_one_command(name):
    lines = JOBS[name].read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[0].startswith("source jobs/requeue.sh || { echo ")
    assert re.match(rf"run python -m harness\.{COMMANDS[name]} ", commands[-1])
    assert len(commands) == (3 if "array" in read_header(name) else 2)
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
