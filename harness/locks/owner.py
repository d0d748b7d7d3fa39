"""Who owns a lock: a process of this machine or of another, told apart from all that are and were.

Whether an owner on another machine still lives is not known here: see verdict.py.
"""

import datetime
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

_PROC = Path("/proc")
_ENDED = "ZX"  # states of a process that has ended, and whose parent has not asked how
_Word = Annotated[str, Field(max_length=255)]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]


@dataclass(frozen=True)
class Owner:
    """A process that owns a lock, as the lock file has it."""

    pid: Annotated[int, Field(ge=1, lt=1 << 31)]
    started: _Count  # clock ticks after its machine: the system gives the same pid again and again
    namespace: _Word  # in which the pid is meant
    boot: _Word  # of the kernel
    host: _Word
    cluster: _Word  # of SLURM; "" outside, as the job
    job: _Word
    restarts: _Count  # of the job
    since: Annotated[str, Field(max_length=40)]
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    has_flock: bool  # whether the file system gave it one

    def __str__(self) -> str:
        job = f" (job {self.job})" if self.job else ""
        return f"process {self.pid} on {self.host}{job} since {self.since}"

    def has_kernel_of(self, other: "Owner") -> bool:
        """Whether both run on the same kernel, perhaps in containers of their own."""
        return bool(self.boot) and self.boot == other.boot

    def has_processes_of(self, other: "Owner") -> bool:
        """Whether a number means the same process to both."""
        return self.has_kernel_of(other) and bool(self.namespace) and self.namespace == other.namespace

    def is_earlier_start_of(self, other: "Owner") -> bool:
        """Whether both are of one SLURM job, which was requeued in between."""
        same_job = bool(self.job) and (self.cluster, self.job) == (other.cluster, other.job)
        return same_job and self.restarts < other.restarts

    def with_lock(self, *, has_flock: bool) -> "Owner":
        """Returns the owner of one more lock, which nobody can take for another one of the same process."""
        return replace(self, token=secrets.token_hex(16), has_flock=has_flock)


FORM = TypeAdapter(Owner)


def identify(environment: Mapping[str, str]) -> Owner:
    """Returns this process as the owner of no lock yet; `environment` says which job it is of."""
    array = environment.get("SLURM_ARRAY_JOB_ID", ""), environment.get("SLURM_ARRAY_TASK_ID", "")
    restarts = environment.get("SLURM_RESTART_COUNT", "")
    return Owner(
        pid=os.getpid(),
        started=_read_status(os.getpid())[1],
        namespace=_name_namespace(),
        boot=_read_boot(),
        host=socket.gethostname(),
        cluster=environment.get("SLURM_CLUSTER_NAME", "")[:255],
        job="_".join(array) if all(array) else environment.get("SLURM_JOB_ID", "")[:255],
        restarts=int(restarts) if restarts.isdecimal() and len(restarts) < 10 else 0,
        since=datetime.datetime.now().isoformat(" ", "seconds"),
        token=secrets.token_hex(16),
        has_flock=False,
    )


def is_running(owner: Owner) -> bool:
    """Whether the very process lives, which may be suspended; its number must mean the same process here."""
    try:
        state, started = _read_status(owner.pid)
    except (FileNotFoundError, ProcessLookupError):
        return _is_hidden(owner.pid)
    return started == owner.started and state not in _ENDED


def _read_status(pid: int) -> tuple[str, int]:
    """Returns the state of a process, one letter, and when it started, in clock ticks."""
    text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    fields = text.rpartition(")")[2].split()  # before that is its name, which may hold anything
    return fields[0], int(fields[19])


def _is_hidden(pid: int) -> bool:
    """Whether a process is there that /proc does not show, as with its option hidepid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name_namespace() -> str:
    try:
        return str((_PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return ""


def _read_boot() -> str:
    try:
        return (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return ""
