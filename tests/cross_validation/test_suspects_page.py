"""The page of suspects: what it says, that names cannot act, that it stays small, and what it does in a browser.

In the browser it is skipped where no Chromium is found; Debian's package is called chromium.
"""

import csv
import dataclasses
import html
import io
import json
import re
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from harness.base import csv_files
from harness.cross_validation.labels.neighbours import Case, Neighbour
from harness.cross_validation.labels.page import Facts, render
from harness.cross_validation.labels.suspects import Suspect

NAMES = ("happy", "sad", "angry")
COMMAND = "python -m harness.build_records --images data/faces --clean.labels corrections.csv"
REASON = "suspected label, checked by hand"


class Page(HTMLParser):
    """Words of a page, and whatever in it acts or reaches outside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.faults, self.scripts, self.images, self.inside = "", [], [], 0, ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.inside = tag
        self.scripts += [values.get("type", "")] if tag == "script" else []
        self.images += tag == "img"
        reaches = any(name.startswith("on") for name in values) or tag in ("link", "iframe", "object")
        if reaches or not values.get("src", "data:image/").startswith("data:image/"):
            self.faults.append((tag, attributes))

    def handle_data(self, data):
        self.words += data if self.inside not in ("style", "script") else ""

    def handle_endtag(self, tag):
        self.inside = ""


def make_jpeg(side: int) -> bytes:
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()


def make_case(number, label="happy", suggested="sad", *, path=None, num=3, side=16):
    path = path or f"{label}/{number}.png"
    near = tuple(Neighbour(f"near/{number}-{i}.png", make_jpeg(side * 2 // 3)) for i in range(num))
    return Case(Suspect(number, path, label, suggested, 0.03, 0.956, 0.03), make_jpeg(side), near, near)


def make_facts(cases=None, **changes):
    cases = [make_case(number) for number in range(3)] if cases is None else cases
    facts = Facts(tuple(cases), len(cases), 100, NAMES, "tfrecords/faces", "abc", COMMAND)
    return dataclasses.replace(facts, **changes)


def read(facts) -> Page:
    page = Page(render(facts))
    assert page.faults == []
    return page


def test_a_case_names_both_labels_their_probabilities_and_its_path():
    page = read(make_facts())
    assert "Suspected labels: tfrecords/faces" in page.words and "3 of 100 pictures have a label" in page.words
    assert "1 of 100 pictures has a label" in read(make_facts([make_case(0)])).words
    assert "1. happy/0.png" in page.words
    assert "others labelled happylabelled happy: 3%may be sad: 96%others labelled sad" in page.words
    assert "not decidedkeep happyit is sadleave the picture outanother class" in page.words
    assert page.images == 3 * 7 and COMMAND in page.words
    assert page.scripts == ["application/json", ""]


@pytest.mark.parametrize(
    ("probability", "shown"), [(0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.999, ">99%"), (1, "100%")]
)
def test_only_0_and_1_are_said_to_be_that(probability, shown):
    case = make_case(0)
    case = dataclasses.replace(case, suspect=case.suspect._replace(label_probability=probability))
    assert f"labelled happy: {shown}may be" in read(make_facts([case])).words


def test_without_suspects_the_page_says_so_and_runs_nothing():
    page = read(make_facts([]))
    assert "None of 100 pictures has a label that the models doubt." in page.words and page.scripts == []


def test_suspects_that_are_not_shown_are_counted():
    assert "The first 3 are shown; the other 17 are in suspects.csv." in read(make_facts(num_suspects=20)).words
    assert "are shown" not in read(make_facts()).words


def test_where_neighbours_are_looked_for_is_said_if_that_is_not_everywhere():
    said = "among the first pictures of each class, 5,000 in all"
    assert said in read(make_facts(num_pictures=5001)).words and said not in read(make_facts(num_pictures=5000)).words


def test_so_many_suspects_that_the_models_must_be_wrong_are_warned_of():
    assert "Few of these will be wrong" in read(make_facts(num_suspects=40)).words
    assert "Few of these" not in read(make_facts(num_suspects=30)).words


def test_of_two_classes_no_other_is_offered():
    assert "another class" not in read(make_facts(class_names=NAMES[:2])).words


def test_a_suspect_without_neighbours_says_why():
    assert "no picture outside its group" in read(make_facts([make_case(0, num=0)])).words


EVIL = "</script><script>alert(1)</script>\"'&\n\x1b\udcff‮gnp.exe"


def test_names_cannot_act_wherever_they_stand():
    page = read(
        make_facts(
            [make_case(0, EVIL, "sad", path=EVIL)],
            class_names=(EVIL, "sad", EVIL + "2"),
            records=EVIL,
            identity=EVIL,
            command=EVIL,
        )
    )
    assert page.scripts == ["application/json", ""] and "\x1b" not in page.words and "‮" not in page.words


@pytest.mark.parametrize("num_classes", [3, 20_000])
def test_the_page_of_many_large_pictures_and_classes_stays_below_two_megabytes(num_classes):
    names = ("happy", "sad", *(f"a class of a long name {number}" for number in range(num_classes - 2)))
    text = render(make_facts([make_case(number, side=144) for number in range(40)], class_names=names))
    assert 1_800_000 < len(text.encode()) < 2_000_000
    num_shown = text.count("<article")
    assert 10 < num_shown < 40
    assert f"The first {num_shown} are shown; the other {40 - num_shown} are in suspects.csv" in text


# In a frame as wide as a screen, for a window of Chromium is never as narrow as a phone.
PROBE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message || event.target.outerHTML.slice(0, 200))), true);
function probe() {
  const style = document.createElement("style");
  style.textContent = "main > section { content-visibility: visible !important }";
  document.head.append(style);
  const width = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const images = Array.from(document.images);
  images.filter(image => !image.naturalWidth).forEach(image => errors.push(`${image.alt} is not there`));
  const said = () => document.getElementById("count").textContent;
  const locked = () => document.getElementById("download").disabled;
  const found = { overflow: width(), images: images.length, first: [said(), locked(), corrections()] };
  const choose = (number, value) => document.querySelector(`[name=choice-${number}][value="${value}"]`).click();
  choose(0, "keep"); choose(1, "suggested"); choose(2, "out"); choose(3, "other");
  found.unchosen = said();
  const other = document.querySelector("[data-case='4'] select");
  other.focus();
  other.dispatchEvent(new Event("focusin", { bubbles: true }));
  found.offered = Array.from(other.options).map(option => option.textContent);
  other.value = other.options[1].value;
  other.dispatchEvent(new Event("change", { bubbles: true }));
  found.second = [said(), locked(), corrections()];
  choose(2, "");
  found.third = said();
  let saved = null;
  HTMLAnchorElement.prototype.click = function () { saved = [this.download, this.href.slice(0, 5)]; };
  document.getElementById("download").click();
  return { ...found, saved, after: width(), kept: localStorage.getItem(key), errors };
}
</script>
"""
FRAMES = """
<!doctype html><meta charset="utf-8"><body>FRAMES<pre id="found"></pre><script>
onload = () => {
  const found = Array.from(document.querySelectorAll("iframe")).map(frame => {
    localStorage.clear();
    return frame.contentWindow.probe();
  });
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script>
"""


