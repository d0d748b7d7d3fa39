"""The doctor on every node of a SLURM allocation at once: srun starts it, its reports are collected and compared."""

import base64
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.base.errors import ConfigError
from harness.diagnostics.diagnosis import Diagnosis
from harness.distribute import slurm

log = logging.getLogger("harness")
LIMIT_S = 1000.0  # of a whole examination
_OTHERS_S = 150.0  # for the others, once one has answered: all do the same
_END_S = 5.0
_MARK = b"harness-doctor"
_CHUNK = 700  # srun keeps lines of less than 1024 bytes whole, where those of several nodes meet
_MOST_TOLD = 2000  # characters of what srun and the nodes say besides


@dataclass(frozen=True)
class NodeReport:
    """What one node found, and by how many seconds its clock is ahead of this machine's."""

    diagnosis: Diagnosis
    ahead_s: float


@dataclass(frozen=True)
class Answers:
    """The reports by node in SLURM's order, the nodes without one, and what was said besides."""

    reports: Mapping[str, NodeReport]
    missing: tuple[str, ...] = ()
    said: str = ""


def list_nodes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the nodes of the allocation that this process is in.

    Raises:
      ClusterError: SLURM's list of them cannot be read.
      ConfigError: it is in none, or in a step, which srun has started already.
    """
    if "SLURM_JOB_ID" not in environment or "SLURM_JOB_NODELIST" not in environment:
        raise ConfigError(
            "--nodes looks at the nodes of a SLURM allocation, and this is none (no SLURM_JOB_NODELIST). Get one with "
            "salloc --nodes=2, or put the command into a batch script, without srun before it."
        )
    if "SLURM_STEP_ID" in environment and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        raise ConfigError("--nodes starts srun itself: leave out the srun before it.")
    return slurm.parse_hosts(environment["SLURM_JOB_NODELIST"])


def report(diagnosis: Diagnosis, environment: Mapping[str, str]) -> None:
    """Prints what this node has found in lines that can be told apart from those of others.

    Args:
      diagnosis: all of it.
      environment: the variables of SLURM's step.
    """
    node = environment.get("SLURMD_NODENAME", "?")
    content = base64.b64encode(json.dumps(diagnosis.as_json()).encode()).decode()
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    for index, chunk in enumerate(chunks):
        print(f"{_MARK.decode()} {node} {index} {len(chunks)} {time.time():.3f} {chunk}", flush=True)


@dataclass
class Collector:
    """Puts the lines of all nodes together again."""

    reports: dict[str, NodeReport] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    _chunks: dict[str, dict[int, bytes]] = field(default_factory=dict)
    _ahead_s: dict[str, float] = field(default_factory=dict)

    def take(self, line: bytes, now: float) -> str:
        """Takes a line; returns the node whose report it completes, "" for none.

        Args:
          line: of srun's output.
          now: when it came, in seconds since 1970.
        """
        words = line.split()
        if len(words) != 6 or words[0] != _MARK:
            self.said.append(line.decode(errors="replace").rstrip())
            return ""
        try:
            node, index, num_chunks = words[1].decode(), int(words[2]), int(words[3])
            ahead_s = float(words[4]) - now
            chunks = self._chunks.setdefault(node, {})
            chunks[index] = words[5]
            # A line may come late, none comes early: the largest difference is the nearest.
            self._ahead_s[node] = max(ahead_s, self._ahead_s.get(node, ahead_s))
            if len(chunks) < num_chunks:
                return ""
            content = base64.b64decode(b"".join(chunks[place] for place in range(num_chunks)), validate=True)
            self.reports[node] = NodeReport(Diagnosis.from_json(json.loads(content)), self._ahead_s[node])
        except (KeyError, TypeError, ValueError):
            self.said.append(f"a line of {words[1].decode(errors='replace')} was cut")
            return ""
        return node


def examine(nodes: Sequence[str], arguments: Sequence[str], *, limit_s: float = LIMIT_S) -> Answers:
    """Runs the doctor on every node at the same time, one task each; waits for none beyond a limit.

    Args:
      nodes: those of the allocation.
      arguments: the flags of the doctor on each.
      limit_s: seconds for all.

    Raises:
      ConfigError: there is no srun.
    """
    sizes = [f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}", "--ntasks-per-node=1"]
    # One node's exit code must not end the others, and a step that runs must not keep this one waiting.
    ways = ["--kill-on-bad-exit=0", "--wait=0", "--overlap", "--input=none"]
    command = ["srun", *sizes, *ways, sys.executable, "-m", "harness.doctor", *arguments]
    try:
        step = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise ConfigError(f"srun cannot be started: {error.strerror}. Run it where SLURM's programs are.") from None
    try:
        collector = _collect(step, nodes, time.monotonic() + limit_s)
    finally:
        _end(step)
    missing = tuple(node for node in nodes if node not in collector.reports)
    reports = {node: collector.reports[node] for node in nodes if node in collector.reports}
    return Answers(reports, missing, "\n".join(collector.said)[-_MOST_TOLD:])


def _collect(step: subprocess.Popen, nodes: Sequence[str], deadline: float) -> Collector:
    collector, rest = Collector(), b""
    stream = step.stdout.fileno()
    while len(collector.reports) < len(nodes) and (left_s := deadline - time.monotonic()) > 0:
        if not select.select([stream], [], [], left_s)[0]:
            break
        block, now = os.read(stream, 1 << 16), time.time()
        if not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if node := collector.take(line, now):
                log.info("%s has answered (%d of %d)", node, len(collector.reports), len(nodes))
                deadline = min(deadline, time.monotonic() + _OTHERS_S)
    return collector


def _end(step: subprocess.Popen) -> None:
    """Ends srun, which ends its tasks where it reaches them; they end by themselves otherwise."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            step.wait(_END_S)
        except subprocess.TimeoutExpired:
            step.send_signal(number)
    step.stdout.close()
