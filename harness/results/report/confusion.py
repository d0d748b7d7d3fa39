"""What is taken for what: the most confused pairs, the matrix as a table, and the figures of each class.

A number in the matrix or beside a pair is a link to the mistakes below that it counts.
"""

from collections.abc import Sequence

import numpy as np

from harness.base import html
from harness.base.html import Html
from harness.base.text import list_names, shorten
from harness.dataset.images.arrays import Array
from harness.results import verdict
from harness.results.metrics import Metrics
from harness.results.report import charts

_MOST_SQUARE = 20  # classes in the matrix
_MOST_PAIRS, _MOST_CLASSES, _MOST_OPEN = 40, 40, 12  # rows, and those that are not folded
_MOST_LETTERS = 40
STYLE = """
.matrix td, .matrix th { padding: .25rem .5rem; text-align: center; } .matrix td:first-child { text-align: left; }
.matrix th { font-weight: 400; font-size: .8rem; vertical-align: bottom; overflow-wrap: anywhere; }
.matrix thead th:not(:first-child) { min-width: 2.2rem; max-width: 7rem; }
.matrix small { display: block; color: var(--quiet); } .matrix td.right { outline: 1px solid var(--line); }
"""


def describe(metrics: Metrics) -> Html:
    """Returns pairs, matrix and classes."""
    pairs = verdict.list_confused(metrics)
    return Html(
        f"<h3>Most confused</h3>{_list_pairs(metrics, pairs)}<h3>Confusion matrix</h3>{_draw(metrics)}"
        f"<h3>Classes</h3>{_list_classes(metrics)}"
    )


def link_pair(label: int, predicted: int, words: object) -> Html:
    """Returns words that show the mistakes of one pair of classes where they are clicked."""
    return Html(f'<a href="#mistakes" data-show="{label}-{predicted}">{html.text(words)}</a>')


def _list_pairs(metrics: Metrics, pairs: Sequence[tuple[int, int, int]]) -> Html:
    if not pairs:
        return Html("<p>No picture was taken for another class.</p>")
    totals = np.array(metrics.confusion).sum(axis=1)
    names = [shorten(name, _MOST_LETTERS) for name in metrics.class_names]
    rows = [
        (names[label], names[other], link_pair(label, other, f"{count:,}"), f"{count / totals[label]:.0%}")
        for label, other, count in pairs[:_MOST_PAIRS]
    ]
    left_out = len(pairs) - len(rows)
    more = [f"and {left_out:,} more pairs: confusion in metrics.json has all"] if left_out else []
    header = ("class", "taken for", "pictures", "of the class")
    return Html(f"{_fold_long(header, rows, kind='sortable second-word')}{html.paragraphs(more, kind='quiet')}")


def _fold_long(header: Sequence[object], rows: Sequence[Sequence[object]], *, kind: str) -> Html:
    """A table of which the first rows are seen at once."""
    first, rest = rows[:_MOST_OPEN], rows[_MOST_OPEN:]
    more = html.fold(f"{len(rest):,} more", html.table(header, rest, kind=kind)) if rest else ""
    return Html(f"{html.table(header, first, kind=kind)}{more}")


def _draw(metrics: Metrics) -> Html:
    counts = np.array(metrics.confusion)
    if len(counts) <= _MOST_SQUARE:
        shown, words = np.arange(len(counts)), "Rows are the true classes, columns what they are taken for."
    else:
        shown = charts.find_most_confused(metrics, _MOST_SQUARE)
        words = f"The {len(shown)} of {len(counts):,} classes that are confused most. The shares are of all pictures."
    header = ("", *(shorten(metrics.class_names[label], _MOST_LETTERS) for label in shown))
    totals = counts.sum(axis=1)
    body = "".join(
        f"<tr><td>{html.text(shorten(metrics.class_names[label], _MOST_LETTERS))}</td>"
        f"{''.join(_cell(label, other, counts, totals) for other in shown.tolist())}</tr>"
        for label in shown.tolist()
    )
    head = "".join(f"<th>{html.text(cell)}</th>" for cell in header)
    return Html(
        f'{html.paragraphs([words], kind="quiet")}<div class="table"><table class="matrix"><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _cell(label: int, other: int, counts: Array, totals: Array) -> str:
    count = int(counts[label, other])
    share = count / max(1, int(totals[label]))
    colour = "68,119,170" if label == other else "238,102,119"
    shade = f' style="background:rgba({colour},{0.65 * share:.2f})"' if count else ""
    number = link_pair(label, other, f"{count:,}") if count and label != other else html.text(f"{count:,}")
    small = f"<small>{share:.0%}</small>" if count else ""
    return f'<td class="{"right" if label == other else ""}"{shade}>{number if count else ""}{small}</td>'


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
        verdict.describe_interval(found["recall_ci95"]),
        show("f1"),
        verdict.describe_interval(found["f1_ci95"]),
        show("average_precision"),
    )
