"""The top of the page: the verdict in words, what to do next, the figures beside what they have to beat."""

import re
from collections.abc import Sequence

from harness.base import html
from harness.base.html import Html
from harness.base.text import shorten
from harness.results import verdict
from harness.results.evaluation import Evaluation
from harness.results.metrics import Metrics
from harness.results.report.facts import DataReport, RunFacts
from harness.results.statistics import intervals, sample
from harness.results.statistics.intervals import Interval
from harness.results.verdict import Verdict

_FLAG = re.compile(r"(?<![\w-])--[\w.-]+")
STYLE = """
.level { font-size: 1.3rem; font-weight: 600; margin: 0; } .verdict p { margin: .35rem 0; }
.verdict.is-good { border-color: var(--good); } .verdict.is-bad { border-color: var(--bad); }
.verdict ol { margin: .2rem 0 .4rem; padding-left: 1.4rem; overflow-wrap: anywhere; } .flag { white-space: nowrap; }
.figures div:first-child { background: var(--accent); color: var(--paper); }
.figures div:first-child span { color: inherit; }
"""


def describe(facts: RunFacts) -> Html:
    """Returns what stands above all sections."""
    return Html(
        f'<p class="quiet">finished {html.text(facts.finished)}; {html.text(facts.config.model.name)} of '
        f"{facts.num_parameters:,} parameters, {len(facts.validation.metrics.class_names):,} classes</p>"
        f"{describe_verdict(facts.verdict, facts.judged)}{_warn(facts.data_report)}"
    )


def describe_verdict(judged: Verdict, found: Evaluation) -> Html:
    """Returns what to think of figures and what to do next, and the most important of them in boxes."""
    heading = verdict.HEADINGS[judged.level]
    sentences = [begin_large(sentence.removeprefix(f"{heading}: ")) for sentence in judged.sentences]
    kind = {"good": "is-good", "bad": "is-bad"}.get(judged.level, "")
    steps = "".join(f"<li>{_show_step(step)}</li>" for step in judged.next_steps)
    following = f"<p><b>What to do next</b></p><ol>{steps}</ol>" if steps else ""
    return Html(
        f'<div class="verdict {kind}"><p class="level">{heading}</p>'
        f"{html.paragraphs(sentences)}{following}</div>{_boxes(found)}"
    )


def _show_step(step: str) -> Html:
    """A flag in it stays in one piece, and a long path is broken."""
    return Html(_FLAG.sub(r'<span class="flag">\g<0></span>', html.text(begin_large(step))))


def begin_large(sentence: str) -> str:
    """Returns a sentence that a terminal has as a line of its own, with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def _boxes(found: Evaluation) -> Html:
    metrics = found.metrics
    figures = [
        (f"{metrics.accuracy:.1%}", f"{found.split} accuracy, {sample.describe(metrics)}"),
        (_as_percent(metrics.accuracy_ci95), "95 % interval of the accuracy"),
        (f"{metrics.majority_accuracy:.1%}", f"always answering {shorten(metrics.majority_class)}"),
    ]
    if found.baseline is not None:
        figures.append((f"{found.baseline.accuracy:.1%}", "HOG features, without a network"))
    return html.boxes(figures)


def _as_percent(interval: Interval) -> str:
    return f"{interval[0]:.0%} to {interval[1]:.0%}"


def _warn(report: DataReport) -> Html:
    where = Html(f'the <a href="{html.text(report.link)}">report of the records</a>') if report.link else "the records"
    return html.warnings(Html(f"What {where} warns of"), report.warnings)


def list_figures(facts: RunFacts) -> Html:
    """Returns the table of all figures: of the test split, where there is one, beside the validation split."""
    splits = [facts.test, facts.validation] if facts.test is not None else [facts.validation]
    note = (
        "Figures of splits whose pictures come in groups have intervals that count groups. Accuracy, areas and "
        "average precision are best at 1, log loss and Brier score at 0."
    )
    table = tabulate_figures([(found.split, found) for found in splits])
    return Html(f"{table}{html.paragraphs([note], kind='quiet')}")


def tabulate_figures(shown: Sequence[tuple[str, Evaluation]]) -> Html:
    """Returns all figures of evaluations, each under its name, beside one another."""
    header = ["figure", *(cell for name, _ in shown for cell in (name, "95 % interval"))]
    rows = [[words, *(cell for _, found in shown for cell in _cells(found.metrics, name))] for words, name in _FIGURES]
    rows.append(["always the most frequent class", *(cell for _, found in shown for cell in _majority(found))])
    if any(found.baseline is not None for _, found in shown):
        rows.append(
            ["HOG features and logistic regression", *(cell for _, found in shown for cell in _baseline(found))]
        )
    return html.table(header, rows)


_FIGURES = (
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("F1, mean of the classes", "f1"),
    ("area under the ROC curve", "auc"),
    ("average precision", "average_precision"),
    ("log loss [nats]", "loss"),
    ("Brier score", "brier"),
)


def _cells(metrics: Metrics, name: str) -> Sequence[str]:
    value = getattr(metrics, name)
    if value is None:
        return "-", "-"
    return f"{value:.3f}", intervals.describe(getattr(metrics, f"{name}_ci95"))


def _majority(found: Evaluation) -> Sequence[str]:
    return f"{found.metrics.majority_accuracy:.3f}", "-"


def _baseline(found: Evaluation) -> Sequence[str]:
    if found.baseline is None:
        return "-", "-"
    return f"{found.baseline.accuracy:.3f}", intervals.describe(found.baseline.accuracy_ci95)
