"""Figures of the data report as SVG: how large the kept pictures are, and in which formats they come.

It counts what survey.py hands it, and opens no picture.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from harness.base import figures
from harness.dataset.images.arrays import Array
from harness.dataset.report.facts import KeptPictures

_PICTURES, _STORED = figures.BLUE, figures.RED
_WIDTH, _HEIGHT = 4.7, 4.2  # inches; two find room beside each other
_MAX_BUBBLES = 400  # different sizes drawn one by one; more are counted in hexagons
_LARGEST_BUBBLE = 400  # square points
_COUNTS = StrMethodFormatter("{x:,.0f}")


def draw(kept: KeptPictures) -> list[str]:
    """Draws sizes of files, and as far as pictures differ in them, width against height and formats.

    Raises:
      ValueError: no picture was kept.
    """
    if not len(kept.widths):
        raise ValueError("no picture to draw")
    panels: list[tuple[str, Callable[[Axes], None]]] = []
    if len({*zip(kept.widths.tolist(), kept.heights.tolist())}) > 1:
        panels.append(("width and height of kept pictures", lambda axes: _draw_pixels(axes, kept)))
    panels.append(("sizes of the files", lambda axes: _draw_bytes(axes, kept.num_bytes)))
    if len({*kept.formats.tolist()}) > 1:
        panels.append(("formats", lambda axes: _draw_formats(axes, kept.formats)))
    drawn = []
    for words, fill in panels:
        figure = figures.new_figure(_WIDTH, _HEIGHT)
        fill(figure.subplots())
        drawn.append(figures.as_svg(figure, words))
    return drawn


def _draw_pixels(axes: Axes, kept: KeptPictures) -> None:
    sizes, counts = np.unique(np.stack([kept.widths, kept.heights], axis=1), axis=0, return_counts=True)
    low = min(sizes.min(), kept.image_size) / 1.4
    high = max(sizes.max(), kept.image_size) * 1.4
    if len(sizes) <= _MAX_BUBBLES:
        area = np.maximum(_LARGEST_BUBBLE * counts / counts.max(), 9)
        label = f"a size found; the largest dot: {counts.max():,} picture{'s' if counts.max() > 1 else ''}"
        axes.scatter(sizes[:, 0], sizes[:, 1], s=area, color=_PICTURES, alpha=0.6, linewidths=0, label=label)
    else:
        ends = (np.log10(low), np.log10(high))
        shown = axes.hexbin(
            kept.widths,
            kept.heights,
            xscale="log",
            yscale="log",
            bins="log",
            extent=(*ends, *ends),
            gridsize=45,
            mincnt=1,
            cmap="Blues",
            linewidths=0.1,
            edgecolors=_PICTURES,
        )
        axes.figure.colorbar(shown, ax=axes, label="pictures in a hexagon", shrink=0.8, format="{x:,.0f}")
    axes.plot([low, high], [low, high], color=figures.GREY, linewidth=1, linestyle=":", zorder=0, label="square")
    stored = f"stored size: {kept.image_size}x{kept.image_size}"
    axes.plot(kept.image_size, kept.image_size, "s", color=_STORED, mfc="none", ms=11, mew=2.2, label=stored)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(title="width and height as found", xlabel="width [pixels]", ylabel="height [pixels]")
    _write_out_ticks(axes)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, frameon=False)


def _write_out_ticks(axes: Axes) -> None:
    """Labels logarithmic axes 50, 100, 200 in place of powers of ten."""
    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(_COUNTS)
        axis.set_minor_formatter(NullFormatter())


def _draw_bytes(axes: Axes, num_bytes: Array) -> None:
    kib = np.maximum(num_bytes, 1) / 1024
    edges = np.geomspace(kib.min() / 1.1, kib.max() * 1.1, min(40, max(8, int(len(kib) ** 0.5))) + 1)
    axes.hist(kib, bins=edges.tolist(), color=_PICTURES)
    median = float(np.median(kib))
    axes.axvline(
        median, color=figures.GREY, linestyle=":", label=f"median: {median:,.{0 if median >= 100 else 1}f} KiB"
    )
    axes.set(xscale="log", title="size of the files", xlabel="size [KiB]", ylabel="pictures")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if kib.max() / kib.min() < 200:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.locator_params(axis="y", integer=True)
    axes.yaxis.set_major_formatter(_COUNTS)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize="small", frameon=False)


def _draw_formats(axes: Axes, formats: Array) -> None:
    names, counts = np.unique(formats, return_counts=True)
    order = np.argsort(counts, kind="stable")
    bars = axes.barh(names[order], counts[order], color=_PICTURES, height=0.6)
    labels = [f"{count:,} ({count / len(formats):.1%})" for count in counts[order]]
    axes.bar_label(bars, labels, padding=4, fontsize="small")
    middle, half = (len(names) - 1) / 2, max(len(names), 3) / 2 + 0.2
    axes.set(title="formats", xlabel="pictures", xlim=(0, counts.max() * 1.5), ylim=(middle - half, middle + half))
    axes.xaxis.set_major_formatter(_COUNTS)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.grid(alpha=0.3, axis="x")
