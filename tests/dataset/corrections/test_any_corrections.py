"""Whatever mixture of corrections: the rows they name change, and nothing else but what follows from them."""

import codecs
import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_findings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base import csv_files
from harness.config.schema import Config
from harness.dataset.build import builder

pytestmark = [pytest.mark.usefixtures("warm_workers"), pytest.mark.slow]
CLASSES = ("angry", "happy", "sad")
ANCHORS = {f"{name}/anchor{index}.png": 10 * place + index for place, name in enumerate(CLASSES) for index in range(2)}
# Scenes of the pictures that may be corrected: 50 and 51 are there under several classes, and several times in one.
SCENES = {
    **{"angry/a.png": 50, "angry/b.png": 50, "happy/a.png": 50, "happy/c.png": 51, "sad/c.png": 51, "sad/d.png": 51},
    **{"angry/=e.png": 60, "happy/f, g.png": 61, "sad/ü.png": 62, "sad/deep/h.png": 63, "happy/i.png": 64},
}
CUT = "happy/cut.png"  # which nothing makes usable
OF_THE_FILE = ("format", "width", "height", "num_bytes", "sha256", "pixels_sha256", "fingerprint", "blurry", "notes")
LABELS = st.sampled_from(["", *CLASSES])
REASON = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def draw(scene: int) -> bytes:
    colors = np.random.default_rng(scene).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.imencode(".png", cv2.resize(colors, (40, 40), interpolation=cv2.INTER_CUBIC))[1].tobytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corrections")
    for path, scene in {**ANCHORS, **SCENES}.items():
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / path).write_bytes(draw(scene))
    (folder / "images" / CUT).write_bytes(draw(99)[:300])
    return folder


def build(place: Path, name: str, policy: str, *, labels: str | None = None, table: str | None = None):
    """Builds records; returns the rows of cleaning.csv by path."""
    config = Config.model_validate(
        {
            "data": {"images": place / "images", "records": place / name, "labels": table},
            "records": {"image_size": 32, "min_shards": 2},
            "clean": {"near_copies": "ignore", "label_conflicts": policy, "labels": labels},
            "split": {"validation": 0.3},
        }
    )
    builder.build(config, overwrite=True)
    return read_findings(place / name)


def write_table(path: Path, rows, *, mark: bytes = b"", is_ours: bool = True) -> str:
    """Writes a table as harness does, which escapes formulas, or as csv does, whose rows end with two characters."""
    text = io.StringIO()
    (csv_files.write_rows if is_ours else lambda file, rows: csv.writer(file).writerows(rows))(text, rows)
    path.write_bytes(mark + text.getvalue().encode())
    return str(path)


def shards_of(records: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in records.glob("*.tfrecord")}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from([*SCENES, CUT]), st.tuples(LABELS, REASON), max_size=12),
    st.sampled_from(["drop", "keep"]),
    st.sampled_from([b"", codecs.BOM_UTF8]),
    st.booleans(),
)
def test_corrections_change_what_they_name_and_what_follows(place, corrections, policy, mark, is_ours):
    rows = [(path, *said) for path, said in corrections.items()]
    labels = write_table(place / "fixed.csv", [("path", "label", "reason"), *rows], mark=mark, is_ours=is_ours)
    before, after = build(place, "before", policy), build(place, "after", policy, labels=labels)
    assert before.keys() == after.keys()
    for path, row in after.items():
        if path in corrections:
            check_named(row, before[path], *corrections[path])
        else:
            assert row["class_name"] == before[path]["class_name"] == path.partition("/")[0]
            assert row["label_was"] == row["label_reason"] == ""
            assert [row[name] for name in OF_THE_FILE[:-1]] == [before[path][name] for name in OF_THE_FILE[:-1]]
            if row["reason"] != before[path]["reason"]:
                assert any(before[other]["pixels_sha256"] == row["pixels_sha256"] for other in corrections)

    # The same labels in a table from the beginning make the same records, byte for byte.
    labelled = [(path, row["class_name"]) for path, row in before.items()]
    labelled = [(path, corrections[path][0] if path in corrections else label) for path, label in labelled]
    table = write_table(place / "labels.csv", [("path", "label"), *((path, label) for path, label in labelled)])
    build(place, "labelled", policy, table=table)
    assert shards_of(place / "after") == shards_of(place / "labelled")


def check_named(row, before, label: str, reason: str) -> None:
    assert row["label_was"] == before["class_name"]
    assert row["label_reason"].removeprefix("'") in (reason.strip(), reason.strip().removeprefix("'"))
    if label:
        assert row["class_name"] == label and row["reason"] != "left_out"
        assert [row[name] for name in OF_THE_FILE[:-1]] == [before[name] for name in OF_THE_FILE[:-1]]
    else:
        assert (row["class_name"], row["verdict"], row["reason"]) == (before["class_name"], "rejected", "left_out")
