"""python -m harness.tune: searches for better settings with KerasTuner; a trial is one run of the training loop."""

import logging
import os
from collections.abc import Mapping, Sequence

from harness.base import app, files, tf_import
from harness.base.errors import CheckpointError, ExitCode
from harness.base.text import format_table, format_value
from harness.config import flags, settings
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.dataset.records import manifest, staging
from harness.locks import lock
from harness.search.space import SEARCHED, check_space, make_trial_config

log = logging.getLogger("harness")
DESCRIPTION = """\
Searches for better settings. The search space is in the config file, under tune.space. The same command on an
interrupted search goes on where it stopped. Every trial is a run folder; the best settings end in best.yaml.

  python -m harness.tune --config configs/tune.yaml
  python -m harness.train --config runs/tune/best.yaml
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    sections = ("data", "augment", "model", "optim", "train", "runtime", "tune")
    parser = flags.make_parser("tune", DESCRIPTION, sections=sections, seed="tune.seed")
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    check_space(config, given)
    data = manifest.load(config.data.records_folder, config.data.images)
    with lock.hold_folder(config.tune.folder):
        _claim_folder(config)
        return _search(config, given, data)


def _search(config: Config, given: Mapping[str, Setting], data: manifest.Manifest) -> int:
    should_stop = app.catch_stop_signals()
    records = staging.find_records(config.data, data, os.environ, should_stop)
    tf_import.import_tensorflow()
    from harness.search import tuner

    trials = tuner.search(config, given, data, records, should_stop)
    best = trials[0]
    best_config = make_trial_config(given, best.hyperparameters.values, "best trial")
    path = config.tune.folder / "best.yaml"
    header = (
        f"The best of {len(trials)} trials: {config.tune.objective} {best.score:.4f}.\n"
        f"python -m harness.train --config {path}"
    )
    files.write_text(path, settings.as_yaml(best_config, header=header))
    app.show(_describe(trials, config))
    return ExitCode.DONE


def _claim_folder(config: Config) -> None:
    """Refuses a folder that holds another search, whose trials would be mixed with this one's.

    Raises:
      CheckpointError: the folder was searched with other settings.
    """
    path = config.tune.folder / "config.yaml"
    if not path.is_file():
        files.write_text(path, settings.as_yaml(config, header="The resolved settings of this search."))
        return
    before = settings.make_config(settings.read_file(path))
    if differing := settings.list_differences(before, config, (*SEARCHED, "tune")):
        raise CheckpointError(
            f"{config.tune.folder} holds a search with other settings: {'; '.join(differing)}. Give the same settings "
            "to go on, or another folder: --tune.folder runs/NEW"
        )


def _describe(trials: Sequence, config: Config) -> str:
    names = list(config.tune.space)
    rows = [("trial", config.tune.objective, *names)]
    rows += [
        (trial.trial_id, f"{trial.score:.4f}", *(format_value(trial.hyperparameters.values[name]) for name in names))
        for trial in trials
    ]
    folder = config.tune.folder
    return f"{format_table(rows)}\n\nbest settings: {folder / 'best.yaml'}   runs: tensorboard --logdir {folder}"


if __name__ == "__main__":
    raise SystemExit(app.run(main))
