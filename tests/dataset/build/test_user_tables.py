"""Records from tables that users bring: the group and label of each picture, and what is said of the rest."""

import csv
import html
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder, existing_records
from harness.dataset.curation import quarantine
from harness.dataset.records import manifest


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(colours, (40, 40), interpolation=cv2.INTER_CUBIC))


def build(images: Path, *, split: dict | None = None, **data) -> tuple[str, list[dict[str, str]], str]:
    """Builds records beside the images; returns the closing text, the rows of cleaning.csv and the report's text."""
    records = images.parent / "records"
    config = Config.model_validate(
        {
            "data": {"images": images, "records": records, **data},
            "records": {"image_size": 32, "min_shards": 1},
            "split": {"validation": 0.3, **(split or {})},
            "runtime": {"workers": 1},
        }
    )
    text = builder.build(config, overwrite=True)
    with (records / "cleaning.csv").open(newline="") as file:
        return text, list(csv.DictReader(file)), html.unescape((records / "report.html").read_text())


def sides_of(rows: list[dict[str, str]], key) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(key(row["path"]), set()).add(row["split"])
    return sides


@pytest.fixture(scope="module")
def patients(tmp_path_factory) -> Path:
    images = tmp_path_factory.mktemp("patients") / "faces"
    for index in range(48):
        write_picture(images / ("happy", "sad")[index % 2] / f"patient_{index // 4:02d}" / f"{index}.png", index)
    return images


def row_of(path: Path, patient: str) -> str:
    return f"data\\faces\\{path.parent.parent.name}\\{path.parent.name}\\{path.stem}; {patient}\r\n"


@pytest.mark.parametrize("rule", ["(patient_[0-9]+)", "folder", "people.csv:Person"])
def test_no_patient_is_on_both_sides_of_the_split(patients, rule):
    rows = [row_of(path, path.parent.name) for path in sorted(patients.rglob("*.png"))]
    (patients / "people.csv").write_bytes(("Image ;person\r\n" + "".join(rows)).encode("utf-16"))
    text, found, _ = build(patients, split={"group_by": rule})
    sides = sides_of(found, lambda path: path.split("/")[1])
    assert len(sides) == 12 and all(len(side) == 1 for side in sides.values())
    assert {row["group"] for row in found} == {f"patient_{number:02d}" for number in range(12)}
    assert "in no group" not in text


def test_pictures_in_no_group_are_told_at_the_end_and_in_the_report(patients, caplog):
    rows = [row_of(path, "x" + path.parent.name) for path in sorted(patients.rglob("*.png"))][:40]
    (patients / "some.csv").write_text("Image;person\n" + "".join(rows))
    text, _, report = build(patients, split={"group_by": "some.csv:person"})
    told = "8 of 48 pictures are in no group"
    assert f"groups: column 'person' of some.csv, whose column 'Image' names the pictures; {told}\n" in text
    assert f"{told}, e.g. 'sad/patient_08/" in report
    assert any(record.levelname == "WARNING" and told in record.message for record in caplog.records)


@pytest.fixture
def flat(tmp_path) -> Path:
    """Sixty pictures in one folder, and a table of their labels, patients and more."""
    images = tmp_path / "moles"
    rows = ["image_id;dx;lesion_id;age"]
    for index in range(60):
        write_picture(images / f"m{index:03d}.png", index)
        rows.append(f"m{index:03d};{('nevus', 'melanoma')[index % 2]};L{index // 4};{index},5")
    (images / "moles.csv").write_text("\n".join(rows))
    return images


