"""python -m harness.compare asks exported models on a split of the records and on a folder of pictures."""

import json
import shutil

import pytest
from conftest import draw_face, run_command, run_python, write_picture

LOSS_OF_A_COIN = 0.693147


@pytest.fixture(scope="module")
def undecided(smoke_run, tmp_path_factory):
    """The smoke run with weights of 0 at its end: it gives both classes 0.5, and so always the first one, happy."""
    root = tmp_path_factory.mktemp("runs") / "undecided"
    shutil.copytree(smoke_run, root)
    path = root / "export" / "model.keras"
    program = (
        f"import keras\nmodel = keras.models.load_model({str(path)!r}, compile=False)\n"
        f"layer = model.get_layer('logits')\nlayer.set_weights([0 * part for part in layer.get_weights()])\n"
        f"model.save({str(path)!r})"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.slow
def test_a_split_is_measured_anew_and_gives_each_runs_own_figures(smoke_run, undecided, tmp_path):
    page = tmp_path / "page.html"
    done = run_command("compare", smoke_run, undecided, "--split", "validation", "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    found, trained = json.loads(done.stdout), json.loads((smoke_run / "metrics.json").read_text())
    first, second = found["runs"]
    assert (found["measured_on"], found["num_examples"]) == ("validation", 4)
    assert first["loss"] == pytest.approx(trained["loss"], rel=1e-4) and first["accuracy"] == trained["accuracy"]
    assert second["loss"] == pytest.approx(LOSS_OF_A_COIN, abs=1e-5) and second["accuracy"] == 0.5
    assert first["ms_a_picture"] > 0 and first["num_bytes"] == (smoke_run / "export" / "model.keras").stat().st_size
    assert found["settings"] == {} and found["differences"][0]["num_won"] == 0
    assert "Figures" in page.read_text()
    done = run_command("compare", smoke_run, undecided, "--split", "test")
    assert done.returncode == 3 and "has no pictures in a split 'test'" in done.stderr


@pytest.mark.slow
def test_a_folder_is_measured_and_what_cannot_be_read_is_told_once(smoke_run, undecided, tmp_path):
    for index in range(3):
        write_picture(tmp_path / "happy" / f"{index}.png", draw_face(100 + index, happy=True))
        write_picture(tmp_path / "sad" / f"{index}.png", draw_face(100 + index, happy=False))
    (tmp_path / "sad" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run_command("compare", smoke_run, undecided, "--images", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["measured_on"], found["num_examples"], found["num_groups"]) == (f"{tmp_path}/", 6, None)
    assert found["runs"][1]["loss"] == pytest.approx(LOSS_OF_A_COIN, abs=1e-5)
    assert not any("learnt" in note for note in found["notes"])
    assert done.stderr.count("broken.png skipped: ") == 1
    assert any(note.startswith("1 file could not be read") for note in found["notes"])
    assert {picture["path"] for picture in found["disagreements"]} <= {f"sad/{index}.png" for index in range(3)}
    write_picture(tmp_path / "tired" / "0.png", draw_face(0, happy=True))
    done = run_command("compare", smoke_run, undecided, "--images", tmp_path)
    assert done.returncode == 3 and "tired" in done.stderr


def test_a_training_lists_its_run_beside_the_others(smoke_run):
    page = (smoke_run.parent / "index.html").read_text()
    assert '<a href="smoke/report.html">smoke</a>' in page and "happy | sad, 4 validation pictures" in page


@pytest.mark.slow
def test_pictures_that_the_runs_have_learnt_are_told(smoke_run, undecided, faces, tmp_path):
    (tmp_path / "link").symlink_to(faces)
    done = run_command("compare", smoke_run, undecided, "--images", tmp_path / "link")
    assert done.returncode == 0, done.stderr
    assert "undecided learnt 20 of these 24 pictures, which says nothing of others." in " ".join(done.stdout.split())