def open_page(chromium, path, profile):
    """The text of #found on a page, and what Chromium wrote to its console."""
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={profile}")
    done = subprocess.run(
        [chromium, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


ODD = ' =a "b", ü\n.png'


def make_odd_facts():
    cases = [make_case(number, num=3) for number in range(6)]
    cases[1] = make_case(1, "happy", "=sad, or not", path=ODD)
    cases[2] = make_case(2, path="=2.png")
    return make_facts(cases, class_names=("happy", "sad", "=sad, or not", "long " * 30))


@pytest.mark.slow
def test_decisions_become_corrections_wide_and_on_a_phone(chromium, tmp_path):
    text = render(make_odd_facts()).replace("<head>", f"<head>{PROBE}", 1).replace(' loading="lazy"', "")
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(text)}"></iframe>'
        for width in (1280, 390)
    )
    (tmp_path / "frames.html").write_text(FRAMES.replace("FRAMES", frames))
    found, console = open_page(chromium, tmp_path / "frames.html", tmp_path / "profile")
    assert console == []
    for shown in found:
        assert shown["errors"] == [] and shown["overflow"] == shown["after"] == 0 and shown["images"] == 6 * 7
        assert shown["first"] == ["0 of 6 decided", True, "path,label,reason\n"]
        assert shown["unchosen"] == "3 of 6 decided"
        assert shown["offered"] == ["choose", "=sad, or not", "long " * 30]
        said, locked, corrections = shown["second"]
        assert (said, locked, shown["third"]) == ("4 of 6 decided", False, "3 of 6 decided")
        assert corrections == (
            "path,label,reason\n"
            f'happy/0.png,happy,"{REASON}"\n'
            f'" =a ""b"", ü\n.png","\'=sad, or not","{REASON}"\n'
            f'\'=2.png,,"{REASON}"\n'
            f'happy/4.png,"\'=sad, or not","{REASON}"\n'
        )
        rows = [row for _, row in csv_files.read_numbered(io.StringIO(corrections, newline=""))]
        assert rows[1:] == [
            ["happy/0.png", "happy", REASON],
            [ODD, "=sad, or not", REASON],
            ["=2.png", "", REASON],
            ["happy/4.png", "=sad, or not", REASON],
        ]
        assert list(csv.reader(io.StringIO(corrections)))[2][0] == ODD
        assert shown["saved"] == ["corrections.csv", "blob:"]
        assert json.loads(shown["kept"])["happy/4.png"] == ["happy", "=sad, or not"]


