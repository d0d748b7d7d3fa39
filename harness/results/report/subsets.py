"""Where a model fails: its accuracy by group, by folder, and by what the build found out about the files.

A subset of few pictures has a wide interval. Of many subsets some are bad by chance: these tables give hints.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.base import html
from harness.base.html import Html
from harness.base.text import shorten
from harness.dataset.curation.findings import Finding
from harness.dataset.images.arrays import Array, Ints
from harness.results.report.facts import RunFacts
from harness.results.statistics import intervals
from harness.results.statistics.intervals import Interval

_MOST_ROWS = 12
_NUM_PARTS = 3  # into which pictures are parted by a measure
_MOST_LETTERS = 56
_STYLE = re.compile(r"[_.-]")  # what ends the part of a file's name that many share, such as noto_1f62d.png
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue


@dataclass(frozen=True)
class Subset:
    """Pictures with something in common, and how the model does on them."""

    name: str
    num_examples: int
    num_wrong: int
    accuracy_ci95: Interval

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return 1 - self.num_wrong / self.num_examples


def describe(facts: RunFacts) -> Html:
    """Returns a table for each way to part the pictures that tells something."""
    is_right = np.array([row.predicted == row.label for row in facts.predictions])
    members = intervals.number_groups([row.group for row in facts.predictions])
    parts = [
        _table(title, split(names, is_right, members))
        for title, names in list_ways(facts)
        if 1 < len(set(names)) < len(names)
    ]
    note = (
        "Pictures of the validation split. A subset has the interval that its groups give; of many subsets some are "
        "bad by chance."
    )
    if not any(parts):
        return Html("<p>The pictures have nothing in common that parts them: each is a group of its own.</p>")
    unknown = [] if facts.findings else ["cleaning.csv of the records is not there: sizes and brightness are unknown."]
    return Html(f"{html.paragraphs([note, *unknown], kind='quiet')}{''.join(parts)}")


def split(names: Sequence[str], is_right: Array, members: Ints) -> list[Subset]:
    """Returns the subsets, those with most mistakes first.

    Args:
      names: the subset of each picture.
      is_right: bool [n].
      members: int [n], the group of each picture.
    """
    known, number = np.unique(np.asarray(names, object), return_inverse=True)
    order = np.argsort(number, kind="stable")
    found = [
        Subset(str(name), len(here), int((~is_right[here]).sum()), intervals.of_share(is_right[here], members[here]))
        for name, here in zip(known, np.split(order, np.cumsum(np.bincount(number))[:-1]))
    ]
    return sorted(found, key=lambda item: (-item.num_wrong, item.accuracy))


def list_ways(facts: RunFacts) -> Iterator[tuple[str, list[str]]]:
    """Yields a title and the subset of each picture, for each way to part them."""
    rows = facts.predictions
    yield "By group", [row.group for row in rows]
    folders = [row.path.rpartition("/")[0] for row in rows]
    if len(set(zip(folders, (row.label for row in rows)))) > len({row.label for row in rows}):
        yield "By folder", folders
        yield "By folder within the classes", [folder.partition("/")[2] for folder in folders]
    starts = [_STYLE.split(row.path.rpartition("/")[2])[0] for row in rows]
    if len(set(starts)) <= _MOST_ROWS and "" not in starts:
        yield "By beginning of the name", starts
    found = [facts.findings.get(row.path) for row in rows]
    if None in found:
        return
    yield "By size of the source", _part([min(item.width, item.height) for item in found], "{:,.0f}", " pixels")
    yield "By brightness", _part([_brightness(item) for item in found], "{:.0f}", " of 255")
    yield "By sharpness", _part([item.blurry for item in found], "{:.2f}")
    yield "By format", [item.format for item in found]


def _brightness(item: Finding) -> float:
    return sum(weight * level for weight, level in zip(_LUMA, (item.red, item.green, item.blue)))


def _part(values: Sequence[float], form: str, unit: str = "") -> list[str]:
    """The third of the values in which each lies, in words; one part less where many values are equal."""
    found = np.array(values, float)
    cuts = np.unique(np.quantile(found, np.linspace(0, 1, _NUM_PARTS + 1)[1:-1], method="higher"))
    cuts = cuts[cuts > found.min()]
    number = np.searchsorted(cuts, found, side="right")
    words = [_span(found[number == i], form) + unit for i in range(len(cuts) + 1)]
    return [words[i] for i in number]


def _span(values: Array, form: str) -> str:
    return " to ".join(dict.fromkeys(form.format(end) for end in (values.min(), values.max())))


def _table(title: str, found: Sequence[Subset]) -> str:
    is_known = any(item.accuracy_ci95 != (0.0, 1.0) for item in found)  # not where each is one group
    rows = [
        (
            shorten(item.name or "(none)", _MOST_LETTERS),
            f"{item.num_examples:,}",
            f"{item.num_wrong:,}",
            f"{item.accuracy:.0%}",
            *(_describe_interval(item) if is_known else ()),
        )
        for item in found[:_MOST_ROWS]
    ]
    left_out = len(found) - len(rows)
    more = html.paragraphs([f"and {left_out:,} more, with as many mistakes or fewer"] if left_out else [], kind="quiet")
    header = ("", "pictures", "wrong", "accuracy", *(("95 % interval", "0 to 100 %") if is_known else ()))
    return f"<h3>{title}</h3>{html.table(header, rows, kind='sortable')}{more}"


def _describe_interval(item: Subset) -> tuple[str, Html]:
    low, high = item.accuracy_ci95
    return intervals.describe(item.accuracy_ci95, 2), html.track(low, item.accuracy, high)
