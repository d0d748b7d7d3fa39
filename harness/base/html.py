"""The parts a report is made of: escaped text, tables, pictures inside the page, and the style they share.

Nothing here needs a network or a script, and nothing knows what a report is about.
"""

import base64
import html
from collections.abc import Iterable, Sequence

from harness.base.text import visible

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { margin-bottom: 0; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.figures div { background: #f3f5f8; border-radius: .5rem; padding: .75rem 1.25rem; }
.figures b { display: block; font-size: 1.8rem; line-height: 1.2; } .figures span { color: #555; font-size: .85rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .9rem; border-bottom: 1px solid #e3e3e3; text-align: right; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; }
img { max-width: 100%; } figure img { display: block; } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 9rem; font-size: .8rem; overflow-wrap: anywhere; }
figure img, .nothing { width: 9rem; height: 9rem; object-fit: contain; border: 1px solid #ddd; box-sizing: border-box; }
.nothing { display: flex; align-items: center; justify-content: center; color: #777; background: #f3f5f8; }
pre { background: #f3f5f8; padding: 1rem; overflow-x: auto; font-size: .8rem; } .quiet { color: #555; }
@media print {
  html { font-size: 10px; } body { max-width: none; margin: 0; } .table { overflow-x: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr, .figures div { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""


class Html(str):
    """Markup: text that `text` leaves as it is."""

    __slots__ = ()


def text(value: object) -> Html:
    """Returns one line of text as markup; line ends, control and direction characters are shown as escapes."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(visible(value)))


def block(value: str) -> Html:
    """Returns text of several lines, set as it is."""
    lines = "\n".join(text(line) for line in value.splitlines())
    return Html(f"<pre>{lines}</pre>")


def image(content: bytes, kind: str, title: str) -> Html:
    """Returns a picture inside the page; `kind` is "png" or "jpeg"."""
    encoded = base64.b64encode(content).decode()
    return Html(f'<img alt="{text(title)}" loading="lazy" src="data:image/{kind};base64,{encoded}">')


def picture(jpeg: bytes | None, caption: Html, *, title: str, kind: str = "") -> Html:
    """Returns a thumbnail over its caption, or a blank if there is none; `title` shows under the pointer."""
    shown = '<div class="nothing">nothing to show</div>' if jpeg is None else image(jpeg, "jpeg", title)
    return Html(f'<figure class="{kind}" title="{text(title)}">{shown}<figcaption>{caption}</figcaption></figure>')


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, kind: str = "") -> Html:
    """Returns a table; cells that are not Html are escaped."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Html(
        f'<div class="table"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def boxes(figures: Iterable[tuple[object, object]]) -> Html:
    """Returns figures in boxes, each a value and what it is."""
    shown = "".join(f"<div><b>{text(value)}</b><span>{text(words)}</span></div>" for value, words in figures)
    return Html(f'<div class="figures">{shown}</div>')


def whole(title: str, body: str, *, style: str = "") -> str:
    """Returns the page; `style` is added to the one all reports share."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f"<style>{_STYLE}{style}</style></head><body><h1>{text(title)}</h1>{body}</body></html>\n"
    )
