"""Runs checks, each in a process of its own with a time limit: what hangs or crashes there stops nothing else.

A process that waits for a dead file server cannot even be killed. It is left behind: its silence is what is told.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from harness.diagnostics.checks.finding import Finding

_BLOCK = 1 << 16
_END_S = 1.0  # for a process to end once it has said all, or was killed
_OWN_LIMIT_S = 5  # above its limit: it ends by itself then, should the one that waits for it be gone


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes:
      group: of what it finds.
      name: what is said not to answer, or to crash.
      look: yields what it finds; it runs in a process of its own.
      limit_s: seconds without a finding until it is given up.
      silence: what a person can do if it does not answer.
    """

    group: str
    name: str
    look: Callable[[], Iterable[Finding]]
    limit_s: float = 10.0
    silence: str = "Look at that by hand: what the system itself does not answer, harness cannot."


def run(checks: Sequence[Check], *, is_nested: bool = False) -> Iterator[tuple[Finding, ...]]:
    """Starts all checks at once; yields what each found, in their order, as soon as it and those before are over.

    A check that crashes or is silent yields what it had found until then, and a problem that says so. Must be called
    where no other thread runs.

    Args:
      checks: what to look at.
      is_nested: whether a check itself calls it: what it starts is then ended with it.
    """
    started = [_start(check, is_nested=is_nested) for check in checks]
    try:
        for one in started:
            while not one.is_over:
                _listen([other for other in started if not other.is_over])
            yield tuple(one.findings)
    finally:
        for one in started:
            if not one.is_over:
                one.kill()


@dataclass
class _Started:
    """A check that runs: its process, the end of the pipe it tells its findings through, and what it has told."""

    check: Check
    pid: int
    told: int
    deadline: float
    findings: list[Finding] = field(default_factory=list)
    rest: bytes = b""
    is_over: bool = False

    def read(self) -> None:
        """Takes what the check has told since, which gives it its time anew; ends it where it tells no more."""
        block = os.read(self.told, _BLOCK)
        *lines, self.rest = (self.rest + block).split(b"\n")
        if lines:
            self.findings += [Finding(**json.loads(line)) for line in lines]
            self.deadline = time.monotonic() + self.check.limit_s
        if not block:
            self.end()

    def end(self) -> None:
        """Takes the process' end, which has said all it will."""
        os.close(self.told)
        self.is_over = True
        number = self._wait()
        if number:
            self._add(f"ended by {signal.Signals(number).name}", _KILL if number == signal.SIGKILL else _CRASH)

    def give_up(self) -> None:
        self.kill()
        self._add(f"did not answer within {self.check.limit_s:g} s", self.check.silence)

    def kill(self) -> None:
        """Kills it with all that it started, and waits for it no longer than a moment."""
        for kill in (os.killpg, os.kill):  # the second before it has its own group
            with contextlib.suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        os.close(self.told)
        self.is_over = True
        self._wait()

    def _wait(self) -> int:
        """Returns the signal that ended the process, 0 for none, also where it does not end."""
        limit = time.monotonic() + _END_S
        while time.monotonic() < limit:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if not pid:
                    time.sleep(0.005)
                    continue
                return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            break
        return 0

    def _add(self, found: str, fix: str) -> None:
        self.findings.append(Finding(self.check.group, self.check.name, "problem", found, fix))


_KILL = "Something killed it, most often for memory: see dmesg, and give the job more (sbatch --mem=8G)."
_CRASH = (
    "A library of the system or a package crashed: python -X faulthandler -c 'import tensorflow' may show which. "
    "Install it again, in the version of the ranges above; a signal ILL or SEGV may also mean that it was built for "
    "another CPU."
)


def _start(check: Check, *, is_nested: bool) -> _Started:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Started(check, pid, reading, time.monotonic() + check.limit_s)
    try:
        os.close(reading)
        _detach(is_nested=is_nested)
        _tell_all(check, writing)
    finally:
        os._exit(0)  # whatever happened: nothing of the first process' may run or be written twice


def _detach(*, is_nested: bool) -> None:
    """Takes a process out of its terminal: no library's words reach it, and no key ends it."""
    if not is_nested:
        os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def _tell_all(check: Check, writing: int) -> None:
    with os.fdopen(writing, "w", encoding="utf-8") as told:

        def tell(finding: Finding) -> None:
            signal.alarm(int(check.limit_s) + _OWN_LIMIT_S)
            told.write(json.dumps(asdict(finding)) + "\n")  # json escapes what is no valid text
            told.flush()

        signal.alarm(int(check.limit_s) + _OWN_LIMIT_S)
        try:
            for finding in check.look():
                tell(finding)
        except Exception as error:  # told with the check that it stopped
            words = f"could not be looked at: {type(error).__name__}: {error}"
            tell(Finding(check.group, check.name, "unknown", words[:500]))


def _listen(live: Sequence[_Started]) -> None:
    """Reads what comes next from any check, or gives up those whose time is over."""
    wait_s = max(0.0, min(one.deadline for one in live) - time.monotonic())
    readable, _, _ = select.select([one.told for one in live], [], [], wait_s)
    for one in live:
        if one.told in readable:
            one.read()
        elif time.monotonic() > one.deadline:
            one.give_up()
