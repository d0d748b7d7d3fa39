"""Whether the best settings of a search beat the defaults, or were lucky: both trained anew with several seeds.

The search chose its best by the validation split, the luck of a seed included. New seeds take that luck away. That the
choice was made on these very pictures they do not take away: only a test split does.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from harness.base.errors import DataError
from harness.results import metrics, predictions
from harness.results.predictions import Predictions
from harness.results.statistics import differences
from harness.results.statistics.differences import Difference
from harness.search.trials.trial import Objective

Verdict = Literal["better", "not shown to be better", "worse", "the same settings"]
_Figure = Literal["accuracy", "loss"]
# Figures of single pictures, whose differences have an interval: a curve is about the order that the loss rewards, too.
_JUDGED_BY: Mapping[Objective, _Figure] = {
    "val_loss": "loss",
    "val_auc": "loss",
    "val_accuracy": "accuracy",
    "val_balanced_accuracy": "accuracy",
    "val_f1": "accuracy",
}


@dataclass(frozen=True)
class Spread:
    """A figure of the same settings over their seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Setting:
    """What came of one choice of settings on the validation split."""

    num_seeds: int
    accuracy: Spread
    loss: Spread


@dataclass(frozen=True)
class Comparison:
    """The best settings beside the defaults, on the same pictures.

    Attributes:
      objective: what the search went by. The verdict goes by the loss, or by the accuracy.
      num_pictures: in the validation split.
      num_groups: of pictures that are not independent.
      default: what came of the default settings.
      best: what came of the best ones; None where the search found none better than the defaults.
      accuracy: best minus default; None without a best.
      loss: best minus default; None without a best.
    """

    objective: Objective
    num_pictures: int
    num_groups: int
    default: Setting
    best: Setting | None = None
    accuracy: Difference | None = None
    loss: Difference | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the whole interval of the difference is on one side of zero, and on which."""
        if self.accuracy is None or self.loss is None:
            return "the same settings"
        if _JUDGED_BY[self.objective] == "loss":
            gain = Difference(-self.loss.mean, -self.loss.high, -self.loss.low)
        else:
            gain = self.accuracy
        return "better" if gain.low > 0 else "worse" if gain.high < 0 else "not shown to be better"


def compare(best: Sequence[Predictions] | None, default: Sequence[Predictions], objective: Objective) -> Comparison:
    """Returns how the best settings and the defaults did.

    Args:
      best: of runs with the best settings, one a seed; None where these are the defaults.
      default: of runs with the default settings, one a seed.
      objective: of the search.

    Raises:
      DataError: the runs were not measured on the same pictures.
    """
    runs = [*(best or ()), *default]
    _check_alike(runs)
    groups = [row.group for row in runs[0]]
    figures: dict[_Figure, np.ndarray] = {
        "accuracy": np.array([[row.label == row.predicted for row in run] for run in runs], np.float64),
        "loss": np.stack([metrics.cross_entropy(np.array([row.label_probability for row in run])) for run in runs]),
    }
    num_best, counts = len(runs) - len(default), (len(groups), len(set(groups)))
    reference = _describe_setting({name: values[num_best:] for name, values in figures.items()})
    if not best:
        return Comparison(objective, *counts, reference)
    found = {
        name: differences.estimate(each[:num_best], each[num_best:], groups, is_share=name == "accuracy")
        for name, each in figures.items()
    }
    setting = _describe_setting({name: values[:num_best] for name, values in figures.items()})
    return Comparison(objective, *counts, reference, setting, found["accuracy"], found["loss"])


def _check_alike(runs: Sequence[Predictions]) -> None:
    for other in runs[1:]:
        if found := predictions.describe_mismatch(runs[0], other):
            raise DataError(
                f"runs that measured different validation pictures cannot be compared: {found}. Train all of them on "
                "the same records."
            )


def _describe_setting(figures: dict[_Figure, np.ndarray]) -> Setting:
    means = {name: values.mean(axis=1) for name, values in figures.items()}
    spreads = {name: Spread(float(of.mean()), float(of.min()), float(of.max())) for name, of in means.items()}
    return Setting(len(figures["loss"]), spreads["accuracy"], spreads["loss"])


def list_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Returns a table as text: a header, a row for each settings, and one for the difference."""
    rows: list[tuple[str, ...]] = [("settings", "seeds", "accuracy (min to max)", "loss (min to max)")]
    for name, setting in (("best", comparison.best), ("default", comparison.default)):
        if setting is not None:
            rows.append((name, str(setting.num_seeds), _show(setting.accuracy, 3), _show(setting.loss, 4)))
    if comparison.accuracy and comparison.loss:
        accuracy, loss = _show(comparison.accuracy, 3, sign="+"), _show(comparison.loss, 4, sign="+")
        rows.append(("difference (95 % interval)", "", accuracy, loss))
    return rows


def _show(value: Spread | Difference, digits: int, *, sign: str = "") -> str:
    mean, low, high = (f"{part:{sign}.{digits}f}" for part in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})" if math.isfinite(value.low) else f"{mean} (unknown)"


def describe(comparison: Comparison, test_run: Path | None = None) -> str:
    """Returns the verdict in words, with its numbers and what they leave out.

    Args:
      comparison: of the two settings.
      test_run: a run with the best settings whose records have a test split; None if they have none.
    """
    verdict, best, default = comparison.verdict, comparison.best, comparison.default
    if best is None:
        return f"{verdict}: the search found none that are better than the defaults."
    if _JUDGED_BY[comparison.objective] == "loss":
        name, digits, of_best, of_default, difference = "loss", 4, best.loss, default.loss, comparison.loss
    else:
        name, digits, of_best, of_default = "accuracy", 3, best.accuracy, default.accuracy
        difference = comparison.accuracy
    means = f"{of_best.mean:.{digits}f} with the best settings, {of_default.mean:.{digits}f} with the defaults"
    sentences = [
        f"{verdict}: validation {name} {means}. The difference is {_describe_difference(difference, digits)}, "
        f"{_describe_sample(comparison)}."
    ]
    if min(best.num_seeds, default.num_seeds) == 1:
        sentences.append("With one seed, the chance of the seed is not in it.")
    if verdict == "better":
        judge = shlex.join(["python", "-m", "harness.evaluate", str(test_run), "--split", "test"])
        advice = f": judge them on the test split, {judge}" if test_run else ""
        sentences.append(f"The settings were chosen on the same pictures, which flatters them{advice}.")
    return " ".join(sentences)


def _describe_difference(found: Difference, digits: int) -> str:
    if math.isinf(found.low):
        return f"{found.mean:+.{digits}f}, and pictures of one group tell nothing of its chance"
    return f"{found.mean:+.{digits}f} (95 % interval {found.low:+.{digits}f} to {found.high:+.{digits}f})"


def _describe_sample(comparison: Comparison) -> str:
    best, default = comparison.best.num_seeds, comparison.default.num_seeds
    seeds = f"{best} and {default} seeds" if best != default else f"{best} seed{'s' * (best > 1)} each"
    num = comparison.num_groups
    groups = "" if num == comparison.num_pictures else f" in {num:,} group{'s' * (num > 1)}"
    return f"on {comparison.num_pictures:,} pictures{groups}, {seeds}"
