"""Records whose labels a table corrects: what is built, what is told of it, and when it is up to date."""

import csv
import html
import json
import re
from pathlib import Path

import pytest
from conftest import draw_face, files_of, list_recorded, read_findings, run_command, write_faces, write_picture

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder, existing_records
from harness.dataset.curation import findings, quarantine
from harness.dataset.records import manifest

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def images(tmp_path) -> Path:
    """Twelve faces a class; one of them also lies in the other class, and one twice in its own."""
    folder = write_faces(tmp_path / "faces")
    write_picture(folder / "sad" / "again.png", draw_face(3, happy=True))
    write_picture(folder / "happy" / "twin.png", draw_face(5, happy=True))
    return folder


def make_config(images: Path, **sections) -> Config:
    return Config.model_validate(
        {
            "data": {"images": images, "records": images.parent / "records"},
            "records": {"image_size": 32, "min_shards": 4},
            **sections,
        }
    )


def build(images: Path, rows: str, *, overwrite: bool = True, clean: dict | None = None) -> str:
    (images.parent / "fixed.csv").write_text(f"path,label,reason\n{rows}")
    labels = str(images.parent / "fixed.csv")
    config = make_config(images, clean={"labels": labels, "near_copies": "ignore", **(clean or {})})
    return builder.build(config, overwrite=overwrite)


def read_rows(images: Path) -> dict[str, dict[str, str]]:
    return read_findings(images.parent / "records")


def describe(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("class_name", "verdict", "reason", "label_was", "label_reason"))


def test_corrected_labels_are_in_records_findings_report_and_closing_lines(images):
    before = files_of(images)
    text = build(images, "happy/face_00.png,sad,<b>frown\nsad/face_01.png,,two faces\nsad/face_02.png,sad,\n")
    rows = read_rows(images)
    assert describe(rows["happy/face_00.png"]) == ("sad", "kept", "", "happy", "<b>frown")
    assert describe(rows["sad/face_01.png"]) == ("sad", "rejected", "left_out", "sad", "two faces")
    assert describe(rows["sad/face_02.png"]) == ("sad", "kept", "", "sad", "")
    assert describe(rows["sad/face_03.png"]) == ("sad", "kept", "", "", "")
    table = images.parent / "fixed.csv"
    assert rows["sad/face_01.png"]["measured"] == f"no label in line 3 of {table}: two faces"
    assert re.search(
        r"\nlabels by .*: 1 changed, 1 confirmed, 1 picture left out\n"
        r"path +was +is +reason\n"
        r"happy/face_00.png +happy +sad +<b>frown\n"
        r"sad/face_01.png +sad +\(left out\) +two faces\n"
        r"records: ",
        text,
    )
    page = (images.parent / "records" / "report.html").read_text()
    section = page[page.index('<section id="corrected-labels">') :].partition("</section>")[0]
    cells = re.findall("<td>(.*?)</td>", section.replace("<wbr>", ""))
    split = rows["happy/face_00.png"]["split"]
    assert list(map(html.unescape, cells)) == [
        *("happy/face_00.png", "happy", "sad", split, "<b>frown"),
        *("sad/face_01.png", "sad", "(left out)", "left out", "two faces"),
    ]
    assert "By clean.labels: 1 changed, 1 confirmed, 1 picture left out. No file was changed or moved." in section
    assert "sad/face_01.png" not in list_recorded(images.parent / "records")
    counts = manifest.load(images.parent / "records")
    assert sum(info.class_counts["sad"] for info in counts.splits.values()) == 12
    assert files_of(images) == before


def test_a_corrected_label_settles_a_conflict_and_may_make_one(images, caplog):
    build(images, "sad/again.png,happy,\nhappy/face_05.png,sad,\n")
    rows = read_rows(images)
    assert describe(rows["happy/face_03.png"])[1:3] == ("kept", "")
    assert describe(rows["sad/again.png"]) == ("happy", "rejected", "duplicate", "sad", "")
    assert describe(rows["happy/face_05.png"]) == ("sad", "rejected", "label_conflict", "happy", "")
    assert (
        "in no record, since a copy has another class: 1 of 2 pictures whose label was changed, such as "
        "happy/face_05.png, which equals happy/twin.png. Name the copies in "
    ) in caplog.text
    build(images, "sad/again.png,,\nhappy/face_05.png,sad,\nhappy/twin.png,sad,\n")
    rows = read_rows(images)
    assert [rows[path]["reason"] for path in ("happy/face_03.png", "happy/face_05.png", "happy/twin.png")] == [
        "",
        "",
        "duplicate",
    ]


def test_conflicts_that_stop_a_build_are_settled_too(images):
    fail = {"label_conflicts": "fail"}
    with pytest.raises(DataError, match=r"happy/face_03.png and sad/again.png in .* under two classes"):
        build(images, "", clean=fail)
    build(images, "sad/again.png,happy,\n", clean=fail)


