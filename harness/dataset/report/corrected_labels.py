"""What `clean.labels` has changed, as the data report and the end of a build tell it.

It goes by the findings; corrected_listing.py has made the changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.base import html
from harness.base.html import Html
from harness.base.text import cap_rows, format_table, shorten
from harness.dataset.corrections.corrected_listing import describe_counts
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason

_MOST_SHOWN, _MOST_OPEN = 2000, 50  # rows of the page, and those that show at once
_MOST_CHARS = 60  # of a reason in a terminal
_LEFT_OUT = "(left out)"


@dataclass(frozen=True)
class CorrectedLabels:
    """The pictures whose label was changed, or that were left out, by path; and how many labels were confirmed."""

    changed: tuple[Finding, ...] = ()
    left_out: tuple[Finding, ...] = ()
    num_confirmed: int = 0

    @property
    def listed(self) -> list[Finding]:
        """All that a table shows."""
        return sorted([*self.changed, *self.left_out], key=lambda item: item.path)

    def count(self) -> dict[str, int]:
        """Returns the numbers by their names."""
        return {"changed": len(self.changed), "confirmed": self.num_confirmed, "left_out": len(self.left_out)}

    def describe(self) -> str:
        """Returns the numbers in words."""
        return describe_counts(len(self.changed), self.num_confirmed, len(self.left_out))


def gather(found: Iterable[Finding]) -> CorrectedLabels:
    """Returns what was corrected among the findings of a build."""
    named = [item for item in found if item.label_was]
    left_out = tuple(item for item in named if item.reason == Reason.LEFT_OUT)
    others = [item for item in named if item.reason != Reason.LEFT_OUT]
    changed = tuple(item for item in others if item.class_name != item.label_was)
    return CorrectedLabels(changed, left_out, len(others) - len(changed))


def list_warnings(found: CorrectedLabels, table: str | None) -> list[str]:
    """Returns a sentence if corrected pictures are in no record since a copy of them has another class.

    Args:
      found: what was corrected.
      table: the setting `clean.labels`.
    """
    lost = [item for item in found.changed if item.reason == Reason.LABEL_CONFLICT]
    if not lost:
        return []
    counted = f"{len(lost):,} of {len(found.changed):,} pictures whose label was changed"
    return [
        f"in no record, since a copy has another class: {counted}, such as {shorten(lost[0].path)}, which "
        f"{lost[0].measured}. Name the copies in {table} too."
    ]


def tabulate(found: CorrectedLabels, table: str) -> str:
    """Returns the closing lines of a build: counts, and what each picture was and is."""
    title = f"labels by {shorten(table)}: {found.describe()}"
    rows = [
        (shorten(item.path), shorten(item.label_was), _name_now(item), shorten(item.label_reason, _MOST_CHARS))
        for item in found.listed
    ]
    if not rows:
        return title
    shown, more = cap_rows(rows)
    rest = [f"{more}: see cleaning.csv"] if more else []
    return "\n".join([title, format_table([("path", "was", "is", "reason"), *shown], num_left=4), *rest])


def _name_now(item: Finding) -> str:
    return _LEFT_OUT if item.reason == Reason.LEFT_OUT else shorten(item.class_name)


def show(found: CorrectedLabels) -> Html:
    """Returns the section of the page; nothing if no label was named."""
    if not any(found.count().values()):
        return Html("")
    said = f"<p>By clean.labels: {html.text(found.describe())}. No file was changed or moved.</p>"
    rows = [
        (html.breakable(item.path), item.label_was, _name_now(item), _place(item), item.label_reason)
        for item in found.listed[:_MOST_SHOWN]
    ]
    num_more = len(found.listed) - len(rows)
    rest = f'<p class="quiet">and {num_more:,} more: see cleaning.csv</p>' if num_more else ""
    return Html(f"{said}{_table(rows[:_MOST_OPEN])}{_fold(rows[_MOST_OPEN:])}{rest}")


def _place(item: Finding) -> str:
    """The split that a picture is in, or why it is in none."""
    return item.split or item.reason.replace("_", " ")


def _table(rows: Sequence[Sequence[object]]) -> Html:
    return html.table(("path", "was", "is", "in", "reason"), rows, kind="corrected") if rows else Html("")


def _fold(rows: Sequence[Sequence[object]]) -> Html:
    return html.fold(f"{len(rows):,} more labels", _table(rows)) if rows else Html("")
