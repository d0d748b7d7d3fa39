"""Trains the best and the default settings again with other seeds: whether the winner is more than luck.

What the runs come to is compared in comparison.py.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.config.schema import Config
from harness.runs.workdir import Workdir
from harness.search.search_loop import IDLE_S, Taken
from harness.search.trials import trial_folder
from harness.search.trials.child import Ending
from harness.search.trials.claims import Claims
from harness.search.trials.trial import Trial
from harness.search.trials.trial_folder import Record

log = logging.getLogger("harness")
BEST, DEFAULT = "best", "default"


def label(which: str, trial: Trial) -> str:
    """Returns the name of the settings of a trial: with more trials, others may become the best."""
    return f"{which}-{trial.name}"


@dataclass(frozen=True)
class _Wanted:
    name: str
    config: Config


class SeedQueue:
    """The runs of both settings with each seed, as one process of the search sees them."""

    def __init__(
        self, folder: Path, configs: Mapping[str, Config], num_seeds: int, should_stop: Callable[[], str | None]
    ) -> None:
        """Takes the folder of the search, the config of each of the settings by name, and how many seeds each gets.

        The seeds are those that follow the one of the config, with which the search has chosen.
        """
        self._parent, self._should_stop = trial_folder.seeds_of(folder), should_stop
        self._claims = Claims(folder, should_stop)
        self._wanted = [
            _Wanted(_name(which, number), _with_seed(config, config.train.seed + number))
            for number in range(1, num_seeds + 1)
            for which, config in configs.items()
        ]

    def take(self) -> Taken | None:
        """Waits for a run to look after; None once all have ended, or this process is to stop.

        Raises:
          CheckpointError: what is known of a run cannot be read.
        """
        while not self._should_stop():
            is_over = True
            for wanted in self._wanted:
                workdir = Workdir(self._parent / wanted.name)
                if _is_over(workdir):
                    continue
                is_over = False
                claim = self._claims.take(wanted.name)
                if claim is None:
                    continue
                if _is_over(workdir):
                    claim.close()
                    continue
                return self._open(workdir, wanted, claim)
            if is_over:
                return None
            time.sleep(IDLE_S)
        return None

    def _open(self, workdir: Workdir, wanted: _Wanted, claim: ExitStack) -> Taken:
        try:
            if not workdir.root.exists():
                record = Record({"train.seed": wanted.config.train.seed}, {}, 0, trial_folder.now())
                trial_folder.create(self._parent, wanted.name, record, wanted.config)
                log.info("%s: seed %d", wanted.name, wanted.config.train.seed)
            return Taken(workdir, trial_folder.read(workdir), claim)
        except BaseException:
            claim.close()
            raise

    def note(self, taken: Taken, ending: Ending) -> None:
        """Notes how a run ended; one that failed leaves a seed less to compare."""
        name = taken.workdir.root.name
        record = trial_folder.note_ending(taken.workdir, taken.record, ending)
        if ending.is_paused:
            return
        if record.reason:
            log.warning("%s failed: %s", name, record.reason)
        else:
            trial = trial_folder.load(taken.workdir, record, "val_loss")
            log.info("%s: %s", name, ", ".join(f"{key} {value:.4f}" for key, value in (trial.figures or {}).items()))


def list_completed(folder: Path, which: str, num_seeds: int) -> list[Workdir]:
    """Returns the runs of the settings of this name that are complete, in the order of their seeds."""
    found = [Workdir(trial_folder.seeds_of(folder) / _name(which, number)) for number in range(1, num_seeds + 1)]
    return [run for run in found if run.record.is_file() and trial_folder.read(run).status == "completed"]


def _name(which: str, number: int) -> str:
    return f"{which}-seed-{number}"


def _is_over(workdir: Workdir) -> bool:
    return workdir.root.exists() and trial_folder.read(workdir).status != "running"


def _with_seed(config: Config, seed: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