RELOADED = """
<script>
addEventListener("load", () => {
  const say = () => [document.getElementById("count").textContent, corrections()];
  const found = { before: say() };
  DECIDE
  found.after = say();
  found.isKept = document.getElementById("lost").hidden;
  const shown = document.createElement("pre");
  shown.id = "found";
  shown.textContent = JSON.stringify(found);
  document.body.append(shown);
});
</script>
"""
DECIDE = """
document.querySelector("[name=choice-0][value=keep]").click();
document.querySelector("[name=choice-1][value=out]").click();
const other = document.querySelector("[data-case='2'] select");
other.focus();
other.value = 2;
other.dispatchEvent(new Event("change", { bubbles: true }));
"""


KEPT = f'path,label,reason\nhappy/0.png,happy,"{REASON}"\nhappy/1.png,,"{REASON}"\nhappy/2.png,angry,"{REASON}"\n'


def run_page(chromium, folder, facts, program):
    """What the page says when it is loaded, and after a program has run."""
    page = folder / "suspects.html"
    page.write_text(render(facts).replace("<head>", f"<head>{program}", 1))
    found, console = open_page(chromium, page, folder / "profile")
    assert console == []
    return found


@pytest.mark.slow
def test_decisions_survive_a_reload_and_hold_for_these_records_and_labels_alone(chromium, tmp_path):
    def reload(decide="", **changes):
        found = run_page(chromium, tmp_path, make_facts(**changes), RELOADED.replace("DECIDE", decide))
        assert found["isKept"]
        return found["before"]

    nothing = ["0 of 3 decided", "path,label,reason\n"]
    assert reload(DECIDE) == nothing
    assert reload() == ["3 of 3 decided", KEPT]
    assert reload(identity="other records") == nothing
    relabelled = [make_case(0, "sad", "happy", path="happy/0.png"), make_case(1), make_case(2)]
    assert reload(cases=relabelled)[0] == "2 of 3 decided"


REFUSED = '<script>Object.defineProperty(window, "localStorage", { get() { throw new Error("refused"); } });</script>'


@pytest.mark.slow
def test_a_browser_that_keeps_nothing_says_so_and_still_decides(chromium, tmp_path):
    found = run_page(chromium, tmp_path, make_facts(), REFUSED + RELOADED.replace("DECIDE", DECIDE))
    assert found["after"] == ["3 of 3 decided", KEPT] and not found["isKept"]
