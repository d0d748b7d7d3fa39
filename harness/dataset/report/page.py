"""report.html of a records folder: what became of every picture, on one page that needs no network.

It shows the facts that survey.py has gathered, and decides nothing. gallery.py shows the pictures.
"""

from collections.abc import Iterable, Mapping, Sequence

from harness.base import html
from harness.base.html import Html
from harness.dataset.curation.findings import NO_CLASS
from harness.dataset.report import charts, gallery
from harness.dataset.report.facts import Facts, KeptPictures, Probe, ProbeRow
from harness.dataset.report.gallery import count, words

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#66ccee", "#ccbb44", "#aa3377")  # Paul Tol's bright scheme, by split
_REJECTED = "#bbbbbb"
_MAX_OPEN_ROWS = 24  # longer tables of shards are folded
_MAX_CLASSES = 100  # whose numbers are shown at once
_STYLE = """
h3 { margin: 1.6rem 0 .6rem; } h3 .quiet { font-weight: 400; font-size: .9rem; margin-left: .4rem; }
th a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1.5rem 0; font-size: .85rem; }
nav a { background: #f3f5f8; border-radius: 1rem; padding: .2rem .8rem; color: #222; text-decoration: none; }
nav a:hover { background: #dde4ee; }
.warnings { background: #fdf1f3; border: 1px solid #ee6677; border-left-width: .4rem; border-radius: .4rem;
  padding: .7rem 1.2rem; margin: 1.2rem 0; break-inside: avoid; overflow-wrap: anywhere; }
.warnings ul { margin: .3rem 0 0; padding-left: 1.2rem; } .good { color: #228833; } .bad { color: #b3203b; }
.bar { display: flex; height: .8rem; min-width: 9rem; } .bar span { min-width: 1px; }
.whole { height: 1.6rem; border-radius: .3rem; overflow: hidden; margin: 1rem 0 .4rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.05rem; }
.counts { font-size: .88rem; } .counts td, .counts th { padding: .25rem .6rem; } .zero { color: #bbb; }
.counts tr:last-child.total td { font-weight: 600; }
.words td:last-child, .words th:last-child { text-align: left; }
.hashes td:last-child { font-family: ui-monospace, monospace; font-size: .85em; }
td:first-child { min-width: 6rem; max-width: 22rem; }
.probe td, .probe th { white-space: nowrap; }
.track { position: relative; display: block; width: 10rem; height: .9rem; background: #f3f5f8; }
.track i, .track b, .track u { position: absolute; top: 0; height: 100%; }
.track i { background: #4477aa; opacity: .35; } .track b { background: #4477aa; width: 3px; margin-left: -1px; }
.track u { border-left: 2px dashed #222; }
summary { cursor: pointer; margin: .5rem 0; }
@media screen { section { content-visibility: auto; contain-intrinsic-size: auto 40rem; } }
@media print { nav { display: none; } a { color: inherit; text-decoration: none; } }
"""


