"""Suspects on one page on which a person decides each in a glance, and which makes corrections.csv of the decisions.

The page is one file that needs no network and no server. It changes no label: corrections.csv does, once it is given to
a build. Which pictures stand on it neighbours.py finds; what runs in it stands in script.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base import html
from harness.base.html import Html
from harness.base.text import shorten
from harness.cross_validation.labels import script, suspects
from harness.cross_validation.labels.neighbours import MOST_COMPARED, Case, Neighbour
from harness.cross_validation.labels.suspects import Suspect

GENERATOR = "harness suspects"
_MOST_BYTES = 1_900_000  # of cases and class names, so that the page stays below 2 MB
_MOST_CHARS, _MOST_LETTERS = 90, 28  # of a path and of a class; under the pointer they are whole
_STYLE = """
.case { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin: 1rem 0;
  break-inside: avoid; }
.case.decided { border-color: var(--good); border-left-width: .4rem; }
.case h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
.beside { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr); gap: 1rem; align-items: start; }
.beside p { margin: 0 0 .3rem; font-size: .85rem; line-height: 1.3; } .beside div:first-child { text-align: right; }
.near { display: flex; flex-wrap: wrap; gap: .3rem; } .beside div:first-child .near { justify-content: flex-end; }
.near img { width: 5.5rem; height: 5.5rem; object-fit: contain; border: 1px solid var(--line); border-radius: .3rem;
  box-sizing: border-box; display: block; }
.beside figure { width: 11rem; text-align: center; font-size: .85rem; line-height: 1.4; }
.beside figure img { width: 9rem; height: 9rem; margin: 0 auto .2rem; border-radius: .3rem; }
fieldset { display: flex; flex-wrap: wrap; justify-content: center; gap: .4rem; border: 0; padding: 0;
  margin: .6rem 0 0; min-width: 0; }
fieldset label { display: flex; align-items: center; gap: .4rem; background: var(--soft); border-radius: 1rem;
  padding: .2rem .8rem; font-size: .9rem; cursor: pointer; max-width: 100%; box-sizing: border-box;
  overflow-wrap: anywhere; }
fieldset label:has(input:checked) { outline: 2px solid var(--accent); }
fieldset select { font: inherit; max-width: 11rem; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .3rem; }
.bar { position: sticky; bottom: 0; display: flex; flex-wrap: wrap; align-items: center; gap: .4rem 1rem;
  padding: .6rem 0; background: var(--paper); border-top: 1px solid var(--line); }
.bar button { font: inherit; padding: .3rem 1rem; border: 0; border-radius: .4rem; background: var(--accent);
  color: var(--paper); cursor: pointer; } .bar button:disabled { opacity: .4; cursor: default; }
