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
from harness.base.text import list_names
from harness.diagnostics.diagnosis import Diagnosis
from harness.distribute import slurm

log = logging.getLogger("harness")
LIMIT_S = 1000.0  # of a whole examination
_OTHERS_S = 150.0  # for the others, once one has answered: all do the same
_BEGIN_S = 90.0  # for all to begin; a cold file system takes its time to start Python
_END_S = 5.0
_MOST_ALONE = 64  # nodes that are tried by themselves: each takes a step of its own
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


def announce(environment: Mapping[str, str]) -> None:
    """Prints that this node has begun.

    Args:
      environment: the variables of SLURM's step.
    """
    print(f"{_MARK.decode()} {_name(environment)} begun", flush=True)


def report(diagnosis: Diagnosis, environment: Mapping[str, str]) -> None:
    """Prints what this node has found in lines that can be told apart from those of others.

    Args:
      diagnosis: all of it.
      environment: the variables of SLURM's step.
    """
    content = base64.b64encode(json.dumps(diagnosis.as_json()).encode()).decode()
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    for index, chunk in enumerate(chunks):
        print(f"{_MARK.decode()} {_name(environment)} {index} {len(chunks)} {time.time():.3f} {chunk}", flush=True)


def _name(environment: Mapping[str, str]) -> str:
    return environment.get("SLURMD_NODENAME", "?")


@dataclass
class Collector:
    """Puts the lines of all nodes together again."""

    begun: set[str] = field(default_factory=set)
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
        if words[:1] != [_MARK] or len(words) not in (3, 6):
            self.said.append(line.decode(errors="replace").rstrip())
            return ""
        node = words[1].decode(errors="replace")
        self.begun.add(node)
        try:
            return "" if len(words) == 3 else self._take_chunk(node, words[2:], now)
        except (KeyError, TypeError, ValueError):
            self.said.append(f"a line of {node} was cut")
            return ""

    def _take_chunk(self, node: str, words: Sequence[bytes], now: float) -> str:
        index, num_chunks, sent, chunk = int(words[0]), int(words[1]), float(words[2]), words[3]
        # A line may come late, none comes early: the largest difference is the nearest.
        self._ahead_s[node] = max(sent - now, self._ahead_s.get(node, sent - now))
        chunks = self._chunks.setdefault(node, {})
        chunks[index] = chunk
        if len(chunks) < num_chunks:
            return ""
        content = base64.b64decode(b"".join(chunks[place] for place in range(num_chunks)), validate=True)
        self.reports[node] = NodeReport(Diagnosis.from_json(json.loads(content)), self._ahead_s[node])
        return node


def examine(
    nodes: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], *, limit_s: float = LIMIT_S
) -> Answers:
    """Runs the doctor on every node at the same time, one task each; waits for none beyond a limit.

    All are tasks of one step, so that they can sum up together. SLURM ends or never starts such a step if one of its
    nodes is dead: those without an answer are then tried each by itself.

    Args:
      nodes: those of the allocation.
      arguments: the flags of the doctor on each.
      environment: the variables of the allocation.
      limit_s: seconds for all together, and once more for those that are tried by themselves.

    Raises:
      ConfigError: there is no srun.
    """
    collector, command = Collector(), _make_command(arguments, environment)
    _run_steps([nodes], command, collector, limit_s)
    silent = [node for node in nodes if node not in collector.reports]
    if silent and len(nodes) > 1:
        log.info("no answer from %s; trying each by itself ...", list_names(silent, separator=" "))
        _run_steps([[node] for node in silent[:_MOST_ALONE]], command, collector, limit_s)
    missing = tuple(node for node in nodes if node not in collector.reports)
    reports = {node: collector.reports[node] for node in nodes if node in collector.reports}
    return Answers(reports, missing, "\n".join(collector.said)[-_MOST_TOLD:])


def _make_command(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what follows the nodes on srun's command line."""
    # One node's exit code must not end the others, and a step that runs must not keep this one waiting.
    ways = ["--kill-on-bad-exit=0", "--wait=0", "--overlap", "--input=none"]
    # srun no longer takes it from the job: each would see one core where a training has more.
    if cores := environment.get("SLURM_CPUS_PER_TASK"):
        ways.append(f"--cpus-per-task={cores}")
    return (*ways, sys.executable, "-m", "harness.doctor", *arguments)


def _run_steps(steps: Sequence[Sequence[str]], command: Sequence[str], collector: Collector, limit_s: float) -> None:
    started: list[subprocess.Popen] = []
    try:
        started += [_start(nodes, command) for nodes in steps]
        _collect(started, [node for nodes in steps for node in nodes], collector, limit_s)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            _end(started, number)
        for step in started:
            step.stdout.close()


def _start(nodes: Sequence[str], command: Sequence[str]) -> subprocess.Popen:
    num = len(nodes)
    sizes = [f"--nodes={num}", f"--ntasks={num}", "--ntasks-per-node=1", f"--nodelist={','.join(nodes)}"]
    try:
        return subprocess.Popen(
            ["srun", *sizes, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(f"srun cannot be started: {error.strerror}. Run it where SLURM's programs are.") from None


def _collect(steps: Sequence[subprocess.Popen], nodes: Sequence[str], collector: Collector, limit_s: float) -> None:
    """Reads what the steps print until all nodes have answered, none can any more, or it has taken too long."""
    rests = {step.stdout.fileno(): b"" for step in steps}
    begin, deadline = time.monotonic() + _BEGIN_S, time.monotonic() + limit_s
    while rests and not set(nodes) <= collector.reports.keys():
        ends = deadline if set(nodes) <= collector.begun else min(begin, deadline)
        readable = select.select(list(rests), [], [], max(0.0, ends - time.monotonic()))[0]
        if not readable:
            return
        for stream in readable:
            block, now = os.read(stream, 1 << 16), time.time()
            *lines, rests[stream] = (rests[stream] + block).split(b"\n")
            if not block:
                del rests[stream]
            for line in lines:
                if node := collector.take(line, now):
                    log.info("%s has answered (%d)", node, len(collector.reports))
                    deadline = min(deadline, time.monotonic() + _OTHERS_S)


def _end(steps: Sequence[subprocess.Popen], number: signal.Signals) -> None:
    """Ends srun, which ends its tasks where it reaches them; they end by themselves otherwise."""
    limit = time.monotonic() + _END_S
    for step in steps:
        try:
            step.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            step.send_signal(number)
