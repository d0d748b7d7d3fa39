"""python -m harness.evaluate and predict on records, folders and bad files."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, command_environment, command_line, draw_face, run_command, write_picture

KEYS = [
    "num_examples",
    "class_names",
    "loss",
    "accuracy",
    "accuracy_ci95",
    "auc",
    "confusion",
    "per_class",
    "ece",
    "skipped",
    "num_groups",
    "majority_accuracy",
    "balanced_accuracy",
    "average_precision",
    "brier",
    "calibration",
    "baseline",
    "verdict",
]


def test_evaluating_the_validation_split_gives_the_runs_own_figures(smoke_run):
    done = run_command("evaluate", smoke_run, "--json")
    assert done.returncode == 0, done.stderr
    found, trained = json.loads(done.stdout), json.loads((smoke_run / "metrics.json").read_text())
    assert set(KEYS) <= set(found)
    for name in ("confusion", "num_groups", "accuracy_ci95", "baseline"):
        assert found[name] == trained[name]
    assert found["baseline"]["num_trained"] == 20 and found["baseline"]["num_measured"] == 4
    assert found["calibration"]["choices"]["refused"].endswith("and there are 4")
    assert found["loss"] == pytest.approx(trained["loss"], rel=1e-4)


def test_evaluating_a_folder_counts_what_it_skips(smoke_run, tmp_path):
    for index in range(5):
        write_picture(tmp_path / "happy" / f"{index}.png", draw_face(index, happy=True))
        write_picture(tmp_path / "sad" / f"{index}.png", draw_face(index, happy=False))
    (tmp_path / "sad" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run_command("evaluate", smoke_run, "--images", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["num_examples"], found["skipped"], found["num_groups"]) == (10, 1, None)
    assert found["split"] == f"{tmp_path}/"
    assert found["baseline"]["num_measured"] == 10
    assert [sum(row) for row in found["confusion"]] == [5, 5]
    assert "broken.png skipped: " in done.stderr


def test_a_flat_folder_is_evaluated_by_its_table(smoke_run, tmp_path):
    rows = ["file;feeling"]
    for index in range(10):
        write_picture(tmp_path / "flat" / f"{index}.png", draw_face(index, happy=index % 2 == 0))
        rows.append(f"{index};{('happy', 'sad')[index % 2]}")
    (tmp_path / "flat" / "labels.csv").write_text("\n".join([*rows[:-1], "gone;sad"]))
    done = run_command("evaluate", smoke_run, "--images", tmp_path / "flat", "--data.labels", "labels.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert [sum(row) for row in json.loads(done.stdout)["confusion"]] == [5, 4]
    assert "labels: column 'feeling' of labels.csv, pictures by 'file'" in done.stderr
    assert "files that are not in labels.csv: 1, such as '9.png'" in done.stderr
    done = run_command("evaluate", smoke_run, "--images", tmp_path / "flat")
    assert done.returncode == 3 and "or name a table of their labels: --data.labels labels.csv" in done.stderr
    (tmp_path / "flat" / "labels.csv").write_text("file,feeling,split\n0.png,happy,train\n1.png,sad,test\n")
    done = run_command("evaluate", smoke_run, "--images", tmp_path / "flat", "--data.labels", "labels.csv")
    assert done.returncode == 3 and "labels.csv names several splits (test, train)" in done.stderr
    done = run_command("evaluate", smoke_run, "--data.labels", "labels.csv")
    assert done.returncode == 2 and "with --images DIR" in done.stderr


def test_evaluation_reads_well(smoke_run):
    done = run_command("evaluate", smoke_run, "--split", "train")
    assert done.returncode == 0
    *parts, place = [part.splitlines() for part in done.stdout.rstrip().split("\n\n")]
    assert len(parts) == 5 and max(len(line) for part in parts for line in part) <= 100
    assert len(place) == 1 and re.fullmatch(rf"measured: {smoke_run} on the train split of .+", place[0])
    verdict, figures, classes, confusion, calibration = parts
    assert verdict[0].startswith("train accuracy ") and "20 pictures" in verdict[0]
    assert [line.split("  ")[0] for line in figures][:3] == ["figure", "accuracy", "balanced accuracy"]
    assert classes[0].split()[:4] == ["class", "pictures", "precision", "recall"]
    assert {line.split()[0] for line in classes[1:]} == {"happy", "sad"}
    assert confusion[1].split() == ["class", "happy", "sad"]
    assert calibration[0].startswith("calibration error ")
    assert "The model has learnt these pictures: " in done.stdout


@pytest.mark.slow
def test_copies_of_pictures_that_were_learnt_are_counted_wherever_they_lie(smoke_run, faces, tmp_path):
    copies = [tmp_path / "mixed" / path.parent.name / f"copy of {path.name}" for path in sorted(faces.glob("*/*.png"))]
    for path, copy in zip(sorted(faces.glob("*/*.png")), copies):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    done = run_command("evaluate", smoke_run, "--images", tmp_path / "mixed", "--json")
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["level"] == "not shown"
    told = "The model has learnt 20 of these 24 pictures: only the other 4 can tell how good it is."
    assert verdict["sentences"][1] == told
    assert "learnt by the model, and among these pictures: " in done.stderr
    with (smoke_run / "predictions.csv").open() as file:  # of the validation pictures, which were not learnt
        others = {Path(row["path"]).parts[-2:] for row in csv.DictReader(file)}
    for copy in copies:
        if (copy.parent.name, copy.name.removeprefix("copy of ")) not in others:
            copy.unlink()
    done = run_command("evaluate", smoke_run, "--images", tmp_path / "mixed", "--json")
    assert "learnt" not in " ".join(json.loads(done.stdout)["verdict"]["sentences"])


@pytest.mark.slow
def test_without_what_the_build_found_the_folder_of_the_run_may_have_been_learnt(smoke_run, faces, tmp_path):
    records = yaml.safe_load((smoke_run / "config.yaml").read_text())["data"]["records"]
    shutil.copytree(ROOT / records, tmp_path / "records", ignore=shutil.ignore_patterns("cleaning.csv"))
    config = (smoke_run / "config.yaml").read_text().replace(records, str(tmp_path / "records"))
    shutil.copytree(smoke_run, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(config)
    done = run_command("evaluate", tmp_path / "run", "--images", faces, "--json")
    assert "may have learnt these:" in json.loads(done.stdout)["verdict"]["sentences"][1]


@pytest.mark.slow
def test_records_that_split_the_same_folder_anew_may_hold_what_was_learnt(smoke_run, faces, tmp_path):
    again = tmp_path / "again"
    words = ("--config", "configs/smoke.yaml", "--images", faces, "--records", again, "--split.seed", "5")
    assert run_command("build_records", *words).returncode == 0
    done = run_command("evaluate", smoke_run, "--records", again, "--json")
    found = json.loads(done.stdout)["verdict"]
    assert found["level"] == "not shown" and "may have learnt these:" in found["sentences"][1]
    assert "The epoch was chosen on these same pictures" not in " ".join(found["sentences"])


@pytest.mark.slow
def test_a_copy_of_the_records_is_as_good_as_they_are(smoke_run, face_records, tmp_path):
    shutil.copytree(face_records, tmp_path / "copy")
    done = run_command("evaluate", smoke_run, "--records", tmp_path / "copy", "--json")
    assert done.stdout == run_command("evaluate", smoke_run, "--json").stdout


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (("--split", "test"), 3, "no pictures in a split 'test'; it has train, validation"),
        (("--images", "MISSING"), 3, "there is no images folder MISSING"),
        (("--records", "MISSING"), 3, "there are no records in MISSING"),
    ],
)
def test_what_is_not_there_is_named(smoke_run, flags, code, expected, tmp_path):
    missing = str(tmp_path / "missing")
    done = run_command("evaluate", smoke_run, *(missing if word == "MISSING" else word for word in flags))
    assert done.returncode == code and expected.replace("MISSING", missing) in done.stderr


def test_folders_of_other_classes_are_refused(smoke_run, tmp_path):
    write_picture(tmp_path / "angry" / "a.png", draw_face(1, happy=True))
    done = run_command("evaluate", smoke_run, "--images", tmp_path)
    assert done.returncode == 3 and "happy | sad; found angry" in done.stderr


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hundred")
    for index in range(99):
        write_picture(folder / f"face {index:02d}.png", draw_face(index, happy=index % 2 == 0))
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 50)
    return folder


def test_a_run_says_how_many_training_pictures_it_got_right_and_evaluate_judges_by_it(smoke_run):
    found = json.loads((smoke_run / "metrics.json").read_text())
    rows = list(csv.DictReader((smoke_run / "metrics.csv").open()))
    assert found["train_accuracy"] == float(rows[-1]["accuracy"])
    done = run_command("evaluate", smoke_run, "--json")
    assert json.loads(done.stdout)["verdict"]["next_steps"] == found["verdict"]["next_steps"]


def test_one_bad_file_among_a_hundred_stops_nothing(smoke_run, hundred):
    done = run_command("predict", smoke_run, hundred, "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [line for line in lines if "error" in line]
    assert len(lines) == 100 and [set(line) for line in errors] == [{"path", "error"}]
    assert errors[0]["path"] == str(hundred / "cut.jpg")
    for line in lines:
        if "error" not in line:
            assert list(line) == ["path", "label", "probability", "probabilities"]
            assert line["probability"] == max(line["probabilities"].values()) == line["probabilities"][line["label"]]
            assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_many_files_of_one_fault_are_told_by_a_few_and_their_number(smoke_run, hundred, tmp_path):
    for number in range(7):
        write_picture(tmp_path / f"{number}.png", np.full((9, 9, 3), number, np.uint8))
    (tmp_path / "text.png").write_text("not a picture")
    done = run_command("predict", smoke_run, tmp_path, hundred / "face 00.png")
    assert done.returncode == 0 and done.stdout.endswith("face 00.png\n")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[2] for line in lines if "too small" in line and line.startswith("error")] == [
        "too small"
    ] * 5
    assert sum("text.png: not an image" in line for line in lines) == 1
    assert lines[-1] == "could not be read: 8 of 9 files: 7 too small, 1 not an image"
    done = run_command("predict", smoke_run, tmp_path, hundred / "face 00.png", "--json")
    assert sum("too small" in json.loads(line).get("error", "") for line in done.stdout.splitlines()) == 7


def test_csv_has_a_header_and_a_row_for_every_file(smoke_run, hundred):
    done = run_command("predict", smoke_run, hundred / "face 00.png", hundred / "cut.jpg", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["path", "label", "probability", "p_happy", "p_sad", "error"]
    assert rows[0]["label"] in ("happy", "sad") and rows[0]["error"] == ""
    assert rows[1]["label"] == "" and rows[1]["error"].startswith(("cut off", "corrupt"))


def test_csv_holds_any_name_and_no_formula(smoke_run, tmp_path):
    folder = tmp_path / "=1+1"
    write_picture(folder / "x.png", draw_face(1, happy=True)).rename(folder / "Icon\r")
    (folder / 'a,"b"\n').write_text("not a picture")
    done = run_command("predict", smoke_run.resolve(), "=1+1", "--csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    # to the test's eyes every line end within a name is a line feed
    assert [row["path"] for row in rows] == ["'=1+1/Icon\n", '\'=1+1/a,"b"\n']
    assert rows[0]["error"] == "" and rows[1]["error"].startswith("not an image")


def test_a_list_on_the_standard_input_is_answered_in_its_order(smoke_run, hundred, tmp_path):
    odd = shutil.copy(hundred / "face 05.png", os.fsdecode(bytes(tmp_path) + b"/line\nend \xff.png"))
    names = [hundred / "face 03.png", tmp_path / "missing.png", hundred, odd, hundred / "face 01.png"]
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    done = run_command("predict", smoke_run, "-", "-0", "--json", stdin=listed)
    assert done.returncode == 3, done.stderr  # one is not there
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    inner = sorted(str(path) for path in hundred.iterdir())
    assert [line["path"] for line in lines] == [*map(str, names[:2]), *inner, odd, str(names[4])]
    assert lines[-2] == {**lines[2 + inner.index(str(hundred / "face 05.png"))], "path": odd}
    assert "could not be read: 2 of 104 files" in done.stderr
    lines = f"\ufeff{names[0]}\r\n\r\n{names[1]}\r\n".encode()
    done = run_command("predict", smoke_run, names[4], "-", stdin=lines)
    assert [line.split("  ")[-1] for line in done.stdout.splitlines()] == [str(names[4]), str(names[0])]
    assert "missing.png: unreadable: No such file" in done.stderr


def test_a_list_of_nothing_and_an_empty_folder_are_told(smoke_run, tmp_path):
    done = run_command("predict", smoke_run, "-", tmp_path, stdin=b"\n\n")
    assert done.returncode == 3 and done.stdout == ""
    assert f"{tmp_path} holds no file" in done.stderr and "there is no file. Put pictures there." in done.stderr


@pytest.mark.slow
def test_a_reader_that_has_gone_ends_it_quietly(smoke_run, hundred):
    words = command_line("predict", smoke_run, *[hundred / "face 00.png"] * 20_000)
    with subprocess.Popen(
        words, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().split()[0] in ("happy", "sad")
        process.stdout.close()
        assert (process.wait(120), process.stderr.read()) == (128 + signal.SIGPIPE, "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_lines(smoke_run, hundred, number):
    words = command_line("predict", smoke_run, *[hundred / "face 00.png"] * 20_000)
    with subprocess.Popen(
        words, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(number)
        others, told = process.stdout.read(), process.stderr.read()
        process.wait(120)
    assert (process.returncode, told) == (
        128 + number,
        f"stopped by {number.name}; each line that was printed is complete.\n",
    )
    assert others == first * others.count("\n") and others.count("\n") < 20_000


def test_text_goes_to_stdout_and_errors_to_stderr(smoke_run, hundred, tmp_path):
    done = run_command("predict", smoke_run, hundred / "face 01.png", tmp_path / "missing.png")
    assert len(done.stdout.splitlines()) == 1 and done.stdout.split()[0] in ("happy", "sad")
    assert "missing.png: unreadable: No such file or directory" in done.stderr


def test_a_named_file_that_is_not_there_gives_the_code_of_refused_data_after_the_others(smoke_run, hundred, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    names = ("missing.png", hundred / "face 01.png", "no*.png", tmp_path / "text.png")
    done = run_command("predict", smoke_run, *names, "--csv")
    assert done.returncode == 3
    assert [row["path"] for row in csv.DictReader(io.StringIO(done.stdout))] == list(map(str, names))
    assert done.stderr.endswith(
        "error: 2 files that were named are not there: missing.png, no*.png. The others are answered; correct the "
        "names.\n"
    )
    assert run_command("predict", smoke_run, *names[1::2]).returncode == 0  # what is there may be no picture


def test_a_name_that_is_no_text_is_shown_escaped(smoke_run, tmp_path):
    picture = write_picture(tmp_path / "face.png", draw_face(1, happy=True))
    picture.rename(os.fsdecode(bytes(tmp_path) + b"/\xff face.png"))
    done = run_command("predict", smoke_run, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\\udcff face.png\n")


def test_nothing_readable_is_an_error(smoke_run, tmp_path):
    done = run_command("predict", smoke_run, tmp_path / "missing.png")
    assert done.returncode == 3 and "not one picture could be read" in done.stderr


@pytest.fixture
def icons(tmp_path):
    for index in range(4):
        write_picture(tmp_path / "icons" / "happy" / f"{index}.png", draw_face(index, happy=True)[::3, ::3])
    return tmp_path / "icons"


TOO_SMALL = "22x22 pixels; expected sides of at least 32"
ADVICE = "Lower --clean.min_side only if pictures as small are meant: they show little."


def test_a_picture_outside_the_limits_is_refused_with_the_flag_that_takes_it(smoke_run, icons):
    done = run_command("predict", smoke_run, icons, "--json")
    assert done.returncode == 3
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert errors == [f"too small: {TOO_SMALL}. {ADVICE}"] * 4
    expected = f"not one picture could be read: 4 too small, such as {icons}/happy/0.png ({TOO_SMALL}). {ADVICE}"
    assert expected in done.stderr
    done = run_command("predict", smoke_run, icons, "--json", "--clean.min_side", 16)
    assert done.returncode == 0, done.stderr
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [
        {"path", "label", "probability", "probabilities"}
    ] * 4


def test_evaluating_pictures_outside_the_limits_tells_the_flag_that_takes_them(smoke_run, icons):
    done = run_command("evaluate", smoke_run, "--images", icons)
    assert done.returncode == 3
    assert f"{icons}/happy/0.png skipped: too small: {TOO_SMALL}. {ADVICE}" in done.stderr
    assert (
        f"{icons} has no usable picture: 4 too small, such as {icons}/happy/0.png ({TOO_SMALL}). {ADVICE}"
        in done.stderr
    )
    done = run_command("evaluate", smoke_run, "--images", icons, "--clean.min_side", 16, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["num_examples"] == 4, done.stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--clean.min_side", 16), "--clean.min_side is about picture files: give it with --images DIR"),
        (("--images", "x", "--clean.min_side", "few"), "clean.min_side is 'few'"),
    ],
)
def test_a_limit_that_says_nothing_is_refused(smoke_run, flags, expected):
    done = run_command("evaluate", smoke_run, *flags)
    assert done.returncode == 2 and expected in done.stderr, done.stderr


def test_a_damaged_export_is_refused(smoke_run, tmp_path, hundred):
    run = shutil.copytree(smoke_run, tmp_path / "run")
    (run / "export" / "model.keras").write_bytes(b"PK broken")
    done = run_command("predict", run, hundred / "face 00.png")
    assert done.returncode == 5 and "cannot be read" in done.stderr


def test_a_sheet_and_explanations_are_new_files_beside_the_same_answers(smoke_run, hundred, tmp_path):
    sheet, why = tmp_path / "sheet.png", tmp_path / "why"
    plain = run_command("predict", smoke_run, hundred, "--json")
    done = run_command("predict", smoke_run, hundred, "--json", "--sheet", sheet, "--explain", why)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    drawn = [line.pop("explanation") for line in lines if "error" not in line]
    assert lines == [json.loads(line) for line in plain.stdout.splitlines()]
    assert sorted(drawn) == sorted(map(str, why.iterdir())) and len(drawn) == 99
    assert f"contact sheet: {sheet}, with 99 pictures" in done.stderr
    for target in (("--sheet", sheet), ("--explain", why)):
        done = run_command("predict", smoke_run, hundred, *target)
        assert done.returncode == 2 and done.stdout == "" and f"{target[0]} {target[1]} " in done.stderr
    for target in (("--sheet", "/proc/sheet.png"), ("--explain", "/proc/why")):
        done = run_command("predict", smoke_run, hundred, *target)
        assert (done.returncode, done.stdout) == (7, "") and "takes no files" in done.stderr
