"""The process of a trial: `python -m harness.train` with devices of its own, looked after until it ends."""

import logging
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

log = logging.getLogger("harness")
_LOOK_S = 0.2
_MOST_BETWEEN_S = 10.0  # two looks: who was suspended in between, as by Ctrl-Z, has not trained that long
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
      seconds: for which its processes ran, without those in which this one was suspended.
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


def train(
    workdir: Workdir,
    slot: Slot,
    *,
    should_stop: Callable[[], str | None],
    is_urgent: Callable[[], bool] = lambda: False,
    limit_s: float = 0,
) -> Ending:
    """Trains in the run folder with the config that lies there, until it is complete, has failed or is told to stop.

    A process that is killed is started again, and goes on from its checkpoint, as long as each gets further than the
    one before.

    Args:
      workdir: the run folder.
      slot: the devices.
      should_stop: a reason has the training save and stop.
      is_urgent: whether it is to stop at once, without saving.
      limit_s: seconds after which it is stopped and has failed; 0: none.

    Raises:
      OSError: the log cannot be written, or no process be started.
    """
    seconds, num_idle, first = 0.0, 0, _list_checkpoints(workdir)
    while True:
        before = _list_checkpoints(workdir)
        with workdir.log.open("ab") as own_log:
            start, started_at = own_log.tell(), time.time()
            left_s = limit_s - seconds if limit_s else None
            code, is_late, ran_s = _watch(_start(workdir, slot, own_log), should_stop, is_urgent, left_s)
        seconds += ran_s
        after = _list_checkpoints(workdir)
        spent = Ending(
            ExitCode.DONE if code == ExitCode.DONE else ExitCode.INTERRUPTED,
            seconds=seconds,
            start_seconds=min(ran_s, _measure_start(workdir, started_at)),
            has_saved=after != first,
        )
        if is_late and code != ExitCode.DONE:
            reason = "it took longer than tune.minutes_per_trial"
            return replace(spent, reason=reason, log_end=_read_end(workdir, start))
        if code == ExitCode.DONE or (should_stop() and (code < 0 or code == ExitCode.INTERRUPTED)):
            return spent
        num_idle = num_idle + 1 if after == before else 0
        reason = _explain(workdir, start, code)
        if _is_killed(code) and num_idle < _MOST_IDLE_STARTS:
            log.warning("trial %s: %s; it is started again", workdir.root.name, reason)
            continue
        if _is_killed(code):
            reason += f", {num_idle} times without getting further"
        return replace(spent, exit_code=code, reason=reason, log_end=_read_end(workdir, start))


def _is_killed(code: int) -> bool:
    return code < 0 or code > 128 or code == ExitCode.INTERRUPTED


def _start(workdir: Workdir, slot: Slot, own_log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness.train", "--config", str(workdir.trial_config), "--run", str(workdir.root)]
    # Exports cost a trial seconds, and of most nobody wants any: python -m harness.export makes them later.
    command += ["--runtime.runs_per_node", str(slot.num_on_node), "--runtime.exports", "[]"]
    environment = {key: value for key, value in os.environ.items() if key not in _OF_STEP}
    if slot.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=own_log, stderr=own_log)


def _watch(
    process: subprocess.Popen[bytes],
    should_stop: Callable[[], str | None],
    is_urgent: Callable[[], bool],
    left_s: float | None,
) -> tuple[int, bool, float]:
    """Returns how the process ended, whether that was for its time, and the seconds it ran.

    It is killed where it does not stop.
    """
    ran_s, is_late, last = 0.0, False, time.monotonic()
    told_s: float | None = None
    try:
        while process.poll() is None:
            if told_s is None and (is_late or should_stop()):
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)  # one that is suspended saves, too
                told_s = ran_s
            if is_urgent() or (told_s is not None and ran_s - told_s > _GRACE_S):
                process.kill()
            time.sleep(_LOOK_S)
            now = time.monotonic()
            ran_s, last = ran_s + min(now - last, _MOST_BETWEEN_S), now
            is_late = is_late or (left_s is not None and ran_s > left_s)
    except BaseException:
        process.kill()  # its checkpoint stays
        process.wait()
        raise
    return process.returncode, is_late, ran_s


def _measure_start(workdir: Workdir, started_at: float) -> float:
    """A training writes its environment once it has its devices; a file server's clock may differ from this one's."""
    try:
        return max(0.0, workdir.environment.stat().st_mtime - started_at)
    except OSError:
        return 0.0


def _list_checkpoints(workdir: Workdir) -> list[str]:
    return sorted(path.name for path in workdir.checkpoints.glob("*.index"))


def _read_log(workdir: Workdir, start: int) -> str:
    with workdir.log.open("rb") as own_log:
        own_log.seek(max(start, own_log.seek(0, os.SEEK_END) - _MOST_LOG_BYTES))
        return own_log.read().decode(errors="replace")


def _read_end(workdir: Workdir, start: int) -> tuple[str, ...]:
    return tuple(_read_log(workdir, start).splitlines()[-_NUM_LOG_LINES:])


def _explain(workdir: Workdir, start: int, code: int) -> str:
    """Returns in words why a process failed: its own error, or the signal."""
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        memory = ", most often for memory" if number == signal.SIGKILL else ""
        return f"killed by {name}{memory}"
    text = _read_log(workdir, start)
    if found := _ERROR.findall(text):
        return str(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return f"it ended with {code}" + (f": {lines[-1].strip()}" if lines else "")
