"""report.html of a records folder: what became of every picture, on one page that needs no network.

It shows the facts that survey.py has gathered, and decides nothing. gallery.py shows the pictures.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.base import html
from harness.base.html import Html
from harness.base.text import count
from harness.dataset.curation.findings import NO_CLASS
from harness.dataset.report import charts, corrected_labels, gallery
from harness.dataset.report.facts import Facts, KeptPictures, Probe
from harness.dataset.report.gallery import words

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#66ccee", "#ccbb44", "#aa3377")  # Paul Tol's bright scheme, by split
_REJECTED = "#bbbbbb"
_MAX_CLASSES = 100  # whose numbers are shown at once
_FEW_GROUPS = 30  # of a split that is measured on; as many give an interval that says something
_TRAIN = "train"
_STYLE = """
h3 .quiet { font-weight: 400; font-size: .9rem; margin-left: .4rem; } th a { color: inherit; }
.bar { display: flex; height: .8rem; min-width: 9rem; } .bar span { min-width: 1px; }
.whole { height: 1.6rem; border-radius: .3rem; overflow: hidden; margin: 1rem 0 .4rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.05rem; }
.counts { font-size: .88rem; } .counts td, .counts th { padding: .25rem .6rem; } .zero { color: var(--quiet); }
.counts tr:last-child.total td { font-weight: 600; }
.words td:last-child, .words th:last-child { text-align: left; }
.hashes td:last-child { font-family: ui-monospace, monospace; font-size: .85em; overflow-wrap: anywhere; }
td:first-child { max-width: 22rem; } .corrected td, .corrected th { text-align: left; }
.probe td:nth-child(n+3), .probe th { white-space: nowrap; }
.probe td:nth-child(2), .probe th:nth-child(2) { text-align: left; min-width: 6rem; }
"""


def render(name: str, facts: Facts) -> str:
    """Returns the page.

    Args:
      name: the records' name.
      facts: what became of every picture.
    """
    sections = {
        "Classes": _classes(facts),
        "Corrected labels": corrected_labels.show(facts.corrected),
        "Split": _split(facts),
        "Sizes and formats": _sizes(facts),
        "Rejected": _rejected(facts),
        "Copies": _copies(facts),
        "Notable pictures": _notable(facts),
        "Remarks": _notes(facts.notes, facts.note_meanings),
        "Shortcuts": _probe(facts.probe),
        "Made with": _origin(facts),
    }
    top = html.warnings("Look at this first", facts.warnings) + _overview(facts)
    said = '<p class="quiet">what became of every picture</p>'
    return html.whole(name, f"{said}{top}{html.sections(sections)}", style=gallery.STYLE + _STYLE)


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
    return html.fold(f"{len(rows):,} {what}", html.table(header, rows, kind=kind))


def _split(facts: Facts) -> str:
    rule = facts.split
    rows = []
    for split, asked in rule.asked.items():
        number, num_groups = facts.num_in_split[split], rule.num_groups.get(split, 0)
        wanted = "given" if split in rule.given else f"{asked:.1%}"
        rows.append((split, wanted, f"{number / max(1, facts.num_kept):.1%}", _number(number), _number(num_groups)))
    return (
        f"<p>Groups: {html.text(rule.grouping)}, {sum(rule.num_groups.values()):,} in all. "
        f"{'' if rule.given else 'A group lies in one split as a whole. '}Seed {rule.seed}."
        f"{html.text(f' {rule.unseen[:1].upper()}{rule.unseen[1:]}.' if rule.unseen else '')}</p>"
        f"{html.table(('split', 'asked', 'obtained', 'pictures', 'groups'), rows)}{html.paragraphs(_tell_few(facts))}"
    )


def _tell_few(facts: Facts) -> list[str]:
    """What few groups mean for what is measured on them."""
    numbers = {name: number for name, number in facts.split.num_groups.items() if name != _TRAIN}
    return [
        f"{count(number, 'group')} in {name} {'is' if number == 1 else 'are'} few: pictures of a group are right or "
        "wrong together, so what is measured there has a wide interval."
        for name, number in numbers.items()
        if 0 < number < min(_FEW_GROUPS, facts.num_in_split[name])
    ]


def _sizes(facts: Facts) -> str:
    if not facts.num_kept:
        return "<p>No picture was kept.</p>"
    said = (*_list_same(facts.kept), _describe_growth(facts.kept), _describe_fit(facts.kept), facts.kept.wide)
    return html.paragraphs(filter(None, said)) + html.drawn(charts.draw(facts.kept))


def _list_same(kept: KeptPictures) -> list[str]:
    """What is one and the same in all pictures, which needs no figure."""
    sizes = {*zip(kept.widths.tolist(), kept.heights.tolist())}
    formats = {*kept.formats.tolist()}
    width, height = next(iter(sizes))
    return [
        *([f"Every picture has {width}x{height} pixels."] if len(sizes) == 1 else []),
        *([f"Every picture is a {formats.pop()} file."] if len(formats) == 1 else []),
    ]


def _describe_growth(kept: KeptPictures) -> str:
    longer = np.maximum(kept.widths, kept.heights)
    small = longer[longer < kept.image_size]
    if not len(small):
        return ""
    side, asked = int(np.median(small)), kept.image_size
    return (
        f"{len(small):,} of {len(longer):,} pictures ({len(small) / len(longer):.1%}) are smaller than {asked}x{asked} "
        f"and are grown, the median one from {side} pixels: that adds no detail, and a network takes "
        f"{(asked / side) ** 2:.1f} times as long as with records.image_size {side}."
    )


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
    kinds = (facts.conflicts, facts.near_conflicts, facts.exact_copies, facts.near_duplicates)
    if not any(copies.num_groups for copies in kinds):
        return '<p class="good">None: no picture is a copy of another, or nearly one.</p>'
    return (
        gallery.show_copies("The same picture under different classes", facts.conflicts)
        + gallery.show_copies("Nearly the same picture under different classes", facts.near_conflicts)
        + gallery.show_copies("Exact copies", facts.exact_copies)
        + gallery.show_copies("Nearly the same", facts.near_duplicates)
    )


def _notable(facts: Facts) -> str:
    telling = [notable for notable in facts.notable if notable.num_flagged and notable.samples]
    if not telling:
        return "<p>No picture is past a limit of brightness, sharpness, information or proportions.</p>"
    shown = "".join(gallery.show_notable(notable, facts.num_kept) for notable in telling)
    return f"<p>Kept, but past a limit, and worth a look.</p>{shown}"


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
            Html(f'<span class="{"bad" if row.is_flagged else "good"}">{html.text(row.verdict)}</span>'),
            f"{row.balanced_accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{row.chance:.1%}",
            html.track(row.low, row.balanced_accuracy, row.high, chance=row.chance),
        )
        for row in probe.rows
    ]
    header = ("feature", "verdict", "balanced accuracy", "95 % interval", "chance", "0 to 100 %")
    table = html.table(header, rows, kind="counts words probe")
    on = f" on {html.text(probe.classes)}" if probe.classes else ""
    legend = f'<p class="quiet">Measured by cross-validation{on}. Bars: the 95 % interval, dashed: chance.</p>'
    return f"{asked}{table}{legend}{html.warnings('A shortcut', probe.warnings)}"


def _origin(facts: Facts) -> str:
    origin = facts.origin
    digests = html.table(("", "sha256"), origin.digests.items(), kind="hashes words")
    rows = [
        (shard.file, _number(shard.num_examples), f"{shard.num_bytes:,}", shard.sha256[:16]) for shard in origin.shards
    ]
    shards = html.table(("file", "pictures", "bytes", "sha256 begins"), rows, kind="hashes")
    return (
        f"{html.block(origin.command)}<p>harness {html.text(origin.version)}. "
        f"The same pictures and settings give the same bytes.</p>{digests}"
        f"{html.fold(count(len(rows), 'shard'), shards)}{html.fold('settings', html.block(origin.settings_yaml))}"
    )
