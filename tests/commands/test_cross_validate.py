"""python -m harness.cross_validate as a user runs it: its figures, kills in the middle, comparisons, refusals."""

import csv
import json
import os
import shutil
import signal
import subprocess

import pytest
from conftest import SMOKE, command_environment, command_line, read_history, run_command, wait_until

SHORT = ("--config", SMOKE, "--folds", 3, "--train.epochs", 2, "--runtime.deterministic", "true")


def cross_validate(*words, **given):
    return run_command("cross_validate", *words, **given)


def read_answers(folder) -> list[dict[str, str]]:
    with (folder / "out_of_fold.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def validated(face_records, tmp_path_factory):
    """Three folds with a learning curve, left alone."""
    folder = tmp_path_factory.mktemp("validated") / "cv"
    done = cross_validate(*SHORT, "--records", face_records, "--run", folder, "--json", timeout_s=400)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.slow
def test_every_picture_is_answered_once_and_the_figures_follow_from_the_answers(validated):
    folder, found = validated
    rows = read_answers(folder)
    assert len({row["path"] for row in rows}) == len(rows) == found["num_examples"] == 24
    right = [max(("happy", "sad"), key=lambda name: float(row[f"p:{name}"])) == row["label"] for row in rows]
    assert found["accuracy"] == pytest.approx(sum(right) / 24)
    assert [part["num_examples"] for part in found["per_fold"]] == [8, 8, 8]
    assert sum(part["accuracy"] * 8 for part in found["per_fold"]) == pytest.approx(sum(right))
    assert found["folds"] == 3 and found["baseline"]["num_measured"] == 24
    assert {"accuracy_ci95", "balanced_accuracy", "auc", "loss", "ece", "per_class"} <= found.keys()
    assert json.loads((folder / "figures.json").read_text())["accuracy"] == found["accuracy"]


@pytest.mark.slow
def test_each_model_is_that_of_its_last_epoch_and_keeps_no_checkpoints(validated):
    folder, _ = validated
    for fold in (1, 2, 3):
        run = folder / "trainings" / f"smoke-repeat-1-fold-{fold}"
        found = json.loads((run / "metrics.json").read_text())
        assert found["best_epoch"] == found["epochs"] == len(read_history(run)) == 2
        assert not (run / "checkpoints").exists() and (run / "report.html").is_file()


@pytest.mark.slow
def test_the_page_and_the_files_are_there_and_name_each_other(validated):
    folder, found = validated
    page = (folder / "report.html").read_text()
    for words in ("Cross-validation: cv", "Where it fails", "Suspected labels", "Would more pictures help", "3 folds"):
        assert words in page
    assert (folder / "suspects.html").is_file() and (folder / "suspects.csv").is_file()
    assert list((folder / "cross-validation").glob("events.out.tfevents.*"))
    assert len((folder / "suspects.csv").read_text().splitlines()) == found["num_suspects"] + 1
    is_advised = any("suspected label" in step for step in found["verdict"]["next_steps"])
    assert is_advised == (found["num_suspects"] > 0 and found["verdict"]["level"] != "bad")


@pytest.mark.slow
def test_one_killed_in_the_middle_of_a_fold_ends_with_the_same_figures(validated, face_records, tmp_path):
    """The process and the training it looks after are killed together, in the third fold; the same command goes on."""
    folder, expected = validated
    killed = tmp_path / "cv"
    words = (*SHORT, "--records", face_records, "--run", killed, "--json", "--train.checkpoint_minutes", "0")
    process = subprocess.Popen(
        command_line("cross_validate", *words),
        env=command_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    third = killed / "trainings" / "smoke-repeat-1-fold-3"
    wait_until((third / "metrics.csv").is_file, limit_s=200)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (third / "metrics.json").exists()
    done = cross_validate(*words, timeout_s=400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in ("accuracy", "loss", "auc", "ece", "confusion", "num_suspects"):
        assert found[name] == expected[name], name
    assert (killed / "out_of_fold.csv").read_bytes() == (folder / "out_of_fold.csv").read_bytes()


@pytest.mark.slow
def test_settings_against_themselves_are_not_shown_to_differ(validated, face_records):
    """The folds are trained already: only those of the other settings are."""
    folder, found = validated
    other = folder.parent / "other.yaml"
    other.write_text(f"{SMOKE.read_text()}\n".replace("epochs: 3", "epochs: 2"))
    flags = ("--records", face_records, "--run", folder, "--against", other)
    done = cross_validate(*SHORT, *flags, "--json", timeout_s=400)
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout)
    assert both["difference"]["accuracy"]["word"] == both["difference"]["loss"]["word"] == "not shown to differ"
    assert both["difference"]["accuracy"]["difference"]["mean"] == 0
    assert (
        both["settings"] == ["smoke", "other"] and both["accuracy"] == both["against"]["accuracy"] == found["accuracy"]
    )
    assert (folder / "out_of_fold-other.csv").read_bytes() == (folder / "out_of_fold.csv").read_bytes()
    left = folder / ".out_of_fold-other.csv.4711.tmp"
    left.write_bytes(b"of one that was killed")
    again = cross_validate(*SHORT, *flags)
    assert not left.exists()
    assert "smoke against other on the same folds: in accuracy not shown to differ" in " ".join(again.stdout.split())


@pytest.mark.slow
def test_a_learning_curve_and_a_second_division_come_to_what_is_there(validated, face_records):
    folder, found = validated
    flags = ("--records", face_records, "--run", folder, "--learning-curve")
    done = cross_validate(*SHORT, *flags, "--json", timeout_s=600)
    assert done.returncode == 0, done.stderr
    curve = json.loads(done.stdout)["learning_curve"]
    assert [point["share"] for point in curve] == [0.25, 0.5, 1.0] and curve[2]["accuracy"] == found["accuracy"]
    assert curve[0]["num_trained"] < curve[1]["num_trained"] < curve[2]["num_trained"] == 16
    assert "accuracy by pictures trained on" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_training_that_failed_is_told_and_tried_again(face_records, tmp_path):
    folder = tmp_path / "cv"
    flags = (*SHORT, "--records", face_records, "--run", folder)
    done = cross_validate(*flags, "--tune.minutes_per_trial", 0.001)
    assert done.returncode == 3
    assert "3 of 3 trainings failed, so that not every picture has an answer" in done.stderr
    assert "The same command tries those that failed again." in done.stderr
    assert cross_validate(*flags, timeout_s=400).returncode == 0


@pytest.mark.slow
def test_a_changed_byte_in_the_copies_of_the_records_says_what_to_remove(validated, face_records, tmp_path):
    """A training knows of its own records alone, and would have them built."""
    folder, found = validated
    copied = tmp_path / "cv"
    shutil.copytree(folder, copied)
    flags = (*SHORT, "--records", face_records, "--run", copied, "--json")
    shutil.rmtree(copied / "trainings" / "smoke-repeat-1-fold-3")
    for path in copied.glob("records/repeat-1/fold-2/train-*"):
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
    done = cross_validate(*flags)
    assert done.returncode == 3, done.stderr
    assert f" {copied}/records holds copies: do not build them, but remove it. The same command tries" in done.stderr
    shutil.rmtree(copied / "records")
    assert json.loads(cross_validate(*flags).stdout)["accuracy"] == found["accuracy"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--folds", "1"), 2, "argument --folds: it is '1', expected a whole number from 2 to 50"),
        (
            ("--folds", "25"),
            3,
            "24 pictures in 20 groups cannot be divided into 25 folds: a group is never divided. Give at most",
        ),
        (("--optim.schedule", "plateau"), 2, "optim.schedule is plateau in smoke: the learning rate would follow"),
        (("--against", "missing.yaml"), 2, "cannot read the config file missing.yaml"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(words, code, sentence, face_records, tmp_path):
    done = cross_validate("--config", SMOKE, "--records", face_records, "--run", tmp_path / "cv", *words)
    assert done.returncode == code and sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_may_have_seen_the_pictures_are_refused(smoke_run, face_records, tmp_path):
    flags = ("--records", face_records, "--run", tmp_path / "cv", "--train.start_from", smoke_run)
    done = cross_validate("--config", SMOKE, *flags)
    assert done.returncode == 2 and "may have seen the pictures that are measured. Leave it out." in done.stderr


def test_a_folder_of_something_else_is_left_alone(smoke_run, face_records, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(smoke_run, run)
    done = cross_validate("--config", SMOKE, "--records", face_records, "--run", run)
    assert done.returncode == 5 and "holds something else than a cross-validation" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--folds", 4), "--folds was 3, now 4"),
        (("--optim.learning_rate", 0.5), "optim.learning_rate was 0.001, now 0.5"),
    ],
)
def test_a_folder_of_another_question_is_refused(words, sentence, validated, face_records):
    folder, _ = validated
    done = cross_validate(*SHORT, "--records", face_records, "--run", folder, *words)
    assert done.returncode == 5 and sentence in done.stderr and "--run runs/NEW" in done.stderr


def test_a_refused_question_leaves_the_folder_free_for_another(face_records, tmp_path):
    flags = ("--config", SMOKE, "--records", face_records, "--run", tmp_path / "cv")
    assert cross_validate(*flags, "--folds", 25).returncode == 3
    done = cross_validate(*flags, "--folds", 24)
    assert done.returncode == 3 and "Give at most --folds 20" in done.stderr


def test_the_current_folder_may_be_that_of_the_results(face_records, tmp_path):
    flags = ("--config", SMOKE, "--records", face_records, "--run", ".", "--folds", 25)
    done = cross_validate(*flags, cwd=tmp_path)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr


def test_settings_to_compare_with_that_name_other_records_are_told_so(face_records, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("data:\n  records: tfrecords/other\n")
    flags = ("--config", SMOKE, "--records", face_records, "--run", tmp_path / "cv", "--against", other)
    done = cross_validate(*flags, "--folds", 25)
    said = f"{other} names the records tfrecords/other; both settings are measured on {face_records}"
    assert done.returncode == 3 and said in done.stderr


@pytest.mark.parametrize(("name", "content"), [("cross_validation.json", "{"), ("config.yaml", ": [")])
def test_a_folder_that_does_not_say_what_it_is_about_names_the_damaged_file(name, content, face_records, tmp_path):
    folder = tmp_path / "cv"
    flags = ("--config", SMOKE, "--records", face_records, "--run", folder)
    assert cross_validate(*flags, "--folds", 25).returncode == 3
    (folder / "trainings" / "smoke-repeat-1-fold-1").mkdir(parents=True)
    (folder / name).write_text(content)
    done = cross_validate(*flags)
    assert done.returncode == 5 and f"does not say any more what it is about: {folder / name}" in done.stderr
    assert ". Give another folder: --run runs/NEW" in done.stderr and "Traceback" not in done.stderr
