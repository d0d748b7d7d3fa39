"""What is known of a search and its trials, as plain values: what is reported, compared and drawn. It reads no file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.text import format_value
from harness.config.training_sections import Monitor
from harness.search.space.combinations import Value

Objective = Monitor  # trials are compared by what each of them keeps its weights by


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
      name: of its folder.
      run: its run folder.
      values: what it tried: setting -> value. A setting that is off by its condition is not in it.
      status: running also means that it was stopped and waits to be gone on with.
      score: of the objective; None unless it is completed, and where its run does not state it.
      figures: of its kept epoch on the validation split, by objective; empty unless it is completed.
      num_epochs: that its weights have been trained in all; for Hyperband those of the trial it was promoted from too.
      num_epochs_trained: by this trial itself.
      seconds: for which its processes ran.
      start_seconds: of these, until the last of them had its devices.
      finished: when it ended, as ISO 8601 in local time; "" if it has not.
      started_from: the trial it was promoted from, or "".
      reason: in words why it failed, or "".
      log_end: the last lines of its log; empty unless it failed.
    """

    name: str
    run: Path
    values: Mapping[str, Value]
    status: Literal["running", "completed", "failed"]
    score: float | None = None
    figures: Mapping[str, float] | None = None
    num_epochs: int = 0
    num_epochs_trained: int = 0
    seconds: float = 0.0
    start_seconds: float = 0.0
    finished: str = ""
    started_from: str = ""
    reason: str = ""
    log_end: tuple[str, ...] = ()


def rank(trials: tuple[Trial, ...], objective: Objective) -> tuple[Trial, ...]:
    """Returns the completed trials, the best first; of equal ones the earlier."""
    completed = [trial for trial in trials if trial.score is not None]
    sign = 1 if objective == "val_loss" else -1
    return tuple(sorted(completed, key=lambda trial: sign * trial.score if trial.score is not None else 0.0))


def describe_values(values: Mapping[str, object]) -> str:
    """Returns what a trial tries, in words."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in values.items())
