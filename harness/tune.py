"""python -m harness.tune: searches for better settings with KerasTuner; a trial is one run of the training loop."""

import contextlib
import io
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence

from harness.base import app, files, tf_import
from harness.base.errors import CheckpointError, ConfigError, DataError, ExitCode, HarnessError
from harness.base.text import format_table
from harness.config import flags, settings
from harness.config.schema import Config, Range
from harness.config.settings import Setting
from harness.dataset.records import manifest
from harness.runs import effective_settings, identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_SEARCHED = ("augment", "model", "optim", "train")
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
    _claim_folder(config)
    should_stop = app.catch_stop_signals()
    tf_import.import_tensorflow()
    trials = _search(config, given, data, should_stop)
    best = trials[0]
    best_config = _trial_config(given, best.hyperparameters.values, "best trial")
    path = config.tune.folder / "best.yaml"
    header = (
        f"The best of {len(trials)} trials: {config.tune.objective} {best.score:.4f}.\n"
        f"python -m harness.train --config {path}"
    )
    files.write_text(path, settings.as_yaml(best_config, header=header))
    print(_describe(trials, config))
    return ExitCode.DONE


def check_space(config: Config, given: Mapping[str, Setting]) -> None:
    """Looks whether every value the space allows is a valid setting, before the first trial.

    Raises:
      ConfigError: the space is empty, names something that cannot be searched, or reaches outside a setting's range.
    """
    if not config.tune.space:
        raise ConfigError(
            "tune.space is empty: nothing to search. State it in a config file, as configs/tune.yaml does."
        )
    source = given["tune.space"].source
    for name, extent in config.tune.space.items():
        if name not in settings.setting_names():
            raise ConfigError(
                f"{source}: tune.space: {settings.unknown_name(name, settings.setting_names(), 'setting')}"
            )
        if name.split(".")[0] not in _SEARCHED or name == "train.run":
            raise ConfigError(f"{source}: tune.space: {name} cannot be searched, only {', '.join(_SEARCHED)} can.")
        has_ends = extent.min is not None and extent.max is not None
        if (extent.values is None) == (not has_ends) or (has_ends and extent.min >= extent.max):
            raise ConfigError(f"{source}: tune.space: {name} needs either values, or a min below a max.")
    for pair in itertools.combinations_with_replacement(_list_ends(config, f"{source} (tune.space)"), 2):
        if pair[0][0] != pair[1][0] or pair[0] == pair[1]:  # two values of one setting never meet
            settings.make_config({**given, **dict(pair)})


def _list_ends(config: Config, source: str) -> list[tuple[str, Setting]]:
    """Every value the space names, with its setting."""
    return [
        (name, Setting(value, source))
        for name, extent in config.tune.space.items()
        for value in extent.values or (extent.min, extent.max)
    ]


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
    if differing := settings.list_differences(before, config, (*_SEARCHED, "tune")):
        raise CheckpointError(
            f"{config.tune.folder} holds a search with other settings: {'; '.join(differing)}. Give the same settings "
            "to go on, or another folder: --tune.folder runs/NEW"
        )


def _trial_config(given: Mapping[str, Setting], values: Mapping[str, object], source: str) -> Config:
    """The config of one trial: what was given, with the proposed values; Hyperband proposes the epochs as well."""
    chosen = {name: Setting(value, source) for name, value in values.items() if not name.startswith("tuner/")}
    if "tuner/epochs" in values:
        chosen["train.epochs"] = Setting(values["tuner/epochs"], source)
    kept = {name: setting for name, setting in given.items() if not name.startswith("tune.") and name != "train.run"}
    return settings.make_config({**kept, **chosen})


