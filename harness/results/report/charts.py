"""Figures of a run as PNG bytes: learning curves and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from harness.base import figures
from harness.base.figures import BLUE, RED
from harness.dataset.images.arrays import Array
from harness.results.kept_epoch import KeptEpoch
from harness.results.metrics import Metrics

_MOST_COUNTED, _MOST_NAMED = 20, 40  # classes whose counts and names find room beside one another
_MOST_CONFUSED = 30  # classes that are drawn by name where all are too many
_SHADE = "share of the true class"
_MOST_UPRIGHT = 12  # characters of a name that stands level below its column


def draw_curves(kept: KeptEpoch, *, title: str) -> bytes:
    """Draws loss and accuracy of both splits by epoch, with the epoch whose weights are kept, and says why it is."""
    figure = figures.new_figure(10, 4.6)
    figure.suptitle(f"{figures.title(title)}\n{kept.reason}", fontsize="medium")
    history = kept.history
    epochs = [row["epoch"] for row in history]
    for axes, name, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy [nats]", "share of pictures")
    ):
        axes.plot(
            epochs, [row[name] for row in history], color=BLUE, label="train (augmented, with dropout)", marker="."
        )
        axes.plot(epochs, [row[f"val_{name}"] for row in history], color=RED, label="validation", marker=".")
        kept.mark(axes, is_named=True)
        axes.set(xlabel="epoch", ylabel=unit, title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[1].set_ylim(0, 1.02)
    return figures.as_png(figure)


def draw_sheet(pictures: Sequence[Array], captions: Sequence[str], *, title: str, columns: int = 4) -> bytes:
    """Draws pictures, uint8 [H, W, 3], on one sheet, each below its caption."""
    num_rows = -(-len(pictures) // columns)
    figure = figures.new_figure(2.2 * columns, 2.5 * num_rows + 0.4)
    figure.suptitle(figures.title(title), fontsize="medium")
    grid = figure.subplots(num_rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, caption in zip(grid.flat, pictures, captions):
        axes.imshow(picture)
        axes.set_title(caption, fontsize="x-small")
    return figures.as_png(figure)


def draw_confusion(metrics: Metrics, *, title: str) -> bytes:
    """Draws the confusion matrix: the share of the row as shade, and counts and names as far as one can read them.

    Of more classes than find room all are drawn without names, and beside them those that are confused most.
    """
    classes = np.arange(len(metrics.class_names))
    if len(classes) <= _MOST_NAMED:
        side = max(4.5, 0.6 * len(classes) + 2) if len(classes) <= _MOST_COUNTED else 0.3 * len(classes) + 3
        figure = figures.new_figure(side + 0.8, side)
        axes = figure.subplots()
        shown = _draw_matrix(axes, metrics, classes, title=figures.title(title))
        _write_names(axes, metrics, classes)
        figure.colorbar(shown, ax=axes, label=_SHADE, shrink=0.8)
        return figures.as_png(figure)
    confused = find_most_confused(metrics, _MOST_CONFUSED)
    figure = figures.new_figure(20, 0.3 * len(confused) + 1)
    figure.suptitle(figures.title(title))
    whole, part = figure.subplots(1, 2)
    _draw_matrix(whole, metrics, classes, title=f"all {len(classes):,} classes")
    shown = _draw_matrix(part, metrics, confused, title=f"the {len(confused)} classes that are confused most")
    _write_names(part, metrics, confused)
    figure.colorbar(shown, ax=[whole, part], label=_SHADE, shrink=0.8)
    return figures.as_png(figure)


def find_most_confused(metrics: Metrics, number: int) -> Array:
    """Returns the labels, in order, of the classes that take part in most mistakes."""
    counts = np.array(metrics.confusion)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1)), kind="stable")
    return np.sort(order[:number])


def _draw_matrix(axes: Axes, metrics: Metrics, classes: Array, *, title: str) -> AxesImage:
    """Draws the rows and columns of some classes; each shade is a share of all pictures of the row's class."""
    counts = np.array(metrics.confusion)
    shares = counts[np.ix_(classes, classes)] / np.maximum(1, counts.sum(axis=1))[classes, None]
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    return axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)


def _write_names(axes: Axes, metrics: Metrics, classes: Array) -> None:
    """Writes the names of classes along the axes, and of few the counts into the cells."""
    names = [figures.label(metrics.class_names[label]) for label in classes]
    is_narrow = len(names) > 4 or max(map(len, names)) > _MOST_UPRIGHT
    axes.set_xticks(range(len(names)), names, rotation=45 if is_narrow else 0, ha="right" if is_narrow else "center")
    axes.set_yticks(range(len(names)), names)
    if len(names) > _MOST_COUNTED:
        return
    for i, label in enumerate(classes):
        row = metrics.confusion[label]
        for j, other in enumerate(classes):
            is_dark = row[other] > 0.5 * max(1, sum(row))
            color = "white" if is_dark else "black"
            axes.text(j, i, str(row[other]), ha="center", va="center", color=color)
