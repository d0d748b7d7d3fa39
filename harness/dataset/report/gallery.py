"""The data report's pictures: rejected, copied and notable ones, each with what is to be said about it.

It shows samples and says how many more there are; it decides nothing about them.
"""

from collections.abc import Sequence
from dataclasses import replace

from harness.base import html
from harness.base.html import Html
from harness.base.text import count, shorten
from harness.dataset.report.facts import (
    MAX_COPIES,
    MAX_GROUPS,
    MAX_NOTABLE,
    MAX_REJECTS,
    Copies,
    CopyGroup,
    Notable,
    Sample,
)

STYLE = """
figure { width: 7.1rem; font-size: .72rem; line-height: 1.35; }
figure img, .nothing { width: 7.1rem; height: 7.1rem; background: var(--soft); border-radius: .3rem; }
figcaption { margin-top: .25rem; } figcaption > * { display: block; } .path { color: var(--quiet); }
.class { font-weight: 600; } .differs .class { color: var(--bad); font-size: .85rem; font-weight: 700; }
.split { color: var(--accent); } .left-out { color: var(--quiet); }
.flagged img { border: 3px solid var(--bad); } .flag { color: var(--bad); font-weight: 600; }
.groups { display: flex; flex-wrap: wrap; gap: 1rem; }
.group { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem; break-inside: avoid; max-width: 100%;
  box-sizing: border-box; }
.group .pictures { gap: .6rem; } .group > p { margin: .4rem 0 0; font-size: .8rem; }
.more { color: var(--quiet); font-style: italic; }
"""
_USUAL = 0.2  # share of the pictures, from which being past a limit is no exception
_MAX_CHARS = 56  # of a path in a caption; under the pointer it is whole


def show_rejects(reason: str, samples: Sequence[Sample], num_pictures: int, advice: str) -> Html:
    """Returns the pictures rejected for one reason, with what was measured, what was expected, and what to do."""
    shown = samples[:MAX_REJECTS]
    limits = {sample.limit for sample in shown}
    common = limits.pop() if len(limits) == 1 else ""
    figures = "".join(_show(sample, _measured(replace(sample, limit="") if common else sample)) for sample in shown)
    expected = f", expected {html.text(common)}" if common else ""
    more = _more(num_pictures - len(shown), "pictures: see cleaning.csv")
    return Html(
        f'<h3 id="{html.text(f"rejected-{reason}")}">{words(reason)} '
        f'<span class="quiet">{num_pictures:,}{expected}</span></h3><p>{html.text(advice)}</p>'
        f'<div class="pictures">{figures}</div>{more}'
    )


def show_copies(title: str, copies: Copies) -> Html:
    """Returns groups of copies, each side by side; classes that differ within a group stand out."""
    heading = f"<h3>{html.text(title)} "
    if not copies.num_groups:
        return Html(f'{heading}<span class="quiet">none</span></h3>')
    shown = copies.groups[:MAX_GROUPS]
    groups = "".join(_show_group(group) for group in shown)
    counted = f"{count(copies.num_groups, copies.noun)} of {count(copies.num_pictures, 'picture')}"
    more = _more(copies.num_groups - len(shown), f"{copies.noun}s: see cleaning.csv")
    return Html(
        f'{heading}<span class="quiet">{counted}</span></h3><p>{html.text(copies.outcome)}</p>'
        f'<div class="groups">{groups}</div>{more}'
    )


def _show_group(group: CopyGroup) -> Html:
    shown = group.samples[:MAX_COPIES]
    figures = "".join(
        _show(
            sample,
            Html(f'<span class="split">in {html.text(sample.split)}</span>')
            if sample.split
            else Html('<span class="left-out">left out</span>'),
            _measured(sample),
        )
        for sample in shown
    )
    differs = "differs" if len({sample.class_name for sample in group.samples}) > 1 else ""
    more = _more(group.num_pictures - len(shown), "in this group")
    return Html(f'<div class="group {differs}"><div class="pictures">{figures}</div>{more}</div>')


def show_notable(notable: Notable, num_kept: int) -> Html:
    """Returns the pictures at one end of a measure, of so many that are kept; those past the limit are marked."""
    shown = notable.samples[:MAX_NOTABLE]
    figures = "".join(_show(sample, _measured(sample)) for sample in shown)
    said = f"flagged {notable.limit}: {count(notable.num_flagged, 'picture')}" if notable.limit else ""
    if notable.num_flagged > _USUAL * num_kept:
        said += ", so many that it belongs to these pictures, as flat areas do to drawings"
    return Html(
        f'<h3>{words(notable.title)} <span class="quiet">{html.text(said)}</span></h3>'
        f'<div class="pictures">{figures}</div>'
    )


def words(name: str) -> Html:
    """Returns a name of the code, such as `cut_off`, as a reader's words."""
    return html.text(name.replace("_", " "))


def _show(sample: Sample, *details: Html) -> Html:
    inside = sample.path.removeprefix(f"{sample.class_name}/")
    caption = Html(
        f'<span class="class">{html.text(sample.class_name)}</span>{"".join(details)}'
        f'<span class="path">{html.breakable(shorten(inside, _MAX_CHARS))}</span>'
    )
    return html.picture(sample.thumbnail, caption, title=sample.path, kind="flagged" if sample.is_flagged else "")


def _measured(sample: Sample) -> Html:
    kind = "flag" if sample.is_flagged else "measured"
    lines = [f'<span class="{kind}">{html.text(sample.measured)}</span>'] if sample.measured else []
    if sample.limit:
        lines.append(f'<span class="quiet">expected {html.text(sample.limit)}</span>')
    return Html("".join(lines))


def _more(number: int, what: str) -> str:
    return f'<p class="more">and {number:,} more {html.text(what)}</p>' if number > 0 else ""
