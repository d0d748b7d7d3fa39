"""Figures as PNG bytes or SVG. All are made here: names in them are shown as they are, none is larger than a screen.

It knows nothing of what is drawn.
"""

import html
import io
import re
import warnings

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.base import text

# A class may be called $5_$, which is no formula. Axes whose numbers are powers need a formatter of their own.
matplotlib.rcParams["text.parse_math"] = False

# Paul Tol's bright scheme, distinct for colour-blind readers.
SERIES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
BLUE, RED = SERIES[:2]
GREY = "#888888"  # seen on white and on black

_MOST_INCHES = 20.0
_DOTS_PER_INCH = 120
_MOST_CHARS = 24  # of a name beside an axis
_SVG_HEAD = re.compile(r"^.*?(?=<svg )", re.DOTALL)  # what a page has in its own head
_SVG_STYLE = re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)  # would hold for the whole page
_SVG_GROUP = re.compile(r'<g id="[^"]*">')  # every figure of a page has the same names for its parts
_SVG_FONT = re.compile(r"'DejaVu Sans'[^;\"]*")


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


def as_svg(figure: Figure, words: str) -> str:
    """Draws a figure as an element for a page; the same figure gives the same text.

    Names stay text, in the font of the page. What is black takes the colour of the text around it, so that it is seen
    on a dark page, too.

    Args:
      figure: what is drawn.
      words: what it shows, for those who do not see it; different for each figure of a page.
    """
    buffer, words = io.StringIO(), text.visible(words)
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": words}):
        warnings.simplefilter("ignore", UserWarning)  # of characters that the font lacks
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = _SVG_STYLE.sub("", _SVG_HEAD.sub("", buffer.getvalue()), count=1)
    svg = _SVG_FONT.sub("system-ui, sans-serif", _SVG_GROUP.sub("<g>", svg)).replace("#000000", "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(words)}" ', 1)
