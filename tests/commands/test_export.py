"""`export` adds formats to a finished run, and its SavedModel answers files where nobody knows harness."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT, draw_face, run_command, write_faces
from PIL import Image

# TensorFlow alone serves the model: neither harness nor Keras can be imported. The program begins as the docs show it.
(SHOWN,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)
SERVER = f"""
import json, pathlib, sys
sys.modules["harness"] = sys.modules["keras"] = None
{SHOWN}
answer = answer_files(image_bytes=tf.constant([pathlib.Path(name).read_bytes() for name in sys.argv[1:]]))
print(json.dumps([[label.decode() for label in answer["label"].numpy()], answer["probabilities"].numpy().tolist()]))
"""


@pytest.fixture(scope="module")
def exported(smoke_run, tmp_path_factory):
    """A finished run, what `export --json` prints of it, and what metrics.json said before."""
    run = shutil.copytree(smoke_run, tmp_path_factory.mktemp("runs") / "run")
    done = run_command("export", run, "--formats", "tflite,tflite", "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout), json.loads((smoke_run / "metrics.json").read_text())


def test_a_training_says_what_became_of_its_exports(smoke_run):
    exports = json.loads((smoke_run / "metrics.json").read_text())["exports"]
    assert exports == json.loads((smoke_run / "export" / "export.json").read_text())
    assert [item["file"] for item in exports["files"]] == ["model.keras", "emotion_cnn_model.h5", "saved_model"]
    assert exports["left_out"] == []
    for item in exports["files"]:
        assert item["difference"] <= 1e-4 and item["flips"] == 0 and item["num_pictures"] == 4
    assert (smoke_run / "export" / "labels.txt").read_text() == "happy\nsad\n"


def test_a_format_is_added_to_those_that_are_there(exported):
    run, printed, metrics = exported
    assert [item["format"] for item in printed["files"]] == ["keras", "tflite"] and printed["left_out"] == []
    known = json.loads((run / "export" / "export.json").read_text())["files"]
    assert [item["format"] for item in known] == ["keras", "h5", "saved_model", "tflite"]
    assert (run / "export" / "model.tflite").stat().st_size == known[-1]["num_bytes"]
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert not [path for path in run.rglob("*") if "tmp" in path.name]


def test_the_card_says_what_the_model_is(exported):
    run, _, metrics = exported
    _, front, body = (run / "export" / "MODEL_CARD.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert (matter["license"], matter["pipeline_tag"]) == ("unknown", "image-classification")
    (model,) = matter["model-index"]
    (result,) = model["results"]
    assert model["name"] == "run" and result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "imagefolder", "name": "faces", "split": "validation"}
    found = {item["type"]: item["value"] for item in result["metrics"]}
    assert found["accuracy"] == round(metrics["accuracy"], 6) and found["loss"] == round(metrics["loss"], 6)
    low, high = metrics["accuracy_ci95"]
    for words in (
        "happy, sad",
        f"| accuracy | {metrics['accuracy']:.3f} | {low:.3f} to {high:.3f} |",
        "| happy | 10 | 2 |",
        metrics["verdict"]["sentences"][1],
        "fewer than 20 validation pictures, which say little: happy (2), sad (2).",
        "no temperature is applied",
        "No file there says their licences.",
        "| `model.tflite` |",
        "| `saved_model` |",
    ):
        assert words in body, words


def test_a_saved_model_answers_files_where_there_is_no_harness(smoke_run, tmp_path):
    large = Image.fromarray(draw_face(7, happy=False, size=300))
    exif = Image.Exif()
    exif[0x0112] = 6
    large.save(tmp_path / "turned.jpg", exif=exif, quality=90)
    large.convert("RGBA").rotate(30).save(tmp_path / "alpha.png")  # its corners are transparent
    faces = [path for path in write_faces(tmp_path / "faces", 2).rglob("*.png") if path.is_file()]
    files = list(map(str, [tmp_path / "turned.jpg", tmp_path / "alpha.png", *sorted(faces)]))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = SERVER.replace("runs/emotion_cnn", str(smoke_run))
    done = subprocess.run(
        [sys.executable, "-c", program, *files],
        cwd=ROOT,
        env=environment | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown, line = done.stdout.splitlines()
    assert shown.startswith(("[b'happy'] [[", "[b'sad'] [["))
    labels, chances = json.loads(line)
    expected = [json.loads(line) for line in run_command("predict", smoke_run, *files, "--json").stdout.splitlines()]
    assert [item["path"] for item in expected] == files
    assert labels == [item["label"] for item in expected]
    assert np.abs(chances - np.array([list(item["probabilities"].values()) for item in expected])).max() <= 1e-3


def make_run(smoke_run, folder, **changed):
    """A copy of the run with files of it changed; None: removed."""
    run = shutil.copytree(smoke_run, folder / "run", ignore=shutil.ignore_patterns("checkpoints", "saved_model"))
    for name, content in changed.items():
        path = run / name.replace("__", ".")
        path.unlink()
        if content is not None:
            path.write_text(content)
    return run


def test_a_run_that_is_not_complete_is_refused(smoke_run, tmp_path):
    done = run_command("export", make_run(smoke_run, tmp_path, metrics__json=None))
    assert done.returncode == 5 and "is not complete (metrics.json is missing). Train it" in done.stderr


def test_figures_that_cannot_be_read_are_refused(smoke_run, tmp_path):
    done = run_command("export", make_run(smoke_run, tmp_path, metrics__json="{}"), "--formats", "h5")
    assert done.returncode == 5 and "metrics.json cannot be read: " in done.stderr, done.stderr


def test_what_is_no_run_is_refused(tmp_path):
    done = run_command("export", tmp_path / "none")
    assert done.returncode == 5 and "is no run folder" in done.stderr


def test_other_records_than_the_run_was_trained_on_are_refused(smoke_run, face_records, tmp_path):
    text = (smoke_run / "environment.json").read_text()
    found = json.loads(text)["records_sha256"]
    run = make_run(smoke_run, tmp_path, environment__json=text.replace(found, "0" * 64))
    done = run_command("export", run)
    assert done.returncode == 3 and "holds other pictures than" in done.stderr and "--records DIR" in done.stderr
    done = run_command("export", run, "--records", tmp_path / "none")
    assert done.returncode == 3 and "there are no records" in done.stderr


def test_an_unknown_format_is_refused(smoke_run):
    done = run_command("export", smoke_run, "--formats", "tflight")
    assert done.returncode == 2 and "'tflight' should be one or more of h5, saved_model" in done.stderr


def test_a_format_that_is_left_out_ends_with_its_reason(smoke_run, tmp_path):
    text = (smoke_run / "config.yaml").read_text()
    run = make_run(smoke_run, tmp_path, config__yaml=text.replace("name: emotion_cnn", "name: ConvNeXtTiny"))
    done = run_command("export", run, "--formats", "h5")
    assert done.returncode == 5, done.stderr
    assert done.stderr == "error: h5 was left out: HDF5 cannot hold ConvNeXtTiny\n"
    header, row = done.stdout.splitlines()
    assert header.split("  ")[0] == "format" and row.startswith("keras   model.keras") and " 0 of 4 " in row
    assert not (run / "export" / "emotion_cnn_model.h5").exists()