@media screen and (max-width: 40rem) {
  .beside { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .beside figure { grid-column: 1 / 3; grid-row: 1; justify-self: center; width: auto; }
  .beside div:first-child { text-align: left; }
  .near { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .near img { width: 100%; height: auto; aspect-ratio: 1; } }
@media print { .bar { position: static; } .bar button { display: none; } }
"""


@dataclass(frozen=True)
class Facts:
    """What the page tells.

    Attributes:
      cases: the suspects that may be shown, the most suspect first.
      num_suspects: all there are.
      num_pictures: that were looked at.
      class_names: which a label may be.
      records: what to call the folder.
      identity: of the records, such as their checksum; a browser keeps decisions under it.
      command: which builds records with corrections.csv, as it is typed.
    """

    cases: Sequence[Case]
    num_suspects: int
    num_pictures: int
    class_names: Sequence[str]
    records: str
    identity: str
    command: str


def render(facts: Facts) -> str:
    """Returns the page, below 2 MB, and as many cases as fit into that."""
    title = f"Suspected labels: {facts.records}"
    if not facts.cases:
        said = f"None of {facts.num_pictures:,} pictures has a label that the models doubt."
        return html.whole(title, html.paragraphs([said]), style=_STYLE, generator=GENERATOR)
    shown = _show_cases(facts)
    body = html.sections({"Suspects": "".join(shown), "Use the corrections": _describe_use(facts.command)})
    bar = (
        '<div class="bar"><b id="count" role="status"></b><button type="button" id="download" disabled>Download '
        f'corrections.csv</button><span class="quiet" id="lost" hidden>{script.LOST}</span></div>'
    )
    data = _encode(facts.cases[: len(shown)], facts)
    return html.whole(
        title,
        f'{_introduce(facts, len(shown))}<form autocomplete="off">{body}</form>{bar}{data}',
        style=_STYLE,
        script=script.SCRIPT,
        generator=GENERATOR,
    )


def _show_cases(facts: Facts) -> list[str]:
    """The first cases that fit into the page; at least one."""
    left = _MOST_BYTES - sum(len(json.dumps(name)) + 2 for name in facts.class_names)
    shown: list[str] = []
    for number, case in enumerate(facts.cases):
        content = _show(number, case, facts.class_names)
        left -= len(content.encode()) + len(json.dumps(case.suspect.path))
        if shown and left < 0:
            break
        shown.append(content)
    return shown


def _introduce(facts: Facts, num_shown: int) -> Html:
    has = "has" if facts.num_suspects == 1 else "have"
    number = f"{facts.num_suspects:,} of {facts.num_pictures:,} pictures {has}"
    said = [
        f"{number} a label that is doubted by models which never saw the picture, nor any of its group. A doubt is no "
        "proof: the models are wrong, too. Keep each label, correct it, or leave the picture out.",
        "To the left of each picture is what looks most like it with the same label, to its right what looks most like "
        "it with the suggested one, none of it of the picture's own group. The percentages are what the models say of "
        "the two labels. The lowest for its own label comes first, which is the score in suspects.csv.",
    ]
    if facts.num_pictures > MOST_COMPARED:
        said.append(f"It is looked for among the first pictures of each class, {MOST_COMPARED:,} in all.")
    if num_shown < facts.num_suspects:
        said.append(
            f"The first {num_shown:,} are shown; the other {facts.num_suspects - num_shown:,} are in suspects.csv. "
            "Decide on these, build and cross-validate again, and the next ones come."
        )
    return Html(f"{warn(facts.num_suspects, facts.num_pictures)}{html.paragraphs(said)}")


def warn(num_suspects: int, num_pictures: int) -> Html:
    """Returns the warning that few of so many suspects will be wrong; nothing where they are not many."""
    doubt = suspects.describe_doubt(num_suspects, num_pictures)
    return html.warnings("Few of these will be wrong", [doubt] if doubt else [])


def _show(number: int, case: Case, class_names: Sequence[str]) -> str:
    suspect = case.suspect
    given, suggested = (_name(name) for name in (suspect.label, suspect.suggested))
    path = html.breakable(shorten(suspect.path, _MOST_CHARS))
    left, right = _show_side(given, case.given), _show_side(suggested, case.suggested)
    caption = Html(
        f"labelled <b>{given}</b>: {_percent(suspect.label_probability)}<br>"
        f"may be <b>{suggested}</b>: {_percent(suspect.probability)}"
    )
    picture = html.picture(case.jpeg, caption, title=suspect.path)
    choices = "".join(
        f'<label><input type="radio" name="choice-{number}" value="{value}"{" checked" if value == "" else ""}>'
        f"<span>{words}</span></label>"
        for value, words in (
            ("", "not decided"),
            ("keep", f"keep <b>{given}</b>"),
            ("suggested", f"it is <b>{suggested}</b>"),
            ("out", "leave the picture out"),
        )
    )
    return (
        f'<article class="case" data-case="{number}"><h3 title="{html.text(suspect.path)}">{number + 1}. {path}</h3>'
        f'<div class="beside">{left}{picture}{right}</div>'
        f'<fieldset aria-label="label of {html.text(suspect.path)}">{choices}{_offer_others(number, class_names)}'
        "</fieldset></article>"
    )


def _show_side(name: Html, nearest: Sequence[Neighbour]) -> str:
    pictures = "".join(
        f'<span title="{html.text(near.path)}">{html.image(near.jpeg, "jpeg", near.path)}</span>' for near in nearest
    )
    shown = f'<div class="near">{pictures}</div>' if nearest else '<p class="quiet">no picture outside its group</p>'
    return f"<div><p>others labelled <b>{name}</b></p>{shown}</div>"


def _offer_others(number: int, class_names: Sequence[str]) -> str:
    """Another class than the two, which the script fills in: thousands of classes in each case would be too much."""
    if len(class_names) <= 2:
        return ""
    return (
        f'<label><input type="radio" name="choice-{number}" value="other"><span>another class</span>'
        '<select aria-label="another class"><option value="">choose</option></select></label>'
    )


def _describe_use(command: str) -> str:
    said = (
        "Download corrections.csv into the folder in which these records were built, and build them again there. No "
        "source file is changed; a line without a label leaves its picture out. If these records were built with "
        "corrections already, put the lines of that file into this one, too."
    )
    return f"{html.paragraphs([said])}{html.block(command)}"


def _encode(cases: Sequence[Case], facts: Facts) -> str:
    """What the script works on; nothing in it ends the element."""
    number = {name: label for label, name in enumerate(facts.class_names)}

    def encode(suspect: Suspect) -> dict[str, object]:
        return {"path": suspect.path, "given": number[suspect.label], "suggested": number[suspect.suggested]}

    values = {
        "identity": facts.identity,
        "classes": list(facts.class_names),
        "cases": [encode(case.suspect) for case in cases],
    }
    text = json.dumps(values).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>'


def _name(name: str) -> Html:
    return html.text(shorten(name, _MOST_LETTERS))


def _percent(probability: float) -> str:
    """A probability in whole percent, of which only 0 and 1 are said to be that."""
    if 0 < probability < 0.01:
        return "&lt;1%"
    if 0.99 < probability < 1:
        return "&gt;99%"
    return f"{probability:.0%}"
