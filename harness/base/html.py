"""The parts a report is made of: escaped text, tables, pictures inside the page, and the style they share.

Nothing here needs a network, and nothing knows what a report is about.
"""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.base.text import visible

_MARK_BYTES = 4096  # at the beginning of a page, which hold the name of its generator
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #222; --quiet: #555; --soft: #f3f5f8; --line: #ddd;
  --accent: #4477aa; --good: #1c7a2b; --bad: #b3203b; --alarm: #fdf1f3; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e4e6ea; --quiet: #a5abb5; --soft: #23272e;
  --line: #3a4049; --accent: #77aadd; --good: #66cc77; --bad: #ff8899; --alarm: #37232a; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 64rem;
  margin: 2rem auto; padding: 0 1rem; }
a { color: var(--accent); }
h1 { margin-bottom: 0; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.6rem 0 .6rem; } p { overflow-wrap: anywhere; }
nav { position: sticky; top: 0; z-index: 1; display: flex; gap: .4rem; margin: 1rem 0; padding: .5rem 0;
  overflow-x: auto; background: var(--paper); font-size: .85rem; }
nav a { flex: none; background: var(--soft); border-radius: 1rem; padding: .2rem .8rem; color: inherit;
  text-decoration: none; }
nav a:hover { background: var(--line); } section, [id] { scroll-margin-top: 3rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem; margin: 1.5rem 0; }
.figures div { background: var(--soft); border-radius: .5rem; padding: .75rem 1.25rem; }
.figures b { display: block; font-size: 1.8rem; line-height: 1.2; }
.figures span { color: var(--quiet); font-size: .85rem; }
.verdict { background: var(--soft); border-left: .4rem solid var(--accent); padding: .7rem 1.2rem; margin: 1.2rem 0; }
.warnings { background: var(--alarm); border: 1px solid var(--bad); border-left-width: .4rem; border-radius: .4rem;
  padding: .7rem 1.2rem; margin: 1.2rem 0; break-inside: avoid; overflow-wrap: anywhere; }
.warnings ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet { color: var(--quiet); }
.table { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .9rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; min-width: 6rem; }
.track { position: relative; display: block; width: 10rem; height: .9rem; background: var(--soft); }
.track i, .track b, .track u { position: absolute; top: 0; height: 100%; } .track u { border-left: 2px dashed; }
.track i { background: var(--accent); opacity: .35; }
.track b { background: var(--accent); width: 3px; margin-left: -1px; }
img { max-width: 100%; } figure img { display: block; } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 9rem; font-size: .8rem; overflow-wrap: anywhere; }
figure img, .nothing { width: 9rem; height: 9rem; object-fit: contain; border: 1px solid var(--line);
  box-sizing: border-box; }
.nothing { display: flex; align-items: center; justify-content: center; color: var(--quiet); background: var(--soft); }
.drawn { display: flex; flex-wrap: wrap; gap: 1rem; } .drawn > svg { flex: none; }
svg { max-width: 100%; height: auto; } svg * { stroke-linejoin: round; } svg text { fill: currentColor; }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: .8rem; }
summary { cursor: pointer; margin: .5rem 0; overflow-wrap: anywhere; }
@media screen and (max-width: 30rem) { td, th { padding: .3rem .5rem; } body { margin: 1rem auto; }
  .figures { gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
  .pictures { gap: .5rem; } .figures div { padding: .5rem .8rem; } .figures b { font-size: 1.4rem; } }
@media screen { main > section { content-visibility: auto; contain-intrinsic-size: auto 40rem; } }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #222; --quiet: #555; --soft: #f3f5f8; --line: #ddd;
    --accent: #4477aa; --good: #1c7a2b; --bad: #b3203b; --alarm: #fdf1f3; }
  html { font-size: 10px; } body { max-width: none; margin: 0; } .table { overflow-x: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } nav { display: none; }
  a { color: inherit; text-decoration: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr, .figures div, svg { break-inside: avoid; } h2, h3 { break-after: avoid; }
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


def breakable(value: object) -> Html:
    """Returns text that a narrow column breaks behind dots, slashes and underscores."""
    return Html(re.sub(r"([./_])(?=.)", r"\1<wbr>", text(value)))


def paragraphs(sentences: Iterable[object], *, kind: str = "") -> Html:
    """Returns a paragraph for each sentence."""
    return Html("".join(f'<p class="{kind}">{text(sentence)}</p>' for sentence in sentences))


def warnings(heading: object, sentences: Iterable[object]) -> Html:
    """Returns sentences that a reader should not miss; nothing if there are none."""
    lines = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return Html(f'<div class="warnings"><b>{text(heading)}</b><ul>{lines}</ul></div>' if lines else "")


def fold(summary: object, content: str) -> Html:
    """Returns what shows only when its summary is opened."""
    return Html(f"<details><summary>{text(summary)}</summary>{content}</details>")


def track(low: float, value: float, high: float, *, chance: float | None = None) -> Html:
    """Returns a bar from 0 to 1 with an interval, the value in it, and a dashed line at what chance gives."""
    dashed = "" if chance is None else f'<u style="left:{100 * chance:.1f}%"></u>'
    return Html(
        f'<span class="track"><i style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>'
        f'<b style="left:{100 * value:.1f}%"></b>{dashed}</span>'
    )


def drawn(figures: Iterable[str]) -> Html:
    """Returns figures of `figures.as_svg` side by side, below each other on a phone."""
    return Html(f'<div class="drawn">{"".join(figures)}</div>')


def sections(contents: Mapping[str, str]) -> Html:
    """Returns sections by title below links to them; those without content are left out."""
    shown = {title: content for title, content in contents.items() if content}
    links = "".join(f'<a href="#{_anchor(title)}">{text(title)}</a>' for title in shown)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{text(title)}</h2>{content}</section>' for title, content in shown.items()
    )
    return Html(f"<nav>{links}</nav><main>{body}</main>")


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def whole(title: str, body: str, *, style: str = "", script: str = "", generator: str = "harness") -> str:
    """Returns the page.

    Args:
      title: of the page.
      body: its content.
      style: is added to the one that all reports share.
      script: runs when the page is there.
      generator: what made the page, by which it can be told from others.
    """
    added = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{_mark(generator)}"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{text(title)}</title>'
        f"<style>{_STYLE}{style}</style></head><body><h1>{text(title)}</h1>{body}{added}</body></html>\n"
    )


def was_made(path: Path, generator: str) -> bool:
    """Returns whether a file is a page that `whole` has made for this generator.

    Raises:
      OSError: it cannot be read.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _mark(generator).encode() in file.read(_MARK_BYTES)


def _mark(generator: str) -> str:
    return f'<meta name="generator" content="{text(generator)}">'
