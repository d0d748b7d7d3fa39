"""Parts before a fixed camera: pictures that differ in a small defect stay, whatever nearly equals what."""

import logging

import cv2
import numpy as np
import pytest
from conftest import SMOKE, read_findings, run_command, write_picture

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder
from harness.dataset.records import manifest

pytestmark = pytest.mark.usefixtures("warm_workers")
SIDE, NUM_OK, NUM_DEFECT = 128, 24, 16


def draw_background(random: np.random.Generator) -> np.ndarray:
    """What the camera sees at all times: float32 [SIDE, SIDE, 3]."""
    picture = np.full((SIDE, SIDE, 3), 128, np.float32)
    for side in (4, 8, 16, 32):
        noise = random.normal(0, 90 / np.sqrt(side), (side, side, 3)).astype(np.float32)
        picture += cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return picture


def write_parts(folder, *, least: float, most: float, tone: int = 30):
    """Writes parts with the camera's noise, some with a square of `least` to `most` of the side."""
    random = np.random.default_rng(0)
    background = draw_background(random)
    for name, number in (("ok", NUM_OK), ("defect", NUM_DEFECT)):
        for index in range(number):
            part = background + random.normal(0, 4, background.shape)
            if name == "defect":
                size = round(SIDE * random.uniform(least, most))
                top, left = random.integers(0, SIDE - size, 2)
                part[top : top + size, left : left + size] = tone + random.integers(-30, 30)
            write_picture(folder / name / f"{index:02d}.png", np.clip(part, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Defects of 3 to 10 % of the side: the smaller ones nearly equal the parts without any."""
    return write_parts(tmp_path_factory.mktemp("parts") / "parts", least=0.03, most=0.10)


def build(images, records, **clean):
    sections = {"data": {"images": images, "records": records}, "records": {"image_size": 64}, "clean": clean}
    text = builder.build(Config.model_validate(sections))
    return text, read_findings(records), manifest.load(records).splits


def test_both_classes_survive_and_what_nearly_equals_is_on_one_side(parts, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "harness"):
        text, found, splits = build(parts, tmp_path / "records")
    assert all(row["verdict"] == "kept" for row in found.values()) and len(found) == NUM_OK + NUM_DEFECT
    across = {path for path, row in found.items() if "near_conflict" in row["notes"].split()}
    assert {path.split("/")[0] for path in across} == {"ok", "defect"}
    assert len({found[path]["group"] for path in across}) == 1
    for row in found.values():
        if row["near_copy_of"]:
            assert row["split"] == found[row["near_copy_of"]]["split"]
    assert "near copies of different classes: " in text and "kept on one side of the split" in text
    assert splits["validation"].class_counts["ok"] == 0  # all of them are one group
    warnings = [record.getMessage() for record in caplog.records]
    for expected in (
        "show nearly one thing under two classes, such as defect/",
        f"{NUM_OK} of the {NUM_OK} of ok. A group is on one side of the split as a whole",
        f"validation has no picture of ok: its {NUM_OK} pictures are one group, which stays whole",
    ):
        assert any(expected in warning for warning in warnings), warnings
    assert sum("set clean.near_copies: ignore" in warning for warning in warnings) == 1


def test_the_setting_that_the_build_names_gives_validation_both_classes(parts, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "harness"):
        _, found, splits = build(parts, tmp_path / "records", near_copies="ignore")
    assert all(row["verdict"] == "kept" for row in found.values())
    assert dict(splits["validation"].class_counts) == {"defect": 3, "ok": 5}
    assert not any("near" in record.getMessage() for record in caplog.records)


def test_every_pair_of_the_report_shows_both_classes(parts, tmp_path):
    build(parts, tmp_path / "records")
    page = (tmp_path / "records" / "report.html").read_text()
    shown = page[page.index("Nearly the same picture under different classes") : page.index("<h3>Exact copies")]
    groups = shown.split('<div class="group ')[1:]
    assert 5 < len(groups) <= 40
    for group in groups:
        assert group.startswith("differs") and group.count('title="ok/') >= 1 and group.count('title="defect/') >= 1


def test_parts_that_are_all_one_group_are_refused_before_anything_is_written(tmp_path):
    images = write_parts(tmp_path / "parts", least=0.02, most=0.03, tone=120)
    with pytest.raises(DataError) as refused:
        build(images, tmp_path / "records")
    number = NUM_OK + NUM_DEFECT
    assert str(refused.value) == (
        f"no picture is left for validation: of each class of {images} at least one group is for training, and its "
        f"{number} pictures are 1 group (every picture by itself). Set clean.near_copies: ignore if these are "
        "different things that look alike, or add pictures of others. Without validation: --split.validation 0, and "
        "no training takes these records."
    )
    assert not (tmp_path / "records").exists()


@pytest.mark.slow
def test_a_training_says_which_class_its_validation_lacks(parts, tmp_path):
    build(parts, tmp_path / "records")
    flags = ("--records", tmp_path / "records", "--run", tmp_path / "run", "--epochs", 1)
    done = run_command("train", "--config", SMOKE, *flags)
    assert done.returncode == 0, done.stderr
    assert "warning: validation has no picture of ok: " in done.stderr
    assert f"{tmp_path / 'records' / 'report.html'}, says why" in done.stderr
