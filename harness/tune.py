"""python -m harness.tune: searches for better settings; a trial is a training in a process of its own."""

import logging
import os
import shlex
from collections.abc import Sequence

from pydantic import BaseModel, TypeAdapter

from harness.base import app, files, json_files, tf_import
from harness.base.errors import CheckpointError, ExitCode
from harness.config import flags, settings
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest
from harness.search.space.space import SEARCHED, check_space
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


class _Records(BaseModel):
    """What is kept of the records a search was begun with."""

    records_sha256: str


_RECORDS = TypeAdapter(_Records)


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    sections = ("data", "augment", "model", "optim", "train", "runtime", "tune")
    parser = flags.make_parser("tune", DESCRIPTION, sections=sections, seed="tune.seed")
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    check_space(config, given)
    data = manifest.load(config.data.records_folder, config.data.images)
    should_stop = app.catch_stop_signals()
    with Claims(config.tune.folder, should_stop).proposing():
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
      CheckpointError: the folder was searched with other settings.
    """
    path, records = config.tune.folder / "config.yaml", config.tune.folder / "records.json"
    if (config.tune.folder / "search" / "oracle.json").exists() and not config.tune.rebuild:
        raise CheckpointError(
            f"{config.tune.folder} holds a search of an earlier version of harness. To take its trials over: "
            "--tune.rebuild true. Or search anew in another folder: --tune.folder runs/NEW"
        )
    if not path.is_file():
        files.write_json(records, {"records_sha256": data.digest})
        files.write_text(path, settings.as_yaml(config, header="The resolved settings of this search."))
        return
    before = settings.make_config(settings.read_file(path))
    if json_files.read(records, _RECORDS).records_sha256 != data.digest:
        raise CheckpointError(
            f"{config.tune.folder} holds a search on other records than {config.data.records_folder} holds now. Give "
            "those records to go on, or another folder: --tune.folder runs/NEW"
        )
    kept = {name: getattr(config.tune, name) for name in _FREE}
    before = before.model_copy(update={"tune": before.tune.model_copy(update=kept)})
    if differing := settings.list_differences(before, config, (*SEARCHED, "tune")):
        raise CheckpointError(
            f"{config.tune.folder} holds a search with other settings: {'; '.join(differing)}. Give the same settings "
            "to go on, or another folder: --tune.folder runs/NEW"
        )


if __name__ == "__main__":
    raise SystemExit(app.run(main))
