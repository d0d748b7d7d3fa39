"""What the report of a search tells, as plain values, and the sentences that follow from them. It knows no page."""

import datetime
import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.text import count
from harness.config.ranges import Range
from harness.search.trials.trial import Objective, Trial, rank

_SHARES: tuple[Objective, ...] = ("val_accuracy", "val_balanced_accuracy")  # of pictures, told in percent


@dataclass(frozen=True)
class SearchFacts:
    """What the page tells.

    Attributes:
      name: of the search.
      objective: what its trials are compared by.
      algorithm: what proposed their settings.
      trials: all, in the order in which they started.
      space: setting -> what it could be.
      search_command: what makes the search go on.
      train_command: what trains with the best settings.
      best_config: the file of the best settings.
      default: name of the trial of the default settings, or "".
      verdict: a sentence about whether the best is better than the default settings, or "".
      comparison: a table of what the verdict rests on, its header first; empty if there is none.
      comparison_seconds: that its trainings took, beside the trials.
      num_slots: trials that ran at the same time.
      gpus_per_trial: 0 on CPUs.
    """

    name: str
    objective: Objective
    algorithm: str
    trials: tuple[Trial, ...]
    space: Mapping[str, Range]
    search_command: str
    train_command: str
    best_config: Path
    default: str = ""
    verdict: str = ""
    comparison: Sequence[Sequence[object]] = ()
    comparison_seconds: float = 0.0
    num_slots: int = 1
    gpus_per_trial: int = 0

    @functools.cached_property
    def ranked(self) -> tuple[Trial, ...]:
        """The completed trials with a finite score, the best first."""
        return tuple(trial for trial in rank(self.trials, self.objective) if math.isfinite(trial.score))

    @functools.cached_property
    def failed(self) -> tuple[Trial, ...]:
        """The trials that have ended without a finite score, in the order in which they started."""
        scored = {trial.name for trial in self.ranked}
        return tuple(trial for trial in self.trials if trial.status != "running" and trial.name not in scored)

    @property
    def running(self) -> tuple[Trial, ...]:
        """The trials that run, or wait to be gone on with."""
        return tuple(trial for trial in self.trials if trial.status == "running")

    @functools.cached_property
    def defaults(self) -> tuple[Trial, ...]:
        """The completed trials of the default settings, the best first; those promoted from it are among them."""
        values = next((trial.values for trial in self.trials if trial.name == self.default), None)
        return tuple(trial for trial in self.ranked if trial.values == values)

    @property
    def unit(self) -> str:
        """What a device hour is here."""
        return "GPU hours" if self.gpus_per_trial else "hours of a CPU slot"

    def to_hours(self, seconds: float) -> float:
        """Returns the device hours that so many seconds of a training are."""
        return seconds * max(1, self.gpus_per_trial) / 3600

    def sum_hours(self, trials: Iterable[Trial]) -> float:
        """Returns the device hours of trials."""
        return self.to_hours(sum(trial.seconds for trial in trials))


def list_ended(facts: SearchFacts) -> list[tuple[float, Trial]]:
    """Returns the completed trials in the order in which they ended, with the device hours of all ended by then."""
    hours, ended = 0.0, []
    for trial in sorted((trial for trial in facts.trials if trial.status != "running"), key=_read_end):
        hours += facts.to_hours(trial.seconds)
        if trial in facts.ranked:
            ended.append((hours, trial))
    return ended


def _read_end(trial: Trial) -> float:
    """When a trial ended; those that do not say come first."""
    return datetime.datetime.fromisoformat(trial.finished).timestamp() if trial.finished else 0.0


def describe_gain(facts: SearchFacts) -> str:
    """Returns in words what the search gained over the default settings."""
    if not facts.ranked:
        return "No trial is completed, so there is nothing to compare."
    if not facts.defaults:
        return "What the search gained cannot be told: no trial of the default settings is completed."
    if len(facts.ranked) == 1:
        return "Only the default settings are tried to the end, so there is nothing to compare them with."
    best, default = facts.ranked[0], facts.defaults[0]
    gain = abs(best.score - default.score)
    if gain == 0:
        return "The search gained nothing: no trial was better than the default settings."
    if facts.objective == "val_loss":
        words = [f"The search lowered the loss by {format_score(gain, facts.objective)} nats"]
        words.append(f", or {gain / default.score:.1%}." if default.score > 0 else ".")
    elif facts.objective in _SHARES:
        name = facts.objective.removeprefix("val_").replace("_", " ")
        words = [f"The search raised the {name} by {100 * gain:.2f} percentage points."]
    else:
        words = [f"The search raised {facts.objective} by {gain:.4f}."]
    if best.num_epochs != default.num_epochs and facts.algorithm == "hyperband":
        trained = f"{count(best.num_epochs, 'epoch')}, the default settings for {default.num_epochs:,}"
        words.append(f" The best was trained for {trained}, so this is no fair comparison.")
    if not facts.verdict:
        chosen = f" Each was trained once, and the best of {len(facts.ranked)} looks better than it is"
        words.append(f"{chosen}: it was chosen for looking best.")
    return "".join(words)


def describe_cost(facts: SearchFacts) -> str:
    """Returns in words what the search took."""
    trained = sum(trial.num_epochs_trained for trial in facts.trials)
    counted = sum(trial.num_epochs for trial in facts.trials)
    devices = f"{count(facts.gpus_per_trial, 'GPU')} a trial" if facts.gpus_per_trial else "on CPUs"
    took = f"{facts.sum_hours(facts.trials):,.2f} {facts.unit}"
    words = [f"The trials took {took} ({devices}, {count(facts.num_slots, 'slot')})."]
    if starts := [trial.start_seconds for trial in facts.trials if trial.start_seconds]:
        words.append(f"A trial needed {statistics.median(starts):.0f} s (median) to start, before its first step.")
    if facts.failed:
        words.append(f"Of all, {facts.sum_hours(facts.failed):,.2f} went into trials that failed.")
    if facts.comparison_seconds:
        words.append(f"The comparison of the best took {facts.to_hours(facts.comparison_seconds):,.2f} more.")
    if counted > trained:
        words.append(
            f"{trained:,} epochs were trained and {counted:,} count: promoted trials went on from the checkpoints of "
            f"those they were promoted from, which saved {counted - trained:,}."
        )
    else:
        words.append(f"{trained:,} epochs were trained.")
    return " ".join(words)


def format_score(score: float, objective: Objective) -> str:
    """Returns a score as text, an accuracy in percent."""
    if objective in _SHARES:
        return f"{score:.2%}"
    return f"{score:.4f}" if 0.001 <= abs(score) < 10_000 else f"{score:.3g}"
