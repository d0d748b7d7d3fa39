"""The process of a trial: `python -m harness.train` with devices of its own, looked after until it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO

from harness.base.errors import ExitCode
from harness.runs.workdir import Workdir
from harness.search.trials.slots import Slot

_LOOK_S = 0.2
_GRACE_S = 300.0  # to save: a validation is not interrupted
_MOST_IDLE_STARTS = 2  # in a row that ended by a signal and had saved nothing new
_NUM_LOG_LINES = 20
_MOST_LOG_BYTES = 1 << 16
# A training is one process here, whatever step of SLURM or cluster the search is a task of.
_OF_STEP = ("TF_CONFIG", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS")
_ERROR = re.compile(r"^error: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes:
      exit_code: 0 if it is complete; 75 if it was told to stop, and goes on when it is started again.
      seconds: for which its processes ran.
      start_seconds: from the last start until it had its devices: the import of TensorFlow, for the most part; 0 if it
        did not get as far.
      has_saved: whether it has left a new checkpoint.
      reason: in words why it failed, or "".
      log_end: the last lines of its log, if it failed.
    """

    exit_code: int
    seconds: float = 0.0
    start_seconds: float = 0.0
    has_saved: bool = False
    reason: str = ""
    log_end: tuple[str, ...] = ()

    @property
    def is_paused(self) -> bool:
        """Whether it goes on when it is started again."""
        return self.exit_code == ExitCode.INTERRUPTED and not self.reason


def train(workdir: Workdir, slot: Slot, *, should_stop: Callable[[], str | None], limit_s: float = 0) -> Ending:
    """Trains in the run folder with the config that lies there, until it is complete, has failed or is told to stop.

    A process that is killed is started again, and goes on from its checkpoint, as long as each gets further than the
    one before.

    Args:
      workdir: the run folder.
      slot: the devices.
      should_stop: a reason has the training save and stop.
      limit_s: seconds after which it is stopped and has failed; 0: none.

    Raises:
      OSError: the log cannot be written, or no process be started.
    """
    started, num_idle, first = time.monotonic(), 0, _list_checkpoints(workdir)
    while True:
        before = _list_checkpoints(workdir)
        with workdir.log.open("ab") as log:
            start, started_at = log.tell(), time.time()
            left_s = limit_s - (time.monotonic() - started) if limit_s else None
            code, is_late = _watch(_start(workdir, slot, log), should_stop, left_s)
        after = _list_checkpoints(workdir)
        spent = Ending(
            ExitCode.DONE if code == ExitCode.DONE else ExitCode.INTERRUPTED,
            seconds=time.monotonic() - started,
            start_seconds=_measure_start(workdir, started_at),
            has_saved=after != first,
        )
        if is_late and code != ExitCode.DONE:
            reason = "it took longer than tune.minutes_per_trial"
            return replace(spent, reason=reason, log_end=_read_end(workdir, start))
        if code == ExitCode.DONE or (should_stop() and (code < 0 or code == ExitCode.INTERRUPTED)):
            return spent
        num_idle = num_idle + 1 if after == before else 0
        is_killed = code < 0 or code > 128 or code == ExitCode.INTERRUPTED
        if not is_killed or num_idle >= _MOST_IDLE_STARTS:
            reason, log_end = _explain(workdir, start, code), _read_end(workdir, start)
            return replace(spent, exit_code=code, reason=reason, log_end=log_end)


def _start(workdir: Workdir, slot: Slot, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness.train", "--config", str(workdir.trial_config), "--run", str(workdir.root)]
    # Exports cost a trial seconds, and of most nobody wants any: python -m harness.export makes them later.
    command += ["--runtime.runs_per_node", str(slot.num_on_node), "--runtime.exports", "[]"]
    environment = {key: value for key, value in os.environ.items() if key not in _OF_STEP}
    if slot.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _watch(
    process: subprocess.Popen[bytes], should_stop: Callable[[], str | None], left_s: float | None
) -> tuple[int, bool]:
    """Returns how the process ended, and whether that was for its time. It is killed where it does not stop."""
    started, told, is_late = time.monotonic(), 0.0, False
    try:
        while process.poll() is None:
            now = time.monotonic()
            is_late = is_late or (left_s is not None and now - started > left_s)
            if not told and (is_late or should_stop()):
                process.send_signal(signal.SIGTERM)
                told = now
            if told and now - told > _GRACE_S:
                process.kill()
            time.sleep(_LOOK_S)
    except BaseException:
        process.kill()  # its checkpoint stays
        process.wait()
        raise
    return process.returncode, is_late


def _measure_start(workdir: Workdir, started_at: float) -> float:
    """A training writes its environment once it has its devices; a file server's clock may differ from this one's."""
    try:
        return max(0.0, workdir.environment.stat().st_mtime - started_at)
    except OSError:
        return 0.0


def _list_checkpoints(workdir: Workdir) -> list[str]:
    return sorted(path.name for path in workdir.checkpoints.glob("*.index"))


def _read_log(workdir: Workdir, start: int) -> str:
    with workdir.log.open("rb") as log:
        log.seek(max(start, log.seek(0, os.SEEK_END) - _MOST_LOG_BYTES))
        return log.read().decode(errors="replace")


def _read_end(workdir: Workdir, start: int) -> tuple[str, ...]:
    return tuple(_read_log(workdir, start).splitlines()[-_NUM_LOG_LINES:])


def _explain(workdir: Workdir, start: int, code: int) -> str:
    """Returns in words why a process failed: its own error, or the signal."""
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        memory = ", most often for memory" if number == signal.SIGKILL else ""
        return f"killed by {name}{memory}, {_MOST_IDLE_STARTS} times without getting further"
    text = _read_log(workdir, start)
    if found := _ERROR.findall(text):
        return str(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return f"it ended with {code}" + (f": {lines[-1].strip()}" if lines else "")