def test_a_table_that_changes_makes_other_records_and_reuses_shards(images):
    build(images, "happy/face_00.png,sad,\n")
    shards = {path.name: path.stat().st_ino for path in (images.parent / "records").glob("train-*.tfrecord")}
    assert "is up to date" in build(images, "happy/face_00.png,sad,\n", overwrite=False)
    with pytest.raises(DataError, match="built from other pictures, or other tables of labels or groups"):
        build(images, "happy/face_00.png,sad,a reason\n", overwrite=False)
    build(images, "happy/face_00.png,sad,a reason\n")
    again = {path.name: path.stat().st_ino for path in (images.parent / "records").glob("train-*.tfrecord")}
    assert again == shards, "a reason alone changes no shard"
    assert read_rows(images)["happy/face_00.png"]["label_reason"] == "a reason"
    with pytest.raises(DataError, match=r"other settings .*clean\.labels was .*fixed\.csv, now null"):
        builder.build(make_config(images, clean={"near_copies": "ignore"}))
    builder.build(make_config(images, clean={"near_copies": "ignore"}), overwrite=True)
    rows = read_rows(images)
    assert describe(rows["happy/face_00.png"]) == ("happy", "kept", "", "", "")


def test_records_of_before_the_setting_stay_up_to_date(images):
    config = make_config(images, clean={"near_copies": "ignore"})
    builder.build(config)
    records = images.parent / "records"
    said = json.loads((records / "manifest.json").read_text())
    sections = config.sections("clean", "split", "records")
    del said["config"]["clean"]["labels"], sections["clean"]["labels"]
    with (records / "cleaning.csv").open(newline="") as file:
        rows = [[cell for name, cell in row.items() if not name.startswith("label_")] for row in csv.DictReader(file)]
    old = [name for name in findings.COLUMNS if not name.startswith("label_")]
    (records / "cleaning.csv").write_text("".join(",".join(row) + "\n" for row in [old, *rows]))
    said["findings_sha256"] = ""
    (records / "manifest.json").write_text(json.dumps(said))
    assert "is up to date" in builder.build(config)
    assert {row.label_was for row in findings.read(records / "cleaning.csv")} == {""}


def test_no_picture_that_is_named_is_moved_away(images):
    build(images, "sad/again.png,happy,\nsad/face_01.png,,\n")
    records = images.parent / "records"
    found = existing_records.read_findings(records, manifest.load(records))
    assert {item.path for item in found if not item.is_kept} == {"happy/twin.png", "sad/again.png", "sad/face_01.png"}
    assert quarantine.move_rejects(found, images, images.parent / "rejects") == 1
    assert not (images / "happy/twin.png").exists()
    assert (images / "sad/again.png").exists() and (images / "sad/face_01.png").exists()
    assert "labels by" in build(images, "sad/again.png,happy,\nsad/face_01.png,,\n")


@pytest.mark.slow
def test_the_command_takes_the_table_and_counts_in_json(images, tmp_path):
    (tmp_path / "fixed.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\nhappy/face_00.png,sad\r\nsad/face_01.png,\r\n")
    flags = ("--images", images, "--clean.labels", "fixed.csv", "--records.image_size", 32, "--json")
    done = run_command("build_records", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "labels by ./fixed.csv: 1 changed, 0 confirmed, 1 picture left out\n" in done.stderr
    assert json.loads(done.stdout)["labels"] == {"changed": 1, "confirmed": 0, "left_out": 1}
    (tmp_path / "fixed.csv").write_text("path,label\nhappy/none.png,sad\n")
    done = run_command("build_records", *flags, cwd=tmp_path)
    assert done.returncode == 3 and "./fixed.csv, line 2: 'happy/none.png' is no picture in" in done.stderr


def test_many_corrections_are_cut_on_the_screen_and_folded_on_the_page(tmp_path):
    images = write_faces(tmp_path / "faces", num_each=70)
    rows = "".join(f"happy/face_{number:02d}.png,sad,\n" for number in range(60))
    text = build(images, rows)
    assert "happy/face_19.png" in text and "happy/face_20.png" not in text and "and 40 more: see cleaning.csv" in text
    assert "<summary>10 more labels</summary>" in (tmp_path / "records" / "report.html").read_text()


def test_formulas_in_reasons_are_not_run_by_a_spreadsheet(images):
    build(images, "happy/face_00.png,sad,'=cmd()\nhappy/face_01.png,sad,=cmd()\n")
    text = (images.parent / "records" / "cleaning.csv").read_text()
    assert text.count(",'=cmd(),") == 2
    found = findings.read(images.parent / "records" / "cleaning.csv")
    assert [item.label_reason for item in found if item.label_was] == ["=cmd()", "=cmd()"]
