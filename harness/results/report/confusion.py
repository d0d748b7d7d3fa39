"""What is taken for what: the most confused pairs, the matrix as a table, and the figures of each class.

A number in the matrix or beside a pair is a link to the mistakes below that it counts, where any of them are shown.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from harness.base import html
from harness.base.html import Html
from harness.base.text import count, list_names, shorten
from harness.dataset.images.arrays import Array
from harness.results import verdict
from harness.results.metrics import Metrics
from harness.results.report import charts
from harness.results.report.facts import Picture
from harness.results.statistics import intervals

_MOST_SQUARE = 20  # classes in the matrix
_MOST_PAIRS, _MOST_CLASSES, _MOST_OPEN = 40, 40, 12  # rows, and those that are not folded
_MOST_LETTERS = 40
Pairs = Collection[tuple[int, int]]  # of labels: the class, and what it is taken for
STYLE = """
.matrix td, .matrix th { padding: .25rem .5rem; text-align: center; } .matrix td:first-child { text-align: left; }
.matrix th { font-weight: 400; font-size: .8rem; vertical-align: bottom; overflow-wrap: anywhere; }
.matrix thead th:not(:first-child) { min-width: 2.2rem; max-width: 7rem; }
.matrix a { color: inherit; } .matrix small { display: block; opacity: .8; }
.matrix td.right { outline: 1px solid var(--line); }
"""


def describe(metrics: Metrics, mistakes: Iterable[Picture]) -> Html:
    """Returns pairs, matrix and classes.

    Args:
      metrics: the figures.
      mistakes: the pictures that are shown.
    """
    shown = {(picture.label, picture.predicted) for picture in mistakes}
    return Html(
        f"<h3>Most confused</h3>{_list_pairs(metrics, shown)}<h3>Confusion matrix</h3>{_draw(metrics, shown)}"
        f"<h3>Classes</h3>{_list_classes(metrics)}"
    )


def _count_pair(label: int, predicted: int, count: int, shown: Pairs) -> Html:
    """A number that shows the mistakes of one pair of classes where it is clicked, if there are any to show."""
    words = html.text(f"{count:,}")
    if (label, predicted) not in shown:
        return words
    return Html(f'<a href="#mistakes" data-show="{label}-{predicted}">{words}</a>')


def _list_pairs(metrics: Metrics, shown: Pairs) -> Html:
    pairs = verdict.list_confused(metrics)
    if not pairs:
        return Html("<p>No picture was taken for another class.</p>")
    totals = np.array(metrics.confusion).sum(axis=1)
    names = [shorten(name, _MOST_LETTERS) for name in metrics.class_names]
    rows = [
        (names[label], names[other], _count_pair(label, other, count, shown), f"{count / totals[label]:.0%}")
        for label, other, count in pairs[:_MOST_PAIRS]
    ]
    left_out = len(pairs) - len(rows)
    more = [f"and {count(left_out, 'more pair')}: confusion in metrics.json has all"] if left_out else []
    header = ("class", "taken for", "pictures", "of the class")
    return Html(f"{_fold_long(header, rows, kind='sortable second-word')}{html.paragraphs(more, kind='quiet')}")


def _fold_long(header: Sequence[object], rows: Sequence[Sequence[object]], *, kind: str) -> Html:
    """A table of which the first rows are seen at once."""
    first, rest = rows[:_MOST_OPEN], rows[_MOST_OPEN:]
    more = html.fold(f"{len(rest):,} more", html.table(header, rest, kind=kind)) if rest else ""
    return Html(f"{html.table(header, first, kind=kind)}{more}")


def _draw(metrics: Metrics, shown: Pairs) -> Html:
    counts = np.array(metrics.confusion)
    if len(counts) <= _MOST_SQUARE:
        classes, words = np.arange(len(counts)), "Rows are the true classes, columns what they are taken for."
    else:
        classes = charts.find_most_confused(metrics, _MOST_SQUARE)
        words = f"The {len(classes)} of {len(counts):,} classes that are confused most. The shares are of all pictures."
    header = ("", *(shorten(metrics.class_names[label], _MOST_LETTERS) for label in classes))
    totals = counts.sum(axis=1)
    body = "".join(
        f"<tr><td>{html.text(shorten(metrics.class_names[label], _MOST_LETTERS))}</td>"
        f"{''.join(_cell(label, other, counts, totals, shown) for other in classes.tolist())}</tr>"
        for label in classes.tolist()
    )
    head = "".join(f"<th>{html.text(cell)}</th>" for cell in header)
    return Html(
        f'{html.paragraphs([words], kind="quiet")}<div class="table"><table class="matrix"><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _cell(label: int, other: int, counts: Array, totals: Array, shown: Pairs) -> str:
    count = int(counts[label, other])
    share = count / max(1, int(totals[label]))
    colour = "68,119,170" if label == other else "238,102,119"
    shade = f' style="background:rgba({colour},{0.65 * share:.2f})"' if count else ""
    number = f"{_count_pair(label, other, count, shown)}<small>{share:.0%}</small>" if count else ""
    return f'<td class="{"right" if label == other else ""}"{shade}>{number}</td>'


def _list_classes(metrics: Metrics) -> Html:
    """The classes of the lowest F1 first; in words those without a picture."""
    missing = verdict.list_missing(metrics)
    present = [name for name in metrics.class_names if name not in set(missing)]
    worst = sorted(present, key=lambda name: metrics.per_class[name]["f1"] or 0.0)
    rows = [_row(metrics, name) for name in worst[:_MOST_CLASSES]]
    header = ("class", "pictures", "precision", "recall", "95 % interval", "F1", "95 % interval", "average precision")
    said = []
    if len(worst) > _MOST_CLASSES:
        said.append(
            f"The {len(rows)} with the lowest F1 of {len(metrics.class_names):,} classes; metrics.json has all."
        )
    if missing:
        said.append(f"Without a picture, so that no figure says anything of them: {list_names(missing)}.")
    return Html(f"{_fold_long(header, rows, kind='sortable')}{html.paragraphs(said)}")


def _row(metrics: Metrics, name: str) -> Sequence[object]:
    found = metrics.per_class[name]

    def show(key: str) -> str:
        return "-" if found[key] is None else f"{found[key]:.3f}"  # type: ignore[literal-required]

    return (
        shorten(name, _MOST_LETTERS),
        f"{found['num_examples']:,}",
        show("precision"),
        show("recall"),
        intervals.describe(found["recall_ci95"]),
        show("f1"),
        intervals.describe(found["f1_ci95"]),
        show("average_precision"),
    )
