"""Trainings that are known beforehand, as a queue: seeds of the same settings, folds of the same pictures."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.config.schema import Config
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.search.space.combinations import Value
from harness.search.trials import trial_folder
from harness.search.trials.child import Ending
from harness.search.trials.claims import Claims
from harness.search.trials.slot_loop import IDLE_S, Taken
from harness.search.trials.trial import describe_values
from harness.search.trials.trial_folder import Record

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Wanted:
    """A training that shall be done: the name of its folder, its settings, and those of them that tell it apart."""

    name: str
    config: Config
    values: Mapping[str, Value]


class FixedQueue:
    """The trainings that are wanted, as one of the processes sees them that work on them."""

    def __init__(
        self, folder: Path, parent: Path, wanted: Sequence[Wanted], should_stop: Callable[[], str | None]
    ) -> None:
        """Takes what is to be trained.

        Args:
          folder: of the whole, where the claims lie.
          parent: the folder of the run folders.
          wanted: in the order in which they are begun.
          should_stop: waiting ends with a reason.
        """
        self._parent, self._wanted, self._should_stop = parent, tuple(wanted), should_stop
        self._claims = Claims(folder, should_stop)

    def take(self) -> Taken | None:
        """Waits for a training to look after; None once all have ended, or this process is to stop.

        Raises:
          CheckpointError: what is known of a training cannot be read.
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
                config = None if _is_over(workdir) else self._settle(wanted)
                if config is None:
                    claim.close()
                    continue
                return self._open(workdir, wanted, config, claim)
            if is_over:
                return None
            time.sleep(IDLE_S)
        return None

    def _settle(self, wanted: Wanted) -> Config | None:
        """Returns the settings with the precision that the first training has found, or they would not compare.

        None while the first has not found it.
        """
        config, runs = wanted.config, [Workdir(self._parent / other.name) for other in self._wanted]
        if config.train.precision != "auto":
            return config
        begun = [run for run in runs if run.root.exists()]
        known = next((run for run in begun if run.config.is_file() and run.environment.is_file()), None)
        if known is None:
            is_first = not begun or begun[0].root.name == wanted.name
            return config if is_first else None
        precision = identity.read_effective(known).get("precision", "float32")
        return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})

    def _open(self, workdir: Workdir, wanted: Wanted, config: Config, claim: ExitStack) -> Taken:
        try:
            if not workdir.root.exists():
                record = Record(dict(wanted.values), {}, 0, trial_folder.now())
                trial_folder.create(self._parent, wanted.name, record, config)
                log.info("%s: %s", wanted.name, describe_values(wanted.values))
            return Taken(workdir, trial_folder.read(workdir), claim)
        except BaseException:
            claim.close()
            raise

    def note(self, taken: Taken, ending: Ending) -> None:
        """Notes how a training ended; one that failed is left so."""
        name = taken.workdir.root.name
        record = trial_folder.note_ending(taken.workdir, taken.record, ending)
        if ending.is_paused:
            return
        if record.reason:
            log.warning("%s failed: %s", name, record.reason)
        else:
            trial = trial_folder.load(taken.workdir, record, "val_loss")
            log.info("%s: %s", name, ", ".join(f"{key} {value:.4f}" for key, value in (trial.figures or {}).items()))


def _is_over(workdir: Workdir) -> bool:
    return workdir.root.exists() and trial_folder.read(workdir).status != "running"
