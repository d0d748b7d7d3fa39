"""Trains the best and the default settings again with other seeds: whether the winner is more than luck.

What the runs come to is compared in comparison.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.config.schema import Config
from harness.runs.workdir import Workdir
from harness.search.trials import trial_folder
from harness.search.trials.fixed_queue import FixedQueue, Wanted
from harness.search.trials.trial import Trial

BEST, DEFAULT = "best", "default"


def label(which: str, trial: Trial) -> str:
    """Returns the name of the settings of a trial: with more trials, others may become the best."""
    return f"{which}-{trial.name}"


def make_queue(
    folder: Path, configs: Mapping[str, Config], num_seeds: int, should_stop: Callable[[], str | None]
) -> FixedQueue:
    """Returns the runs of both settings with each seed.

    Args:
      folder: of the search.
      configs: of each of the settings, by name.
      num_seeds: how many each gets: those that follow the one of its config, with which the search has chosen.
      should_stop: waiting ends with a reason.
    """
    wanted = [
        Wanted(_name(which, number), _with_seed(config, seed), {"train.seed": seed})
        for number in range(1, num_seeds + 1)
        for which, config in configs.items()
        for seed in (config.train.seed + number,)
    ]
    return FixedQueue(folder, trial_folder.seeds_of(folder), wanted, should_stop)


def list_completed(folder: Path, which: str, num_seeds: int) -> list[Workdir]:
    """Returns the runs of the settings of this name that are complete, in the order of their seeds."""
    found = [Workdir(trial_folder.seeds_of(folder) / _name(which, number)) for number in range(1, num_seeds + 1)]
    return [run for run in found if run.record.is_file() and trial_folder.read(run).status == "completed"]


def _name(which: str, number: int) -> str:
    return f"{which}-seed-{number}"


def _with_seed(config: Config, seed: int) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
