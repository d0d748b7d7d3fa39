"""Processes that own a folder or want to, on this machine and on what is another one to the lock.

Another machine is a process in namespaces of its own, with another host name and another boot id. What a file system
does that has no locks, or keeps them on one machine, a process does to itself: its flock fails, or lets everybody in.
"""

import functools
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import command_environment

BEAT_S = 0.2
YIELD_S = 1
FLOCKS = ("real", "none", "local")
_PROGRAM = """
import errno, fcntl, os, sys
from pathlib import Path

folder, flock, share, *rhythm = sys.argv[1:]

def fail(descriptor, kind):
    raise OSError(errno.ENOLCK, "No locks available")

fcntl.flock = {"real": fcntl.flock, "none": fail, "local": lambda descriptor, kind: None}[flock]

from harness.base import app
from harness.locks import lock, shares
from harness.locks.verdict import Rhythm

def hold():
    path, times, clear = Path(folder, ".x.lock"), Rhythm(*map(float, rhythm)), Path(folder, "cleared").touch
    if share == "whole":
        return shares.hold_whole(path, folder, clear, times)
    return shares.hold_share(path, share, folder, clear, times) if share else lock.hold_folder(Path(folder), times)

def main(argv):
    app.start_logging()
    with hold():
        print("held", flush=True)
        for line in sys.stdin:
            Path(folder, "written").write_text(line)
    return 0

sys.exit(app.run(main))
"""
_ENTER = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && hostname "$1" && shift && exec "$@"'
_NAMESPACES = ("--mount", "--propagation=slave", "--uts", "--pid")
_UNSHARE = ("unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", _ENTER)


@dataclass
class Contender:
    """A process that has wanted a folder."""

    process: subprocess.Popen
    pid: int  # as seen from here
    holds: bool

    def write(self) -> None:
        """Has it write a file into the folder."""
        self.process.stdin.write("written by the owner\n")
        self.process.stdin.flush()

    def finish(self) -> tuple[int, str]:
        """Lets it end; returns its exit code, and what it wrote on stderr."""
        errors = self.process.communicate(timeout=60)[1]
        return self.process.returncode, errors


def enter(
    folder: Path,
    *,
    flock: str = "real",
    host: str = "",
    share: str = "",
    still_s: float = 3,
    patience_s: float = 0,
    **environment: str,
) -> Contender:
    """Starts a process that wants the folder, and returns once it has it or has ended.

    Args:
      folder: the folder.
      flock: what the file system does, one of FLOCKS.
      host: the name of another machine; "" for this one.
      share: "whole", or one of the shares in a folder of tasks; "" for a folder without.
      still_s: as in Rhythm.
      patience_s: as in Rhythm.
      environment: variables, such as those of SLURM.
    """
    command = [sys.executable, "-c", _PROGRAM, folder, flock, share, BEAT_S, still_s, patience_s, YIELD_S]
    process = subprocess.Popen(
        [str(word) for word in (*go_to(host, folder.parent), *command)],
        env={**command_environment(), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    holds = process.stdout.readline() == "held\n"
    return Contender(process, _find_child(process.pid) if host and holds else process.pid, holds)


def go_to(host: str, folder: Path) -> tuple[object, ...]:
    """Returns the words that start a command on a machine of that name; "" is this one."""
    if not host:
        return ()
    if not can_unshare():
        pytest.skip("namespaces cannot be made here")
    boot = folder / f"boot_id_of_{host}"
    if not boot.exists():
        boot.write_text(f"{uuid.uuid4()}\n")
    return (*_UNSHARE, boot, host)


def _find_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


@functools.cache
def can_unshare() -> bool:
    """Whether another machine can be had."""
    try:
        done = subprocess.run([*_UNSHARE, "/dev/null", "n1", "true"], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
