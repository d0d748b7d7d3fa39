"""Records from tables that users bring: the group and label of each picture, and what is said of the rest."""

import csv
import html
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.config.schema import Config
from harness.dataset.build import builder


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
