"""SLURM's variables of a step, and the tasks they stand for."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import ClusterError
from harness.distribute.cluster import find_cluster
from harness.distribute.ports import are_local
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
        ("gpu[001-003,7],login1", ["gpu001", "gpu002", "gpu003", "gpu7", "login1"]),
        ("n[1-2,4-5],m[3,9-10]", ["n1", "n2", "n4", "n5", "m3", "m9", "m10"]),
        (
            "cn-[0098-0101].hpc.example.org",
            [f"cn-{number}.hpc.example.org" for number in ("0098", "0099", "0100", "0101")],
        ),
        ("rack1-node[3]", ["rack1-node3"]),
        ("r[0-1]c[00-01]n[1,3]", [f"r{r}c{c}n{n}" for r in "01" for c in ("00", "01") for n in "13"]),
        ("n[1-2]-ib,n3-ib", ["n1-ib", "n2-ib", "n3-ib"]),
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


@pytest.fixture(scope="module")
def expand_by_slurm(tmp_path_factory):
    """SLURM's own reading of a node list, which needs a configuration but no running cluster."""
    if shutil.which("scontrol") is None:
        pytest.skip("scontrol is missing: apt-get install slurm-client")
    file = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    file.write_text("ClusterName=none\nSlurmctldHost=localhost\n")

    def expand(text):
        command = ["scontrol", "show", "hostnames", text]
        done = subprocess.run(command, env={"SLURM_CONF": str(file)}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return expand


@st.composite
def node_lists(draw):
    """Lists as SLURM writes them: brackets at the end of a name, one or two, ranges of one width and of mixed ones."""
    words = []
    for name in draw(
        st.lists(st.from_regex(r"[a-z]{1,3}(-[a-z]|[0-9][a-z])?", fullmatch=True), min_size=1, max_size=3)
    ):
        ranges, width = draw(RANGES), draw(st.integers(1, 4))
        written = ",".join(
            f"{low:0{width}d}" if length == 0 else f"{low:0{width}d}-{low + length:0{width}d}" for low, length in ranges
        )
        outer = draw(st.sampled_from(["", "[1-2]x", "[01,3]-"]))
        words.append(draw(st.sampled_from([name, f"{name}{outer}[{written}]"])))
    return ",".join(words)


@settings(max_examples=200)
@given(text=node_lists())
def test_a_node_list_means_what_it_means_to_slurm(expand_by_slurm, text):
    expected = expand_by_slurm(text)
    if len(set(expected)) == len(expected):
        assert list(parse_hosts(text)) == expected
    else:
        with pytest.raises(ClusterError, match="a list without a host named twice"):
            parse_hosts(text)


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
    assert (found.task, found.num_tasks, found.is_chief, found.receives) == (2, 3, False, False)
    assert (found.host, found.num_local, found.gpu_share, found.addresses) == ("n10", 1, (0, 1), ())
    first = find_cluster(STEP | {"SLURM_PROCID": "0", "SLURM_NODEID": "0"})
    assert (first.host, first.num_local, first.gpu_share) == ("n2", 2, (0, 2))
    assert first.is_chief and first.receives
    assert first.run == found.run and first.meeting_points == found.meeting_points
    assert all(re.fullmatch("n2:2[0-9]{4}", point) for point in found.meeting_points)


def test_tasks_of_one_node_meet_there():
    one_node = {"SLURM_STEP_NODELIST": "n7", "SLURM_STEP_TASKS_PER_NODE": "3", "SLURM_NODEID": "0"}
    found = find_cluster(STEP | one_node | {"SLURM_LOCALID": "2"})
    assert found.host == "127.0.0.1" and are_local(found.meeting_points)


OTHER_RUNS = [
    {"SLURM_JOB_ID": "1156"},  # ports once followed from the remainder of a division by 156
    {"SLURM_STEP_ID": "1"},
    {"SLURM_RESTART_COUNT": "1"},
    {"SLURM_STEP_NODELIST": "n[2,11]"},
]


@pytest.mark.parametrize("changed", OTHER_RUNS)
def test_another_job_step_or_start_is_another_run_at_other_ports(changed):
    one, other = find_cluster(STEP), find_cluster(STEP | changed)
    assert one.run != other.run and one.meeting_points[0] != other.meeting_points[0]
    assert one.run.startswith("SLURM's job 1000 step 0 (")


def place(distribution):
    """Where the tasks of a step of 3 + 2 on two nodes are: (node, number on it), as srun deals them out."""
    return {
        "block": [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)],
        "cyclic": [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)],
        "plane=2": [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)],
        "arbitrary": [(1, 0), (0, 0), (1, 1), (0, 1), (0, 2)],
    }[distribution]


