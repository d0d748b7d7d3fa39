"""A comparison of runs as text for a person, within 100 columns, and in words."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from harness.base.text import cap_rows, format_table, shorten
from harness.comparison import leaderboard
from harness.comparison.comparison import Comparison, Disagreement
from harness.results.statistics import sample

_WIDTH = 100  # columns
_MOST_SIDE_BY_SIDE = 3  # runs that have a column each
_MOST_NAME, _MOST_VALUE, _MOST_PATH, _MOST_CLASS = 16, 18, 30, 10  # letters


def describe(found: Comparison) -> str:
    """Returns the words, the figures, what differs in the settings, and the pictures that runs disagree on."""
    parts = [
        "\n".join(map(_wrap, _describe_contrasts(found))),
        _list_figures(found),
        _list_contrasts(found),
        _list_settings(found),
        _list_disagreements(found),
        "\n".join(_wrap(f"note: {note}") for note in found.notes),
    ]
    return "\n\n".join(parts)


def _describe_contrasts(found: Comparison) -> list[str]:
    """Returns a sentence on each run but the first: what is shown of it."""
    reference, *others = (_name(name) for name in leaderboard.name_shortly(found.measured))
    return [
        f"{name}, compared with {reference}: accuracy {one.accuracy.word}, log loss {one.loss.word}"
        for name, one in zip(others, found.contrasts)
    ]


def describe_place(found: Comparison) -> str:
    """Returns on what the runs were measured."""
    pictures = sample.describe(found.measured[0].figures)
    return f"{found.measured_on}: {pictures}"


def describe_answer(one: Disagreement, index: int) -> str:
    """Returns what a run says of a picture, with the probability."""
    answer = one.answers[index]
    return f"{shorten(answer.predicted, _MOST_CLASS)} {answer.probability:.2f}"


def _list_figures(found: Comparison) -> str:
    short = {one.run.name: _name(name) for one, name in zip(found.measured, leaderboard.name_shortly(found.measured))}
    ranked = leaderboard.sort(found.measured)
    answers = [(short[one.run.name], *leaderboard.list_answers(one.figures)) for one in ranked]
    classes = [
        (
            short[one.run.name],
            *leaderboard.list_classes(one.figures),
            *leaderboard.list_model(one.run, one.ms_a_picture),
        )
        for one in ranked
    ]
    return (
        f"on {describe_place(found)}; the highest accuracy first\n"
        f"{format_table([('run', *leaderboard.OF_ANSWERS), *answers])}\n\n"
        f"{format_table([('run', *leaderboard.OF_CLASSES, *leaderboard.OF_MODEL), *classes])}"
    )


def _list_contrasts(found: Comparison) -> str:
    reference, *others = leaderboard.name_shortly(found.measured)
    rows = [(_name(name), *leaderboard.list_contrast(one)) for name, one in zip(others, found.contrasts)]
    title = f"difference from {_name(reference)} on the same pictures ({leaderboard.EXPLAINED})"
    return f"{_wrap(title)}\n{format_table([('run', *leaderboard.OF_CONTRAST), *rows])}"


def _list_settings(found: Comparison) -> str:
    if not found.settings:
        return "no setting differs"
    short = [_name(name) for name in leaderboard.name_shortly(found.measured)]
    if len(short) <= _MOST_SIDE_BY_SIDE:
        header = ("setting", *(shorten(name, _MOST_VALUE) for name in short))
        every = [(name, *(shorten(value, _MOST_VALUE) for value in row)) for name, row in found.settings.items()]
        left = len(header)
    else:
        header, left = ("setting", "value", "runs"), 3
        every = [
            (name, shorten(value, _MOST_VALUE), _join([run for run, other in zip(short, row) if other == value]))
            for name, row in found.settings.items()
            for value in dict.fromkeys(row)
        ]
    rows, more = cap_rows(every)
    title = f"settings that differ{more and f' ({more}; all of them: --json, --html)'}"
    return f"{title}\n{format_table([header, *rows], num_left=left)}"


def _list_disagreements(found: Comparison) -> str:
    if not found.disagreements:
        return "all runs take every picture for the same class"
    total = len(found.measured[0].predictions)
    title = f"the runs disagree on {len(found.disagreements):,} of {total:,} pictures"
    short = [_name(name) for name in leaderboard.name_shortly(found.measured)]
    if len(short) <= _MOST_SIDE_BY_SIDE:
        header = ("picture", "is", *(shorten(name, _MOST_VALUE) for name in short))
        answers = [[describe_answer(one, index) for index in range(len(short))] for one in found.disagreements]
    else:
        header = ("picture", "is", "runs by what they take it for")
        answers = [[_count(one)] for one in found.disagreements]
    every = [
        (shorten(one.path, _MOST_PATH), shorten(one.label, _MOST_CLASS), *row)
        for one, row in zip(found.disagreements, answers)
    ]
    rows, more = cap_rows(every)
    title += f"; first the surest mistakes that another run does not make{more and f' ({more}: --json, --html)'}"
    return f"{_wrap(title)}\n{format_table([header, *rows], num_left=len(header))}"


def _count(one: Disagreement) -> str:
    return _join([f"{shorten(name, _MOST_CLASS)} {num}" for name, num in _tally(one).most_common()])


def _tally(one: Disagreement) -> Counter[str]:
    return Counter(answer.predicted for answer in one.answers)


def _join(words: Sequence[str]) -> str:
    return shorten(", ".join(words), _WIDTH - _MOST_NAME - _MOST_PATH)


def _name(name: str) -> str:
    return shorten(name, _MOST_NAME)


def _wrap(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
