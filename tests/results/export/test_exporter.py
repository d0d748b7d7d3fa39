"""Every exported file is run by a fresh process, and counts only if its answers are those of the trained model."""

import dataclasses
import json
import math
import os
import re
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from harness.base.errors import CheckpointError, ConfigError
from harness.config.preparation import Preparation
from harness.config.schema import Config
from harness.config.training_sections import ModelConfig
from harness.models.network import LOGITS, build_model, logits_of
from harness.results.export import check, exported, exporter, loader, requirements
from harness.results.export.exported import ExportedFile, Exports, LeftOut
from harness.results.export.exporter import Probe
from harness.results.export.formats import FORMATS, Source
from harness.runs.workdir import Workdir

SMALL = ModelConfig(widths=(2,), dense_units=4)
SIZE = 16
NAMES = ("happy", "sad\n")
PICTURES = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
ONNX = () if any(find_spec(name) is None for name in ("onnx", "tf2onnx", "onnxruntime")) else ("onnx",)
ALL = ("h5", "saved_model", "tflite", "tflite_float16", "tflite_dynamic", "tflite_int8", *ONNX)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("logit", [-16.0, 14.0, 16.0])
def test_a_model_that_is_sure_is_as_exact_about_either_class(tmp_path, head, logit):
    config = Config(model=SMALL.model_copy(update={"head": head}))
    model = build_model(config.model, num_classes=2, image_size=16, seed=0)
    layer = model.get_layer(LOGITS)
    biases = np.array([logit] if head == "sigmoid" else [0.0, logit], np.float32)
    layer.set_weights([np.zeros_like(layer.get_weights()[0]), biases])
    pictures, workdir = np.zeros((3, 16, 16, 3), np.uint8), Workdir(tmp_path)
    assert export_keras(model, config, workdir, pictures)[1] == 0.0
    reread, class_names, preparation = loader.load_model(workdir)
    assert (class_names, preparation) == (NAMES, Preparation(16))
    found = loader.predict(reread, pictures)
    assert found.dtype == np.float32 and found.shape == (3, 2)
    expected = [1 / (1 + math.exp(logit)), 1 / (1 + math.exp(-logit))]
    for row in found:
        assert row == pytest.approx(expected, rel=1e-5, abs=0)


def export_keras(model, config, workdir, pictures):
    return exporter.export_keras(
        model,
        config,
        workdir,
        class_names=NAMES,
        preparation=Preparation(SIZE),
        precision="float32",
        pictures=pictures,
    )


