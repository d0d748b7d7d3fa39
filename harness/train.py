"""python -m harness.train: records -> a trained, measured, exported model in a run folder."""

import argparse
import contextlib
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel

from harness.base import app, files, tf_import
from harness.base.errors import ConfigError, ExitCode, HarnessError
from harness.base.text import as_word, count, format_bytes, list_names
from harness.config import flags, networks
from harness.config.schema import Config
from harness.dataset.records import manifest, provenance, staging
from harness.distribute import cluster, watchdog
from harness.distribute.cluster import Cluster
from harness.distribute.peers import Peers, open_peers
from harness.results.export import requirements
from harness.runs import effective_settings, identity, metrics_file, versions
from harness.runs.effective_settings import Row
from harness.runs.workdir import Workdir, name_run

log = logging.getLogger("harness")
_FEW_FOR_RANDOM_WEIGHTS = 1000  # training pictures of a network of keras.applications, which has millions of weights
DESCRIPTION = """\
Trains on records, and writes a run folder: checkpoints, TensorBoard events, figures, plots and the exported model.
The same command on an interrupted run goes on where it stopped.

  python -m harness.train --gpus all                               the sample records -> runs/emotion_cnn
  python -m harness.train --config configs/residual_cnn.yaml --records tfrecords/flowers --run runs/flowers
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser(
        "train", DESCRIPTION, sections=("data", "augment", "model", "optim", "train", "runtime"), seed="train.seed"
    )
    parser.add_argument(
        "--fork",
        type=Path,
        metavar="NEW",
        help="start a new run in this folder from the weights of the run, with these settings",
    )
    arguments = parser.parse_args(argv)
    command = shlex.join(["python", "-m", "harness.train", *argv])
    tasks = cluster.find_cluster(os.environ)
    if tasks is not None and not arguments.show_config:
        _train_together(arguments, tasks, command)
        return ExitCode.DONE
    app.start_logging(quiet=arguments.quiet)
    _report(_train(_read_config(arguments), None, app.catch_stop_signals(), command=command))
    return ExitCode.DONE


def _train_together(arguments: argparse.Namespace, tasks: Cluster, command: str) -> None:
    """Trains as one of several tasks, and ends the process."""
    silence = app.part_stderr()
    app.start_logging(quiet=arguments.quiet or not tasks.is_chief, worker=None if tasks.is_chief else tasks.task)
    should_stop = app.catch_stop_signals()
    with app.leaving():
        try:
            with open_peers(tasks, should_stop=should_stop, silence=silence) as peers:
                workdir = _train(_read_config(arguments), peers, should_stop, command=command)
        except HarnessError as error:
            if tasks.is_chief:
                raise
            raise type(error)(f"worker {tasks.task}: {error}") from error
        if tasks.is_chief:
            _report(workdir)


def _read_config(arguments: argparse.Namespace) -> Config:
    config, _ = flags.read_config(arguments)
    config = name_run(config, arguments.config)
    if arguments.fork is not None:
        if config.train.start_from is not None:
            raise ConfigError(
                f"train.start_from does nothing beside --fork, which starts from the run itself, {config.train.run}. "
                "Leave one of them out."
            )
        if not (Workdir(config.train.run).config.is_file() or Workdir(arguments.fork).metrics.is_file()):
            raise ConfigError(
                f"--fork {arguments.fork} starts from the weights of the run {config.train.run}, and there is none. "
                f"Say from which: --run runs/ORIGIN --fork {as_word(arguments.fork)}"
            )
        forked = {"run": arguments.fork, "start_from": config.train.run}
        config = config.model_copy(update={"train": config.train.model_copy(update=forked)})
    return config


def _train(config: Config, peers: Peers | None, should_stop: Callable[[], str | None], *, command: str) -> Workdir:
    is_chief = peers is None or peers.cluster.is_chief
    workdir = Workdir(config.train.run)
    data = manifest.load(config.data.records_folder, config.data.images)
    given, config = config, provenance.fill(config, data, config.data.records_folder)
    for split in ("train", "validation"):
        data.shard_paths(config.data.records_folder, split)
    with versions.naming(workdir):
        identity.check(workdir, config, data)
    requirements.check_installed(config.runtime.exports)
    if workdir.metrics.is_file():
        log.info("%s is complete. To train anew, give another folder: --run runs/NEW", workdir.root)
        return workdir
    if overruled := provenance.list_overruled(given, config):
        log.warning("%s. What they were built with holds.", "; ".join(overruled))
    with identity.own(workdir, config, data) if is_chief else contextlib.nullcontext():
        _train_in(workdir, config, data, peers, should_stop, command=command)
    return workdir


def _train_in(
    workdir: Workdir,
    config: Config,
    data: manifest.Manifest,
    peers: Peers | None,
    should_stop: Callable[[], str | None],
    *,
    command: str,
) -> None:
    records = staging.find_records(config.data, data, os.environ, should_stop)
    tf_import.import_tensorflow()
    from harness.training import trainer
    from harness.training.setup import set_up

    stacks = workdir.stacks(peers.cluster.task if peers else 0)
    with watchdog.watch(config.runtime.stall_s if peers else 0, stacks):  # they wait for one another
        setup = set_up(config, data, records=records, peers=peers, earlier=identity.read_effective(workdir))
        identity.check_batch(workdir, setup.config.train.batch_size)
    if setup.devices.is_chief:
        identity.claim(workdir, config, data, effective=setup.effective, rows=setup.rows, command=command)
        _announce(config, data, setup.rows)
    trainer.train_and_evaluate(setup, workdir, should_stop=should_stop)


def _announce(config: Config, data: manifest.Manifest, rows: Sequence[Row]) -> None:
    app.log_lines(f"{effective_settings.format_rows(rows)}\n")
    log.info(
        "%s: %d pictures to train on, %d to validate, %s; run folder %s",
        config.model.name,
        data.splits["train"].num_examples,
        data.splits["validation"].num_examples,
        list_names(data.class_names),
        config.train.run,
    )
    counts = data.splits["validation"].class_counts
    missing = [name for name in data.class_names if not counts[name]]
    if missing:
        log.warning(
            "validation has no picture of %s: no figure says anything of it, nor does any tell when to stop. The "
            "report of the records, %s, says why.",
            list_names(missing),
            config.data.records_folder / "report.html",
        )
    _warn_of_random_weights(config, data.splits["train"].num_examples)


def _warn_of_random_weights(config: Config, num_examples: int) -> None:
    is_own = config.model.name in networks.OWN_NETWORKS
    if is_own or config.model.weights or config.train.start_from or num_examples >= _FEW_FOR_RANDOM_WEIGHTS:
        return
    log.warning(
        "%s starts from random weights, and learns next to nothing from %s. Give it weights that were learnt from "
        "many: --model.weights FILE (docs/training.md says where to get them), or take --model.name emotion_cnn.",
        config.model.name,
        count(num_examples, "picture"),
    )


def _report(workdir: Workdir) -> None:
    from harness.comparison import index  # which needs NumPy, and --help does not
    from harness.results.verdict import Verdict

    class Figures(BaseModel):
        """What is printed of metrics.json."""

        loss: float
        best_epoch: int
        epochs: int
        kept_as: str = ""  # which no run of before there was this has
        verdict: Verdict

    found = metrics_file.read(workdir, Figures)
    why = f", {found.kept_as}" if found.kept_as else ""
    app.show(
        f"{found.verdict.as_text()}\n"
        f"kept: epoch {found.best_epoch} of {found.epochs}, validation loss {found.loss:.4f}{why}\n"
        f"report: {workdir.report}   model: {workdir.keras_model}   curves: "
        f"{shlex.join(['tensorboard', '--logdir', str(workdir.root.parent)])}\n{_describe_size(workdir)}"
    )
    index.renew(workdir)


def _describe_size(workdir: Workdir) -> str:
    """Says how large a complete run is, what its checkpoints are for, and how to be rid of them."""
    size, num_bytes = format_bytes(files.measure(workdir.root)), files.measure(workdir.checkpoints.parent)
    if not num_bytes:
        return f"size: {size}"
    command = shlex.join(["rm", "-r", str(workdir.checkpoints.parent)])
    return f"size: {size}, of which {format_bytes(num_bytes)} are checkpoints for --fork; without: {command}"


if __name__ == "__main__":
    raise SystemExit(app.run(main, continues=True))
