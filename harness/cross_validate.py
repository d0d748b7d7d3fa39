"""python -m harness.cross_validate: how good settings are, by pictures that no model in question has seen."""

import argparse
import json
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.base import app, files, json_files, tf_import
from harness.base.errors import CheckpointError, ConfigError, ExitCode, UnsavedRun
from harness.base.json_files import WrongForm
from harness.config import flags, settings
from harness.config.schema import Config
from harness.cross_validation import trainings
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest
from harness.runs.workdir import RUNS, find_name
from harness.search.trials import claims
from harness.search.trials.claims import Claims

log = logging.getLogger("harness")
DESCRIPTION = """\
Divides the pictures of a records folder into folds, trains once for each fold on the others, and measures each picture
by a model that has seen neither it nor its group. It tells how good the settings are, and which labels are probably
wrong. The same command on an interrupted one goes on where it stopped.

  python -m harness.cross_validate                                          the sample records -> runs/emotion_cnn-cv
  python -m harness.cross_validate --config configs/residual_cnn.yaml --records tfrecords/flowers --run runs/flowers-cv
  python -m harness.cross_validate --against configs/residual_cnn.yaml      which of two settings is better
"""
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")
_OF_SLOTS = ("tune.slots", "tune.gpus_per_trial", "tune.minutes_per_trial")
_ASKED, _CONFIG = "cross_validation.json", "config.yaml"


class _Asked(BaseModel):
    """What is kept of the question that a folder answers."""

    model_config = ConfigDict(extra="forbid")
    records_sha256: str
    folds: int


_FORM = TypeAdapter(_Asked)


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser("cross_validate", DESCRIPTION, sections=_SECTIONS, seed="train.seed", others=_OF_SLOTS)
    parser.add_argument("--folds", type=flags.whole(2, 50), default=5, metavar="K", help="2 to 50 (default: 5)")
    parser.add_argument(
        "--repeats", type=flags.whole(1, 100), default=1, metavar="R", help="divisions into folds (default: 1)"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="config file of settings to compare these with, on the same records and folds; of what is given beside it "
        "data, runtime, tune and train.seed hold for both, everything else for these alone",
    )
    parser.add_argument(
        "--learning-curve", action="store_true", help="train on a quarter and on half of the groups, too"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments, fixed=trainings.FIXED)
    trainings.refuse_replaced(flags.read_given(arguments), config)
    app.start_logging(quiet=arguments.quiet)
    named = {_name(arguments.config, config): config}
    if arguments.against is not None:
        named |= _read_other(arguments.against, given, config, next(iter(named)))
    folder = config.train.run or RUNS / f"{find_name(config, arguments.config)}-cv"
    if folder.name in ("", ".."):  # the results are called after it
        folder = folder.resolve()
    data = manifest.load(config.data.records_folder, config.data.images)
    for name, each in named.items():
        trainings.check(each, name)
    should_stop = app.catch_stop_signals()
    _claim_folder(folder, config, data, arguments.folds, should_stop)
    tf_import.import_tensorflow()
    from harness.cross_validation import cross_validator, outcome, tables
    from harness.cross_validation.cross_validator import Question

    _hide_gpus()
    question = Question(
        folder=folder,
        settings=named,
        data=data,
        records=config.data.records_folder,
        num_folds=arguments.folds,
        num_repeats=arguments.repeats,
        with_curve=arguments.learning_curve,
        command=shlex.join(["python", "-m", "harness.cross_validate", *argv]),
        train_command=_make_train_command(arguments, folder),
    )
    answer = cross_validator.cross_validate(question, os.environ, should_stop, is_shown=not arguments.quiet)
    judged = tables.judge(answer)
    outcome.write(answer, judged)
    app.show(json.dumps(outcome.as_values(answer, judged)) if arguments.json else tables.describe(answer, judged))
    return ExitCode.DONE


def _name(path: Path | None, config: Config) -> str:
    return path.stem if path else config.model.name


