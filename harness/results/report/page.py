"""A run on one page: report.html, one file that needs no network.

It shows the facts that artifacts.py has gathered, and decides nothing: the other files here have a section each.
"""

from harness.base import html
from harness.base.html import Html
from harness.base.text import as_word, count
from harness.results.export import exported
from harness.results.report import confusion, curves, gallery, origin, overview, progress, subsets
from harness.results.report.facts import RunFacts

# Sorts a table by the column whose head is clicked, and shows the mistakes of one pair of classes.
_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], value = (row, i) => row.cells[i].textContent.trim();
  Array.from(table.tHead.rows[0].cells).forEach((head, i) => {
    let down = false;
    head.setAttribute("tabindex", "0");
    const sort = () => {
      down = !down;
      const compare = (a, b) => {
        const [x, y] = [a, b].map(row => parseFloat(value(row, i).replace(/,/g, "")));
        if (isNaN(x) && isNaN(y)) return value(a, i).localeCompare(value(b, i));
        return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : x - y;
      };
      const rows = Array.from(body.rows).sort((a, b) => down ? compare(b, a) : compare(a, b));
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
}
for (const link of document.querySelectorAll("[data-show]")) {
  link.addEventListener("click", () => {
    const pair = link.dataset.show;
    for (const shown of document.querySelectorAll("[data-pair]")) {
      shown.hidden = pair !== "" && shown.dataset.pair !== pair;
    }
    document.getElementById("chosen").hidden = pair === "";
  });
}
"""
_STYLE = """
.sortable th { cursor: pointer; } .sortable th:hover { text-decoration: underline; }
.sortable td:nth-child(n+2) { white-space: nowrap; }
.second-word td:nth-child(2), .second-word th:nth-child(2) { text-align: left; white-space: normal; min-width: 6rem; }
"""


def render(facts: RunFacts) -> str:
    """Returns the page."""
    metrics = facts.validation.metrics
    body = html.sections(
        {
            "Figures": overview.list_figures(facts),
            "How it got there": progress.describe(facts),
            "Where it fails": f"{_say_split(facts)}{confusion.describe(metrics, facts.pictures.mistakes)}",
            "Subsets": subsets.describe(facts),
            "Pictures": gallery.describe(facts.pictures, metrics.class_names),
            "Scores": curves.describe_scores(facts.answers, metrics),
            "Probabilities": curves.describe_calibration(facts.judged),
            "Use it": _describe_use(facts),
            "Settings": origin.describe_settings(facts),
            "Made with": origin.describe(facts),
        }
    )
    style = overview.STYLE + confusion.STYLE + gallery.STYLE + origin.STYLE + _STYLE
    return html.whole(facts.name, f"{overview.describe(facts)}{body}", style=style, script=_SCRIPT)


def _say_split(facts: RunFacts) -> str:
    if facts.test is None:
        return ""
    said = (
        "This section, the subsets, pictures and scores are of the validation split: a test split whose mistakes one "
        "studies is no test any more."
    )
    return html.paragraphs([said])


def _describe_use(facts: RunFacts) -> Html:
    commands = (
        f"python -m harness.predict {as_word(facts.run)} PICTURE.jpg\n"
        f"python -m harness.predict {as_word(facts.run)} FOLDER --json\n"
        f"python -m harness.evaluate {as_word(facts.run)} --images FOLDER_OF_CLASS_FOLDERS"
    )
    left_out = html.paragraphs([f"{item.format} was left out: {item.reason}" for item in facts.exports.left_out])
    return Html(f"{html.block(commands)}{_describe_files(facts)}{left_out}")


def _describe_files(facts: RunFacts) -> str:
    """What each exported file takes and does; nothing where no fresh process was asked."""
    if not facts.exports.files:
        return ""
    pictures = count(facts.exports.files[0].num_pictures, "validation picture")
    said = f"Each file was run on {pictures} in a process of its own, on the CPUs of this machine."
    rows = [(html.breakable(item.file), *item.list_figures()) for item in facts.exports.files]
    return html.paragraphs([said]) + html.table(("file in export/", *exported.FIGURES), rows)
