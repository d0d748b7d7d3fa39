"""The command below the suspects: it builds the records again as they were, but for the labels that are corrected."""

import csv
import json
import shlex

import pytest
from conftest import read_findings, run_command, write_faces

from harness.config.dataset_sections import DataConfig
from harness.cross_validation.labels import build_command
from harness.dataset.records import manifest

SETTINGS = (
    *("--clean.min_side", 16, "--split.test", 0.2, "--split.group_by", r"([a-z]+/face_\d\d)", "--split.seed", 3),
    *("--records.image_size", 48, "--records.fit", "pad", "--records.pad_color", "[1, 2, 3]"),
    *("--records.encoding", "png", "--records.min_shards", 2),
)


def build(place, *words):
    done = run_command("build_records", *words, cwd=place)
    assert done.returncode == 0, done.stderr


def read_shards(records) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in records.glob("*.tfrecord")}


def write_corrections(place, *rows) -> None:
    with (place / "corrections.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])


def make(place, **given) -> list[str]:
    """The words of the command that are typed in a folder which holds `records`."""
    command = build_command.make(manifest.load(place / "records"), place / "records", DataConfig(**given))
    python, option, module, *words = shlex.split(command)
    assert (python, option, module) == ("python", "-m", "harness.build_records")
    return words


@pytest.fixture
def labelled(tmp_path):
    """Records by a table of labels, two of which are one class, of other settings than the defaults."""
    write_faces(tmp_path / "my faces")
    rows = [(f"{label}/face_{i:02d}.png", "gläd" if i % 2 else label) for label in ("happy", "sad") for i in range(12)]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "mood"), *rows])
    classes = (
        "--data.labels",
        "labels.csv:mood",
        "--data.classes",
        '{"sad": ["sad"], "good, mostly": ["happy", "gläd"]}',
    )
    build(tmp_path, "--images", "my faces", "--records", "records", *classes, *SETTINGS)
    return tmp_path


def test_it_builds_the_same_bytes_where_no_label_is_another(labelled):
    before = read_shards(labelled / "records")
    write_corrections(labelled, ("sad/face_00.png", "sad"))
    build(labelled, *make(labelled))
    assert read_shards(labelled / "records") == before
    assert manifest.load(labelled / "records").class_names == ("sad", "good, mostly")


def test_it_changes_the_labels_that_are_corrected_and_no_other(labelled):
    before = read_findings(labelled / "records")
    write_corrections(labelled, ("sad/face_00.png", "good, mostly"), ("happy/face_01.png", ""))
    build(labelled, *make(labelled))
    after = read_findings(labelled / "records")
    changed = {
        path: row["class_name"] for path, row in after.items() if row["class_name"] != before[path]["class_name"]
    }
    assert changed == {"sad/face_00.png": "good, mostly"}
    assert [path for path in after if after[path]["verdict"] != before[path]["verdict"]] == ["happy/face_01.png"]


def test_of_records_of_the_defaults_it_names_the_folders_alone(tmp_path):
    write_faces(tmp_path / "faces")
    build(tmp_path, "--images", "faces", "--records", "records")
    folders = ["--images", "faces", "--records", str(tmp_path / "records")]
    assert make(tmp_path) == [*folders, "--clean.labels", "corrections.csv", "--overwrite"]


def test_a_table_that_the_records_do_not_name_is_the_one_that_is_given(labelled):
    """As of records of before they named it; what a manifest says that no setting is called is left out."""
    path = labelled / "records" / "manifest.json"
    said = json.loads(path.read_text())
    del said["config"]["data"]["labels"]
    said["config"]["records"]["colours"] = 3
    path.write_text(json.dumps(said))
    words = make(labelled, labels="labels.csv:mood")
    assert words[words.index("--data.labels") + 1] == "labels.csv:mood" and "--records.colours" not in words
    write_corrections(labelled, ("sad/face_00.png", "sad"))
    build(labelled, *words)
