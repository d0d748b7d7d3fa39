"""A private SLURM: munge, slurmctld and slurmd from Debian's packages on a few virtual machines, for tests.

Nothing of this machine's configuration is read or touched, and all of it ends with the tests, also if they are killed.
CPUs, memory and GPUs of the nodes are claims, so that the headers of jobs fit; nothing is bound or limited.
As a program it says what the machine lacks for that, and ends with 1 then.

    with slurm_cluster.start(tmp_path, num_nodes=2) as cluster:
        job = cluster.submit("--wrap", "srun hostname")
        assert cluster.wait(job)["ExitCode"] == "0:0"
"""

import contextlib
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import virtual_machine
from virtual_machine import COMMANDS, LIMIT_S, PATH, Machine

PACKAGES = "slurmctld slurmd slurm-client munge iproute2 util-linux"
INSTALL = f"apt-get update && apt-get install --yes --no-install-recommends {PACKAGES}"
_COMMANDS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", **COMMANDS}
_ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
_POLL_S = 0.02

# A folder of Debian's packages, where each machine of the cluster sees the cluster's own.
_HOME = "/var/lib/slurm"
_NETWORK = "198.18.0"  # of the range for tests of networks, RFC 2544; the machines reach nothing else

_SLURM_CONF = """
ClusterName=tests
SlurmctldHost=head({network}.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is requeued waits for cred_expire, 120 s otherwise.
AuthInfo=socket={home}/munge.socket,cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd-%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
GresTypes=gpu
# A dead node is noticed after 10 s, not 300, and takes jobs again once it is back.
SlurmdTimeout=10
TCPTimeout=2
MessageTimeout=5
ReturnToService=2
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-{num_nodes}] NodeAddr={network}.[11-{last}] CPUs={cpus} RealMemory={memory_mb} {gres}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=spot Nodes=ALL PriorityTier=1 PreemptMode=CANCEL GraceTime={grace_s}
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def check() -> str:
    """Returns what this machine lacks and what to do about it, or "" if it can run a cluster."""
    missing = sorted(name for name in _COMMANDS if shutil.which(name, path=PATH) is None)
    if missing:
        return f"a SLURM for tests needs {', '.join(missing)}: {INSTALL}"
    if os.geteuid():
        return "a SLURM for tests needs root, to make virtual machines"
    try:
        with contextlib.ExitStack() as stack:
            head, node = (_switch_on(stack, name, {}) for name in ("head", "n1"))
            head.make_switch(f"{_NETWORK}.1/24")
            head.connect(node, f"{_NETWORK}.11/24")
    except RuntimeError as error:
        return f"a SLURM for tests needs namespaces, bridges and veth of the kernel: {error}"
    return ""


def _switch_on(stack: contextlib.ExitStack, name: str, mounts: Mapping[Path, str]) -> Machine:
    machine = virtual_machine.switch_on(name, mounts=mounts)
    stack.callback(machine.switch_off)
    return machine


@contextlib.contextmanager
def start(
    folder: Path, *, num_nodes: int = 2, cpus: int = 64, memory_mb: int = 256_000, gpus: int = 8, grace_s: int = 60
) -> Iterator["Cluster"]:
    """Starts a cluster of the nodes n1, n2, ..., which ends with the block.

    Args:
      folder: an empty folder for its state and logs; any path will do.
      num_nodes: how many.
      cpus: CPUs that each node claims to have.
      memory_mb: memory that each node claims to have.
      gpus: GPUs that each node claims to have. They are devices that nobody can open as a GPU.
      grace_s: seconds between the warning and the end of a job in `main` or `spot` that one in `urgent` preempts. It is
        requeued in `main` and cancelled in `spot`.
    """
    _write_files(folder, num_nodes=num_nodes, cpus=cpus, memory_mb=memory_mb, gpus=gpus, grace_s=grace_s)
    mounts = {folder: _HOME, folder / "etc": "/etc/slurm", folder / "hosts": "/etc/hosts"}
    with contextlib.ExitStack() as stack:
        head = _switch_on(stack, "head", mounts)
        head.make_switch(f"{_NETWORK}.1/24")
        _start_munge(head)
        _start_daemon(head, "slurmctld")
        cluster = Cluster(folder, head, mounts, stack)
        for number in range(1, num_nodes + 1):
            cluster.start_node(f"n{number}")
        cluster.wait_until(lambda: len(cluster.list_nodes("idle")) == num_nodes, "all nodes are up", limit_s=LIMIT_S)
        yield cluster


def _write_files(folder: Path, *, num_nodes: int, gpus: int, **sizes: int) -> None:
    for name in ("etc", "state", "log"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    addresses = [f"{_NETWORK}.1 head", *(f"{_NETWORK}.{10 + number} n{number}" for number in range(1, num_nodes + 1))]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *addresses, ""]))
    for number in range(gpus):
        # SLURM sets CUDA_VISIBLE_DEVICES for character devices only; these are as /dev/null.
        os.mknod(folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    devices = f"Name=gpu Flags=nvidia_gpu_env File={_HOME}/gpu[0-{gpus - 1}]\n" if gpus else ""
    (folder / "etc" / "gres.conf").write_text("AutoDetect=off\n" + devices)
    gres = f"Gres=gpu:{gpus}" if gpus else ""
    last = 10 + num_nodes
    text = _SLURM_CONF.format(home=_HOME, network=_NETWORK, num_nodes=num_nodes, last=last, gres=gres, **sizes)
    (folder / "etc" / "slurm.conf").write_text(text)


def _start_munge(head: Machine) -> None:
    """Starts the daemon by which all nodes know one another; they reach it by its socket in the shared folder."""
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    options = [f"--{option}={_HOME}/{name}" for option, name in files.items()]
    _start_daemon(head, "munged", "--force", f"--log-file={_HOME}/log/munged.log", *options)


def _start_daemon(machine: Machine, *command: str) -> None:
    machine.run(*command, environment=_without_slurm(os.environ))


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs: a head with slurmctld, where jobs are submitted, and nodes with slurmd."""

    _folder: Path
    _head: Machine
    _mounts: Mapping[Path, str]
    _stack: contextlib.ExitStack  # switches all machines off
    _nodes: dict[str, Machine] = field(default_factory=dict)

    def run(
        self,
        *command: object,
        node: str = "",
        limit_s: float = LIMIT_S,
        cwd: Path | str = "/",
        environment: Mapping[str, str] = os.environ,
    ) -> str:
        """Runs a command on the head or a node; returns what it printed.

        Raises:
          RuntimeError: it ended with another code than 0.
          TimeoutExpired: it took longer than the limit, and was killed.
        """
        machine = self._nodes[node] if node else self._head
        return machine.run(*command, limit_s=limit_s, cwd=cwd, environment=_without_slurm(environment))

    def submit(self, *words: object, cwd: Path, environment: Mapping[str, str] = os.environ) -> str:
        """Runs sbatch in a folder; returns the job's id. `python` is the one that runs the tests."""
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        printed = self.run("sbatch", "--parsable", *words, cwd=cwd, environment={**environment, "PATH": path})
        return printed.splitlines()[-1]

    def show(self, job: str) -> dict[str, str]:
        """Returns what SLURM tells of a job or a task of an array: JobState, ExitCode, Restarts, BatchHost, ..."""
        first, *_ = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        return dict(re.findall(r"(\S+?)=(\S*)", first))

    def wait(self, job: str, *states: str, limit_s: float = 300) -> dict[str, str]:
        """Waits for the job's end, or until it is in one of the states, and returns what SLURM tells of it then.

        Raises:
          AssertionError: it ended otherwise, or the limit passed; with all that helps to see why.
        """
        wanted, seen = states or _ENDED, {}

        def is_there() -> bool:
            seen.update(self.show(job))
            return seen["JobState"] in {*wanted, *_ENDED}

        self.wait_until(is_there, f"job {job} is {wanted}", limit_s=limit_s)
        assert seen["JobState"] in wanted, f"job {job} is not {wanted}\n{self.describe()}"
        return seen

    def wait_until(self, is_so: Callable[[], object], what: str, *, limit_s: float, job: str = "") -> None:
        """Waits for a condition, whose words the error has.

        Raises:
          AssertionError: the limit passed, or the job ended before, with all that helps to see why; or the cluster was
            switched off.
        """
        end = time.monotonic() + limit_s
        while not _comes_true(is_so, within_s=2):
            assert self._head.is_on, f"switched off before {what}"
            assert time.monotonic() < end, f"not within {limit_s} s: {what}\n{self.describe()}"
            has_ended = bool(job) and self.show(job)["JobState"] in _ENDED
            assert not has_ended or is_so(), f"job {job} ended before {what}\n{self.describe()}"

    def list_nodes(self, states: str) -> list[str]:
        """Returns the nodes that are in one of the states, such as idle,mixed."""
        try:
            options = ("--noheader", "--Node", "--partition=main", f"--states={states}", "--format=%N")
            return self.run("sinfo", *options).splitlines()
        except RuntimeError:  # slurmctld has just been started
            return []

    def power_off(self, node: str) -> None:
        """Switches a node off at once, with all that runs on it."""
        self._nodes.pop(node).switch_off()

    def power_on(self, node: str) -> None:
        """Switches a node on and waits until it takes jobs."""
        self.start_node(node)
        self.wait_until(lambda: node in self.list_nodes("idle,mixed,allocated"), f"{node} is up", limit_s=LIMIT_S)

    def start_node(self, node: str) -> None:
        """Switches a node on; SLURM learns of it somewhat later."""
        machine = self._nodes[node] = _switch_on(self._stack, node, self._mounts)
        self._head.connect(machine, f"{_NETWORK}.{10 + int(node[1:])}/24")
        _start_daemon(machine, "slurmd", "-N", node)

    def describe(self) -> str:
        """Returns all that helps to see why something is not as expected: jobs, their logs, daemons' logs."""
        questions = (("sinfo", "--Node", "--long"), ("squeue", "--all"), ("scontrol", "show", "job"))
        parts = [self._ask(*question) for question in questions]
        logs = {Path(name) for name in re.findall(r"StdOut=(.*)", parts[-1])} | set(self._folder.glob("log/*"))
        return "\n".join(parts + [_read_end(path) for path in sorted(logs) if path.is_file()])

    def _ask(self, *command: str) -> str:
        try:
            return f"$ {' '.join(command)}\n{self.run(*command)}"
        except RuntimeError as error:
            return str(error)


def _comes_true(is_so: Callable[[], object], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while True:
        asked = time.monotonic()
        if is_so():
            return True
        if asked > end:
            return False
        # To ask is to take time from what is waited for: a file is quickly looked at, SLURM takes longer.
        time.sleep(min(max(_POLL_S, 20 * (time.monotonic() - asked)), 1))


def _read_end(path: Path, num_lines: int = 40) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join([f"== {path}", *lines[-num_lines:]])


def _without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what another SLURM may have set."""
    foreign = re.compile(r"(SLURM|SBATCH|SRUN|SALLOC|SCANCEL|SQUEUE|SINFO|SCONTROL)")
    return {name: value for name, value in environment.items() if not foreign.match(name)}


if __name__ == "__main__":
    if lacks := check():
        print(lacks)
        sys.exit(1)
