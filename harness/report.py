"""A run on one page: report.html, one file that needs no network."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config import Config
from harness.metrics import Metrics
from harness.settings import as_yaml

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.figures div { background: #f3f5f8; border-radius: .5rem; padding: .75rem 1.25rem; }
.figures b { display: block; font-size: 1.8rem; line-height: 1.2; } .figures span { color: #555; font-size: .85rem; }
table { border-collapse: collapse; }
td, th { padding: .3rem .9rem; border-bottom: 1px solid #e3e3e3; text-align: right; }
td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; } .mistakes { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 9rem; font-size: .8rem; overflow-wrap: anywhere; }
figure img { width: 9rem; height: 9rem; object-fit: contain; border: 1px solid #ddd; }
pre { background: #f3f5f8; padding: 1rem; overflow-x: auto; font-size: .8rem; } .quiet { color: #555; }
"""


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
        (f"{low:.0%} to {high:.0%}", "95 % interval of the accuracy (Wilson)"),
        (f"{found.loss:.3f}", "cross-entropy [nats]"),
        (auc, "area under the ROC curve"),
        (f"{found.ece:.3f}", "calibration error (0 is best)"),
        (f"{summary['best_epoch']} of {summary['epochs']}", "epoch kept"),
        (f"{summary['images_per_s']:,.0f}", "images/s in training"),
        (f"{summary['num_parameters']:,}", "parameters"),
    ]
    boxes = "".join(f"<div><b>{value}</b><span>{text}</span></div>" for value, text in figures)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(name)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{_text(name)}</h1>"
        f'<p class="quiet">{_text(" | ".join(found.class_names))}: the kept weights on the validation split</p>'
        f'<div class="figures">{boxes}</div>{_class_table(found)}'
        f"<h2>Learning curves</h2>{_image(curves, 'png', 'loss and accuracy by epoch')}"
        f"<h2>Confusion</h2>{_image(confusion, 'png', 'confusion matrix')}"
        f"<h2>Most confident mistakes</h2>{_mistakes(mistakes)}"
        f"<h2>Settings</h2><pre>{_text(as_yaml(config))}</pre>"
        f"<h2>Environment</h2><pre>{_text(json.dumps(environment, indent=2))}</pre></body></html>\n"
    )


def _text(value: str) -> str:
    return html.escape(value)


def _image(content: bytes, kind: str, title: str) -> str:
    encoded = base64.b64encode(content).decode()
    return f'<img alt="{_text(title)}" src="data:image/{kind};base64,{encoded}">'


def _class_table(found: Metrics) -> str:
    rows = ["<tr><th>class</th><th>pictures</th><th>precision</th><th>recall</th><th>F1</th></tr>"]
    for name, figures in found.per_class.items():
        cells = "".join(
            f"<td>{'-' if figures[key] is None else format(figures[key], '.3f')}</td>"
            for key in ("precision", "recall", "f1")
        )
        rows.append(f"<tr><td>{_text(name)}</td><td>{figures['num_examples']}</td>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return "<p>None on the validation split.</p>"
    figures = "".join(
        f"<figure>{_image(item.jpeg, 'jpeg', item.path)}<figcaption>{_text(item.path)}<br>is {_text(item.label)}, "
        f"taken for <b>{_text(item.predicted)}</b> ({item.probability:.0%})</figcaption></figure>"
        for item in mistakes
    )
    return f'<div class="mistakes">{figures}</div>'
