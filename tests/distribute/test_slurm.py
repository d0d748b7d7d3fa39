"""SLURM's variables of a step, and the tasks they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ClusterError
from harness.distribute.cluster import Cluster, find_cluster
from harness.distribute.slurm import parse_counts, parse_hosts


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("login", ["login"]),
        ("n[2,10]", ["n2", "n10"]),
        ("n[10,2]", ["n10", "n2"]),
        ("n[01-03,07]", ["n01", "n02", "n03", "n07"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[008-010]", ["n008", "n009", "n010"]),
        ("n[99-101]", ["n99", "n100", "n101"]),
        ("n[09-10,100]", ["n09", "n10", "n100"]),
        ("a1,b[2-3]c", ["a1", "b2c", "b3c"]),
        ("b[2-3]c,a1", ["b2c", "b3c", "a1"]),
        ("r[1-2]n[3-4]", ["r1n3", "r1n4", "r2n3", "r2n4"]),
        ("r[1,3]-n[01-02].cluster", ["r1-n01.cluster", "r1-n02.cluster", "r3-n01.cluster", "r3-n02.cluster"]),
        ("gpu-a[1],gpu-b[1]", ["gpu-a1", "gpu-b1"]),
        ("10.0.0.[1-2]", ["10.0.0.1", "10.0.0.2"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_a_node_list_is_read_in_slurms_order(text, hosts):
    assert parse_hosts(text) == tuple(hosts)


NO_NODE_LISTS = [
    *("", ",", "n1,", ",n1", "(null)", "n 1", "n1 n2", "-n", "n;rm", "n1,n1", "n[1-2],n2"),
    *("n[", "n]", "n[]", "n[1", "n[1-2", "n[1]]", "n[1[2]]", "n[1-]", "n[-1]", "n[1- 2]", "n[1-2-3]", "n[1,,2]"),
    *("n[3-1]", "n[a-b]", "n[１-２]", "n[0-99999999]", "n[1-99999999999999999999]", "r[1-999]n[1-999]"),
]


@pytest.mark.parametrize("text", NO_NODE_LISTS)
def test_what_is_no_node_list_is_refused_by_its_variable(text):
    with pytest.raises(ClusterError, match="SLURM_STEP_NODELIST is ") as caught:
        parse_hosts(text, variable="SLURM_STEP_NODELIST")
    assert "srun" in str(caught.value)


NAMES = st.from_regex(r"[a-z]{1,4}(-[a-z])?", fullmatch=True)
RANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 12)), min_size=1, max_size=4)


@given(NAMES, RANGES, st.integers(1, 4), st.sampled_from(["", "x", ".net"]))
def test_a_bracket_stands_for_its_numbers_one_by_one(name, ranges, width, suffix):
    numbers = [low + step for low, length in ranges for step in range(length + 1)]
    written = ",".join(f"{low:0{width}d}-{low + length:0{width}d}" for low, length in ranges)
    hosts = [f"{name}{number:0{width}d}{suffix}" for number in numbers]
    if len(set(hosts)) == len(hosts):
        assert list(parse_hosts(f"{name}[{written}]{suffix}")) == hosts
        assert list(parse_hosts(",".join(hosts))) == hosts


@given(st.text("n[]-,0123x. ", max_size=20))
def test_no_node_list_breaks_the_parser(text):
    try:
        hosts = parse_hosts(text)
    except ClusterError:
        return
    assert hosts and all(host and not set(host) & set("[], ") for host in hosts)


@pytest.mark.parametrize(
    ("text", "counts"),
    [("1", [1]), ("2(x3),1", [2, 2, 2, 1]), ("1,2(x2),3", [1, 2, 2, 3]), ("8(x1)", [8]), ("16", [16])],
)
def test_counts_are_read(text, counts):
    assert parse_counts(text) == tuple(counts)


@pytest.mark.parametrize("text", ["", "0", "2(x0)", "2(3)", "2x3", "2(x3)1", "a", "-1", "2,", "1(x999999)", "2 (x3)"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ClusterError, match="SLURM_TASKS_PER_NODE is "):
        parse_counts(text)


STEP = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "3",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "n[2,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}


def test_tasks_follow_the_nodes_in_slurms_order():
    found = find_cluster(STEP)
    assert found == Cluster(2, ("n2:24096", "n2:24097", "n10:24096"), (0, 1))
    assert found.num_local == 1
    assert (found.num_tasks, found.is_chief) == (3, False)
    first = find_cluster(STEP | {"SLURM_PROCID": "0", "SLURM_NODEID": "0"})
    assert first == Cluster(0, ("n2:24096", "n2:24097", "n10:24096"), (0, 2))
    assert first.num_local == 2
    assert first.is_chief


@pytest.mark.parametrize(("job", "port"), [("0", 20000), ("155", 29920), ("156", 20000), ("157", 20064)])
def test_the_port_follows_from_the_job(job, port):
    assert find_cluster(STEP | {"SLURM_JOB_ID": job}).addresses[0] == f"n2:{port}"


@pytest.mark.parametrize(
    ("binding", "share"),
    [
        ({}, (1, 2)),
        ({"SLURM_GPU_BIND": "none"}, (1, 2)),
        ({"SLURM_TRES_PER_TASK": "cpu=4"}, (1, 2)),
        ({"SLURM_GPUS_PER_TASK": "1"}, (0, 1)),
        ({"SLURM_GPU_BIND": "closest"}, (0, 1)),
        ({"SLURM_NTASKS_PER_GPU": "1"}, (0, 1)),
        ({"SLURM_TRES_PER_TASK": "cpu=4,gres/gpu:1"}, (0, 1)),
    ],
)
def test_a_task_that_slurm_gave_its_own_gpus_takes_all_it_sees(binding, share):
    environment = STEP | {"SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "1"}
    assert find_cluster(environment | binding).gpu_share == share


def test_older_variables_serve_where_the_steps_are_missing():
    environment = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "1",
        "SLURM_NTASKS": "2",
        "SLURM_JOB_NODELIST": "a,b",
        "SLURM_TASKS_PER_NODE": "1(x2)",
    }
    assert find_cluster(environment) == Cluster(1, ("a:20064", "b:20064"))


@pytest.mark.parametrize(
    ("changed", "name", "expected"),
    [
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID is '3'", "less than SLURM_STEP_NUM_TASKS, which is 3"),
        ({"SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1'", "a number"),
        ({"SLURM_PROCID": None}, "SLURM_PROCID is ''", "a number"),
        ({"SLURM_STEP_NUM_TASKS": "0"}, "SLURM_STEP_NUM_TASKS is '0'", "a number"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_TASKS_PER_NODE is '2,1'", "4 tasks in all"),
        ({"SLURM_STEP_TASKS_PER_NODE": "3"}, "SLURM_STEP_TASKS_PER_NODE is '3'", "each of the 2 nodes"),
        ({"SLURM_STEP_TASKS_PER_NODE": None}, "SLURM_STEP_TASKS_PER_NODE", "neither"),
        ({"SLURM_STEP_NODELIST": None}, "SLURM_STEP_NODELIST", "neither"),
        ({"SLURM_STEP_NODELIST": "n[2-10]"}, "SLURM_STEP_TASKS_PER_NODE is '2,1'", "each of the 9 nodes"),
        ({"SLURM_JOB_ID": None}, "SLURM_JOB_ID is ''", "a number"),
        ({"SLURM_NODEID": "0"}, "SLURM_NODEID is '0'", "--distribution=block"),
        ({"SLURM_LOCALID": "1"}, "SLURM_LOCALID is '1'", "--distribution=block"),
        ({"SLURM_STEP_NUM_TASKS": "66", "SLURM_STEP_TASKS_PER_NODE": "65,1"}, "is '65,1'", "at most 64 tasks a node"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, name, expected):
    environment = {key: value for key, value in (STEP | changed).items() if value is not None}
    with pytest.raises(ClusterError) as caught:
        find_cluster(environment)
    assert name in str(caught.value) and expected in str(caught.value)
