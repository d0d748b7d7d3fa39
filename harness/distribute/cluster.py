"""The tasks of one run: SLURM's variables or TF_CONFIG -> a Cluster -> TF_CONFIG.

Pure functions of the environment they are given; nothing is set, no name is looked up, and no port is opened.

TensorFlow's own SlurmClusterResolver sorts host names as text, so that with n[2,10] each task gets another's host.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.base.errors import ClusterError

_MOST_HOSTS = 65536  # more than SLURM allocates; a mistyped range must not fill the memory
_FIRST_PORT = 20000  # the ports go to 29983: below those that Linux gives to clients
_PORTS_PER_JOB = 64  # so neighbouring jobs on a node do not meet
_NUM_PORT_BLOCKS = 156
# With one of these SLURM shows each task GPUs of its own; without, every task of a node sees all that the node lends.
_GPU_BINDINGS = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND", "SLURM_NTASKS_PER_GPU")
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_COUNT = re.compile(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,5})\))?")


@dataclass(frozen=True)
class Cluster:
    """The tasks that train together, one process each, and which of them this one is.

    Attributes:
      task: of this process, from 0.
      addresses: "host:port" of every task.
      gpu_share: this process takes the share `gpu_share[0]` of `gpu_share[1]` of the GPUs it sees.
    """

    task: int
    addresses: tuple[str, ...]
    gpu_share: tuple[int, int] = (0, 1)

    @property
    def num_tasks(self) -> int:
        """The processes that train together."""
        return len(self.addresses)

    @property
    def num_local(self) -> int:
        """Those of them that run on this process' node, it included."""
        hosts = [address.rpartition(":")[0] for address in self.addresses]
        return hosts.count(hosts[self.task])

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what is kept."""
        return self.task == 0

    def as_tf_config(self) -> str:
        """Returns the value of TF_CONFIG that tells TensorFlow of these tasks."""
        task = {"type": "worker", "index": self.task}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Returns the tasks that TF_CONFIG names, else those of SLURM's step; None for a process on its own.

    A batch script and a shell of salloc are single processes, however many tasks the job has: only srun starts tasks.

    Raises:
      ClusterError: the variables do not fit together.
    """
    text = environment.get("TF_CONFIG", "").strip()
    return _read_tf_config(text) if text else _read_slurm(environment)


def _read_tf_config(text: str) -> Cluster | None:
    def refuse(what: str) -> ClusterError:
        return ClusterError(
            f"TF_CONFIG is {text[:300]!r}: {what}. Give "
            '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, or unset it.'
        )

    try:
        config = json.loads(text)
    except ValueError:
        raise refuse("it is no JSON") from None
    cluster, task = (config.get(name, {}) if isinstance(config, dict) else None for name in ("cluster", "task"))
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise refuse("it should be an object whose cluster and task are objects")
    if not cluster:
        return None
    if unknown := sorted(set(cluster) - {"chief", "worker"}):
        raise refuse(f"it names tasks of the kind {unknown[0]!r}, but only chief and worker train here")
    tasks: list[tuple[str, int]] = []
    addresses: list[str] = []
    for kind in ("chief", "worker"):
        listed = cluster.get(kind, [])
        if not isinstance(listed, list) or not all(isinstance(address, str) for address in listed):
            raise refuse(f"its {kind} should be a list of texts")
        tasks += [(kind, index) for index in range(len(listed))]
        addresses += listed
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            raise refuse(f"{address!r} should be HOST:PORT with a port from 1 to 65535")
    if len(set(addresses)) < len(addresses):
        raise refuse("an address is named twice")
    kind, index = task.get("type"), task.get("index")
    if isinstance(index, bool) or not isinstance(index, int) or (kind, index) not in tasks:
        raise refuse(f"the task {kind!r} {index!r} is not among its {len(tasks)} tasks")
    if len(tasks) == 1:
        return None
    return Cluster(tasks.index((kind, index)), tuple(addresses))


def _read_slurm(environment: Mapping[str, str]) -> Cluster | None:
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
    nodes_name = _require(environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
    hosts = parse_hosts(environment[nodes_name], variable=nodes_name)
    tasks_name = _require(environment, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    counts = parse_counts(environment[tasks_name], variable=tasks_name)
    if len(counts) != len(hosts):
        expected = f"a count for each of the {len(hosts)} nodes of {nodes_name}, which is {environment[nodes_name]!r}"
        raise _refuse(tasks_name, environment[tasks_name], expected)
    if sum(counts) != num_tasks:
        raise _refuse(tasks_name, environment[tasks_name], f"{num_tasks} tasks in all, as {count_name} says")
    if max(counts) > _PORTS_PER_JOB:
        raise _refuse(tasks_name, environment[tasks_name], f"at most {_PORTS_PER_JOB} tasks a node")
    places = [(node, local) for node, count in enumerate(counts) for local in range(count)]
    node, local = places[task]
    for name, value in (("SLURM_NODEID", node), ("SLURM_LOCALID", local)):
        if name in environment and _read_number(environment, name) != value:
            raise _refuse(name, environment[name], f"{value} for task {task}: start it with srun --distribution=block")
    port = _FIRST_PORT + _read_number(environment, "SLURM_JOB_ID") % _NUM_PORT_BLOCKS * _PORTS_PER_JOB
    addresses = tuple(f"{hosts[node]}:{port + local}" for node, local in places)
    is_bound = any(environment.get(name, "none") != "none" for name in _GPU_BINDINGS)
    is_bound |= "gpu" in environment.get("SLURM_TRES_PER_TASK", "")  # --cpus-per-task is named there too
    return Cluster(task, addresses, (0, 1) if is_bound else (local, counts[node]))


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
            f"SLURM_PROCID is set, but neither {' nor '.join(names)}. Start the tasks with srun, and pass all of "
            "SLURM's variables on to them."
        )
    return found


def _read_number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"[0-9]{1,18}", text) or (name.endswith("TASKS") and int(text) == 0):
        raise _refuse(name, text, "a number")
    return int(text)


def _refuse(name: str, value: str, expected: str) -> ClusterError:
    shown = value if len(value) <= 200 else f"{value[:200]}…"
    return ClusterError(
        f"{name} is {shown!r}; expected {expected}. Start the tasks with srun and leave SLURM's variables as they are, "
        "or unset SLURM_STEP_ID and SLURM_STEP_NUM_TASKS to train in one process."
    )
