"""The trials of a search as a queue: which is taken over, which is tried next, and how each ended.

What is tried is for oracle.py to say, who does it for claims.py.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import ConfigError, DataError, HarnessError, MemoryLimitError
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.search import hparams
from harness.search.oracle import propose
from harness.search.space.space import make_trial_config
from harness.search.trials import trial_folder
from harness.search.trials.child import Ending
from harness.search.trials.claims import Claims
from harness.search.trials.slot_loop import IDLE_S, Taken
from harness.search.trials.trial import describe_values
from harness.search.trials.trial_folder import Record

log = logging.getLogger("harness")
_OF_TRIAL = {int(kind.exit_code): kind for kind in (ConfigError, MemoryLimitError)}


@dataclass(frozen=True)
class _Known:
    """A trial as its folder has it now."""

    workdir: Workdir
    record: Record

    @property
    def name(self) -> str:
        return self.workdir.root.name


class TrialQueue:
    """The trials of a search, as one of its processes sees them."""

    def __init__(self, config: Config, given: Mapping[str, Setting], should_stop: Callable[[], str | None]) -> None:
        """Takes what is searched.

        Args:
          config: the resolved config, with the search space in its section `tune`.
          given: the settings that were stated, which every trial gets.
          should_stop: waiting ends with a reason.
        """
        self._config, self._given, self._should_stop = config, given, should_stop
        self._folder = config.tune.folder
        self._claims = Claims(self._folder, should_stop)
        self._failed_in_a_row: list[tuple[str, Record]] = []
        self._lock = threading.Lock()

    def take(self) -> Taken | None:
        """Waits for a trial to look after; None once nothing is left, or this process is to stop.

        Raises:
          CheckpointError: what is known of a trial cannot be read.
        """
        while not self._should_stop():
            with self._claims.proposing() as may_propose:
                if not may_propose:
                    return None
                known = [_Known(path, trial_folder.read(path)) for path in trial_folder.list_trials(self._folder)]
                if (taken := self._take_over(known)) is not None:
                    return taken
                is_over, taken = self._begin(known)
                if taken is not None or is_over:
                    return taken
            time.sleep(IDLE_S)
        return None

    def _take_over(self, known: list[_Known]) -> Taken | None:
        """Returns a trial that was begun and that nobody looks after any more."""
        for one in known:
            if one.record.status != "running" or (claim := self._claims.take(one.name)) is None:
                continue
            with ExitStack() as undo:
                undo.push(claim)
                record = trial_folder.read(one.workdir)
                if record.status == "running":  # it may have ended since, and its claim been closed
                    log.info("trial %s: going on", one.name)
                    undo.pop_all()
                    return Taken(one.workdir, record, claim)
        return None

    def _begin(self, known: list[_Known]) -> tuple[bool, Taken | None]:
        """Returns whether nothing is left to try or to wait for, and the next trial, if there is one."""
        precision = self._find_precision(known)
        is_any_running = any(one.record.status == "running" for one in known)
        if precision is None and is_any_running:
            return False, None  # the first decides for all
        name = f"{int(known[-1].name) + 1 if known else 0:03d}"
        proposal = propose(self._config, name, {one.name: one.record for one in known}, self._read_scores(known))
        if proposal.status != "RUNNING":
            return proposal.status == "STOPPED" and not is_any_running, None
        record = Record(dict(proposal.values), dict(proposal.plan), proposal.draws, trial_folder.now())
        origin = next((one.workdir for one in known if one.name == record.plan.get("tuner/trial_id")), None)
        config = self._make_config(name, record, origin, precision or "auto")
        if (claim := self._claims.take(name)) is None:
            return False, None  # of an earlier start of the search, which was killed just before this
        try:
            workdir = trial_folder.create(trial_folder.trials_of(self._folder), name, record, config, origin=origin)
        except BaseException:
            claim.close()
            raise
        log.info("trial %s: %s", name, describe_values(record.values))
        return False, Taken(workdir, record, claim)

    def _read_scores(self, known: list[_Known]) -> dict[str, float]:
        loaded = (trial_folder.load(one.workdir, one.record, self._config.train.monitor) for one in known)
        return {trial.name: trial.score for trial in loaded if trial.score is not None}

    def _find_precision(self, known: list[_Known]) -> str | None:
        """Returns what all trials get that leave the precision open, or they would not compare; None if undecided."""
        if self._config.train.precision != "auto" or "train.precision" in self._config.tune.space:
            return self._config.train.precision
        for one in known:
            if one.workdir.config.is_file() and one.workdir.environment.is_file():
                return str(identity.read_effective(one.workdir).get("precision", "float32"))
        return None

    def _make_config(self, name: str, record: Record, origin: Workdir | None, precision: str) -> Config:
        """Returns what a trial is trained with."""
        plan = record.plan
        changes: dict[str, object] = {}
        if origin is not None:
            config = trial_folder.read_config(origin)
        else:
            config = make_trial_config(self._given, record.values, f"trial {name}")
            changes = {"precision": precision} if config.train.precision == "auto" else {}
        if plan:  # Hyperband: one schedule for all, of which a trial has the first epochs
            changes |= {"epochs": self._config.tune.max_epochs, "last_epoch": plan["tuner/epochs"], "min_epochs": 1}
        return config.model_copy(update={"train": config.train.model_copy(update=changes)})

    def note(self, taken: Taken, ending: Ending) -> None:
        """Notes how a trial ended.

        Raises:
          CheckpointError: its figures cannot be read.
          HarnessError: as many trials in a row have failed as `tune.max_failures` allows.
        """
        workdir, name = taken.workdir, taken.workdir.root.name
        record = trial_folder.note_ending(workdir, taken.record, ending)
        if ending.is_paused:
            return
        if record.reason:
            log.warning("trial %s failed: %s", name, record.reason)
            hparams.write_failed(workdir, record.values)
        else:
            trial = trial_folder.load(workdir, record, self._config.train.monitor)
            log.info("trial %s: %s %.4f, %.0f s", name, self._config.train.monitor, trial.score, record.seconds)
        with self._lock:
            self._failed_in_a_row = [*self._failed_in_a_row, (name, record)] if record.reason else []
            if len(self._failed_in_a_row) >= self._config.tune.max_failures:
                raise _tell_failures(self._failed_in_a_row, self._folder)


def _tell_failures(failed: list[tuple[str, Record]], folder: Path) -> HarnessError:
    """Returns the error of trials that have failed in a row, of the kind of the last."""
    last, names = failed[-1][1], ", ".join(name for name, _ in failed)
    which = "all alike" if len({record.reason for _, record in failed}) == 1 else "the last"
    return _OF_TRIAL.get(last.exit_code, DataError)(
        f"{len(failed)} trials in a row have failed ({names}), {which}: {last.reason} "
        f"Their logs are {folder}/trials/NAME/train.log. The same command goes on with other values; "
        "--tune.max_failures allows more."
    )
