"""Figures as PNG bytes. All are made here: names in them are shown as they are, and none is larger than a screen.

It knows nothing of what is drawn.
"""

import io
import warnings

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.base import text

# A class may be called $5_$, which is no formula. Axes whose numbers are powers need a formatter of their own.
matplotlib.rcParams["text.parse_math"] = False

_MOST_INCHES = 20.0
_DOTS_PER_INCH = 120
_MOST_CHARS = 24  # of a name beside an axis


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, as far as a page takes it."""
    return Figure(figsize=(min(width, _MOST_INCHES), min(height, _MOST_INCHES)), layout="constrained")


def label(name: object) -> str:
    """Returns a name as it is written beside an axis."""
    return text.shorten(name, _MOST_CHARS)


def title(words: object) -> str:
    """Returns what is written over a figure."""
    return text.shorten(words, 2 * _MOST_CHARS)


def as_png(figure: Figure) -> bytes:
    """Draws a figure; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of characters that the font lacks, which are drawn as boxes
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
