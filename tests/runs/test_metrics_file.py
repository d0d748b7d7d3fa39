"""metrics.json of a run, and what is said where there is none."""

import pytest

from harness.base.errors import CheckpointError
from harness.runs import metrics_file
from harness.runs.workdir import Workdir


@pytest.mark.parametrize("inside", ["trials", "trainings"])
def test_a_folder_of_runs_names_one_of_them(inside, tmp_path):
    (tmp_path / inside / "001").mkdir(parents=True)
    (tmp_path / inside / "002").mkdir()
    with pytest.raises(CheckpointError, match=f"is no run, but holds runs: give one of .*{inside}, such as .*001$"):
        metrics_file.check_complete(Workdir(tmp_path))


def test_a_run_that_has_not_ended_names_the_command_that_goes_on(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not complete \(metrics.json is missing\)"):
        metrics_file.check_complete(Workdir(tmp_path))
