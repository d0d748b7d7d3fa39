"""Figures of a run as PNG bytes: learning curves and the confusion matrix."""

from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from harness.base import figures
from harness.results.metrics import Metrics

BLUE, RED = "#4477aa", "#ee6677"  # Paul Tol's bright scheme, distinct for colour-blind readers
_MOST_COUNTED, _MOST_NAMED = 20, 40  # classes whose counts and names find room beside one another
_MOST_UPRIGHT = 12  # characters of a name that stands level below its column


def draw_curves(history: Sequence[Mapping[str, float]], *, best_epoch: int, title: str) -> bytes:
    """Draws loss and accuracy of both splits by epoch, with a line at the epoch whose weights are kept."""
    figure = figures.new_figure(10, 4)
    figure.suptitle(figures.title(title))
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
    return figures.as_png(figure)


def draw_confusion(metrics: Metrics, *, title: str) -> bytes:
    """Draws the confusion matrix: the share of the row as shade, and counts and names as far as one can read them."""
    num_classes = len(metrics.class_names)
    side = max(4.5, 0.6 * num_classes + 2) if num_classes <= _MOST_COUNTED else 0.3 * min(num_classes, _MOST_NAMED) + 3
    figure = figures.new_figure(side + 0.8, side)
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in metrics.confusion]
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(title=figures.title(title), xlabel="predicted class", ylabel="true class")
    if num_classes <= _MOST_COUNTED:
        for i, row in enumerate(metrics.confusion):
            for j, count in enumerate(row):
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else "black")
    if num_classes <= _MOST_NAMED:
        names = [figures.label(name) for name in metrics.class_names]
        is_narrow = num_classes > 4 or max(map(len, names)) > _MOST_UPRIGHT
        axes.set_xticks(
            range(num_classes), names, rotation=45 if is_narrow else 0, ha="right" if is_narrow else "center"
        )
        axes.set_yticks(range(num_classes), names)
    return figures.as_png(figure)
