"""The job scripts: resources in the header, one command, no logic. What SLURM does with them is proven on a cluster."""

import re
import subprocess

import pytest
from conftest import ROOT

JOBS = sorted((ROOT / "jobs").glob("*.sbatch"))


def test_there_is_a_job_for_each_long_command():
    assert [path.stem for path in JOBS] == ["build_records", "train", "tune"]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_is_a_header_and_one_srun(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    lines = path.read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert len(commands) == 1
    assert re.fullmatch(rf'srun .*python -m harness\.{path.stem}( --gpus all)? "\$@"', commands[0])
    last_directive = max(index for index, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last_directive < lines.index(commands[0])  # sbatch reads none after the first command


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_long_job_is_warned_before_its_end_and_may_be_requeued(name):
    text = (ROOT / "jobs" / f"{name}.sbatch").read_text()
    assert "#SBATCH --requeue\n" in text
    assert "#SBATCH --open-mode=append\n" in text  # a requeued job must not wipe its log
    warning = re.search(r"#SBATCH --signal=USR2@(\d+)\n", text)  # without B: it goes to the step, not to the script
    assert int(warning.group(1)) >= 60
