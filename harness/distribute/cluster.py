"""The tasks of one run: TF_CONFIG or SLURM's step -> a Cluster -> TF_CONFIG.

Pure functions of the environment they are given; nothing is set, no name is looked up, and no port is opened. What
SLURM's variables say is read in slurm.py.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import __version__
from harness.base.errors import ClusterError
from harness.distribute import ports, slurm


@dataclass(frozen=True)
class Cluster:
    """The tasks that train together, one process each, and which of them this one is.

    Attributes:
      task: of this process, from 0.
      num_tasks: the processes that train together.
      run: names this run among all, so that a task of another is known by it.
      host: the name or address under which the others reach this process' node.
      hosts: those of all nodes, in the order of their tasks.
      meeting_points: "host:port" of each place where the tasks may meet, in the order to try them.
      receives: whether this process receives the others there.
      addresses: "host:port" of every task; empty where each takes a port that is free.
      num_local: the tasks on this process' node, it included.
      gpu_share: this process takes the share `gpu_share[0]` of `gpu_share[1]` of the GPUs it sees.
    """

    task: int
    num_tasks: int
    run: str
    host: str
    hosts: tuple[str, ...]
    meeting_points: tuple[str, ...]
    receives: bool
    addresses: tuple[str, ...] = ()
    num_local: int = 1
    gpu_share: tuple[int, int] = (0, 1)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what is kept."""
        return self.task == 0


def make_tf_config(task: int, addresses: Sequence[str]) -> str:
    """Returns the value of TF_CONFIG that tells TensorFlow of the address of every task, and which this process is."""
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": task}})


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Returns the tasks that TF_CONFIG names, else those of SLURM's step; None for a process on its own.

    A batch script and a shell of salloc are single processes, however many tasks the job has: only srun starts tasks.

    Raises:
      ClusterError: the variables do not fit together.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if text:
        return _read_tf_config(text)
    step = slurm.read_step(environment)
    return None if step is None else _place_step(step)


def _place_step(step: slurm.Step) -> Cluster:
    is_alone = len(step.hosts) == 1
    # A node may not know itself by the name that SLURM gives it.
    host, first = ("127.0.0.1",) * 2 if is_alone else (step.hosts[step.node], step.hosts[0])
    return Cluster(
        task=step.task,
        num_tasks=sum(step.counts),
        run=step.run,
        host=host,
        hosts=(host,) if is_alone else step.hosts,
        meeting_points=tuple(f"{first}:{port}" for port in ports.derive(step.run)),
        receives=(step.node, step.local) == (0, 0),
        num_local=step.counts[step.node],
        gpu_share=step.gpu_share,
    )


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
    task, hosts = tasks.index((kind, index)), [ports.split_address(address)[0] for address in addresses]
    digest = hashlib.sha256(" ".join(addresses).encode()).hexdigest()[:12]
    return Cluster(
        task=task,
        num_tasks=len(tasks),
        run=f"TF_CONFIG's {len(tasks)} tasks from {addresses[0]} on ({digest}, harness {__version__})",
        host=hosts[task],
        hosts=tuple(dict.fromkeys(hosts)),
        meeting_points=(addresses[0],),
        receives=task == 0,
        addresses=tuple(addresses),
        num_local=hosts.count(hosts[task]),
    )