def _search(config: Config, given: Mapping[str, Setting], data: manifest.Manifest, should_stop: Callable) -> list:
    """Runs the trials that are left; returns all finished ones, best first."""
    import keras
    import keras_tuner

    from harness.distribute.strategy import make_devices, with_whole_batch
    from harness.input import placement
    from harness.training import precision, trainer

    devices = make_devices(config)
    whole = with_whole_batch(config, devices.num_replicas)
    devices = precision.settle(whole, data, devices, earlier=_read_in_force(config))
    for reason in devices.reasons.values():
        log.info("%s", reason)

    class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
        """KerasTuner proposes and remembers; the training loop does the work."""

        def on_trial_begin(self, trial) -> None:
            super().on_trial_begin(trial)
            self.save()  # KerasTuner first does so after a trial, so a search stopped in its first would not be found

        def run_trial(self, trial, *_args, **_kwargs):
            # KerasTuner takes every other exception for a bad proposal and searches on.
            try:
                return self._train(trial)
            except (HarnessError, KeyboardInterrupt) as error:
                raise keras_tuner.errors.FatalError(str(error)) from error

        def _train(self, trial) -> dict[str, float]:
            trial_config = _trial_config(given, trial.hyperparameters.values, f"trial {trial.trial_id}")
            workdir = Workdir(config.tune.folder / "trials" / trial.trial_id)
            log.info("trial %s: %s", trial.trial_id, _show(trial.hyperparameters.values))
            identity.check(workdir, trial_config, data)
            asked, trial_config = trial_config, with_whole_batch(trial_config, devices.num_replicas)
            identity.check_batch(workdir, trial_config.train.batch_size)
            is_searched = trial_config.train.precision != "auto"
            trial_devices = precision.settle(trial_config, data, devices) if is_searched else devices
            inputs = placement.plan_inputs(trial_config, data, trial_devices, earlier=identity.read_in_force(workdir))
            chosen = trial_devices.describe() | inputs.describe() | {"batch": trial_config.train.batch_size}
            rows = effective_settings.list_rows(asked, chosen, {**trial_devices.reasons, **inputs.reasons})
            identity.claim(workdir, asked, data, in_force=chosen, rows=rows)
            keras.backend.clear_session()
            found = trainer.train_and_evaluate(trial_config, workdir, trial_devices, inputs, should_stop=should_stop)
            if not math.isfinite(found.loss):
                raise keras_tuner.errors.FailedTrialError(f"the loss is {found.loss}")
            return {"val_loss": found.loss, "val_accuracy": found.accuracy}

        def save_model(self, trial_id, model, step=0) -> None:
            """The training loop keeps its own checkpoints."""

    with contextlib.redirect_stdout(io.StringIO()):  # it prints where it reloads from
        tuner = Tuner(_make_oracle(config), directory=str(config.tune.folder), project_name="search")
    try:
        tuner.search(verbose=0)
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ or error from None
    finished = tuner.oracle.get_best_trials(len(tuner.oracle.trials))
    if not finished:
        raise DataError(f"not one trial of the search in {config.tune.folder} finished with a finite loss.")
    return finished


def _read_in_force(config: Config) -> Mapping[str, object]:
    """What the trials so far were given that asked for any precision: all get the same, or they would not compare."""
    for path in sorted((config.tune.folder / "trials").glob("*")):
        workdir = Workdir(path)
        if workdir.config.is_file() and identity.load_config(workdir).train.precision == "auto":
            return identity.read_in_force(workdir)
    return {}


def _make_oracle(config: Config):
    import keras_tuner

    tune = config.tune
    dimensions = keras_tuner.HyperParameters()
    for name, extent in tune.space.items():
        _add_dimension(dimensions, name, extent)
    direction = "min" if tune.objective == "val_loss" else "max"
    shared = {
        "objective": keras_tuner.Objective(tune.objective, direction),
        "hyperparameters": dimensions,
        "seed": tune.seed,
    }
    if tune.algorithm == "hyperband":
        return keras_tuner.oracles.HyperbandOracle(max_epochs=tune.max_epochs, **shared)
    if tune.algorithm == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(max_trials=tune.trials, **shared)
    return keras_tuner.oracles.RandomSearchOracle(max_trials=tune.trials, **shared)


def _add_dimension(dimensions, name: str, extent: Range) -> None:
    if extent.values is not None:
        dimensions.Choice(name, list(extent.values))
        return
    is_whole = isinstance(extent.min, int) and isinstance(extent.max, int)
    add = dimensions.Int if is_whole else dimensions.Float
    step = {} if extent.step is None else {"step": extent.step}
    add(name, extent.min, extent.max, sampling=extent.sampling, **step)


def _show(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_shorten(value)}" for name, value in values.items() if not name.startswith("tuner/"))


def _shorten(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _describe(trials: Sequence, config: Config) -> str:
    names = list(config.tune.space)
    rows = [("trial", config.tune.objective, *names)]
    rows += [
        (trial.trial_id, f"{trial.score:.4f}", *(_shorten(trial.hyperparameters.values[name]) for name in names))
        for trial in trials
    ]
    folder = config.tune.folder
    return f"{format_table(rows)}\n\nbest settings: {folder / 'best.yaml'}   runs: tensorboard --logdir {folder}"


if __name__ == "__main__":
    raise SystemExit(app.run(main))
