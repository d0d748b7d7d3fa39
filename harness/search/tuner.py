"""A search from its first trial to its results: the slots work, the winner is tried again, and all is written down."""

import logging
from collections.abc import Callable, Mapping

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.dataset.records.manifest import Manifest
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.search import outcome, progress, retrain
from harness.search.oracle import count_trials
from harness.search.space.space import check_batches
from harness.search.trial_queue import TrialQueue
from harness.search.trials import trial_folder
from harness.search.trials.slot_loop import Queue, Stop, check_stop, work
from harness.search.trials.slots import Slot, list_slots
from harness.search.trials.trial import Trial, rank

log = logging.getLogger("harness")


def search(
    config: Config,
    given: Mapping[str, Setting],
    data: Manifest,
    environment: Mapping[str, str],
    should_stop: Callable[[], str | None],
    *,
    command: str,
    is_shown: bool,
) -> str:
    """Runs what is left of a search; returns what was found, as text for a person.

    Args:
      config: the resolved config, with the search space in its section `tune`.
      given: the settings that were stated, which every trial gets.
      data: the records.
      environment: of this process, which tells its GPUs.
      should_stop: a reason has the running trials save, and ends the search.
      command: what the user typed, for the report.
      is_shown: whether a table shows how it goes.

    Raises:
      InterruptedRun: it was asked to stop; the same call goes on from there.
      UnsavedRun: it was asked to stop before any of its trials had something to save.
      ConfigError: the devices cannot share a batch that may be proposed.
      DataError: no trial finished.
    """
    folder, objective = config.tune.folder, config.train.monitor
    if config.tune.rebuild:
        for name in trial_folder.rebuild(folder, config):
            log.info("trial %s: its record is made anew", name)
    slots = list_slots(config.tune, config.runtime, environment)
    check_batches(config, config.tune.gpus_per_trial)
    stop = Stop(should_stop)
    _work(TrialQueue(config, given, stop), slots, stop, config, is_shown=is_shown)
    trials = load_trials(config)
    if not rank(trials, objective):
        outcome.write_report(config, trials, outcome.Verdict(), slots, command)
        raise DataError(
            f"not one of {len(trials)} trials of the search in {folder} finished, of which {folder}/report.html tells. "
            "Raise --tune.trials, or search for other values in another folder: --tune.folder runs/NEW. The last "
            f"failed: {trials[-1].reason}"
        )
    outcome.write_best(config, given, trials)
    seeds = retrain.make_queue(folder, _choose_configs(config, trials), config.tune.retrain, stop)
    _work(seeds, slots, stop, config, is_shown=False)
    found = outcome.judge(config, data, trials)
    outcome.write_best(config, given, trials, found)
    outcome.write_report(config, trials, found, slots, command)
    return outcome.describe(config, trials, found)


def _choose_configs(config: Config, trials: tuple[Trial, ...]) -> dict[str, Config]:
    """Returns the config of the best and of the default settings to be trained again; none without two to compare."""
    best, default = rank(trials, config.train.monitor)[0], outcome.find_default(config, trials)
    if default is None or best.values == default.values:
        return {}
    chosen = {retrain.BEST: best, retrain.DEFAULT: default}
    return {retrain.label(which, trial): _make_whole(Workdir(trial.run)) for which, trial in chosen.items()}


def _make_whole(workdir: Workdir) -> Config:
    """Returns what a trial was trained with, for all epochs, and in the precision that was in force."""
    config = trial_folder.read_config(workdir)
    changes: dict[str, object] = {"last_epoch": 0}
    if config.train.precision == "auto" and workdir.environment.is_file():
        changes["precision"] = identity.read_effective(workdir).get("precision", "float32")
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def load_trials(config: Config) -> tuple[Trial, ...]:
    """Returns all trials so far, in the order of their start.

    Raises:
      CheckpointError: what is known of one cannot be read.
    """
    found = trial_folder.list_trials(config.tune.folder)
    return tuple(trial_folder.load(run, trial_folder.read(run), config.train.monitor) for run in found)


def _work(queue: Queue, slots: tuple[Slot, ...], stop: Stop, config: Config, *, is_shown: bool) -> None:
    """Has all slots work until the queue is empty.

    Raises:
      InterruptedRun, UnsavedRun: the process was asked to stop.
    """
    tune = config.tune
    table = progress.open_table(
        lambda: load_trials(config), objective=config.train.monitor, total=count_trials(tune), is_shown=is_shown
    )
    with table as show:
        done = work(queue, slots, stop, limit_s=60 * tune.minutes_per_trial, show=show)
    check_stop(stop, done, tune.folder, lambda: sum(trial.status != "running" for trial in load_trials(config)))
