"""A run on one page: report.html, one file that needs no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.base import html
from harness.base.html import Html
from harness.base.text import list_names
from harness.config.schema import Config
from harness.config.settings import as_yaml
from harness.results.metrics import Metrics
from harness.runs import effective_settings
from harness.runs.effective_settings import Row

_MOST_CLASSES = 40  # whose figures are shown


@dataclass(frozen=True)
class Mistake:
    """A picture taken for another class."""

    path: str
    label: str
    predicted: str
    probability: float
    jpeg: bytes


def render(
    name: str,
    found: Metrics,
    *,
    summary: Mapping[str, object],
    curves: bytes,
    confusion: bytes,
    mistakes: Sequence[Mistake],
    config: Config,
    environment: Mapping[str, object],
) -> str:
    """Returns the page.

    Args:
      name: the run's name.
      found: figures on the validation split.
      summary: `epochs`, `best_epoch`, `num_parameters` and `images_per_s`.
      curves: learning curves as PNG.
      confusion: the confusion matrix as PNG.
      mistakes: the most confident wrong answers, worst first.
      config: the resolved config.
      environment: what environment.json holds.
    """
    low, high = found.accuracy_ci95
    auc = "-" if found.auc is None else f"{found.auc:.3f}"
    figures = [
        (f"{found.accuracy:.1%}", f"accuracy on {found.num_examples} validation pictures"),
        (f"{low:.0%} to {high:.0%}", "95 % interval of the accuracy"),
        (f"{found.loss:.3f}", "cross-entropy [nats]"),
        (auc, "area under the ROC curve"),
        (f"{found.majority_accuracy:.1%}", f"of always answering {found.majority_class}"),
        (f"{summary['best_epoch']} of {summary['epochs']}", "epoch kept"),
        (f"{summary['images_per_s']:,.0f}", "images/s in training"),
        (f"{summary['num_parameters']:,}", "parameters"),
    ]
    rows = [Row(**row) for row in environment.get("settings", ())]
    others = {name: value for name, value in environment.items() if name != "settings"}
    body = (
        f'<p class="quiet">{html.text(list_names(found.class_names))}: the kept weights on the validation split</p>'
        f"{html.boxes(figures)}{_class_table(found)}"
        f"<h2>Learning curves</h2>{html.image(curves, 'png', 'loss and accuracy by epoch')}"
        f"<h2>Confusion</h2>{html.image(confusion, 'png', 'confusion matrix')}"
        f"<h2>Most confident mistakes</h2>{_mistakes(mistakes)}"
        f"<h2>Settings</h2>{html.block(as_yaml(config))}"
        f"<h2>In force</h2>{html.block(effective_settings.format_rows(rows))}"
        f"<h2>Environment</h2>{html.block(json.dumps(others, indent=2))}"
    )
    return html.whole(name, body)


def _class_table(found: Metrics) -> Html:
    rows = []
    for name, figures in found.per_class.items():
        shares = ("-" if figures[key] is None else f"{figures[key]:.3f}" for key in ("precision", "recall", "f1"))
        rows.append((name, figures["num_examples"], *shares))
    header = ("class", "pictures", "precision", "recall", "F1")
    if len(rows) <= _MOST_CLASSES:
        return html.table(header, rows)
    present = [name for name, figures in found.per_class.items() if figures["num_examples"]]
    worst = sorted(present, key=lambda name: found.per_class[name]["f1"] or 0)[:_MOST_CLASSES]
    by_name = {str(row[0]): row for row in rows}
    left_out = f"The {len(worst)} with the lowest F1 of {len(rows):,} classes; metrics.json has all."
    return Html(f'{html.table(header, [by_name[name] for name in worst])}<p class="quiet">{left_out}</p>')


def _mistakes(mistakes: Sequence[Mistake]) -> Html:
    if not mistakes:
        return Html("<p>None on the validation split.</p>")
    shown = "".join(html.picture(item.jpeg, _caption(item), title=item.path) for item in mistakes)
    return Html(f'<div class="pictures">{shown}</div>')


def _caption(item: Mistake) -> Html:
    return Html(
        f"{html.text(item.path)}<br>is {html.text(item.label)}, taken for <b>{html.text(item.predicted)}</b> "
        f"({item.probability:.0%})"
    )