def _read_other(path: Path, given: dict[str, settings.Setting], config: Config, first: str) -> dict[str, Config]:
    """Returns the settings to compare with, by name: those of the file, and where and how to train as by the flags.

    Raises:
      ConfigError: as of `settings.read_file` and `settings.make_config`.
    """
    own, records = settings.read_file(path), config.data.records_folder
    named = settings.make_config(own).data.records_folder
    if {"data.records", "data.images"} & own.keys() and named.resolve() != records.resolve():
        log.warning("%s names the records %s; both settings are measured on %s", path, named, records)
    flags.refuse_idle(own, {}, trainings.FIXED)
    where = {name: value for name, value in given.items() if name.split(".")[0] in ("data", "runtime", "tune")}
    shared = {name: value for name, value in given.items() if name == "train.seed"}
    other = settings.make_config(own | where | shared)
    return {path.stem if path.stem != first else f"{path.stem}-other": other}


def _make_train_command(arguments: argparse.Namespace, folder: Path) -> str:
    """Returns the command that trains with the same settings, its last epoch kept as it was measured."""
    words = ["python", "-m", "harness.train"]
    words += ["--config", str(arguments.config)] if arguments.config else []
    for name in flags.read_given(arguments):
        if name.split(".")[0] in _SECTIONS and name not in ("train.run", "train.keep"):
            words += [f"--{name}", str(getattr(arguments, name))]
    return shlex.join([*words, "--train.keep", "last", "--run", str(folder.with_name(f"{folder.name}-model"))])


def _hide_gpus() -> None:
    """Leaves the GPUs to the trainings: a process that has opened one keeps a part of its memory."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _claim_folder(
    folder: Path, config: Config, data: Manifest, num_folds: int, should_stop: Callable[[], str | None]
) -> None:
    """Refuses a folder of something else, or of other settings, folds or records; a new one gets what it is about.

    Raises:
      CheckpointError: it holds something else.
      UnsavedRun: the process was asked to stop before.
    """
    claims.refuse_others(folder, _ASKED, (_CONFIG,), what="a cross-validation", flag="--run")
    with Claims(folder, should_stop).proposing() as is_alone:
        if not is_alone:
            reason = should_stop() or ""
            raise UnsavedRun(f"stopped by {reason} before the first training; the same command starts it.", reason)
        path, asked = folder / _CONFIG, folder / _ASKED
        if asked.exists() and trainings.are_begun(folder):  # before that it may be asked something else
            _check_same(folder, config, data, num_folds)
            return
        for each in (path, asked):
            files.remove_unfinished(each)
        header = "The resolved settings of this cross-validation."
        files.write_text(path, settings.as_yaml(config, *_SECTIONS, header=header))
        files.write_json(asked, {"records_sha256": data.digest, "folds": num_folds})


def _check_same(folder: Path, config: Config, data: Manifest, num_folds: int) -> None:
    try:
        asked = json_files.read(folder / _ASKED, _FORM)
        before = settings.make_config(settings.read_file(folder / _CONFIG))
    except (WrongForm, ConfigError) as error:
        why = error if isinstance(error, ConfigError) else f"{folder / _ASKED} cannot be read: {error}."
        raise CheckpointError(
            f"{folder} does not say any more what it is about: {why} Give another folder: --run runs/NEW"
        ) from None
    differing = settings.list_differences(before, config, trainings.KEPT)
    if asked.folds != num_folds:
        differing.append(f"--folds was {asked.folds}, now {num_folds}")
    if differing:
        raise CheckpointError(
            f"{folder} holds a cross-validation of other settings: {'; '.join(differing)}. Give the same to go on, or "
            "another folder: --run runs/NEW"
        )
    if asked.records_sha256 != data.digest:
        raise CheckpointError(
            f"{folder} holds a cross-validation of other records than {config.data.records_folder} holds now. Give "
            "those records to go on, or another folder: --run runs/NEW"
        )


if __name__ == "__main__":
    raise SystemExit(app.run(main, continues=True))