def export(workdir, formats, *, network="emotion_cnn", calibration=PICTURES) -> Exports:
    """Exports a network without training, whose answers, half of them of either class, are taken for right."""
    config = Config(model=SMALL)
    model = build_model(config.model, num_classes=2, image_size=SIZE, seed=0)
    layer, middle = model.get_layer(LOGITS), logits_of(model).predict_on_batch(PICTURES.astype(np.float32)).mean()
    layer.set_weights([layer.get_weights()[0], np.array([-middle])])
    plain, _ = export_keras(model, config, workdir, PICTURES)
    source = Source(plain, network, NAMES, Preparation(SIZE), 1_000_000, calibration)
    chances = loader.predict(source.answering, PICTURES)
    return exporter.export_formats(source, workdir, formats, Probe(PICTURES, chances.argmax(axis=1)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose name TensorFlow would take for a pattern, and what became of the exports."""
    workdir = Workdir(tmp_path_factory.mktemp("runs") / "run [1] $a_* ?")
    return workdir, export(workdir, ALL)


def test_every_format_gives_the_answers_of_the_trained_model(run):
    workdir, exports = run
    assert exports.left_out == ()
    found = {item.format: item for item in exports.files}
    assert list(found) == ["keras", *ALL]
    assert {name: item.file for name, item in found.items()} == {
        "keras": "model.keras",
        "h5": "emotion_cnn_model.h5",
        "saved_model": "saved_model",
        "tflite": "model.tflite",
        "tflite_float16": "model_float16.tflite",
        "tflite_dynamic": "model_dynamic.tflite",
        "tflite_int8": "model_int8.tflite",
        **({"onnx": "model.onnx"} if ONNX else {}),
    }
    for item in exports.files:
        assert item.difference <= item.tolerance and item.ms_a_picture > 0 and item.num_pictures == len(PICTURES)
        path = workdir.export / item.file
        assert item.num_bytes == sum(p.stat().st_size for p in [path, *path.rglob("*")] if p.is_file()) > 0
    exact = ("keras", "h5", "saved_model", "tflite", *ONNX)
    assert all(found[name].difference < 1e-6 and found[name].flips == 0 for name in exact)
    assert all(found[name].accuracy == 1.0 for name in exact)
    assert found["tflite_int8"].difference > 1e-6  # it does compute in 8 bits


def test_what_became_of_them_is_read_back(run):
    workdir, exports = run
    assert exported.read(workdir) == exports
    assert json.loads(workdir.exports.read_text())["files"][0]["format"] == "keras"
    names = {path.name for path in workdir.export.iterdir()}
    assert names == {item.file for item in exports.files} | {"signature.json", "export.json"}


def test_what_cannot_be_written_or_answers_otherwise_is_not_left_behind(run, tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    shutil.copytree(run[0].export, workdir.export)
    exact = dataclasses.replace(FORMATS["tflite_float16"], tolerance=0.0)
    monkeypatch.setitem(FORMATS, "tflite_float16", exact)
    formats = ["h5", "tflite_float16", "tflite_int8", "tflite"]
    exports = export(workdir, formats, network="ConvNeXtTiny", calibration=0 * PICTURES)
    first, second, third = exports.left_out
    assert first == LeftOut("h5", "HDF5 cannot hold ConvNeXtTiny")
    assert second.format == "tflite_float16" and third.format == "tflite_int8"
    assert re.search(r"differ by \S+ from .* at most 0\.0; it takes \d+ of 40 pictures", second.reason)
    assert re.search(r"accuracy is 0\.\d+ on 40 validation pictures, where .* is 1\.000; .* 0\.01 less", third.reason)
    for name in ("emotion_cnn_model.h5", "model_float16.tflite", "model_int8.tflite"):
        assert not (workdir.export / name).exists()
    assert (workdir.export / "model.tflite").is_file()
    known = exported.read(workdir)
    assert known.left_out == exports.left_out
    assert {item.format for item in known.files} == {"keras", *ALL} - set(formats[:3])


def test_without_formats_no_process_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(check.subprocess, "run", lambda *_words, **_options: pytest.fail("one was"))
    assert export(Workdir(tmp_path), []) == Exports()
    assert not Workdir(tmp_path).exports.exists()


def test_a_file_that_ends_its_process_is_named_and_the_others_are_asked(tmp_path, monkeypatch):
    """A program in the place of the real one, that dies as a library might."""
    program = "import json, os, sys\n"
    program += "for word in sys.argv[1:]:\n"
    program += "    name, _, path = word.partition('=')\n"
    program += "    if path == 'bad': os.kill(os.getpid(), 11)\n"
    program += "    print(json.dumps({'format': name, 'chances': [[0.5, 0.5]], 'ms': 1.0}), flush=True)\n"
    (tmp_path / "dying.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(check, "_PROGRAM", "dying")
    found = check.ask(tmp_path, {"h5": "good", "tflite": "bad", "onnx": "good"}, PICTURES[:1])
    assert found["tflite"] == check.Failure("the process that ran it was ended by SIGSEGV")
    assert [found[name].ms_a_picture for name in ("h5", "onnx")] == [1.0, 1.0]


def test_a_format_whose_packages_are_missing_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tf2onnx" else name)
    requirements.check_installed(["h5", "tflite"])
    with pytest.raises(ConfigError, match=r"onnx needs .* not installed: tf2onnx\. .*pip install -e '\.\[export\]"):
        requirements.check_installed(["h5", "onnx"])


FILE = ExportedFile("h5", "model.h5", 9, 32, 0.0, 1e-4, 0, 1.0, 2.5)


def test_newer_exports_replace_those_of_the_same_format():
    older = Exports((FILE,), (LeftOut("onnx", "its reason"),))
    newer = Exports((), (LeftOut("h5", "another"),))
    assert older.renew(newer) == Exports((), (LeftOut("onnx", "its reason"), LeftOut("h5", "another")))
    assert older.renew(Exports((FILE,))) == older


@pytest.mark.parametrize("text", ["", "[]", '{"files": [{"format": "h5"}]}', '{"files": 3}'])
def test_an_export_json_of_another_form_is_refused(tmp_path, text):
    workdir = Workdir(tmp_path)
    assert exported.read(workdir) == Exports()
    workdir.export.mkdir()
    workdir.exports.write_text(text)
    with pytest.raises(CheckpointError, match=r"export\.json cannot be read: .*python -m harness\.export"):
        exported.read(workdir)
