"""An exported model is believed only as far as its files are of their form and belong together."""

import json
import zipfile

import keras
import pytest

from harness.base.errors import CheckpointError
from harness.config.preparation import Preparation
from harness.models.network import LOGITS
from harness.results.export import loader
from harness.runs.workdir import Workdir


def write_model(folder, *, units=2, size=16, channels=3, **signature) -> Workdir:
    workdir = Workdir(folder)
    workdir.export.mkdir(parents=True)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(units, name=LOGITS)]
    keras.Sequential([keras.Input((size, size, channels)), *layers]).save(workdir.keras_model)
    value = {"class_names": ["a", "b"], "image_size": 16, "pixels": "RGB, 0 to 255", **signature}
    workdir.signature.write_text(json.dumps(value))
    return workdir


@pytest.mark.parametrize(("units", "names"), [(1, ["a", "b"]), (2, ["a", "b"]), (3, ["a", "b", "c"])])
def test_a_model_comes_with_its_names_and_size(tmp_path, units, names):
    model, class_names, preparation = loader.load_model(write_model(tmp_path, units=units, class_names=names))
    assert (
        model.output_shape == (None, max(units, 2)) and class_names == tuple(names) and preparation == Preparation(16)
    )


def test_a_model_says_how_pictures_are_prepared_for_it(tmp_path):
    workdir = write_model(tmp_path, fit="pad", pad_color=[1, 2, 3])
    assert loader.load_model(workdir)[2] == Preparation(16, "pad", (1, 2, 3))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            {"class_names": ["a", "b", "c"]},
            r"says 3 classes and pictures of 16x16, but model.keras .* gives \(None, 2\)",
        ),
        ({"units": 1, "class_names": ["a", "b", "c"]}, r"says 3 classes .* gives \(None, 1\)"),
        ({"units": 3}, r"says 2 classes .* gives \(None, 3\)"),
        ({"size": 32}, r"pictures of 16x16, but model.keras takes \(None, 32, 32, 3\)"),
        ({"channels": 1}, r"pictures of 16x16, but model.keras takes \(None, 16, 16, 1\)"),
        ({"class_names": ["a"]}, "cannot be read: class_names is"),
        ({"class_names": "ab"}, "cannot be read: class_names is 'ab'"),
        ({"class_names": [1, 2]}, "cannot be read: class_names.0 is 1"),
        ({"image_size": "16"}, "cannot be read: image_size is '16'"),
        ({"image_size": -1}, "cannot be read: image_size is -1"),
        ({"fit": "fold"}, "cannot be read: fit is 'fold'"),
        ({"pad_color": [0, 0, 256]}, "cannot be read: pad_color.2 is 256"),
    ],
)
def test_names_and_outputs_and_sizes_and_shapes_have_to_agree(tmp_path, made, expected):
    workdir = write_model(tmp_path, **made)
    with pytest.raises(CheckpointError, match=rf"signature\.json .*{expected}.*command that trained"):
        loader.load_model(workdir)


@pytest.mark.parametrize("given", [[9, 1], [5, 5], [0, float("inf")], [float("nan"), 1], ["a", 1], "auto"])
def test_a_range_that_is_none_is_refused(tmp_path, given):
    with pytest.raises(CheckpointError, match=r"signature\.json cannot be read: range"):
        loader.load_model(write_model(tmp_path, range=given))


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"class_names": ["a", "b"]}'])
def test_a_signature_of_another_form_is_refused(tmp_path, content):
    workdir = write_model(tmp_path)
    workdir.signature.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"signature\.json cannot be read"):
        loader.load_model(workdir)


def rewrite(workdir, **changed) -> None:
    """The archive with other entries, zipped as well as can be."""
    with zipfile.ZipFile(workdir.keras_model) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(workdir.keras_model, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**entries, **changed}.items():
            archive.writestr(name, content)


def test_a_model_that_unpacks_to_gigabytes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    workdir = write_model(tmp_path)
    rewrite(workdir, **{"config.json": b"[" + b" " * (1 << 28) + b"]"})
    assert workdir.keras_model.stat().st_size < 1 << 20
    monkeypatch.setattr(keras.models, "load_model", lambda *_args, **_flags: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match=r"model\.keras unpacks to 268,\d\d\d,\d\d\d bytes, expected at most 1"):
        loader.load_model(workdir)


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"null", b"{}", b"[" * 100_000, b'{"class_name": "Lambda", "config": {}}', b"\xff"]
)
def test_a_model_of_another_form_is_refused(tmp_path, config):
    workdir = write_model(tmp_path)
    rewrite(workdir, **{"config.json": config})
    with pytest.raises(CheckpointError, match=r"model\.keras cannot be read: .*command that trained"):
        loader.load_model(workdir)


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\x05\x06" + b"\0" * 18])
def test_a_model_that_is_no_archive_is_refused(tmp_path, content):
    workdir = write_model(tmp_path)
    workdir.keras_model.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.keras cannot be read: "):
        loader.load_model(workdir)


@pytest.mark.parametrize("name", ["model.keras", "signature.json"])
def test_what_is_missing_is_trained_to_the_end_or_written_again(tmp_path, name):
    workdir = write_model(tmp_path)
    (workdir.export / name).unlink()
    command = f"python -m harness.train --config {tmp_path}/config.yaml --run {tmp_path}"
    with pytest.raises(CheckpointError, match=rf"is not complete \(metrics\.json is missing\)\. .*: {command}$"):
        loader.load_stored(workdir)
    workdir.metrics.write_text("{}")
    with pytest.raises(CheckpointError, match=rf"{name} is missing\. Remove metrics\.json of the run, and the command"):
        loader.load_stored(workdir)
