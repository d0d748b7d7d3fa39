"""python -m harness.tune: searches for better settings; a trial is a training in a process of its own."""

import contextlib
import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from harness.base import app, files, json_files, tf_import
from harness.base.errors import CheckpointError, ConfigError, ExitCode, UnsavedRun
from harness.base.json_files import WrongForm
from harness.base.text import as_word
from harness.config import flags, settings
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest
from harness.search.space.space import SEARCHED, check_space
from harness.search.trials import claims, trial_folder
from harness.search.trials.claims import Claims

log = logging.getLogger("harness")
DESCRIPTION = """\
Searches for better settings. The search space is in the config file, under tune.space. The same command on an
interrupted search goes on where it stopped; given several times, at once or on several machines, it works on one search
together. Every trial is a run folder; the best settings end in best.yaml, and report.html tells what was found.

  python -m harness.tune --config configs/tune.yaml
  python -m harness.train --config runs/tune/best.yaml
"""
# What another start of a search may change: how it is worked on, and how far.
_FREE = ("folder", "trials", "slots", "gpus_per_trial", "minutes_per_trial", "max_failures", "retrain", "rebuild")
_TRIALS = {"trials", "search"}  # what the folder of a search has once one was begun; the last of an earlier version
_OURS = {"best.yaml", "config.yaml", "report.html", "retrain", *_TRIALS}


class _Records(BaseModel):
    """What is kept of the records a search was begun with."""

    records_sha256: str


_RECORDS = TypeAdapter(_Records)


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    sections = ("data", "augment", "model", "optim", "train", "runtime", "tune")
    parser = flags.make_parser("tune", DESCRIPTION, sections=sections, seed="tune.seed", hidden=("train.run",))
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    if hasattr(arguments, "train.run"):
        raise ConfigError(
            f"--run {config.train.run} is for one training; a search has a run folder for each trial. Say where the "
            f"search itself lies: --tune.folder {as_word(config.train.run)}"
        )
    check_space(config, given)
    data = manifest.load(config.data.records_folder, config.data.images)
    is_begun = any((config.tune.folder / name).exists() for name in _TRIALS)
    claims.refuse_others(
        config.tune.folder, "records.json", _OURS if is_begun else (), what="a search", flag="--tune.folder"
    )
    should_stop = app.catch_stop_signals()
    with Claims(config.tune.folder, should_stop).proposing() as is_alone:
        if not is_alone:
            reason = should_stop() or ""
            raise UnsavedRun(f"stopped by {reason} before the first trial; the same command starts it.", reason)
        _claim_folder(config, data)
    tf_import.import_tensorflow()  # which KerasTuner imports, too
    from harness.search import tuner

    text = tuner.search(
        config,
        given,
        data,
        os.environ,
        should_stop,
        command=shlex.join(["python", "-m", "harness.tune", *argv]),
        is_shown=not arguments.quiet,
    )
    app.show(text)
    return ExitCode.DONE


def _claim_folder(config: Config, data: Manifest) -> None:
    """Refuses a folder that holds another search, whose trials would be mixed with this one's.

    Raises:
      CheckpointError: the folder was searched with other settings or other records, or does not say with which.
    """
    folder = config.tune.folder
    path, records = folder / "config.yaml", folder / "records.json"
    if not config.tune.rebuild:
        _check_readable(folder, path, records)
    with contextlib.suppress(ConfigError):
        _check_settings(config, _read_search(path))
    with contextlib.suppress(WrongForm):
        if json_files.read(records, _RECORDS).records_sha256 != data.digest:
            raise CheckpointError(
                f"{folder} holds a search on other records than {config.data.records_folder} holds now. Give those "
                "records to go on, or another folder: --tune.folder runs/NEW"
            )
    if config.tune.rebuild or not path.exists():
        for each in (records, path):
            files.remove_unfinished(each)
        files.write_json(records, {"records_sha256": data.digest})
        files.write_text(path, settings.as_yaml(config, header="The resolved settings of this search."))


def _check_readable(folder: Path, path: Path, records: Path) -> None:
    """Looks whether a folder in which trials were begun says what is searched in it.

    Raises:
      CheckpointError: it does not.
    """
    if (folder / "search" / "oracle.json").exists() and not records.exists():
        raise CheckpointError(
            f"{folder} holds a search of an earlier version of harness. To take its trials over: --tune.rebuild true. "
            "Or search anew in another folder: --tune.folder runs/NEW"
        )
    if not path.exists() and not trial_folder.list_trials(folder):
        return
    try:
        _read_search(path)
        json_files.read(records, _RECORDS)
    except (ConfigError, WrongForm) as error:
        told = error if isinstance(error, ConfigError) else f"{records} cannot be read: {error}."
        raise CheckpointError(
            f"{told} So {folder} does not say what is searched in it. If it is just this, --tune.rebuild true writes "
            "that anew. Or search in another folder: --tune.folder runs/NEW"
        ) from None


def _read_search(path: Path) -> Config:
    """Returns the config that a search was begun with.

    Raises:
      ConfigError: the file is damaged or missing, or of no search.
    """
    config = settings.make_config(settings.read_file(path))
    if not config.tune.space:
        raise ConfigError(f"{path} has no tune.space.")
    return config


def _check_settings(config: Config, before: Config) -> None:
    """Compares the settings of a search with those it was begun with.

    Raises:
      CheckpointError: they differ.
    """
    kept = {name: getattr(config.tune, name) for name in _FREE}
    before = before.model_copy(update={"tune": before.tune.model_copy(update=kept)})
    if differing := settings.list_differences(before, config, (*SEARCHED, "tune")):
        raise CheckpointError(
            f"{config.tune.folder} holds a search with other settings: {'; '.join(differing)}. Give the same settings "
            "to go on, or another folder: --tune.folder runs/NEW"
        )


if __name__ == "__main__":
    raise SystemExit(app.run(main, continues=True))