def test_a_flat_folder_with_a_table_becomes_records(flat):
    text, rows, _ = build(flat, labels="moles.csv")
    assert {row["path"]: row["class_name"] for row in rows} == {
        f"m{index:03d}.png": ("nevus", "melanoma")[index % 2] for index in range(60)
    }
    assert {row["group"] for row in rows} == {f"L{number}" for number in range(15)}
    assert all(len(side) == 1 for side in sides_of(rows, lambda path: str(int(path[1:4]) // 4)).values())
    assert "groups: column 'lesion_id' of moles.csv" in text


def test_files_and_rows_without_their_other_half_are_in_the_report_and_cleaning_csv(flat):
    table = flat / "moles.csv"
    table.write_text(table.read_text().replace("m000;nevus", "m000;").replace("m001;", "x001;"))
    text, rows, report = build(flat, labels="moles.csv")
    assert {row["path"]: (row["class_name"], row["reason"], row["measured"]) for row in rows if row["reason"]} == {
        "m000.png": ("", "unlabelled", "line 2 of moles.csv has no label"),
        "m001.png": ("", "unlisted", "not in moles.csv"),
        "x001": ("melanoma", "missing", "line 3 of moles.csv"),
    }
    assert text.startswith(
        "class       found  kept  missing  unlisted  unlabelled\n"
        "melanoma       29    29        1         0           0\n"
        "nevus          29    29        0         0           0\n"
        "(no class)      2     0        0         1           1\n"
        "total          60    58        1         1           1\n"
    )
    assert "files that are not in moles.csv: 1, such as 'm001.png'" in report
    assert "rows of moles.csv that name no picture: 1, such as line 3: 'x001'" in report
    records = flat.parent / "records"
    found = existing_records.read_findings(records, manifest.load(records))
    moved = quarantine.move_rejects(found, flat, flat.parent / "rejects")
    assert moved == 0 and (flat / "m000.png").exists() and (flat / "m001.png").exists()


def test_a_changed_table_or_another_column_makes_other_records(flat):
    build(flat, labels="moles.csv")
    config = {"images": flat, "records": flat.parent / "records"}

    def again(labels: str) -> str:
        return builder.build(
            Config.model_validate(
                {
                    "data": {**config, "labels": labels},
                    "records": {"image_size": 32, "min_shards": 1},
                    "split": {"validation": 0.3},
                    "runtime": {"workers": 1},
                }
            )
        )

    assert "is up to date" in again("moles.csv")
    for labels in ("moles.csv:lesion_id", "moles.csv"):
        with pytest.raises(DataError, match="was built from other pictures"):
            again(labels)
        (flat / "moles.csv").write_text((flat / "moles.csv").read_text().replace("m000;nevus", "m000;melanoma"))


def test_two_lists_of_groups_are_not_guessed_between(flat):
    (flat / "groups.csv").write_text("path,group\nm000.png,a\n")
    with pytest.raises(
        DataError, match=r"both .*groups.csv and the column 'lesion_id' of moles.csv name groups. Say wh"
    ):
        build(flat, labels="moles.csv")
    text, *_ = build(flat, labels="moles.csv", split={"group_by": "moles.csv:lesion_id"})
    assert "groups: column 'lesion_id' of moles.csv, whose column 'image_id' names the pictures\n" in text
    text, *_ = build(flat, labels="moles.csv", split={"group_by": "none"})
    assert "groups: every picture by itself" in text


def test_a_class_of_a_table_without_a_usable_picture_is_named(flat):
    for path in sorted(flat.glob("*.png"))[1::2]:
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"the class 'melanoma' of .* has no usable picture: 30 empty.* remove its rows"
    ):
        build(flat, labels="moles.csv")


def test_splits_of_a_table_are_kept_and_a_patient_in_two_of_them_is_a_leak(flat):
    table = flat / "moles.csv"
    lines = table.read_text().splitlines()
    given = ["Usage", *(("Train", "VALID", "testing")[index * 3 // 60] for index in range(60))]
    table.write_text("\n".join(f"{line};{split}" for line, split in zip(lines, given)))
    text, rows, _ = build(flat, labels="moles.csv")
    assert [row["split"] for row in rows] == ["train"] * 20 + ["validation"] * 20 + ["test"] * 20
    assert "splits: train, validation, test as given" in text and "leaks:" not in text
    table.write_text(table.read_text().replace("m003;melanoma;L0", "m003;melanoma;L14"))
    text, rows, report = build(flat, labels="moles.csv")
    assert "Groups: column 'lesion_id' of moles.csv" in report
    assert [row["path"] for row in rows if "leak" in row["notes"].split()] == [
        "m003.png",
        "m056.png",
        "m057.png",
        "m058.png",
        "m059.png",
    ]
    assert "leaks:" in text


def test_classes_of_a_table_are_chosen_and_merged(flat):
    text, rows, _ = build(flat, labels="moles.csv:lesion_id", classes={"few": ["L1", "L12"], "one": ["L3"]})
    assert {row["path"][1:4]: row["class_name"] for row in rows} == {
        **{f"{number:03d}": "few" for number in (4, 5, 6, 7, 48, 49, 50, 51)},
        **{f"{number:03d}": "one" for number in (12, 13, 14, 15)},
    }
    assert "labels: 0 few, 1 one" in text
    with pytest.raises(DataError, match=r"data.classes names 'L77', but moles.csv:lesion_id has L0 | L1"):
        build(flat, labels="moles.csv:lesion_id", classes=["L1", "L77"])


def test_labels_that_hardly_differ_are_refused(flat):
    (flat / "moles.csv").write_text((flat / "moles.csv").read_text().replace("m000;nevus", "m000;Nevus"))
    with pytest.raises(DataError, match=r"the classes 'Nevus' and 'nevus' of moles.csv differ in case"):
        build(flat, labels="moles.csv")


def test_folders_below_classes_of_given_splits_are_groups(tmp_path):
    images = tmp_path / "faces"
    for index in range(48):
        split, name = ("train", "test")[index >= 32], ("happy", "sad")[index % 2]
        write_picture(images / split / name / f"p{index // 4}" / f"{index}.png", index)
    text, rows, _ = build(images, split={"group_by": "folder"})
    assert {row["group"] for row in rows} == {f"p{number}" for number in range(12)}
    assert all(len(side) == 1 for side in sides_of(rows, lambda path: path.split("/")[2]).values())
    assert "groups: the folder below the class\n" in text
