"""What SLURM's variables and TF_CONFIG become, as the doctor tells it, and the records it looks at."""

import json
import shutil
from pathlib import Path

import pytest

from harness.base.storage import RemotePath
from harness.diagnostics.checks import cluster, records

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "localhost,127.0.0.1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


def look(environment):
    return {finding.name: finding for finding in cluster.check_cluster(environment)}


def test_a_process_on_its_own_says_so():
    assert look({})["tasks"].found == "one process: neither SLURM's step nor TF_CONFIG"
    assert "only srun starts several" in look({"SLURM_JOB_ID": "7"})["tasks"].found
    found = look({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "3"})["tasks"]
    assert found.status == "ok" and "--nodes looks at all" in found.found


def test_a_step_tells_who_this_is_where_and_with_which_gpus():
    found = look(STEP)
    assert {name: one.status for name, one in found.items()} == {"tasks": "ok", "this task": "ok", "addresses": "ok"}
    point = found["this task"].values["meeting_points"][0]
    assert found["tasks"].found == "4 by SLURM's step: localhost 127.0.0.1" and point.startswith("localhost:2")
    assert found["this task"].found == (
        f"worker 3, at 127.0.0.1 and a free port from 20000 to 29999, meeting the others at {point}, with part 2 of 2 "
        "of the GPUs it sees"
    )
    assert found["addresses"].found == "2 hosts known by name"
    bound = look(STEP | {"SLURM_GPUS_PER_TASK": "1", "SLURM_PROCID": "0"})["this task"].found
    assert bound.startswith("worker 0, the chief, at localhost and a free port") and bound.endswith(
        "with all GPUs it sees"
    )


def test_a_host_without_an_address_is_a_problem():
    config = {"cluster": {"worker": ["localhost:1", "no-such-host.invalid:1"]}, "task": {"type": "worker", "index": 0}}
    found = look({"TF_CONFIG": json.dumps(config)})
    assert found["tasks"].found.startswith("2 by TF_CONFIG: ")
    assert found["addresses"].status == "problem" and "no-such-host.invalid" in found["addresses"].found


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"TF_CONFIG": "{nonsense"}, "it is no JSON"),
        ({"TF_CONFIG": '{"cluster": {"ps": []}}'}, "TF_CONFIG is "),
        (STEP | {"SLURM_STEP_NODELIST": "n[3-1]"}, "SLURM_STEP_NODELIST is "),
        (
            {name: text for name, text in STEP.items() if name != "SLURM_STEP_NODELIST"},
            "are missing in a step of SLURM",
        ),
    ],
)
def test_variables_that_do_not_fit_are_a_problem_in_the_words_of_a_training(environment, word):
    found = look(environment)
    assert list(found) == ["tasks"] and found["tasks"].status == "problem"
    assert word in found["tasks"].found and found["tasks"].fix


def look_at(folder, *, is_asked=True):
    (found,) = records.check_records(folder, Path("data"), is_asked=is_asked)
    return found


def test_records_are_told_with_their_digest(face_records):
    found = look_at(face_records)
    assert found.status == "ok" and "24 pictures of happy, sad" in found.found
    assert len(found.values["digest"]) == 64 and found.values["num_examples"] == 24


def test_records_that_are_not_there_matter_if_they_were_named(tmp_path):
    assert look_at(tmp_path / "none").status == "problem"
    found = look_at(tmp_path / "none", is_asked=False)
    assert found.status == "warning" and found.fix.startswith("Build them first: python -m harness.build_records")


def test_records_elsewhere_are_left_to_tensorflow():
    assert look_at(RemotePath("bucket", "records")).status == "unknown"


@pytest.fixture
def copied(face_records, tmp_path) -> Path:
    return Path(shutil.copytree(face_records, tmp_path / "copied"))


def test_a_shard_that_was_cut_is_a_problem_whether_named_or_not(copied):
    shard = next(copied.glob("train-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    found = look_at(copied, is_asked=False)
    assert found.status == "problem" and shard.name in found.found and "Build the records again" in found.fix


def test_a_byte_that_changed_is_found_by_reading_all(copied):
    assert [one.found for one in records.check_bytes(copied)] == ["24 records are as they were written"]
    shard = next(path for path in sorted(copied.glob("train-*.tfrecord")) if path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert look_at(copied).status == "ok"
    (found,) = records.check_bytes(copied)
    assert found.status == "problem" and shard.name in found.found


def test_the_disk_for_a_copy_of_the_records_is_looked_at(tmp_path):
    found = list(records.check_stage(Path("$SCRATCH/records"), {"SCRATCH": str(tmp_path)}))
    assert [one.name for one in found] == ["stage", "stage speed", "stage locks", "stage clock"]
    assert found[0].values["folder"] == f"{tmp_path}/records" and list(tmp_path.iterdir()) == []
    (found,) = records.check_stage(Path("$SCRATCH/records"), {})
    assert found.status == "problem" and "$SCRATCH is not set on this node" in found.found
