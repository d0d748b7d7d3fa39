"""index.html of a folder of runs: all of them in one table for each set of records, renewed after each training."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from harness.base import files, html
from harness.base.errors import HarnessError
from harness.base.html import Html
from harness.base.text import count, list_names, shorten
from harness.comparison import leaderboard, run_list
from harness.comparison.finished_run import Result
from harness.comparison.run_list import ListedRun
from harness.results import verdict
from harness.results.statistics import sample
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
FILE_NAME = "index.html"
GENERATOR = "harness: index of runs"
_MOST_TRIES = 5
_HEADER, _DATE = ("run", "state"), "date (UTC)"
_FIGURES = ("split", "verdict", *leaderboard.OF_ANSWERS, *leaderboard.OF_CLASSES, "parameters", "MB")
_COMPARE = "python -m harness.compare RUN RUN..."


def renew(workdir: Workdir) -> None:
    """Writes the index of the folder that a run is in, if that is one of runs; warns if it cannot.

    Trials of a search have a report of their own. The current folder and those above it get no index: they are where a
    person works, whatever runs lie there. A page that is not ours stays as it is.
    """
    path = workdir.root.parent / FILE_NAME
    try:
        path = workdir.root.resolve().parent / FILE_NAME
        if run_list.is_trial(workdir) or Path.cwd().is_relative_to(path.parent):
            return
        if not _may_write(path):
            log.warning("%s is not of harness, and stays as it is: there is no list of the runs.", path)
            return
        _write(path)
    except (OSError, HarnessError) as error:
        log.warning("%s, the list of the runs, could not be written: %s", path, error)


def _may_write(path: Path) -> bool:
    """Whether there is no page yet, or one that `render` made."""
    return not (path.is_symlink() or path.exists()) or html.was_made(path, GENERATOR)


def _write(path: Path) -> None:
    """Writes the page, and again if runs have changed meanwhile: of several trainings that end at once, one is last."""
    runs = run_list.list_runs(path.parent)
    for _ in range(_MOST_TRIES):
        files.write_text(path, render(path.parent.name, runs))
        written, runs = runs, run_list.list_runs(path.parent)
        if runs == written:
            return


def render(name: str, runs: Sequence[ListedRun]) -> str:
    """Returns the page.

    Args:
      name: of the folder.
      runs: all that are in it.
    """
    contents: dict[str, str] = {}
    for digest in _order_records(runs):
        same = [run for run in runs if run.records_sha256 == digest]
        contents[_name_records(same) or "Records unknown"] = _show_records(same)
    num_complete = sum(run.state == "complete" for run in runs)
    line = (
        f"{count(len(runs), 'run')}, {num_complete:,} of them complete; a table for each set of "
        "records, the highest accuracy first: on the test split where there is one, else on the validation split."
    )
    advice = (
        "The verdict is about a run beside the baselines, on the same split as its figures. Which of two runs is "
        "better is not in these figures: intervals overlap, and whoever takes the one with the highest figure has "
        "chosen by the pictures that gave it. This says what is shown beyond chance:"
    )
    body = (
        f'<p class="quiet">{html.text(line)}</p><p>{html.text(advice)}</p>{html.block(_COMPARE)}'
        f"{html.sections(contents)}"
    )
    return html.whole(name or "runs", body, style=_STYLE, generator=GENERATOR)


_STYLE = """
body { max-width: 100rem; } td, th { padding: .3rem .6rem; }
td:nth-child(-n+4), th:nth-child(-n+4) { text-align: left; }
td:not(:first-child) { white-space: nowrap; }
"""


def _order_records(runs: Iterable[ListedRun]) -> list[str]:
    """Returns the digests of records, those that were trained on last first; the unknown ones last."""
    latest = {run.records_sha256: run.written for run in sorted(runs, key=lambda run: run.written)}
    return sorted(latest, key=lambda digest: (digest != "", latest[digest]), reverse=True)


def _name_records(runs: Sequence[ListedRun]) -> str:
    """Returns the records of the run that began last, with the digest, as a folder may have held several."""
    started = [run.started for run in sorted(runs, key=lambda run: run.written) if run.started is not None]
    return f"{shorten(started[-1].records or 'a folder')}, sha256 {started[-1].records_sha256[:8]}" if started else ""


def _show_records(runs: Sequence[ListedRun]) -> Html:
    complete = [run for run in runs if run.result is not None]
    complete.sort(key=lambda run: leaderboard.rank(run.result.figures.judged) if run.result else (0.0, 0.0))
    others = sorted((run for run in runs if run.result is None), key=lambda run: run.written, reverse=True)
    blank = ("",) * len(_FIGURES)
    rows = [
        (_show_name(run), run.state, *(_show_figures(run) or blank), f"{run.written:%Y-%m-%d %H:%M}")
        for run in (*complete, *others)
    ]
    problems = [f"{run.name}: {run.problem}" for run in others if run.problem]
    warnings = html.warnings("Runs that cannot be read", problems)
    return Html(f'<p class="quiet">{_describe(runs)}</p>{html.table((*_HEADER, *_FIGURES, _DATE), rows)}{warnings}')


def _describe(runs: Sequence[ListedRun]) -> Html:
    """Which records these are, and what the runs were measured on."""
    if all(run.started is None for run in runs):
        return Html("What these were trained on cannot be read.")
    for run in runs:
        if run.result is not None:
            figures = run.result.figures.judged
            measured = sample.describe(figures, _name_split(run.result))
            return html.text(f"{list_names(figures.class_names)}, {measured}")
    return Html("No run is complete.")


def _show_name(run: ListedRun) -> Html:
    name = html.breakable(shorten(run.name))
    if not run.has_report:
        return name
    return Html(f'<a href="{html.text(quote(run.name, errors="surrogateescape"))}/report.html">{name}</a>')


def _show_figures(run: ListedRun) -> tuple[object, ...]:
    if run.result is None:
        return ()
    figures = run.result.figures.judged
    answers, classes = leaderboard.list_answers(figures), leaderboard.list_classes(figures)
    model = leaderboard.list_model(run.result)[:2]
    return _name_split(run.result), _show_verdict(run.result), *answers, *classes, *model


def _name_split(result: Result) -> str:
    return "validation" if result.figures.test is None else "test"


def _show_verdict(result: Result) -> Html:
    judged = result.figures.verdict
    if judged is None:
        return Html(leaderboard.UNKNOWN)
    return Html(f'<span class="{judged.level}">{verdict.HEADINGS[judged.level]}</span>')
