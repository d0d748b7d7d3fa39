"""What proposes the settings of trials: KerasTuner's oracle of the chosen algorithm, with files that are always whole.

It runs no trial.
"""

import sys
from pathlib import Path

import keras_tuner
from keras_tuner.engine.oracle import Oracle
from keras_tuner.engine.trial import Trial

from harness.base import files
from harness.config.schema import TuneConfig
from harness.search.dimensions import make_hyperparameters


def make_oracle(tune: TuneConfig) -> Oracle:
    """Returns the oracle of a search."""
    direction = "min" if tune.objective == "val_loss" else "max"
    shared = {
        "objective": keras_tuner.Objective(tune.objective, direction),
        "hyperparameters": make_hyperparameters(tune.space),
        "seed": tune.seed,
        "max_consecutive_failed_trials": sys.maxsize,  # that three in a row diverge says nothing of the fourth
    }
    if tune.algorithm == "hyperband":
        return _Hyperband(max_epochs=tune.max_epochs, **shared)
    if tune.algorithm == "bayesian":
        return _Bayesian(max_trials=tune.trials, **shared)
    return _Random(max_trials=tune.trials, **shared)


def write_whole(file_name: str, state: dict[str, object]) -> None:
    """Writes one of KerasTuner's files, which it would write in place; its name may lead through a descriptor."""
    files.write_json(Path(file_name).resolve(), state, indent=None)


class _WholeFiles(Oracle):
    """What is saved appears complete or not at all."""

    def save(self) -> None:
        write_whole(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        write_whole(f"{self._get_trial_dir(trial.trial_id)}/trial.json", trial.get_state())

    def reload(self) -> None:
        """Forgets trials that were saved just before the process ended: they will be proposed again, the same."""
        super().reload()
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]


class _Hyperband(_WholeFiles, keras_tuner.oracles.HyperbandOracle):
    pass


class _Bayesian(_WholeFiles, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Random(_WholeFiles, keras_tuner.oracles.RandomSearchOracle):
    pass