@pytest.mark.parametrize("distribution", ["block", "cyclic", "plane=2", "arbitrary"])
def test_however_srun_deals_tasks_out_one_receives_and_each_knows_its_node(distribution):
    step = STEP | {"SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_TASKS_PER_NODE": "3,2", "SLURM_STEP_NODELIST": "a,b"}
    found = [
        find_cluster(step | {"SLURM_PROCID": str(task), "SLURM_NODEID": str(node), "SLURM_LOCALID": str(local)})
        for task, (node, local) in enumerate(place(distribution))
    ]
    assert [one.host for one in found] == ["ab"[node] for node, _ in place(distribution)]
    assert [one.gpu_share for one in found] == [(local, (3, 2)[node]) for node, local in place(distribution)]
    assert [one.receives for one in found] == [one == (0, 0) for one in place(distribution)]
    assert [one.is_chief for one in found] == [True, False, False, False, False]
    assert len({one.run for one in found}) == len({one.meeting_points for one in found}) == 1


def test_a_step_over_both_parts_of_a_heterogeneous_job_is_one():
    """The variables that srun --het-group=0,1 of SLURM 22.05 gave for parts of one node and of two."""
    parts = {"SLURM_HET_SIZE": "2", "SLURM_JOB_ID": "6", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_NTASKS": "4"}
    step = {"SLURM_STEP_NODELIST": "n[1-3]", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2,1(x2)"}
    last = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NODEID": "2", "SLURM_LOCALID": "0"}
    found = find_cluster(parts | step | last)
    assert (found.task, found.num_tasks, found.host, found.num_local) == (3, 4, "n3", 1)


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        # as SLURM 22.05 gave them to the second of two tasks on a node, for the options beside them
        (
            {"SLURM_STEP_GPUS": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"},
            (1, 2),
        ),  # --gpus-per-node=4, --gres=gpu:4, --gpus=4
        (  # --gpus-per-task=2 of srun, and of the job
            {"SLURMD_TRES_BIND": "gpu:per_task:2", "SLURM_STEP_GPUS": "2,3", "SLURM_GPUS_ON_NODE": "4"},
            (0, 1),
        ),
        ({"SLURMD_TRES_BIND": "gpu:single:1", "SLURM_STEP_GPUS": "1", "SLURM_GPUS_ON_NODE": "4"}, (0, 1)),
        ({"SLURMD_TRES_BIND": "gpu:map_gpu:0,1", "SLURM_STEP_GPUS": "1", "SLURM_GPUS_ON_NODE": "4"}, (0, 1)),
        ({"SLURMD_TRES_BIND": "gpu:closest", "SLURM_STEP_GPUS": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"}, (1, 2)),
        ({"SLURMD_TRES_BIND": "gpu:none", "SLURM_GPUS_ON_NODE": "4"}, (1, 2)),
        ({"SLURMD_TRES_BIND": "gpu:none", "SLURM_GPUS_ON_NODE": "4", "SLURM_GPUS_PER_TASK": "2"}, (1, 2)),
        (  # --ntasks-per-gpu=1
            {"SLURM_NTASKS_PER_TRES": "1", "SLURM_STEP_GPUS": "1", "SLURM_GPUS_ON_NODE": "2"},
            (0, 1),
        ),
        ({}, (1, 2)),
        # where SLURM says what it was asked for only
        ({"SLURM_GPU_BIND": "none", "SLURM_GPUS_PER_TASK": "1"}, (1, 2)),
        ({"SLURM_TRES_PER_TASK": "cpu=4"}, (1, 2)),
        ({"SLURM_GPUS_PER_TASK": "1"}, (0, 1)),
        ({"SLURM_NTASKS_PER_GPU": "1"}, (0, 1)),
        ({"SLURM_TRES_PER_TASK": "cpu=4,gres/gpu:1"}, (0, 1)),
        ({"SLURM_JOB_GPUS": "0,1"}, (1, 2)),
    ],
)
def test_a_task_that_slurm_gave_its_own_gpus_takes_all_it_sees(variables, share):
    environment = STEP | {"SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "1"}
    assert find_cluster(environment | variables).gpu_share == share


def test_older_variables_serve_where_the_steps_are_missing():
    environment = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "3",
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NODELIST": "a,b,c",
        "SLURM_TASKS_PER_NODE": "2,1(x2)",
    }
    found = find_cluster(environment)
    assert (found.task, found.num_tasks, found.host, found.num_local, found.gpu_share) == (3, 4, "c", 1, (0, 1))
    second = find_cluster(environment | {"SLURM_PROCID": "1"})
    assert (second.host, second.num_local, second.gpu_share, second.receives) == ("a", 2, (1, 2), False)


def test_ten_thousand_nodes_are_read():
    """In 16 ms on a core of 2.4 GHz, of a job of a task each."""
    step = {"SLURM_STEP_NODELIST": "gpu[00001-10000]", "SLURM_STEP_TASKS_PER_NODE": "1(x10000)"}
    place = {"SLURM_PROCID": "9999", "SLURM_NODEID": "9999", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "10000"}
    found = find_cluster(STEP | step | place)
    assert (found.task, found.num_tasks, found.host, found.meeting_points[0][:9]) == (
        9999,
        10000,
        "gpu10000",
        "gpu00001:",
    )


@pytest.mark.parametrize(
    ("changed", "name", "expected"),
    [
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID is '3'", "less than SLURM_STEP_NUM_TASKS, which is 3"),
        ({"SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1'", "a number"),
        ({"SLURM_STEP_NUM_TASKS": "0"}, "SLURM_STEP_NUM_TASKS is '0'", "a number"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_TASKS_PER_NODE is '2,1'", "4 tasks in all"),
        ({"SLURM_STEP_TASKS_PER_NODE": "3"}, "SLURM_STEP_TASKS_PER_NODE is '3'", "each of the 2 nodes"),
        ({"SLURM_STEP_NODELIST": "n[2-10]"}, "SLURM_STEP_TASKS_PER_NODE is '2,1'", "each of the 9 nodes"),
        ({"SLURM_NODEID": "2"}, "SLURM_NODEID is '2'", "less than the number of nodes, 2"),
        ({"SLURM_LOCALID": "1"}, "SLURM_LOCALID is '1'", "less than the 1 tasks of node 1"),
        ({"SLURM_JOB_ID": "12_3"}, "SLURM_JOB_ID is '12_3'", "a number"),
        ({"SLURM_PROCID": None}, "SLURM_PROCID is missing", "into a container too"),
        ({"SLURM_JOB_ID": None}, "SLURM_JOB_ID is missing", "Start the tasks with srun"),
        (
            {"SLURM_STEP_NODELIST": None},
            "SLURM_STEP_NODELIST and SLURM_JOB_NODELIST are missing",
            "unset SLURM_STEP_ID",
        ),
        (
            {"SLURM_STEP_TASKS_PER_NODE": None},
            "SLURM_STEP_TASKS_PER_NODE and SLURM_TASKS_PER_NODE are missing",
            "unset SLURM_STEP_ID",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, name, expected):
    environment = {key: value for key, value in (STEP | changed).items() if value is not None}
    with pytest.raises(ClusterError) as caught:
        find_cluster(environment)
    assert name in str(caught.value) and expected in str(caught.value)
