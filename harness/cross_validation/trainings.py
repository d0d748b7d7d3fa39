"""The trainings of a cross-validation: which there are, and with what each is trained and measured.

Each is trained for all its epochs on the other folds, and its last weights are measured on its own. Choosing an epoch
by the fold that is measured would flatter the figures. An inner split for that choice would take a fifth of the
pictures from the training, and be too small to choose by: sets that need cross-validation are small.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.base.errors import CheckpointError, ConfigError
from harness.config import settings
from harness.config.schema import Config
from harness.cross_validation.folds import NUM_PARTS
from harness.runs.workdir import Workdir
from harness.search.trials import trial_folder
from harness.search.trials.child import Ending
from harness.search.trials.fixed_queue import FixedQueue, Wanted
from harness.search.trials.slot_loop import Taken

CURVE_PARTS = (1, 2)  # of NUM_PARTS, beside all of them
KEPT = ("augment", "model", "optim", "train")  # sections that must be the same to go on
# What each training is trained with, whatever is given.
FIXED = MappingProxyType({"train.keep": "last", "train.last_epoch": "0"})
_RUNS = "trainings"


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
      setting: the name of its settings.
      repeat: which division of the pictures into folds, from 0.
      fold: the one it is measured on, from 0.
      num_parts: how many parts of each other fold it is trained on.
    """

    setting: str
    repeat: int
    fold: int
    num_parts: int = NUM_PARTS

    @property
    def name(self) -> str:
        """Of its run folder; folds and repeats are counted from 1 where people see them."""
        part = "" if self.num_parts == NUM_PARTS else f"-{self.num_parts}-of-{NUM_PARTS}-parts"
        return f"{self.setting}-repeat-{self.repeat + 1}-fold-{self.fold + 1}{part}"


def check(config: Config, name: str) -> None:
    """Looks whether settings can be measured so.

    Args:
      config: the settings.
      name: what they are called.

    Raises:
      ConfigError: the fold that is measured would have a say in the training, or its pictures may have been seen.
    """
    if config.optim.schedule == "plateau":
        raise ConfigError(
            f"optim.schedule is plateau in {name}: the learning rate would follow the pictures that are measured. Give "
            "--optim.schedule cosine or constant."
        )
    if config.train.start_from is not None:
        raise ConfigError(
            f"train.start_from is {config.train.start_from} in {name}: its weights may have seen the pictures that are "
            "measured. Leave it out."
        )


def refuse_replaced(typed: Mapping[str, settings.Setting], config: Config) -> None:
    """Refuses flags that ask for another value of what is fixed; that of a file holds for other commands.

    Args:
      typed: the settings that were given as flags.
      config: the settings.

    Raises:
      ConfigError: a flag asks for another.
    """
    for name, value in FIXED.items():
        section, field = name.split(".")
        asked = getattr(getattr(config, section), field)
        if str(asked) != value and name in typed:
            raise ConfigError(
                f"flag --{name}: {name} is {asked}, but each training of a cross-validation is measured after its last "
                "epoch: an epoch chosen by the pictures that are measured would flatter the figures. Leave it out."
            )


def list_trainings(
    settings: Sequence[str], num_folds: int, num_repeats: int, *, with_curve: bool
) -> tuple[Training, ...]:
    """Returns all trainings in the order in which they are begun; the first settings have those of a learning curve."""
    found = []
    for repeat in range(num_repeats):
        for fold in range(num_folds):
            found += [Training(setting, repeat, fold) for setting in settings]
            found += [Training(settings[0], repeat, fold, parts) for parts in CURVE_PARTS if with_curve]
    return tuple(found)


def make_config(config: Config, training: Training, records: Path) -> Config:
    """Returns what a training is trained with: its own records and seed, and no choice by what is measured."""
    train = {"keep": "last", "seed": config.train.seed + training.repeat, "run": None, "last_epoch": 0}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"records": records}),
            "train": config.train.model_copy(update=train),
        }
    )


def workdir_of(folder: Path, training: Training) -> Workdir:
    """Returns the run folder of a training."""
    return Workdir(folder / _RUNS / training.name)


def are_begun(folder: Path) -> bool:
    """Returns whether there is any training in the folder of a cross-validation."""
    parent = folder / _RUNS
    return parent.is_dir() and any(not path.name.startswith(".") for path in parent.iterdir())


class TrainingQueue(FixedQueue):
    """The trainings, of which no complete one keeps its checkpoints: nobody goes on with it."""

    def note(self, taken: Taken, ending: Ending) -> None:
        """Notes how a training ended; one that failed is left so."""
        super().note(taken, ending)
        if not ending.is_paused and not ending.reason:
            shutil.rmtree(taken.workdir.checkpoints.parent, ignore_errors=True)


def make_queue(
    folder: Path, configs: Mapping[Training, Config], should_stop: Callable[[], str | None]
) -> TrainingQueue:
    """Returns the queue of these trainings, of which those that failed in an earlier start are tried again.

    Raises:
      CheckpointError: one was begun with other settings, or does not say any more with which.
    """
    for training, config in configs.items():
        workdir = workdir_of(folder, training)
        if not workdir.root.exists():
            continue
        record = trial_folder.read(workdir)
        _check_same(workdir, config, training.setting)
        if record.status == "failed":
            trial_folder.write(workdir, trial_folder.begin_again(record))
    wanted = [
        Wanted(training.name, config, {"fold": training.fold + 1, "repeat": training.repeat + 1})
        for training, config in configs.items()
    ]
    return TrainingQueue(folder, folder / _RUNS, wanted, should_stop)


def _check_same(workdir: Workdir, config: Config, name: str) -> None:
    try:
        before = settings.make_config(settings.read_file(workdir.trial_config))
    except ConfigError as error:
        raise CheckpointError(f"{error} Or remove {workdir.root}, and the same command trains it again.") from None
    now = settings.make_absolute(config)
    if config.train.precision == "auto":  # of which the training has what was found for the first one
        now = now.model_copy(update={"train": now.train.model_copy(update={"precision": before.train.precision})})
    if differing := settings.list_differences(before, now, KEPT):
        raise CheckpointError(
            f"{workdir.root} was trained with other settings than {name} has now: {'; '.join(differing)}. Give the "
            "same to go on, the new ones in a file of another name, or another folder: --run runs/NEW"
        )
