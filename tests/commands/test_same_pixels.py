"""A model meets the same pixels in use as in its records, however these were prepared."""

import json

import cv2
import numpy as np
import pytest
from conftest import SMOKE, run_command, write_picture

pytestmark = pytest.mark.slow


def write_wide(folder) -> None:
    """Grey pictures of 16 bits, 40 by 80, whose values lie from 3000 to 3999, in two classes."""
    for index in range(24):
        values = np.random.default_rng(index).integers(3000, 3700, (5, 10), np.uint16)
        values += np.uint16(299 * (index % 2))
        values[0, 0], values[-1, -1] = 3000, 3999
        path = folder / ("low", "high")[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), cv2.resize(values, (80, 40), interpolation=cv2.INTER_NEAREST))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on padded records of pictures of 16 bits."""
    folder = tmp_path_factory.mktemp("wide")
    write_wide(folder / "images")
    prepared = ("--records.encoding", "png", "--records.fit", "pad", "--records.pad_color", "[0, 0, 90]")
    flags = ("--config", SMOKE, "--records", folder / "records")
    done = run_command("build_records", *flags, "--images", folder / "images", "--split.validation", 0.5, *prepared)
    assert done.returncode == 0, done.stderr
    done = run_command("train", *flags, "--run", folder / "run", "--train.epochs", 1)
    assert done.returncode == 0, done.stderr
    return folder


def evaluate(run, *arguments) -> tuple[dict, str]:
    done = run_command("evaluate", run / "run", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_run_says_how_its_pictures_are_prepared_and_evaluate_does_the_same(run, tmp_path):
    signature = json.loads((run / "run" / "export" / "signature.json").read_text())
    assert (signature["fit"], signature["pad_color"], signature["range"]) == ("pad", [0, 0, 90], [3000, 3999])
    of_files, errors = evaluate(run, "--images", run / "images")
    of_splits = [evaluate(run, "--split", name)[0] for name in ("train", "validation")]
    losses = [found["loss"] * found["num_examples"] for found in of_splits]
    assert of_files["num_examples"] == sum(found["num_examples"] for found in of_splits) == 24
    assert of_files["loss"] * 24 == pytest.approx(sum(losses), rel=1e-5) and "range" not in errors


def test_values_outside_the_range_of_the_records_are_told(run, tmp_path):
    values = np.linspace(2000, 5000, 3200, dtype=np.uint16).reshape(40, 80)
    assert cv2.imwrite(str(tmp_path / "wider.png"), values)
    done = run_command("predict", run / "run", tmp_path / "wider.png")
    assert done.returncode == 0
    assert (
        "1 of 1 pictures of more than 8 bits have values outside the range of the records, [3000, 3999]" in done.stderr
    )


def test_records_that_were_prepared_otherwise_are_refused(run, tmp_path):
    flags = ("--config", SMOKE, "--records", tmp_path / "r", "--images", run / "images", "--split.validation", 0.5)
    assert run_command("build_records", *flags).returncode == 0
    done = run_command("evaluate", run / "run", "--records", tmp_path / "r")
    assert done.returncode == 3
    assert "of 32 pixels, of values [3000, 3999], the model knows" in done.stderr
    assert "of 32 pixels, padded with (0, 0, 90), of values [3000, 3999]. Give fitting records" in done.stderr


def test_records_of_another_range_are_refused_with_the_setting_and_those_of_8_bits_fit(run, tmp_path):
    images = tmp_path / "images"
    write_wide(images)
    assert cv2.imwrite(str(images / "low" / "00.png"), np.linspace(0, 9999, 3200, dtype=np.uint16).reshape(40, 80))
    flags = ("--config", SMOKE, "--split.validation", 0.5, "--records.fit", "pad", "--records.pad_color", "[0, 0, 90]")
    flags = (*flags, "--records.encoding", "png", "--images", images, "--records")
    assert run_command("build_records", *flags, tmp_path / "r").returncode == 0
    done = run_command("evaluate", run / "run", "--records", tmp_path / "r")
    assert done.returncode == 3 and "build the records with --clean.range '[3000, 3999]'" in done.stderr
    assert run_command("build_records", *flags, tmp_path / "same", "--clean.range", "[3000, 3999]").returncode == 0
    evaluate(run, "--records", tmp_path / "same")
    for path in images.rglob("*.png"):
        assert cv2.imwrite(str(path), cv2.imread(str(path)))
    assert run_command("build_records", *flags, tmp_path / "plain").returncode == 0
    evaluate(run, "--records", tmp_path / "plain")


def test_what_is_said_of_all_pictures_is_said_once(run, tmp_path):
    write_wide(tmp_path / "images")
    for path in (tmp_path / "images").rglob("0*.png"):
        assert cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) + np.uint16(5000))
    errors = evaluate(run, "--images", tmp_path / "images")[1]
    assert errors.count("have values outside the range") == 1 and "10 of 24 pictures of more than 8 bits" in errors


def test_a_model_of_8_bits_says_that_it_takes_the_full_range(smoke_run, tmp_path):
    assert cv2.imwrite(str(tmp_path / "wide.png"), np.full((64, 64), 4000, np.uint16))
    write_picture(tmp_path / "plain.png", np.full((64, 64, 3), 9, np.uint8))
    done = run_command("predict", smoke_run, tmp_path)
    assert done.returncode == 0
    assert "1 pictures have more than 8 bits, for which the records have no range" in done.stderr
