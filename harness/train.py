"""python -m harness.train: records -> a trained, measured, exported model in a run folder."""

import json
import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import __version__, cli, files, manifest, settings
from harness.config import Config
from harness.errors import CheckpointError, DataError, ExitCode
from harness.workdir import Workdir

log = logging.getLogger("harness")
# What may differ when a run goes on: where things are, and what the machine lends.
_MAY_CHANGE = ("data", "clean", "split", "records", "runtime", "tune")
DESCRIPTION = """\
Trains on records, and writes a run folder: checkpoints, TensorBoard events, figures, plots and the exported model.
The same command on an interrupted run goes on where it stopped.

  python -m harness.train --gpus all                               the sample records -> runs/emotion_cnn
  python -m harness.train --config configs/best.yaml --records tfrecords/flowers --run runs/flowers
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = cli.make_parser(
        "train", DESCRIPTION, sections=("data", "augment", "model", "optim", "train", "runtime"), seed="train.seed"
    )
    arguments = parser.parse_args(argv)
    config, _ = cli.read_config(arguments)
    cli.start_logging(quiet=arguments.quiet)
    with cli.stop_signals() as should_stop:
        return _train(name_run(config, arguments.config), should_stop)


def name_run(config: Config, config_file: Path | None) -> Config:
    """Returns the config with its run folder: the one given, or runs/ and the name of the config file."""
    if config.train.run is not None:
        return config
    run = Path("runs") / (config_file.stem if config_file else config.model.name)
    return config.model_copy(update={"train": config.train.model_copy(update={"run": run})})


def _train(config: Config, should_stop) -> int:
    workdir = Workdir(config.train.run)
    data = manifest.load(config.data.records_folder)
    for split in ("train", "validation"):
        data.shard_paths(config.data.records_folder, split)
    _check_run(workdir, config, data)
    if workdir.metrics.is_file():
        log.info("%s is complete. To train anew, give another folder: --run runs/NEW", workdir.root)
        _report(workdir)
        return ExitCode.DONE
    cli.import_tensorflow()
    from harness import distribute, loop, tracking

    devices = distribute.make_devices(config)
    _claim(workdir, config, data, devices)
    _announce(config, data, devices)
    found = loop.train_and_evaluate(config, workdir, devices, should_stop=should_stop)
    given = config.sections("model", "optim", "augment")
    hparams = {f"{section}.{name}": value for section, values in given.items() for name, value in values.items()}
    tracking.write_hparams(workdir, hparams, {"val_loss": found.loss, "val_accuracy": found.accuracy}, name=workdir.root.name)
    _report(workdir)
    return ExitCode.DONE


def _check_run(workdir: Workdir, config: Config, data: manifest.Manifest) -> None:
    """Refuses a run folder that belongs to another config or other records.

    Raises:
      CheckpointError: the folder holds another run, or something that is no run.
    """
    if not workdir.root.exists() or not any(workdir.root.iterdir()):
        return
    if not workdir.config.is_file() or not workdir.environment.is_file():
        raise CheckpointError(f"{workdir.root} exists but holds no run. Give another folder: --run runs/NEW")
    before = settings.make_config(settings.read_file(workdir.config))
    differing = [
        f"{section}.{name} was {old!r}, now {new!r}"
        for section in type(config).model_fields
        if section not in _MAY_CHANGE
        for name, old in getattr(before, section)
        if (new := getattr(getattr(config, section), name)) != old and (section, name) != ("train", "run")
    ]
    if differing:
        raise CheckpointError(
            f"{workdir.root} was started with other settings: {'; '.join(differing)}. Give the same settings to go on, or "
            "another folder: --run runs/NEW"
        )
    if json.loads(workdir.environment.read_text())["records_sha256"] != data.digest:
        raise CheckpointError(
            f"{workdir.root} was started with other records than {config.data.records_folder} holds now. Give those "
            "records to go on, or another folder: --run runs/NEW"
        )


def _claim(workdir: Workdir, config: Config, data: manifest.Manifest, devices) -> None:
    """Writes what the run was started with."""
    import keras
    import tensorflow as tf

    environment = {
        "harness": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "platform": platform.platform(),
        "asked": {"gpus": config.runtime.gpus, "precision": config.train.precision, "cache": config.data.cache},
        "in_force": {
            "devices": devices.names,
            "strategy": type(devices.strategy).__name__,
            "precision": devices.precision,
            "notes": devices.notes,
        },
        "records": str(config.data.records_folder),
        "records_sha256": data.digest,
    }
    if not workdir.config.is_file():
        header = f"The resolved settings of this run. To run it again:\npython -m harness.train --config {workdir.config} --run runs/NEW"
        files.write_text(workdir.config, settings.as_yaml(config, header=header))
    files.write_json(workdir.environment, environment)


def _announce(config: Config, data: manifest.Manifest, devices) -> None:
    for note in devices.notes:
        log.info("%s", note)
    log.info(
        "%s on %s, %s, batch %d: %d pictures to train on, %d to validate, %s; run folder %s",
        config.model.name,
        " ".join(devices.names),
        devices.precision,
        config.train.batch_size,
        data.splits["train"].num_examples,
        data.splits["validation"].num_examples,
        " | ".join(data.class_names),
        config.train.run,
    )


def _report(workdir: Workdir) -> None:
    try:
        found = json.loads(workdir.metrics.read_text(encoding="utf-8"))
        low, high = found["accuracy_ci95"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{workdir.metrics} cannot be read: {error}.") from None
    print(
        f"validation accuracy {found['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}, {found['num_examples']} pictures), "
        f"loss {found['loss']:.4f}, best of {found['epochs']} epochs: {found['best_epoch']}\n"
        f"run: {workdir.root}   model: {workdir.keras_model}   curves: tensorboard --logdir {workdir.root.parent}"
    )


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
