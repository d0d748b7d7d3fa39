"""What is tried next: KerasTuner's oracles, made anew for each proposal from the trials there are.

So an oracle has no files, and no state of its own that could be lost or damaged. It runs no trial.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras_tuner
import numpy as np
from keras_tuner.engine.oracle import Oracle
from keras_tuner.engine.trial import Trial
from threadpoolctl import threadpool_limits

from harness.config.schema import Config
from harness.config.tune_section import TuneConfig
from harness.search.space.combinations import Value
from harness.search.space.dimensions import lies_in_space, make_hyperparameters
from harness.search.space.space import list_combinations, start_values
from harness.search.trials.trial_folder import Record

Values = Mapping[str, Value]
_STATUS = {"running": "RUNNING", "completed": "COMPLETED", "failed": "FAILED"}
_OF_KERAS_TUNER = "tuner/"  # its own entries among the values of Hyperband


@dataclass(frozen=True)
class Proposal:
    """What an oracle answers.

    Attributes:
      status: RUNNING with values to try; IDLE while others must end first; STOPPED when nothing is left.
      values: dimension -> value.
      plan: KerasTuner's own entries of Hyperband, such as "tuner/epochs".
      draws: the state of the random numbers after it.
    """

    status: Literal["RUNNING", "IDLE", "STOPPED"]
    values: Values
    plan: Mapping[str, str | int]
    draws: int


def propose(config: Config, name: str, records: Mapping[str, Record], scores: Mapping[str, float]) -> Proposal:
    """Returns what to try next: the defaults, the values to start with, then what the algorithm says.

    Args:
      config: of the search.
      name: the new trial's.
      records: of all trials so far, in the order of their start.
      scores: the objective of the completed ones.
    """
    if config.tune.algorithm != "hyperband" and len(records) >= config.tune.trials:
        return Proposal("STOPPED", {}, {}, 0)
    oracle = _make_oracle(config)
    oracle.recall(records, scores)
    with threadpool_limits(
        1
    ):  # a model of hundreds of trials takes ten times as long in threads that trainings crowd out
        answer = oracle.populate_space(name)
    values = answer.get("values") or {}
    return Proposal(
        answer["status"],
        {key: _plain(value) for key, value in values.items() if not key.startswith(_OF_KERAS_TUNER)},
        {key: value for key, value in values.items() if key.startswith(_OF_KERAS_TUNER)},
        oracle.draws,
    )


def _plain(value: Any) -> Value:
    """KerasTuner proposes some numbers as NumPy's, which JSON does not know."""
    return value.item() if isinstance(value, np.generic) else value


def count_trials(tune: TuneConfig) -> int:
    """Returns how many trials a search has at most."""
    if tune.algorithm != "hyperband":
        return tune.trials
    oracle = keras_tuner.oracles.HyperbandOracle(keras_tuner.Objective("val_loss", "min"), max_epochs=tune.max_epochs)
    brackets = range(oracle._get_num_brackets())
    return sum(oracle._get_size(bracket, part) for bracket in brackets for part in range(bracket + 1))


def _make_oracle(config: Config) -> "_Recalling":
    tune, monitor = config.tune, config.train.monitor
    shared = {
        "objective": keras_tuner.Objective(monitor, "min" if monitor == "val_loss" else "max"),
        "hyperparameters": make_hyperparameters(tune.space),
        "seed": tune.seed + 1,  # KerasTuner takes 0 for none
    }
    made: _Recalling
    if tune.algorithm == "hyperband":
        made = _Hyperband(max_epochs=tune.max_epochs, **shared)
    elif tune.algorithm == "bayesian":
        made = _Bayesian(max_trials=tune.trials, **shared)
    elif tune.algorithm == "grid":
        made = _Grid(max_trials=tune.trials, **shared)
    else:
        made = _Random(max_trials=tune.trials, **shared)
    made.config, made.first = config, start_values(config)
    return made


class _Recalling(Oracle):
    """An oracle that is told of the trials so far, and begins with given values."""

    config: Config
    first: Sequence[Values]
    trials: dict[str, Trial]
    _seed_state: int

    @property
    def draws(self) -> int:
        """The state of the random numbers."""
        return self._seed_state

    def recall(self, records: Mapping[str, Record], scores: Mapping[str, float]) -> None:
        """Takes the trials so far in."""
        for name, record in records.items():
            proposed = self.get_space()
            proposed.values = record.values | record.plan
            trial = Trial(hyperparameters=proposed, trial_id=name, status=_STATUS[record.status])
            trial.score = scores.get(name)
            self.trials[name] = trial
            self.start_order.append(name)
            self._record_values(trial)
            if record.status == "running":
                self.ongoing_trials[name] = trial
        # A record that was lost has no draws: as many as usual are near enough.
        usual = self._seed_state + len(records) * len(self.hyperparameters.space)
        known = [record.draws for record in records.values()]
        if known:
            self._seed_state = max(known) if all(known) else max(usual, *known)

    def _compute_values_hash(self, values: Values) -> str:
        """Takes 5 and 5.0 for the same."""
        alike = {key: float(value) if type(value) is int else value for key, value in values.items()}
        return super()._compute_values_hash(alike)

    def _random_values(self) -> Values | None:
        """Returns the next of the values to begin with, then random ones; None once the space is used up.

        Where KerasTuner has drawn too many that were tried before, what is left of a finite space is taken in turn.
        """
        found = self._find_new(self.first) or super()._random_values()
        return found or self._find_new(list_combinations(self.config))

    def _find_new(self, candidates: Iterable[Values]) -> Values | None:
        return next((dict(values) for values in candidates if not self._duplicate(values)), None)


