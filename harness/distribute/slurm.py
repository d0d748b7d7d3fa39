"""SLURM's variables of a step -> its tasks: their nodes, which of them this is, and its share of a node's GPUs.

Pure functions of the environment they are given. TensorFlow's own SlurmClusterResolver sorts host names as text, so
that with n[2,10] each task gets another's host.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness import __version__
from harness.base.errors import ClusterError

_MOST_HOSTS = 65536  # more than SLURM allocates; a mistyped range must not fill the memory
# What asks SLURM to show each task GPUs of its own; without, every task of a node sees all that the node lends.
_GPU_REQUESTS = ("SLURM_GPUS_PER_TASK", "SLURM_NTASKS_PER_GPU", "SLURM_NTASKS_PER_TRES")
_NUM_LENT = "SLURM_GPUS_ON_NODE"
_LENT = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", _NUM_LENT)  # the first two list them by their numbers, from 0
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_COUNT = re.compile(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,5})\))?")


class Step(NamedTuple):
    """A task of a SLURM step, and the nodes of all.

    Attributes:
      task: its number from 0.
      node: the number of its node from 0.
      local: its number among the tasks of its node.
      hosts: the nodes.
      counts: the tasks on each.
      run: names the step among all, and its restarts.
      gpu_share: it takes the part `gpu_share[0]` of `gpu_share[1]` equal ones of the GPUs it sees.
    """

    task: int
    node: int
    local: int
    hosts: tuple[str, ...]
    counts: tuple[int, ...]
    run: str
    gpu_share: tuple[int, int]


def read_step(environment: Mapping[str, str]) -> Step | None:
    """Returns this task of a step of several tasks; None outside of one.

    Raises:
      ClusterError: the variables are missing or do not fit together.
    """
    count_name = _first_set(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    # A batch script has SLURM_PROCID 0 and the job's SLURM_NTASKS, and no step.
    is_step = "SLURM_STEP_ID" in environment or count_name == "SLURM_STEP_NUM_TASKS"
    if not is_step or count_name is None:
        return None
    num_tasks = _read_number(environment, count_name)
    if num_tasks == 1:
        return None
    task = _read_number(environment, "SLURM_PROCID")
    if not task < num_tasks:
        raise _refuse("SLURM_PROCID", environment["SLURM_PROCID"], f"less than {count_name}, which is {num_tasks}")
    hosts, counts = _read_nodes(environment, num_tasks, count_name)
    node, local = _find_place(environment, task, counts)
    gpu_share = (0, 1) if _has_own_gpus(environment) else (local, counts[node])
    return Step(task, node, local, hosts, counts, _name_run(environment, num_tasks), gpu_share)


def _read_nodes(
    environment: Mapping[str, str], num_tasks: int, count_name: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the nodes of the step, and the tasks on each."""
    nodes_name = _require(environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
    hosts = parse_hosts(environment[nodes_name], variable=nodes_name)
    tasks_name = _require(environment, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    counts = parse_counts(environment[tasks_name], variable=tasks_name)
    if len(counts) != len(hosts):
        nodes = _shorten(environment[nodes_name])
        expected = f"a count for each of the {len(hosts)} nodes of {nodes_name}, which is {nodes}"
        raise _refuse(tasks_name, environment[tasks_name], expected)
    if sum(counts) != num_tasks:
        raise _refuse(tasks_name, environment[tasks_name], f"{num_tasks} tasks in all, as {count_name} says")
    return hosts, counts


def _find_place(environment: Mapping[str, str], task: int, counts: Sequence[int]) -> tuple[int, int]:
    """Returns the number of a task's node, and its own on that node, as srun says, however it dealt the tasks out."""
    if "SLURM_NODEID" not in environment or "SLURM_LOCALID" not in environment:  # node by node, as srun does unasked
        before = itertools.accumulate(counts, initial=0)
        return next((node, task - first) for node, first in enumerate(before) if task < first + counts[node])
    node = _read_number(environment, "SLURM_NODEID")
    if not node < len(counts):
        raise _refuse("SLURM_NODEID", environment["SLURM_NODEID"], f"less than the number of nodes, {len(counts)}")
    local = _read_number(environment, "SLURM_LOCALID")
    if not local < counts[node]:
        expected = f"less than the {counts[node]} tasks of node {node}"
        raise _refuse("SLURM_LOCALID", environment["SLURM_LOCALID"], expected)
    return node, local


def _name_run(environment: Mapping[str, str], num_tasks: int) -> str:
    job, step = _read_number(environment, "SLURM_JOB_ID"), environment.get("SLURM_STEP_ID", "0")
    restarts = environment.get("SLURM_RESTART_COUNT", "0")
    nodes = environment[_require(environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")]
    digest = hashlib.sha256(f"{nodes} {num_tasks} {restarts}".encode()).hexdigest()[:12]
    return f"SLURM's job {job} step {step[:20]} ({digest}, harness {__version__})"


def _has_own_gpus(environment: Mapping[str, str]) -> bool:
    """Tells whether the GPUs a task sees are its own, or those of all tasks of its node.

    What SLURM did is asked first, then what it was asked for, which does not reach every task's variables.
    """
    binding = next((environment[name] for name in ("SLURMD_TRES_BIND", "SLURM_GPU_BIND") if name in environment), "")
    if binding.endswith("none"):
        return False
    given, on_node = environment.get("SLURM_STEP_GPUS", ""), environment.get("SLURM_GPUS_ON_NODE", "")
    if given and on_node.isdecimal():
        return len(given.split(",")) < int(on_node)
    return any(name in environment for name in _GPU_REQUESTS) or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")


def find_lent_gpus(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns the variable by which SLURM says that it gave this job GPUs of the node, and its value; None if none."""
    set_ones = [(name, environment.get(name, "").strip()) for name in _LENT]
    return next((one for one in set_ones if one[1] and one != (_NUM_LENT, "0")), None)


def parse_hosts(text: str, *, variable: str = "SLURM_JOB_NODELIST") -> tuple[str, ...]:
    """Returns the hosts of SLURM's compressed list in SLURM's order, which is that of its tasks.

    `n[2,10]` is n2, n10; `n[08-10]` is n08, n09, n10; of `r[1-2]n[3-4]` the last bracket counts fastest.

    Raises:
      ClusterError: it is none, or names a host twice.
    """
    hosts: list[str] = []
    for word in _split_words(text):
        for host in _expand(word, text, variable):
            hosts.append(host)
            if len(hosts) > _MOST_HOSTS:
                raise _refuse(variable, text, f"at most {_MOST_HOSTS} hosts")
    if len(set(hosts)) < len(hosts):
        raise _refuse(variable, text, "a list without a host named twice")
    return tuple(hosts)


def _split_words(text: str) -> Sequence[str]:
    """Splits at commas outside brackets."""
    return re.split(r",(?![^\[\]]*\])", text)


def _expand(word: str, text: str, variable: str) -> Iterator[str]:
    parts = _GROUP.split(word)  # literal, bracket, literal, bracket, …, literal
    choices = [_count_up(part, text, variable) if index % 2 else [part] for index, part in enumerate(parts)]
    for pieces in itertools.product(*choices):
        host = "".join(pieces)
        if not _HOST.fullmatch(host):
            raise _refuse(variable, text, f"a list of hosts such as n[01-03,07],login; {host[:60]!r} is no host name")
        yield host


def _count_up(bracket: str, text: str, variable: str) -> list[str]:
    numbers: list[str] = []
    for part in bracket.split(","):
        match = _RANGE.fullmatch(part)
        low, high = (match[1], match[2] or match[1]) if match else ("1", "0")
        if len(high) > 18 or int(low) > int(high) or int(high) - int(low) >= _MOST_HOSTS:
            raise _refuse(variable, text, f"a rising range such as 01-03 for {part[:60]!r}")
        numbers += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return numbers


def parse_counts(text: str, *, variable: str = "SLURM_TASKS_PER_NODE") -> tuple[int, ...]:
    """Returns the tasks of each node: `2(x3),1` is 2, 2, 2, 1.

    Raises:
      ClusterError: it is no such list.
    """
    counts: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part)
        if not match or len(counts) + int(match[2] or 1) > _MOST_HOSTS:
            raise _refuse(variable, text, "the tasks of each node, such as 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return tuple(counts)


def _first_set(environment: Mapping[str, str], *names: str) -> str | None:
    return next((name for name in names if name in environment), None)


def _require(environment: Mapping[str, str], *names: str) -> str:
    found = _first_set(environment, *names)
    if found is None:
        raise ClusterError(
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing in a step of SLURM of several tasks. "
            "Start the tasks with srun, and pass all of SLURM's variables on to them, into a container too, or unset "
            "SLURM_STEP_ID and SLURM_STEP_NUM_TASKS to train in one process."
        )
    return found


def _read_number(environment: Mapping[str, str], name: str) -> int:
    text = environment[_require(environment, name)]
    if not re.fullmatch(r"[0-9]{1,18}", text) or (name.endswith("TASKS") and int(text) == 0):
        raise _refuse(name, text, "a number")
    return int(text)


def _shorten(value: str) -> str:
    return repr(value if len(value) <= 200 else f"{value[:200]}…")


def _refuse(name: str, value: str, expected: str) -> ClusterError:
    return ClusterError(
        f"{name} is {_shorten(value)}; expected {expected}. Start the tasks with srun and leave SLURM's variables as "
        "they are, or unset SLURM_STEP_ID and SLURM_STEP_NUM_TASKS to train in one process."
    )
