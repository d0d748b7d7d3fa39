"""Machines made of kernel namespaces: an own host name, network, processes and mounts, the same files and kernel.

It is not for what needs another kernel, a disk of its own or limits of memory.

A machine is the process id 1 of its namespaces, this file run as a program. It reads a pipe whose other end only the
tests hold: once that is closed, also because the tests were killed, it ends, and the kernel ends all that runs in it.
"""

import contextlib
import ipaddress
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COMMANDS = {"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux", "ip": "iproute2"}
LIMIT_S = 60  # for what takes a moment; a busy machine takes longer
_SBIN = ":/usr/sbin:/sbin"  # where daemons lie, and users have no need to look
PATH = os.environ["PATH"] + _SBIN
_READY = b"ready\n"


def switch_on(name: str, *, mounts: Mapping[Path, str]) -> "Machine":
    """Starts a machine, without a network but for its loopback interface until it is connected.

    Args:
      name: its host name.
      mounts: files and folders here, with the existing places where the machine sees them.

    Raises:
      RuntimeError: the kernel or the rights of this process do not allow it.
    """
    namespaces = ["--net", "--uts", "--mount", "--propagation=slave", "--ipc", "--pid"]
    process = subprocess.Popen(
        ["unshare", *namespaces, "--fork", "--kill-child", "--mount-proc", sys.executable, __file__, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests, which then end the machine
    )
    machine = Machine(name, process)
    try:
        told, _, _ = select.select([process.stdout], [], [], LIMIT_S)
        if not told or process.stdout.readline() != _READY:
            process.kill()
            raise RuntimeError(f"no machine: {process.stderr.read().decode().strip() or 'it did not start'}")
        for source, target in mounts.items():
            machine.run("mount", "--bind", source, target)
        machine.run("ip", "link", "set", "lo", "up")
    except BaseException:
        machine.switch_off()
        raise
    return machine


@dataclass(frozen=True)
class Machine:
    """A running machine."""

    name: str
    process: subprocess.Popen  # unshare, whose child is the machine's process id 1

    @property
    def is_on(self) -> bool:
        return self.process.poll() is None

    def run(
        self,
        *command: object,
        limit_s: float = LIMIT_S,
        cwd: Path | str = "/",
        environment: Mapping[str, str] = os.environ,
    ) -> str:
        """Runs a command in it as this user; returns what it printed.

        Raises:
          RuntimeError: it ended with another code than 0.
          TimeoutExpired: it took longer than the limit, and was killed.
        """
        words = [str(word) for word in command]
        done = subprocess.run(
            [*self._enter(), "env", f"--chdir={cwd}", *words],
            env={**environment, "PATH": f"{environment['PATH']}{_SBIN}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout.strip()

    def _enter(self) -> Sequence[str]:
        target = self.process.pid
        spaces = ["--net", "--uts", "--mount", "--ipc", f"--pid=/proc/{target}/ns/pid_for_children"]
        # nsenter stands between, and what it started would outlive its being killed.
        return ["nsenter", "--target", str(target), *spaces, "--", "setpriv", "--pdeathsig", "KILL", "--"]

    def make_switch(self, address: str) -> None:
        """Makes it the switch that others are connected to, with an address such as 198.18.0.1/24."""
        self.run("ip", "link", "add", "switch", "type", "bridge")
        self.run("ip", "address", "add", address, "dev", "switch")
        self.run("ip", "link", "set", "switch", "up")

    def connect(self, other: "Machine", address: str) -> None:
        """Connects another machine to this one, the switch; the address is one such as 198.18.0.11/24."""
        # The kernel removes the port of a machine that was switched off, but later.
        port = f"port-{other.process.pid}"
        # The others remember which hardware has an address, also if the machine was switched off meanwhile.
        hardware = f"02:00:00:00:00:{ipaddress.ip_interface(address).packed[-1]:02x}"
        # From inside a machine the process id of the other one would mean nothing.
        enter_network = ["nsenter", "--target", str(self.process.pid), "--net", "--"]
        ends = [port, "type", "veth", "peer", "name", "eth0", "address", hardware, "netns", str(other.process.pid)]
        done = subprocess.run(
            [*enter_network, "ip", "link", "add", *ends],
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"no network for {other.name}: {done.stderr.decode().strip()}")
        self.run("ip", "link", "set", port, "master", "switch", "up")
        other.run("ip", "address", "add", address, "dev", "eth0")
        other.run("ip", "link", "set", "eth0", "up")

    def switch_off(self) -> None:
        """Ends it at once, as a power cut would; returns when none of its processes lives."""
        self.process.stdin.close()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LIMIT_S)
        self.process.stdout.close()
        self.process.stderr.close()


def _live_until_the_pipe_ends(name: str) -> None:
    """What process id 1 does: the name, the orphans of all others, and the end."""

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    signal.signal(signal.SIGCHLD, reap)
    socket.sethostname(name)
    os.write(1, _READY)
    while os.read(0, 1):
        pass


if __name__ == "__main__":
    _live_until_the_pipe_ends(sys.argv[1])
