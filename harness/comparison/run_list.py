"""All runs of a folder, finished or not, as index.html shows them: read from their files, and nothing else."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.errors import HarnessError
from harness.comparison import finished_run
from harness.comparison.finished_run import Result, Started
from harness.runs.workdir import Workdir

State = Literal["complete", "interrupted", "unfinished", "cannot be read"]


@dataclass(frozen=True)
class ListedRun:
    """A run folder.

    Attributes:
      name: of the folder.
      state: interrupted is what has stopped on request, and goes on with the same command.
      written: when its results were written, or when it began, in UTC.
      started: what it was started with; None if that cannot be read.
      result: what came of it; None if it is not complete.
      problem: why it cannot be read, in a sentence.
      has_report: whether report.html is there.
    """

    name: str
    state: State
    written: datetime.datetime
    started: Started | None = None
    result: Result | None = None
    problem: str = ""
    has_report: bool = False

    @property
    def records_sha256(self) -> str:
        """The digest of the records it was trained on; "" if that is not known."""
        return "" if self.started is None else self.started.records_sha256


def list_runs(folder: Path) -> tuple[ListedRun, ...]:
    """Returns the runs that lie in a folder, by name; trials of a search are none of them.

    Raises:
      OSError: the folder cannot be listed.
    """
    return tuple(_read(workdir) for workdir in _find(folder))


def is_trial(workdir: Workdir) -> bool:
    """Whether a run is a trial of a search, which has a report of its own."""
    return workdir.record.exists() or workdir.trial_config.exists()


def _find(folder: Path) -> Iterator[Workdir]:
    for root in sorted(folder.iterdir()):
        workdir = Workdir(root)
        if workdir.config.is_file() and workdir.environment.is_file() and not is_trial(workdir):
            yield workdir


def _read(workdir: Workdir) -> ListedRun:
    is_complete = workdir.metrics.is_file()
    name, written = workdir.root.name, _read_time(workdir.metrics if is_complete else workdir.config)
    started = None
    try:
        started = finished_run.read_start(workdir)
        if is_complete:
            result = finished_run.load_result(workdir.root)
            return ListedRun(name, "complete", written, started, result, has_report=workdir.report.is_file())
    except HarnessError as error:
        return ListedRun(name, "cannot be read", written, started, problem=str(error))
    return ListedRun(name, "interrupted" if workdir.interrupted.exists() else "unfinished", written, started)


def _read_time(path: Path) -> datetime.datetime:
    """When a file was written; the beginning of time if it is gone by now."""
    try:
        seconds = path.stat().st_mtime
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OSError, OverflowError, ValueError):
        return datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
