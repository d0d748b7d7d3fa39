"""The doctor on all nodes of a real SLURM job: side by side, summing up together, and with a node that is dead."""

import json

import pytest
from conftest import ROOT, command_environment

pytestmark = pytest.mark.slow
DOCTOR = "python -m harness.doctor --nodes"


def submit(cluster, folder, command, *flags):
    """Submits a job of one command; returns its number and where its output goes."""
    out = folder / "job.log"
    wrapped = f"--wrap=cd {ROOT} && {command} > {out} 2> {folder / 'job.err'}"
    words = ("--ntasks-per-node=1", "--cpus-per-task=2", *flags, wrapped)
    return cluster.submit(*words, cwd=folder, environment=command_environment()), out


def test_nodes_are_examined_together_and_compared(cluster, face_records, tmp_path):
    flags = f"--json --records {face_records} --run {tmp_path / 'run'} --gpus none --train.precision float32"
    job, out = submit(cluster, tmp_path, f"{DOCTOR} {flags}", "--nodes=2")
    assert cluster.wait(job)["JobState"] == "COMPLETED"
    told = json.loads(out.read_text())
    assert told["verdict"].startswith("A training will run on these 2 nodes; ") and told["num_problems"] == 0
    assert len(told["nodes"]) == 2 and not [one for one in told["checks"] if one["group"] == "nodes"]
    for index, (name, node) in enumerate(told["nodes"].items()):
        found = {(one["group"], one["name"]): one for one in node["checks"]}
        assert abs(node["clock_ahead_s"]) < 2
        assert found["cluster", "tasks"]["values"] == {"num_tasks": 2, "task": index, "num_local": 1}
        assert found["cluster", "this task"]["values"]["address"] == name
        assert found["tensorflow", "all-reduce"]["values"]["num_replicas"] == 2  # over the network between them
        assert found["training", "step"]["status"] == "ok"
    assert list(tmp_path.glob(".harness-doctor-*")) == []


def test_a_node_that_dies_is_named_and_the_others_are_shown(cluster, tmp_path):
    # Each waits for the word before it begins, so that the node is off by then.
    word = tmp_path / "word"
    waiting = f"touch {tmp_path}/begun; until [ -e {word} ]; do sleep 0.2; done"
    flags = f"--quick --gpus none --run {tmp_path / 'run'}"
    job, out = submit(
        cluster, tmp_path, f"{{ {waiting}; {DOCTOR} {flags}; }}", "--nodes=3", "--no-kill", "--no-requeue"
    )
    cluster.wait_until(lambda: (tmp_path / "begun").exists(), "the job has begun", limit_s=60)
    first, *_, last = cluster.run("scontrol", "show", "hostnames", cluster.show(job)["NodeList"]).split()
    assert cluster.show(job)["BatchHost"] == first
    cluster.power_off(last)
    word.touch()
    try:
        assert cluster.wait(job, "FAILED")["ExitCode"] == "6:0"
    finally:
        cluster.power_on(last)
    lines = out.read_text().splitlines()
    assert lines[-1].startswith("A training as asked will not run on these 3 nodes: 1 problem")
    assert any(line.startswith(f" 1. nodes, answers: no answer from {last}") for line in lines)
    assert first in lines[0] and last not in lines[0]  # the table's columns
