"""The tasks of a run, from SLURM's variables and from TF_CONFIG."""

import json

import pytest
from test_slurm import STEP

from harness.base.errors import ClusterError
from harness.distribute.cluster import find_cluster, make_tf_config
from harness.distribute.ports import split_address


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'},
        # a batch script of four tasks: only srun would start them
        {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n[1-4]"},
        # a shell of salloc, itself a step of one task within a job of four
        STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n[1-4]"},
        {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
    ],
)
def test_a_process_on_its_own_is_no_cluster(environment):
    assert find_cluster(environment) is None


TWO = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def test_tf_config_goes_before_slurm_and_comes_out_as_it_went_in():
    found = find_cluster(STEP | {"TF_CONFIG": json.dumps(TWO)})
    assert (found.task, found.num_tasks, found.addresses, found.receives) == (1, 2, ("a:1", "b:2"), False)
    assert (found.host, found.meeting_points, found.num_local, found.gpu_share) == ("b", ("a:1",), 1, (0, 1))
    assert json.loads(make_tf_config(found.task, found.addresses)) == TWO


def test_other_addresses_are_another_run():
    def find_run(*addresses):
        task = {"type": "worker", "index": 0}
        return find_cluster({"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}).run

    assert find_run("a:1", "b:2").startswith("TF_CONFIG's 2 tasks from a:1 on (")
    assert len({find_run("a:1", "b:2"), find_run("a:1", "b:3"), find_run("a:1", "b:2", "c:3")}) == 3


def test_an_ipv6_address_stands_in_brackets():
    cluster = {"worker": ["[::1]:20001", "[::1]:20002"]}
    task = {"type": "worker", "index": 1}
    found = find_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})
    assert (found.host, found.num_local) == ("::1", 2)
    assert split_address(found.meeting_points[0]) == ("::1", 20001)


def test_a_chief_in_tf_config_is_the_first_task():
    cluster = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    task = {"type": "worker", "index": 0}
    found = find_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})
    assert (found.task, found.addresses) == (1, ("a:1", "b:2", "c:3"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "no JSON"),
        ("[]", "should be an object"),
        ('"worker"', "should be an object"),
        ('{"cluster": []}', "should be an object"),
        (json.dumps(TWO | {"task": {"type": "worker", "index": 2}}), "'worker' 2 is not among"),
        (json.dumps(TWO | {"task": {"type": "worker", "index": "1"}}), "'worker' '1' is not among"),
        (json.dumps(TWO | {"task": {"type": "worker", "index": True}}), "is not among"),
        (json.dumps(TWO | {"task": {"type": ["worker"], "index": 0}}), "is not among"),
        (json.dumps(TWO | {"task": {}}), "None None is not among"),
        (json.dumps(TWO | {"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}), "'ps'"),
        (json.dumps(TWO | {"cluster": {"worker": "a:1"}}), "list of texts"),
        (json.dumps(TWO | {"cluster": {"worker": [1, 2]}}), "list of texts"),
        (json.dumps(TWO | {"cluster": {"worker": ["a", "b:2"]}}), "HOST:PORT"),
        (json.dumps(TWO | {"cluster": {"worker": ["a:0", "b:2"]}}), "1 to 65535"),
        (json.dumps(TWO | {"cluster": {"worker": ["a:70000", "b:2"]}}), "1 to 65535"),
        (json.dumps(TWO | {"cluster": {"worker": ["a:1", "a:1"]}}), "named twice"),
    ],
)
def test_a_wrong_tf_config_is_refused(text, expected):
    with pytest.raises(ClusterError, match="TF_CONFIG is ") as caught:
        find_cluster({"TF_CONFIG": text})
    assert expected in str(caught.value)
