"""What a search shows while it runs: one table that stays in its place, on a terminal only.

Elsewhere the lines of events in the log say the same.
"""

import csv
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from harness.base.text import format_value, shorten, visible
from harness.locks import lock
from harness.runs.workdir import Workdir
from harness.search.trials.trial import Objective, Trial, rank

log = logging.getLogger("harness")
_REFRESH_S = 2.0
_MOST_ROWS = 12  # of running trials
_MOST_OF_NODE = 16  # characters of its name


@contextmanager
def open_table(
    list_trials: Callable[[], Sequence[Trial]],
    *,
    objective: Objective,
    total: int | None,
    is_shown: bool,
    noun: str = "trial",
) -> Iterator[Callable[[], None]]:
    """Shows the table until the block ends; gives a function that brings it up to date, to be called often.

    Args:
      list_trials: returns what there is.
      objective: of the search.
      total: trials at most; None if unknown.
      is_shown: whether anybody wants it; without a terminal nothing is shown.
      noun: what a training is called; only of trials one is the best.
    """
    console = Console(stderr=True)
    if not (is_shown and console.is_terminal):
        yield lambda: None
        return
    started, last = time.monotonic(), [0.0]
    with Live(console=console, refresh_per_second=1, transient=True) as live, _log_above():

        def show() -> None:
            """Brings the table up to date, unless that was done just before."""
            if time.monotonic() - last[0] > _REFRESH_S:
                last[0] = time.monotonic()
                seconds = time.monotonic() - started
                live.update(make_table(list_trials(), objective, total, seconds=seconds, noun=noun))

        yield show


@contextmanager
def _log_above() -> Iterator[None]:
    """Puts log lines above the table: rich watches sys.stderr, and handlers hold what that was before."""
    handlers = [handler for handler in log.handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.stream for handler in handlers]
    try:
        for handler in handlers:
            handler.setStream(sys.stderr)
        yield
    finally:
        for handler, stream in zip(handlers, before):
            handler.setStream(stream)


def make_table(
    trials: Sequence[Trial], objective: Objective, total: int | None, *, seconds: float, noun: str = "trial"
) -> Table:
    """Returns the table of a search that has run for so many seconds in this process."""
    ranked = rank(tuple(trials), objective)
    num_failed = sum(trial.status == "failed" for trial in trials)
    running = [trial for trial in trials if trial.status == "running"]
    of = f" of {total}" if total is not None else ""
    title = (
        f"{len(ranked)}{of} {noun}s done, {len(running)} running, {num_failed} failed, {tqdm.format_interval(seconds)}"
    )
    if total is not None and (left := _estimate(trials, total)) is not None:
        title += f", about {tqdm.format_interval(left)} left"
    if ranked and noun == "trial":
        title += f"; best {objective} {format_value(ranked[0].score)} of trial {ranked[0].name}"
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    nodes = [lock.find_host(trial.run) for trial in running[:_MOST_ROWS]]
    with_nodes = any(node not in ("", socket.gethostname()) for node in nodes)
    for heading in (
        noun,
        *(["node"] if with_nodes else []),
        "epoch",
        "loss",
        "val loss",
        "val accuracy",
        "images/s",
    ):
        table.add_column(heading, justify="left" if heading in (noun, "node") else "right", no_wrap=True)
    table.add_column("settings")  # the only one that gives way on a narrow terminal
    for trial, node in zip(running, nodes):
        row = read_last_epoch(Workdir(trial.run).metrics_csv)
        told = [row.get(name, "") for name in ("epoch", "loss", "val_loss", "val_accuracy", "images_per_s")]
        values = ", ".join(f"{name} {format_value(value)}" for name, value in trial.values.items())
        settings = Text(visible(values), no_wrap=True, overflow="ellipsis")
        names = (trial.name, shorten(node.partition(".")[0], _MOST_OF_NODE)) if with_nodes else (trial.name,)
        table.add_row(*map(Text, (*names, *map(_shorten, told))), settings)
    if len(running) > _MOST_ROWS:
        table.add_row(Text(f"and {len(running) - _MOST_ROWS} more"))
    return table


def _estimate(trials: Sequence[Trial], total: int) -> float | None:
    """Returns the seconds that are left, if all trials take as long as those that have ended; None before the first."""
    ended = [trial.seconds for trial in trials if trial.status != "running" and trial.seconds]
    num_running = sum(trial.status == "running" for trial in trials)
    if not ended:
        return None
    num_left = total - sum(trial.status != "running" for trial in trials)
    return sum(ended) / len(ended) * max(0, num_left) / max(1, num_running)


def read_last_epoch(path: Path) -> dict[str, str]:
    """Returns the last row of a run's metrics.csv; nothing before the first epoch has ended."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):  # it is only shown
        return {}
    return {str(name): str(value) for name, value in rows[-1].items()} if rows else {}


def _shorten(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text
