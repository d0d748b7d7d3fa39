"""Figures of a run as PNG bytes: learning curves and the confusion matrix."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.base import html
from harness.results.metrics import Metrics

BLUE, RED = "#4477aa", "#ee6677"  # Paul Tol's bright scheme, distinct for colour-blind readers


def draw_curves(history: Sequence[Mapping[str, float]], *, best_epoch: int, title: str) -> bytes:
    """Draws loss and accuracy of both splits by epoch, with a line at the epoch whose weights are kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in history]
    for axes, name, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy [nats]", "share of pictures")
    ):
        axes.plot(
            epochs, [row[name] for row in history], color=BLUE, label="train (augmented, with dropout)", marker="."
        )
        axes.plot(epochs, [row[f"val_{name}"] for row in history], color=RED, label="validation", marker=".")
        axes.axvline(best_epoch, color="0.4", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=unit, title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[1].set_ylim(0, 1.02)
    return html.as_png(figure)


def draw_confusion(metrics: Metrics, *, title: str) -> bytes:
    """Draws the confusion matrix: counts, shaded by the share of the row."""
    num_classes = len(metrics.class_names)
    side = max(4.5, 0.6 * num_classes + 2)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in metrics.confusion]
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.8)
    if num_classes <= 20:
        for i, row in enumerate(metrics.confusion):
            for j, count in enumerate(row):
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else "black")
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(num_classes), metrics.class_names, rotation=45 if num_classes > 4 else 0)
    axes.set_yticks(range(num_classes), metrics.class_names)
    return html.as_png(figure)
