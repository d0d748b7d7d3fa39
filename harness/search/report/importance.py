"""How much each setting of a search mattered, by random forests that predict the objective from the settings.

The importance is that of permutation (Breiman, Random Forests, Machine Learning 45, 2001): a setting is replaced by
that of another trial, and the squared error of trees on trials they have not seen grows. Half of that growth, as a
share of the objective's variance, estimates the part of the variance in which the setting takes a part, alone or
together with others: the total effect that functional ANOVA computes from a forest (Hutter, Hoos and Leyton-Brown, An
Efficient Approach for Assessing Hyperparameter Importance, ICML 2014). It draws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.dataset.images.arrays import Floats, Ints
from harness.search.report.axes import Axis
from harness.search.trials.trial import Objective, Trial

EPOCHS = "epochs"  # in Hyperband's trials their number is no result of the settings, and decides much
FEWEST, FEW = 5, 20  # trials: with fewer nothing is said, or it is said to be unreliable
_NUM_FORESTS, _NUM_TREES = 10, 50
_SHARE_SEEN = 0.8  # of the trials, by each forest: so that the forests differ by more than their seeds
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class Importance:
    """The share of the objective's variance in which a setting takes part, 0 to 1: mean, lowest and highest forest."""

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Explanation:
    """What the forests found.

    Attributes:
      settings: what mattered most first; settings that had one value in all trials are not in it.
      explained: R^2 of the forests on trials that their trees have not seen: 1 is perfect, 0 no better than the mean.
      left_out: in words why there is nothing, or "".
    """

    settings: tuple[Importance, ...] = ()
    explained: float = 0.0
    left_out: str = ""


@dataclass(frozen=True)
class _Feature:
    """What the trees see of one setting: float64 [num_trials, num_columns], and in which trials it is on."""

    name: str
    columns: Floats
    is_on: Ints


def explain(axes: Sequence[Axis], trials: Sequence[Trial], objective: Objective, *, with_epochs: bool) -> Explanation:
    """Returns the importance of each setting; the same trials give the same.

    Losses count by their logarithm: of a trial that went wrong the loss may be a hundred times that of the others, and
    nothing else would matter.

    Args:
      axes: of the settings.
      trials: completed ones, with finite scores.
      objective: what their scores are.
      with_epochs: whether their number of epochs was chosen too, as Hyperband does. It then has a share of its own.
    """
    if len(trials) < FEWEST:
        return Explanation(left_out=f"it needs at least {FEWEST} completed trials, and there are {len(trials)}")
    scores = np.array([trial.score for trial in trials], np.float64)
    if objective == "val_loss":
        scores = np.log(np.maximum(scores, _LEAST_LOSS))
    if np.ptp(scores) == 0:
        return Explanation(left_out=f"all completed trials have the same {objective}")
    features = _list_features(axes, trials, with_epochs=with_epochs)
    if not features:
        return Explanation(left_out="every setting had one value in all completed trials")
    measured = [_measure(features, scores, seed) for seed in range(_NUM_FORESTS)]
    shares = np.clip([shares for shares, _ in measured], 0, 1)  # an estimate may be a little outside
    found = [
        Importance(feature.name, float(column.mean()), float(column.min()), float(column.max()))
        for feature, column in zip(features, shares.T)
    ]
    ordered = tuple(sorted(found, key=lambda item: -item.share))
    return Explanation(ordered, explained=float(np.mean([explained for _, explained in measured])))


def _list_features(axes: Sequence[Axis], trials: Sequence[Trial], *, with_epochs: bool) -> list[_Feature]:
    """Returns the settings that had several values.

    A setting that is off gets a value that others have: else it would tell what it depends on, and take its share.
    """
    features = []
    for axis in axes:
        is_on = np.array([axis.name in trial.values for trial in trials])
        places = np.array([axis.place(trial.values[axis.name]) if axis.name in trial.values else 0 for trial in trials])
        if len(np.unique(places[is_on])) > 1:
            places[~is_on] = np.sort(places[is_on])[is_on.sum() // 2]
            words = np.equal.outer(places, np.unique(places)).astype(np.float64)
            features.append(_Feature(axis.name, places[:, None] if axis.is_ordered else words, is_on))
    epochs = np.array([trial.num_epochs for trial in trials], np.float64)
    if with_epochs and np.ptp(epochs) > 0:
        features.append(_Feature(EPOCHS, epochs[:, None], np.ones(len(trials), bool)))
    return features


def _measure(features: Sequence[_Feature], scores: Floats, seed: int) -> tuple[Floats, float]:
    """Returns the share of each setting, float64 [num_settings], and R^2, by one forest on a part of the trials."""
    from sklearn.ensemble import RandomForestRegressor  # takes a second, and a search imports it for its report only

    random = np.random.default_rng(seed)
    seen = random.permutation(len(scores))[: int(np.ceil(_SHARE_SEEN * len(scores)))]
    features = [_Feature(feature.name, feature.columns[seen], feature.is_on[seen]) for feature in features]
    scores = scores[seen]
    if np.ptp(scores) == 0:
        return np.zeros(len(features)), 0.0
    inputs = np.concatenate([feature.columns for feature in features], axis=1)
    forest = RandomForestRegressor(_NUM_TREES, random_state=seed, oob_score=True).fit(inputs, scores)
    growth, num_unseen = np.zeros(len(features)), 0
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_):
        unseen = np.setdiff1d(np.arange(len(scores)), drawn)
        if len(unseen):
            changed = np.stack([inputs[unseen], *_exchange(features, inputs, unseen, random)])
            predicted = tree.predict(changed.reshape(-1, inputs.shape[1])).reshape(len(changed), -1)
            errors = ((predicted - scores[unseen]) ** 2).sum(axis=1)
            growth += errors[1:] - errors[0]
            num_unseen += len(unseen)
    return growth / max(1, num_unseen) / (2 * scores.var(ddof=1)), float(forest.oob_score_)


def _exchange(features: Sequence[_Feature], inputs: Floats, rows: Ints, random: np.random.Generator) -> list[Floats]:
    """Returns the rows once for each setting, which is that of another trial in which it is on."""
    changed, first = [], 0
    for feature in features:
        columns = slice(first, first := first + feature.columns.shape[1])
        on = np.flatnonzero(feature.is_on)
        copy = inputs[rows]
        if len(on) > 1:
            is_on = feature.is_on[rows]
            ranks = np.searchsorted(on, rows[is_on])
            others = on[(ranks + random.integers(1, len(on), len(ranks))) % len(on)]
            copy[is_on, columns] = inputs[others, columns]
        changed.append(copy)
    return changed