def render(name: str, facts: Facts) -> str:
    """Returns the page.

    Args:
      name: the records' name.
      facts: what became of every picture.
    """
    sections = {
        "Classes": _classes(facts),
        "Split": _split(facts),
        "Sizes and formats": _sizes(facts),
        "Rejected": _rejected(facts),
        "Copies": _copies(facts),
        "Notable pictures": _notable(facts),
        "Remarks": _notes(facts.notes, facts.note_meanings),
        "Shortcuts": _probe(facts.probe),
        "Made with": _origin(facts),
    }
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in sections)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{title}</h2>{content}</section>' for title, content in sections.items()
    )
    top = _warnings("Look at this first", facts.warnings) + _overview(facts)
    return html.whole(
        name,
        f'<p class="quiet">what became of every picture</p>{top}<nav>{links}</nav>{body}',
        style=gallery.STYLE + _STYLE,
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _warnings(heading: str, sentences: Iterable[str]) -> str:
    lines = "".join(f"<li>{html.text(sentence)}</li>" for sentence in sentences)
    return f'<div class="warnings"><b>{heading}</b><ul>{lines}</ul></div>' if lines else ""


def _overview(facts: Facts) -> str:
    num_rejected = facts.num_found - facts.num_kept
    share = facts.num_kept / max(1, facts.num_found)
    figures = [
        (f"{facts.num_found:,}", "files found"),
        (f"{facts.num_kept:,}", f"pictures kept ({share:.1%})"),
        (f"{num_rejected:,}", "rejected"),
        (f"{sum(counts.num_kept > 0 for counts in facts.classes.values()):,}", "classes"),
        (f"{facts.kept.image_size}x{facts.kept.image_size}", "stored size [pixels]"),
    ]
    parts = {**facts.num_in_split, "rejected": num_rejected}
    colours = _colours(facts)
    legend = "".join(
        f'<span><i style="background:{colours[part]}"></i>{html.text(part)} {number:,}</span>'
        for part, number in parts.items()
        if number
    )
    return (
        f"{html.boxes(figures)}{_bar(parts, colours, facts.num_found, kind='bar whole')}"
        f'<div class="legend">{legend}</div>'
    )


def _colours(facts: Facts) -> dict[str, str]:
    by_split = {split: _COLOURS[i % len(_COLOURS)] for i, split in enumerate(facts.split.asked)}
    return {**by_split, "rejected": _REJECTED}


def _bar(parts: Mapping[str, int], colours: Mapping[str, str], full: int, *, kind: str = "bar") -> Html:
    pieces = "".join(
        f'<span title="{html.text(part)}: {number:,}" style="width:{100 * number / full:.3f}%;'
        f'background:{colours[part]}"></span>'
        for part, number in parts.items()
        if number
    )
    return Html(f'<div class="{kind}">{pieces}</div>')


def _number(number: int) -> Html:
    return Html(f"{number:,}" if number else '<span class="zero">0</span>')


def _classes(facts: Facts) -> str:
    splits = list(facts.split.asked)
    colours = _colours(facts)
    largest = max((counts.num_found for counts in facts.classes.values()), default=0)
    rows: list[tuple[object, ...]] = []
    for name, counts in facts.classes.items():
        kept = {split: counts.kept.get(split, 0) for split in splits}
        num_rejected = counts.num_found - counts.num_kept
        bar = _bar({**kept, "rejected": num_rejected}, colours, max(1, largest))
        numbers = (*kept.values(), counts.num_kept, num_rejected, counts.num_found)
        rows.append((name or NO_CLASS, *map(_number, numbers), bar))
    totals = (*facts.num_in_split.values(), facts.num_kept, facts.num_found - facts.num_kept, facts.num_found)
    rows.append((Html("<b>total</b>"), *(Html(f"<b>{number:,}</b>") for number in totals), ""))
    header = ("class", *splits, "kept", "rejected", "found", "")
    *listed, total = rows
    said = "".join(f"<p>{html.text(line)}</p>" for line in facts.lines)
    shown = said + html.table(header, [*listed[:_MAX_CLASSES], total], kind="counts words")
    return shown + _fold(header, listed[_MAX_CLASSES:], "more classes", kind="counts words")


def _fold(header: Sequence[object], rows: Sequence[Sequence[object]], what: str, *, kind: str) -> str:
    """The rest of a long table, which is drawn only when somebody opens it."""
    if not rows:
        return ""
    return f"<details><summary>{len(rows):,} {what}</summary>{html.table(header, rows, kind=kind)}</details>"


def _split(facts: Facts) -> str:
    rule = facts.split
    rows = []
    for split, asked in rule.asked.items():
        number, num_groups = facts.num_in_split[split], rule.num_groups.get(split, 0)
        wanted = "given" if split in rule.given else f"{asked:.1%}"
        rows.append((split, wanted, f"{number / max(1, facts.num_kept):.1%}", _number(number), _number(num_groups)))
    return (
        f"<p>Groups: {html.text(rule.grouping)}, {sum(rule.num_groups.values()):,} in all. "
        f"{'' if rule.given else 'A group lies in one split as a whole. '}Seed {rule.seed}.</p>"
        f"{html.table(('split', 'asked', 'obtained', 'pictures', 'groups'), rows)}"
    )


def _sizes(facts: Facts) -> str:
    if not facts.num_kept:
        return "<p>No picture was kept.</p>"
    figure = html.image(charts.draw_sizes(facts.kept), "png", "width, height, file size and format of kept pictures")
    wide = f"<p>{html.text(facts.kept.wide)}</p>" if facts.kept.wide else ""
    return f"<p>{html.text(_describe_fit(facts.kept))}</p>{wide}{figure}"


def _describe_fit(kept: KeptPictures) -> str:
    if not kept.num_oblong:
        return "In no picture is one side longer than the other by more than a quarter."
    share = f"{kept.num_oblong:,} of {len(kept.widths):,} pictures ({kept.num_oblong / len(kept.widths):.1%})"
    done = {
        "stretch": "Stretching to a square changes their proportions by more than a quarter.",
        "crop": "Of all pictures the square in the middle is kept.",
        "pad": "All pictures keep their proportions, between bars of one colour.",
    }
    return f"One side is longer than the other by more than a quarter in {share}. {done[kept.fit]}"


def _rejected(facts: Facts) -> str:
    if not facts.num_rejected:
        return '<p class="good">None: every file is a picture that is kept.</p>'
    reasons = facts.num_rejected.most_common()
    rows = []
    for name, counts in facts.classes.items():
        if counts.rejected:
            numbers = (counts.rejected.get(reason, 0) for reason, _ in reasons)
            rows.append((name or NO_CLASS, _number(counts.num_found), _number(counts.num_kept), *map(_number, numbers)))
    links = (
        Html(f'<a href="#{html.text(f"rejected-{reason}")}">{words(reason)}</a>')
        if facts.rejects.get(reason)
        else words(reason)
        for reason, _ in reasons
    )
    num_clean = len(facts.classes) - len(rows)
    clean = f'<p class="quiet">Classes without any, which are not listed: {num_clean:,}.</p>' if num_clean else ""
    header = ("class", "found", "kept", *links)
    return (
        f"{html.table(header, rows[:_MAX_CLASSES], kind='counts')}"
        f"{_fold(header, rows[_MAX_CLASSES:], 'more classes', kind='counts')}{clean}"
        f"<p>Nothing is deleted: the files lie where they lay. cleaning.csv names every one, and copies of each other "
        f'are shown under <a href="#copies">Copies</a>.</p>'
        + "".join(
            gallery.show_rejects(reason, facts.rejects[reason], number, facts.advice.get(reason, ""))
            for reason, number in reasons
            if facts.rejects.get(reason)
        )
    )


def _copies(facts: Facts) -> str:
    return (
        gallery.show_copies("The same picture under different classes", facts.conflicts)
        + gallery.show_copies("Nearly the same picture under different classes", facts.near_conflicts)
        + gallery.show_copies("Exact copies", facts.exact_copies)
        + gallery.show_copies("Nearly the same", facts.near_duplicates)
    )


def _notable(facts: Facts) -> str:
    shown = "".join(gallery.show_notable(notable) for notable in facts.notable if notable.samples)
    if not shown:
        return "<p>Nothing was measured.</p>"
    return f"<p>Kept, but worth a look; those past a limit are framed in red.</p>{shown}"


def _notes(notes: Mapping[str, int], meanings: Mapping[str, str]) -> str:
    rows = [(words(note), _number(number), meanings.get(note, "")) for note, number in notes.items() if number]
    if not rows:
        return "<p>None.</p>"
    return html.table(("found", "pictures", "what was done"), rows, kind="words")


def _probe(probe: Probe) -> str:
    asked = "<p>Can the class be told without looking at what a picture shows? Then a network may learn just that.</p>"
    if not probe.rows:
        return f"{asked}<p>Not tried: {html.text(probe.skipped)}.</p>"
    rows = [
        (
            words(row.feature),
            f"{row.balanced_accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{row.chance:.1%}",
            _interval(row),
            Html(f'<span class="{"bad" if row.is_flagged else "good"}">{html.text(row.verdict)}</span>'),
        )
        for row in probe.rows
    ]
    header = ("feature", "balanced accuracy", "95 % interval", "chance", "0 to 100 %", "verdict")
    table = html.table(header, rows, kind="counts words probe")
    legend = '<p class="quiet">Measured by cross-validation. Bars: the 95 % interval, dashed: chance.</p>'
    return f"{asked}{table}{legend}{_warnings('A shortcut', probe.warnings)}"


def _interval(row: ProbeRow) -> Html:
    return Html(
        f'<span class="track"><i style="left:{100 * row.low:.1f}%;width:{100 * (row.high - row.low):.1f}%"></i>'
        f'<b style="left:{100 * row.balanced_accuracy:.1f}%"></b><u style="left:{100 * row.chance:.1f}%"></u></span>'
    )


def _origin(facts: Facts) -> str:
    origin = facts.origin
    digests = html.table(("", "sha256"), origin.digests.items(), kind="hashes words")
    rows = [
        (shard.file, _number(shard.num_examples), f"{shard.num_bytes:,}", shard.sha256[:16]) for shard in origin.shards
    ]
    is_open = "open" if len(rows) <= _MAX_OPEN_ROWS else ""
    shards = html.table(("file", "pictures", "bytes", "sha256 begins"), rows, kind="hashes")
    return (
        f"{html.block(origin.command)}<p>harness {html.text(origin.version)}. "
        f"The same pictures and settings give the same bytes.</p>{digests}<h3>Shards</h3>"
        f"<details {is_open}><summary>{count(len(rows), 'file')}</summary>{shards}</details>"
        f"<h3>Settings</h3>{html.block(origin.settings_yaml)}"
    )
