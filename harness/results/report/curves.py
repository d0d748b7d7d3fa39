"""How well the scores part the classes, and whether probabilities hold: curves, histograms, reliability, coverage."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from harness.base import figures, html
from harness.base.figures import GREY, SERIES
from harness.base.html import Html
from harness.base.text import list_names
from harness.dataset.images.arrays import Array, Floats
from harness.results import tables
from harness.results.evaluation import Answers, Evaluation
from harness.results.metrics import Metrics
from harness.results.report.overview import begin_large
from harness.results.statistics import intervals

_SIDE = 3.4  # inches
_MOST_POINTS = 200  # of a curve
_NUM_BINS = 20


def describe_scores(answers: Answers, metrics: Metrics) -> Html:
    """Returns curves of precision and recall and of ROC, and histograms of scores, of the classes that fail most."""
    labels = choose_classes(metrics)
    if not labels:
        return Html("<p>All pictures are of one class: no score parts it from another.</p>")
    drawn = [
        _draw(answers, metrics, labels, _trace_precision, names=("recall", "precision"), title="precision and recall"),
        _draw(answers, metrics, labels, _trace_roc, names=("false positives", "true positives"), title="ROC"),
        *(
            _draw_histogram(answers, metrics, label)
            for label in (labels if len(metrics.class_names) > 2 else labels[:1])
        ),
    ]
    said = ["Each class against all others. A dot is where the answers of the model, the most probable class, lie."]
    never = [metrics.class_names[label] for label in labels if label not in answers.chances.argmax(axis=1)]
    if never:
        said.append(f"No dot: {list_names(never)}, which no picture is taken for.")
    if len(labels) < len(metrics.class_names):
        said.append(f"Drawn: the {len(labels)} classes with the lowest average precision.")
    return Html(f"{html.paragraphs(said)}{html.drawn(drawn)}")


def choose_classes(metrics: Metrics) -> list[int]:
    """Returns the classes whose curves are drawn: of those that have one the ones of the lowest average precision."""
    known = [
        (found["average_precision"], label)
        for label, found in enumerate(metrics.per_class.values())
        if found["average_precision"] is not None and found["auc"] is not None
    ]
    return sorted(label for _, label in sorted(known)[: len(SERIES)])


def _draw(
    answers: Answers,
    metrics: Metrics,
    labels: Sequence[int],
    trace: Callable[[Array, Array], tuple[Floats, Floats]],
    *,
    names: tuple[str, str],
    title: str,
) -> str:
    figure = figures.new_figure(_SIDE + 0.4, _SIDE)
    axes = figure.subplots()
    predicted = answers.chances.argmax(axis=1)
    for colour, label in zip(SERIES, labels):
        is_class, is_answer = answers.labels == label, predicted == label
        axes.plot(*trace(is_class, answers.chances[:, label]), color=colour, label=_name(metrics, label))
        if is_answer.any():
            axes.plot(*_place(is_class, is_answer, trace), "o", color=colour)
    if trace is _trace_roc:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    _finish(axes, names, title)
    axes.legend(frameon=False, fontsize="small")
    return figures.as_svg(figure, f"{title}, a curve for each class")


def _place(is_class: Array, is_answer: Array, trace: Callable) -> tuple[float, float]:
    """Where the answers lie: the point of a curve of one threshold, between those taken for the class and others."""
    across, up = trace(is_class, is_answer.astype(float))
    return across[1], up[1]


def _trace_precision(is_class: Array, scores: Array) -> tuple[Floats, Floats]:
    hits, taken = _count_above(is_class, scores)
    with np.errstate(invalid="ignore"):
        precision = np.where(taken > 0, hits / taken, 1.0)
    return hits / hits[-1], precision


def _trace_roc(is_class: Array, scores: Array) -> tuple[Floats, Floats]:
    hits, taken = _count_above(is_class, scores)
    misses = taken - hits
    return misses / misses[-1], hits / hits[-1]


def _count_above(is_class: Array, scores: Array) -> tuple[Floats, Floats]:
    """Pictures of the class, and all, whose score is at least each of some thresholds, from none of them to all."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1) + 1
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, _MOST_POINTS).astype(int))]
    hits = np.append(0, np.cumsum(is_class[order]))
    ends = np.append(0, ends)
    return hits[ends].astype(float), ends.astype(float)


def _draw_histogram(answers: Answers, metrics: Metrics, label: int) -> str:
    figure = figures.new_figure(_SIDE + 0.4, _SIDE)
    axes = figure.subplots()
    is_class, scores = answers.labels == label, answers.chances[:, label]
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    name = _name(metrics, label)
    for colour, where, words in ((GREY, ~is_class, "others"), (SERIES[0], is_class, name)):
        axes.hist(scores[where], bins=edges.tolist(), color=colour, alpha=0.6, label=words)
    axes.set(xlabel=f"probability of {name}", ylabel="pictures", title=f"scores of {name}", xlim=(0, 1))
    axes.locator_params(axis="y", integer=True)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(frameon=False, fontsize="small")
    return figures.as_svg(figure, f"histogram of the probability of class {label}, {metrics.class_names[label]}")


def _finish(axes: Axes, names: tuple[str, str], title: str) -> None:
    axes.set(xlabel=names[0], ylabel=names[1], title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)


def _name(metrics: Metrics, label: int) -> str:
    return figures.label(metrics.class_names[label])


def describe_calibration(found: Evaluation) -> Html:
    """Returns the reliability curve with what chance gives, what was fitted, and accuracy against coverage."""
    rows = [
        (
            f"{row.share_left:.0%}",
            f"{row.threshold:.3f}",
            f"{row.num_answered:,}",
            "-" if row.accuracy is None else f"{row.accuracy:.3f}",
            "-" if row.accuracy is None else intervals.describe(row.accuracy_ci95),
        )
        for row in found.calibration.coverage
    ]
    header = ("least sure, to a person", "probability below", "answered", "accuracy", "95 % interval")
    coverage = f"<h3>What if the least sure go to a person?</h3>{html.table(header, rows)}" if rows else ""
    legend = (
        f"Of {found.split} pictures: dots show how often an answer of so much confidence is right, with the number of "
        "pictures; the bars are where 95 % of models whose probabilities are true would lie by chance."
    )
    said = [f"{begin_large(line)}." for line in tables.describe_choices(found)]
    return Html(
        f"{html.paragraphs(said)}{html.drawn([_draw_reliability(found)])}"
        f"{html.paragraphs([legend], kind='quiet')}{coverage}"
    )


def _draw_reliability(found: Evaluation) -> str:
    figure = figures.new_figure(_SIDE + 1.2, _SIDE + 0.4)
    axes = figure.subplots()
    bins = found.calibration.bins
    sure, right = [item.confidence for item in bins], [item.accuracy for item in bins]
    low, high = zip(*(item.by_chance for item in bins))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="true probabilities")
    axes.vlines(sure, low, high, color=GREY, alpha=0.4, linewidth=7, label="by chance, 95 %")
    axes.plot(sure, right, "o", color=SERIES[0], label="this model")
    for item in bins:
        axes.annotate(f"{item.num_examples:,}", (item.confidence, item.accuracy), (3, -11), textcoords="offset points")
    _finish(axes, ("confidence: probability of the answer", "share that is right"), "reliability")
    axes.set_xlim(max(0.0, 1 / len(found.metrics.class_names) - 0.1), 1.04)
    axes.set_ylim(-0.08, 1.08)
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=3)
    return figures.as_svg(figure, "share of right answers by confidence")
