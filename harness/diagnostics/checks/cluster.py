"""What SLURM's variables or TF_CONFIG become: which worker this is, at which address, with which GPUs."""

import re
import socket
from collections.abc import Iterator, Mapping

from harness.base.errors import ClusterError
from harness.base.text import count
from harness.diagnostics.checks.finding import Finding, from_error
from harness.distribute import cluster, ports

GROUP = "cluster"
_MOST_SHOWN = 4


def check_cluster(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yields the tasks that a training started here would be one of; opens no connection.

    Args:
      environment: the variables.
    """
    try:
        tasks = cluster.find_cluster(environment)
    except ClusterError as error:
        yield from_error(GROUP, "tasks", error, fix="Start the tasks with srun.")
        return
    if tasks is None:
        yield _tell_alone(environment)
        return
    source = "TF_CONFIG" if environment.get("TF_CONFIG", "").strip() else "SLURM's step"
    values: dict[str, object] = {"num_tasks": tasks.num_tasks, "task": tasks.task, "num_local": tasks.num_local}
    places = tasks.addresses or tasks.hosts
    listed = " ".join(places[:_MOST_SHOWN]) + (" …" if len(places) > _MOST_SHOWN else "")
    yield Finding(GROUP, "tasks", "ok", f"{tasks.num_tasks} by {source}: {listed}", values=values)
    index, num_sharing = tasks.gpu_share
    share = f"part {index + 1} of {num_sharing} of the GPUs it sees" if num_sharing > 1 else "all GPUs it sees"
    word = "worker 0, the chief" if tasks.is_chief else f"worker {tasks.task}"
    port = "" if tasks.addresses else f" and a free port from {ports.RANGE.start} to {ports.RANGE.stop - 1}"
    address = tasks.addresses[tasks.task] if tasks.addresses else tasks.host
    meeting = f"meeting the others at {tasks.meeting_points[0]}"
    values = {"address": address, "meeting_points": tasks.meeting_points}
    yield Finding(GROUP, "this task", "ok", f"{word}, at {address}{port}, {meeting}, with {share}", values=values)
    yield _check_addresses(tasks)


def _tell_alone(environment: Mapping[str, str]) -> Finding:
    job, nodes = environment.get("SLURM_JOB_ID"), environment.get("SLURM_JOB_NUM_NODES", "")
    values = {"num_tasks": 1, "job": job}
    if job is None:
        return Finding(GROUP, "tasks", "ok", "one process: neither SLURM's step nor TF_CONFIG", values=values)
    words = f"one process in job {job}"
    if re.fullmatch("[0-9]{1,6}", nodes) and int(nodes) > 1:
        words += f" of {nodes} nodes: python -m harness.doctor --nodes looks at all, and srun starts a task on each"
    elif "SLURM_STEP_ID" not in environment:
        words += ": only srun starts several"
    return Finding(GROUP, "tasks", "ok", words, values=values)


def _check_addresses(tasks: cluster.Cluster) -> Finding:
    """Looks the hosts up by name, as all workers must."""
    unknown = []
    for host in tasks.hosts:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            unknown.append(host)
    if unknown:
        words = f"no address is known here for {', '.join(unknown[:_MOST_SHOWN])}"
        fix = "Have the names of the nodes resolved (DNS or /etc/hosts), or give addresses in TF_CONFIG."
        return Finding(GROUP, "addresses", "problem", words, fix, {"unknown": unknown})
    return Finding(GROUP, "addresses", "ok", f"{count(len(tasks.hosts), 'host')} known by name", values={"unknown": []})