class _Random(_Recalling, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Grid(_Recalling):
    """All combinations in turn. KerasTuner's own cannot go on after a stop (keras-tuner issue 1055)."""

    def populate_space(self, trial_id: str) -> dict[str, object]:
        """Returns the first combination that was not tried."""
        values = self._find_new(self.first) or self._find_new(list_combinations(self.config))
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}


class _Bayesian(_Recalling, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, object]:
        """Returns what the model of the trials so far expects most of; never what was tried before."""
        if (values := self._find_new(self.first)) is not None:
            return {"status": "RUNNING", "values": values}
        answer = super().populate_space(trial_id)
        if answer["status"] == "RUNNING" and self._duplicate(answer["values"]):
            return self._random_populate_space()
        return answer

    def _vector_to_values(self, vector: np.ndarray) -> Values:
        """KerasTuner draws from [0, 1), but its optimizer reaches 1, beyond the end of a whole range on a log scale."""
        return super()._vector_to_values(np.minimum(vector, 1 - 1e-9))

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        """Leaves out trials of values beside the space, such as the defaults may be: they have no place in it.

        What is still running counts by what the model of the finished ones expects of it.
        """
        everything, space = self.trials, self.config.tune.space
        inside = {
            name: trial for name, trial in everything.items() if lies_in_space(space, trial.hyperparameters.values)
        }
        try:
            self.trials = {name: trial for name, trial in inside.items() if trial.status == "COMPLETED"}
            if self.trials and self.ongoing_trials:  # a fit of many trials takes seconds
                self.gpr.fit(*super()._vectorize_trials())
            self.trials = inside
            return super()._vectorize_trials()
        finally:
            self.trials = everything


class _Hyperband(_Recalling, keras_tuner.oracles.HyperbandOracle):
    def recall(self, records: Mapping[str, Record], scores: Mapping[str, float]) -> None:
        """Takes the trials so far in, and their places in the brackets."""
        super().recall(records, scores)
        brackets = {self._current_bracket: self._brackets[0]}
        for name, record in records.items():
            if not record.plan:  # its record was lost, and with it its place
                continue
            number = int(record.plan["tuner/bracket"])
            while number not in brackets and self._current_bracket > 0:
                self._increment_bracket_num()
                self._start_new_bracket()
                brackets[self._current_bracket] = self._brackets[-1]
            brackets[number]["rounds"][int(record.plan["tuner/round"])].append(
                {"past_id": record.plan.get("tuner/trial_id"), "id": name}
            )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Fills the first round of a bracket, and promotes the best of each round once enough of it have ended.

        KerasTuner's own waits for the full size of a round. So it promotes nothing where the space has fewer values
        than that, and less than it could where trials have failed.
        """
        is_used_up = False
        for bracket in self._brackets:
            if len(bracket["rounds"][0]) < self._get_size(bracket["bracket_num"], 0):
                answer: dict[str, Any] = self._random_trial(trial_id, bracket)
                if answer["status"] == "RUNNING":
                    return answer
                is_used_up = True
            if (values := self._promote(trial_id, bracket)) is not None:
                return {"status": "RUNNING", "values": values}
        if self._current_bracket > 0 and not is_used_up:
            self._increment_bracket_num()
            self._start_new_bracket()
            return self.populate_space(trial_id)
        return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}

    def _promote(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the values of the trial of a bracket that is to be promoted now, if there is one."""
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        num_left = self._count_left(rounds[0], len(rounds[0]))
        for place in range(1, len(rounds)):
            num_promoted = min(self._get_size(number, place), num_left)
            past = {info["past_id"] for info in rounds[place]}
            ready = [self.trials[info["id"]] for info in rounds[place - 1] if info["id"] not in past]
            ready = [trial for trial in ready if trial.status == "COMPLETED"]
            if len(ready) > num_left - num_promoted:
                best = (max if self.objective.direction == "max" else min)(ready, key=lambda trial: trial.score)
                rounds[place].append({"past_id": best.trial_id, "id": trial_id})
                return best.hyperparameters.values | {
                    "tuner/trial_id": best.trial_id,
                    "tuner/epochs": self._get_epochs(number, place),
                    "tuner/initial_epoch": self._get_epochs(number, place - 1),
                    "tuner/bracket": number,
                    "tuner/round": place,
                }
            num_left = self._count_left(rounds[place], num_promoted)
        return None

    def _count_left(self, infos: Sequence[Mapping[str, Any]], size: int) -> int:
        """How many of a round of this size have not failed."""
        return size - sum(self.trials[info["id"]].status == "FAILED" for info in infos)
