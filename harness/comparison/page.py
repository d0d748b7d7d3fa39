"""A comparison of runs on one page, a file that needs no network."""

from collections.abc import Iterable
from pathlib import Path

from harness.base import files, html
from harness.base.errors import ConfigError
from harness.base.html import Html
from harness.base.text import shorten
from harness.comparison import leaderboard, tables
from harness.comparison.comparison import Comparison, Disagreement
from harness.comparison.contrast import Word

_MOST_PICTURES, _MOST_VALUE = 200, 60
_COLOUR: dict[Word, str] = {"better": "good", "worse": "bad", "not shown to differ": "quiet"}
_GENERATOR = "harness: comparison of runs"
_STYLE = """
body { max-width: 80rem; } td:not(:first-child) { white-space: nowrap; } td, th { padding: .3rem .6rem; }
.words td, .words th { text-align: left; }
"""


def check_file(path: Path) -> None:
    """Refuses a file that something else is in; an earlier comparison may be written over.

    Raises:
      ConfigError: it is a folder, or no comparison.
      OSError, StorageError: it cannot be read, or not be written.
    """
    if path.is_dir():
        raise ConfigError(f"--html {path} is a folder. Give a file, such as {path / 'comparison.html'}.")
    if path.exists() and not html.was_made(path, _GENERATOR):
        raise ConfigError(f"--html {path} exists already, and is no comparison. Give another name, or remove it.")
    files.check_new(path)


def render(found: Comparison) -> str:
    """Returns the page."""
    names = leaderboard.name_shortly(found.measured)
    contents = {
        "Which is better": _show_contrasts(found, names),
        "Figures": _show_figures(found, names),
        "Settings that differ": _show_settings(found, names),
        "Pictures they disagree on": _show_disagreements(found, names),
        "How to read this": html.paragraphs(found.notes),
    }
    line = f"{len(names):,} runs on {tables.describe_place(found)}"
    body = f'<p class="quiet">{html.text(line)}</p>{html.sections(contents)}'
    return html.whole("Comparison of runs", body, style=_STYLE, generator=_GENERATOR)


def _show_contrasts(found: Comparison, names: list[str]) -> Html:
    rows = [
        (
            html.breakable(name),
            _colour(one.accuracy.word),
            _colour(one.loss.word),
            *leaderboard.list_contrast(one),
            leaderboard.show_p(one.mcnemar),
        )
        for name, one in zip(names[1:], found.contrasts)
    ]
    header = ("run", "in accuracy", "in log loss", *leaderboard.OF_CONTRAST, "McNemar's p")
    line = f"Differences from {shorten(names[0])} on the same pictures ({leaderboard.EXPLAINED})."
    return Html(f"<p>{html.text(line)}</p>{html.table(header, rows)}")


def _show_figures(found: Comparison, names: list[str]) -> Html:
    short = {one.run.name: name for one, name in zip(found.measured, names)}
    rows = [
        (
            html.breakable(short[one.run.name]),
            *leaderboard.list_answers(one.figures),
            *leaderboard.list_classes(one.figures),
            *leaderboard.list_model(one.run, one.ms_a_picture),
        )
        for one in leaderboard.sort(found.measured)
    ]
    return html.table(("run", *leaderboard.OF_ANSWERS, *leaderboard.OF_CLASSES, *leaderboard.OF_MODEL), rows)


def _show_settings(found: Comparison, names: list[str]) -> Html:
    if not found.settings:
        return Html("<p>None.</p>")
    rows = [
        (html.breakable(name), *(shorten(value, _MOST_VALUE) for value in row)) for name, row in found.settings.items()
    ]
    return html.table(("setting", *map(shorten, names)), rows, kind="words")


def _show_disagreements(found: Comparison, names: list[str]) -> Html:
    if not found.disagreements:
        return Html("<p>None: all runs take every picture for the same class.</p>")
    shown = found.disagreements[:_MOST_PICTURES]
    rows = [(html.breakable(one.path), one.label, *_show_answers(one)) for one in shown]
    more = len(found.disagreements) - len(shown)
    left_out = f" {more:,} more are left out; --json has a thousand." if more else ""
    line = (
        f"{len(found.disagreements):,} of {len(found.measured[0].predictions):,} pictures. First come the surest "
        f"mistakes that another run does not make.{left_out}"
    )
    return Html(f"<p>{line}</p>{html.table(('picture', 'is', *map(shorten, names)), rows, kind='words')}")


def _show_answers(one: Disagreement) -> Iterable[Html]:
    for index, answer in enumerate(one.answers):
        colour = "good" if answer.predicted == one.label else "bad"
        yield Html(f'<span class="{colour}">{html.text(tables.describe_answer(one, index))}</span>')


def _colour(word: Word) -> Html:
    return Html(f'<span class="{_COLOUR[word]}">{word}</span>')
