"""What a search leaves: best.yaml, report.html, and the text at its end."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base import files
from harness.base.text import cap_rows, format_table, format_value, split_columns, visible
from harness.config import settings
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.dataset.records.manifest import Manifest
from harness.results import predictions
from harness.results.predictions import Predictions
from harness.runs.workdir import Workdir
from harness.search import comparison, retrain
from harness.search.report import page
from harness.search.report.facts import SearchFacts
from harness.search.space.space import default_values, make_trial_config
from harness.search.trials import trial_folder
from harness.search.trials.claims import Claims
from harness.search.trials.slots import Slot
from harness.search.trials.trial import Trial, rank

_BEST, _REPORT = "best.yaml", "report.html"


@dataclass(frozen=True)
class Verdict:
    """Whether the best settings are better than the defaults: a sentence, a table, and the seconds it took."""

    sentence: str = ""
    rows: Sequence[Sequence[object]] = ()
    seconds: float = 0.0


def judge(config: Config, data: Manifest, trials: tuple[Trial, ...]) -> Verdict:
    """Compares the best settings with the defaults by the runs with other seeds that are complete.

    Args:
      config: of the search.
      data: the records, which may have a test split.
      trials: all of the search.

    Raises:
      CheckpointError: what a run says of its pictures cannot be read.
      DataError: the runs were measured on different pictures.
    """
    best, default = rank(trials, config.train.monitor)[0], find_default(config, trials)
    if default is None:
        return Verdict()
    if best.values == default.values:
        run = Workdir(best.run)
        if not run.predictions.is_file():  # of an earlier version
            return Verdict()
        found = comparison.compare(None, [predictions.read(run.predictions)], config.train.monitor)
        return Verdict(comparison.describe(found))
    runs = {
        which: retrain.list_completed(config.tune.folder, retrain.label(which, trial), config.tune.retrain)
        for which, trial in ((retrain.BEST, best), (retrain.DEFAULT, default))
    }
    if not all(runs.values()):
        return Verdict()
    of_best, of_default = (_read(runs[name]) for name in (retrain.BEST, retrain.DEFAULT))
    found = comparison.compare(of_best, of_default, config.train.monitor)
    has_test = "test" in data.splits and data.splits["test"].num_examples > 0
    seconds = sum(trial_folder.read(run).seconds for listed in runs.values() for run in listed)
    sentence = comparison.describe(found, runs[retrain.BEST][0].root if has_test else None)
    return Verdict(sentence, comparison.list_rows(found), seconds)


def find_default(config: Config, trials: tuple[Trial, ...]) -> Trial | None:
    """Returns the first trial of the settings as they are; a search of an earlier version may have none."""
    own = default_values(config)
    return next((trial for trial in trials if trial.values == own), None)


def _read(runs: Sequence[Workdir]) -> list[Predictions]:
    return [predictions.read(run.predictions) for run in runs]


def write_best(
    config: Config, given: Mapping[str, Setting], trials: tuple[Trial, ...], found: Verdict = Verdict()
) -> None:
    """Writes the best settings as a config file, with what is known of them in its head."""
    path, best = config.tune.folder / _BEST, rank(trials, config.train.monitor)[0]
    header = (
        f"The best of {len(trials)} trials: {config.train.monitor} {best.score:.4f}.\n"
        f"{found.sentence or 'Not compared with the default settings.'}\n{_train_command(path)}"
    )
    chosen = make_trial_config(given, best.values, f"trial {best.name}")
    if config.tune.algorithm == "hyperband":
        epochs = {"epochs": config.tune.max_epochs}
        chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update=epochs)})
    _publish(path, settings.as_yaml(chosen, header=header))


def _publish(path: Path, text: str) -> None:
    """Writes a file of the whole search, which its other processes may be about to write, too.

    In containers they may have the same number, and so the same name for what is unfinished.
    """
    with Claims(path.parent, lambda: None).proposing():
        files.remove_unfinished(path)
        files.write_text(path, text)


def _train_command(path: Path) -> str:
    return shlex.join(["python", "-m", "harness.train", "--config", str(path)])


def write_report(
    config: Config, trials: tuple[Trial, ...], found: Verdict, slots: Sequence[Slot], command: str
) -> None:
    """Writes report.html."""
    folder, tune = config.tune.folder, config.tune
    default = find_default(config, trials)
    facts = SearchFacts(
        name=folder.name,
        objective=config.train.monitor,
        algorithm=tune.algorithm,
        trials=trials,
        space=tune.space,
        search_command=command,
        train_command=_train_command(folder / _BEST),
        best_config=folder / _BEST,
        default=default.name if default else "",
        verdict=found.sentence,
        comparison=found.rows,
        comparison_seconds=found.seconds,
        num_slots=len(slots),
        gpus_per_trial=len(slots[0].gpus or ()),
    )
    _publish(folder / _REPORT, page.render(facts))


def describe(config: Config, trials: tuple[Trial, ...], found: Verdict) -> str:
    """Returns what was found, as text for a person: the trials, the best first, and the verdict."""
    objective, folder = config.train.monitor, config.tune.folder
    names = list(config.tune.space)
    rows: list[tuple[str, ...]] = []
    for trial in rank(trials, objective):
        values = (format_value(trial.values[name]) if name in trial.values else "" for name in names)
        rows.append((trial.name, f"{trial.score:.4f}", str(trial.num_epochs), *values))
    shown, more = cap_rows(rows)
    parts = split_columns([("trial", objective, "epochs", *names), *shown], shutil.get_terminal_size((120, 24)).columns)
    lines = ["\n\n".join(map(format_table, parts)) + (f"\n{more}" if more else "")]
    if failed := [trial for trial in trials if trial.status == "failed"]:
        lines.append("\n".join(f"trial {trial.name} failed: {trial.reason}" for trial in failed))
    if found.rows:
        lines.append(format_table([tuple(map(str, row)) for row in found.rows]))
    if found.sentence:
        lines.append(found.sentence)
    board = shlex.join(["tensorboard", "--logdir", str(folder)])
    lines.append(
        f"best settings: {visible(folder / _BEST)}   report: {visible(folder / _REPORT)}   runs: {visible(board)}"
    )
    return "\n\n".join(lines)
