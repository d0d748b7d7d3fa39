"""Both reports in a real browser, wide and on a phone: nothing overflows, nothing fails, every picture is there.

Skipped where no Chromium is found; Debian's package is called chromium.
"""

import html
import json
import re
import subprocess

import pytest

pytestmark = pytest.mark.slow
WIDTHS = (1280, 390)
# Each page lies in a frame as wide as a screen, for a window of Chromium is never as narrow as a phone. What is far
# below is laid out too, so that it is measured. Then heads of tables and numbers of the matrix are clicked.
PROBE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message || event.target.outerHTML.slice(0, 200))), true);
function probe() {
  const style = document.createElement("style");
  style.textContent = "main > section { content-visibility: visible !important }";
  document.head.append(style);
  document.querySelectorAll("details").forEach(folded => { folded.open = true; });
  const images = Array.from(document.images);
  images.filter(image => !image.naturalWidth).forEach(image => errors.push(`${image.alt} is not there`));
  const found = {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    images: images.length,
    figures: Array.from(document.querySelectorAll("svg")).filter(svg => svg.getBoundingClientRect().width > 100).length,
    narrow: Array.from(document.querySelectorAll("td:first-child")).filter(cell =>
      cell.textContent.length > 3 && cell.getBoundingClientRect().width < 40).map(cell => cell.textContent),
  };
  const cases = () => Array.from(document.querySelectorAll("[data-pair]")).filter(shown => !shown.hidden);
  const link = document.querySelector("td [data-show]");
  if (link) {
    link.click();
    found.shown = Array.from(new Set(cases().map(shown => shown.dataset.pair)));
    found.asked = link.dataset.show;
    document.querySelector("#chosen a").click();
    found.all = cases().length === document.querySelectorAll("[data-pair]").length;
  }
  const table = document.querySelector("table.sortable");
  if (table) {
    const column = () => Array.from(table.tBodies[0].rows).map(row => parseFloat(row.cells[2].textContent));
    table.tHead.rows[0].cells[2].click();
    found.sorted = column();
  }
  return { ...found, errors };
}
</script>
"""
FRAMES = """
<!doctype html><meta charset="utf-8"><body>FRAMES<pre id="found"></pre><script>
onload = () => {
  const found = Array.from(document.querySelectorAll("iframe")).map(frame => frame.contentWindow.probe());
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script>
"""


def open_page(chromium, page, tmp_path):
    """What the page shows at each width, and what Chromium wrote to its console."""
    text = page.read_text().replace("<head>", f"<head>{PROBE}", 1)
    inside = html.escape(text.replace(' loading="lazy"', ""))  # what is far below would never load
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{inside}"></iframe>' for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(FRAMES.replace("FRAMES", frames))
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "frames.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


def check(found, console):
    assert console == []
    for shown in found:
        assert shown["errors"] == [] and shown["overflow"] == 0 and shown["narrow"] == [], shown
        assert shown["images"] > 0


def test_the_report_of_a_run(chromium, smoke_run, tmp_path):
    found, console = open_page(chromium, smoke_run / "report.html", tmp_path)
    check(found, console)
    for shown in found:
        assert shown["figures"] >= 7
        assert shown["shown"] == [shown["asked"]] and shown["all"]
        assert shown["sorted"] == sorted(shown["sorted"], reverse=True)


def test_the_report_of_records(chromium, face_records, tmp_path):
    found, console = open_page(chromium, face_records / "report.html", tmp_path)
    check(found, console)


def test_a_page_that_is_too_wide_or_fails_is_found_out(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><html><head><meta charset="utf-8"></head><body><div style="width:1000px">wide</div>'
        '<img alt="broken" src="data:image/png;base64,AAAA"><script>undefined_name();</script></body></html>'
    )
    (wide, phone), console = open_page(chromium, page, tmp_path)
    assert wide["overflow"] == 0 and phone["overflow"] > 500
    assert any("undefined_name" in error for error in phone["errors"]) and any(
        "undefined_name" in line for line in console
    )
    assert any("broken" in error for error in phone["errors"])
