"""An evaluation as text for a person, within 100 columns: verdict, figures, what fails, calibration."""

import numpy as np

from harness.base.text import cap_rows, format_table, shorten
from harness.results import verdict
from harness.results.evaluation import Evaluation
from harness.results.metrics import Metrics
from harness.results.statistics import intervals
from harness.results.statistics.intervals import Interval
from harness.results.verdict import Verdict

_MOST_SQUARE = 7  # classes up to which each has a column for each
_MOST_LETTERS, _MOST_HEADER_LETTERS = 30, 8  # of a class in a row, and above a column


def describe(found: Evaluation, judged: Verdict) -> str:
    """Returns verdict and figures: of many classes the worst, and what they are taken for."""
    metrics = found.metrics
    confusion = _draw_confusion(metrics) if len(metrics.class_names) <= _MOST_SQUARE else _list_pairs(metrics)
    parts = [judged.as_text(), _list_figures(metrics), _list_classes(metrics), confusion, _describe_calibration(found)]
    return "\n\n".join(parts)


def _list_figures(metrics: Metrics) -> str:
    figures = (
        ("accuracy", metrics.accuracy, metrics.accuracy_ci95, 3),
        ("balanced accuracy", metrics.balanced_accuracy, metrics.balanced_accuracy_ci95, 3),
        ("F1, mean of the classes", metrics.f1, metrics.f1_ci95, 3),
        ("area under the ROC curve", metrics.auc, metrics.auc_ci95, 3),
        ("average precision", metrics.average_precision, metrics.average_precision_ci95, 3),
        ("log loss [nats]", metrics.loss, metrics.loss_ci95, 4),
        ("Brier score", metrics.brier, metrics.brier_ci95, 4),
    )
    rows = [(name, *_describe(value, interval, digits)) for name, value, interval, digits in figures]
    return format_table([("figure", "value", "95 % interval"), *rows])


def _describe(value: float | None, interval: Interval | None, digits: int = 3) -> tuple[str, str]:
    if value is None:
        return "-", "-"
    return f"{value:.{digits}f}", intervals.describe(interval, digits)


def _list_classes(metrics: Metrics) -> str:
    """The classes of the lowest F1 first; those without a picture last."""

    def rank(name: str) -> tuple[bool, float]:
        figures = metrics.per_class[name]
        return not figures["num_examples"], figures["f1"] or 0.0

    rows, more = cap_rows([_describe_class(metrics, name) for name in sorted(metrics.class_names, key=rank)])
    header = ("class", "pictures", "precision", "recall", "95 % interval", "F1", "95 % interval")
    title = f"the classes with the lowest F1 ({more}; all of them: --json)\n" if more else ""
    return f"{title}{format_table([header, *rows])}"


def _describe_class(metrics: Metrics, name: str) -> tuple[object, ...]:
    figures = metrics.per_class[name]
    return (
        shorten(name, _MOST_LETTERS),
        figures["num_examples"],
        _describe(figures["precision"], figures["precision_ci95"])[0],
        *_describe(figures["recall"], figures["recall_ci95"]),
        *_describe(figures["f1"], figures["f1_ci95"]),
    )


def _draw_confusion(metrics: Metrics) -> str:
    header = ("class", *(shorten(name, _MOST_HEADER_LETTERS) for name in metrics.class_names))
    names = (shorten(name, _MOST_LETTERS) for name in metrics.class_names)
    table = format_table([header, *((name, *row) for name, row in zip(names, metrics.confusion))])
    return f"pictures of each class, by what they are taken for\n{table}"


def _list_pairs(metrics: Metrics) -> str:
    pairs, totals = verdict.list_confused(metrics), np.array(metrics.confusion).sum(axis=1)
    if not pairs:
        return "no picture was taken for another class"
    names = [shorten(name, _MOST_LETTERS) for name in metrics.class_names]
    rows, more = cap_rows([(names[i], names[j], count, f"{count / totals[i]:.0%}") for i, j, count in pairs])
    title = f"most often taken for another class{more and f' ({more} pairs; all of them: --json)'}"
    return f"{title}\n{format_table([('class', 'taken for', 'pictures', 'of the class'), *rows], num_left=2)}"


def _describe_calibration(found: Evaluation) -> str:
    of, lines = found.calibration, describe_choices(found)
    if not of.coverage:
        return "\n".join(lines)
    rows = [
        (f"{row.share_left:.0%}", f"{row.threshold:.3f}", row.num_answered, *_describe(row.accuracy, row.accuracy_ci95))
        for row in of.coverage
    ]
    header = ("least sure, to a person", "probability below", "answered", "accuracy", "95 % interval")
    return "\n".join([*lines, format_table([header, *rows])])


def describe_choices(found: Evaluation) -> list[str]:
    """Returns the calibration error, and the temperature and threshold or why there are none, a sentence each."""
    of, (low, high) = found.calibration, found.calibration.ece_by_chance
    lines = [f"calibration error {of.ece:.3f}; true probabilities would give {low:.3f} to {high:.3f} by chance"]
    if (temperature := of.choices.temperature) is not None:
        change = f"the validation loss from {temperature.loss_before:.4f} to {temperature.loss_after:.4f}"
        lines.append(f"temperature {temperature.value:.2f}: dividing the logits by it takes {change}")
    if (threshold := of.choices.threshold) is not None:
        name = shorten(found.metrics.class_names[1], _MOST_LETTERS)
        change = f"{threshold.balanced_accuracy:.3f} instead of {threshold.balanced_accuracy_at_half:.3f}"
        lines.append(f"threshold {threshold.value:.3f} for {name}: validation balanced accuracy {change}")
    if of.choices.refused:
        lines.append(of.choices.refused)
    return lines
