"""What messages tell people to type can be typed: flags and settings exist, and commands lead further."""

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, run_command, write_picture
from test_order import FILES

from harness.config import settings

FLAG = re.compile(r"(?<![\w(-])--([a-z][\w.-]*\w)(?!\w*:)")  # and no property of a style sheet
SETTING = re.compile(rf"\b(?:{'|'.join({name.split('.')[0] for name in settings.setting_names()})})\.[a-z]\w*\b")
FOREIGN = {  # of srun, sbatch, docker, pip, git, tensorboard, nvidia-smi
    *("cpu-bind", "cpus-per-task", "mem", "constraint", "nodelist", "exclude", "kill-on-bad-exit", "wait", "overlap"),
    *("input", "ntasks-per-node", "ntasks", "gpus-per-task", "shm-size", "force-reinstall", "always", "dirty"),
    *("logdir", "format", "query"),
}
HIDDEN = {"as-node"}
FILE_NAME = re.compile(r"\.(?:csv|html|json|keras|log|onnx|tflite|yaml)$")
SCRIPTS = re.compile(r"labels/script\.py|results/export/model_card\.py")  # JavaScript, and names in Python of others
# The end of a command in a sentence: a sign that no argument of ours holds.
COMMAND = re.compile(r"python -m harness\.(\w+)([^;\n]*)")


def told_texts(path: Path) -> Iterator[str]:
    """The texts of a file but for its docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_flag_that_a_message_names_is_one_of_a_command():
    commands = [name.removeprefix("harness.") for name in FILES if name.count(".") == 1]
    pages = [run_command(command, "--help-all").stdout for command in commands]
    known = {flag for page in pages for flag in re.findall(r"--([\w.-]+)", page)} | FOREIGN | HIDDEN
    named = [(path.name, flag) for path in FILES.values() for text in told_texts(path) for flag in FLAG.findall(text)]
    assert len(named) > 200
    assert [found for found in named if found[1] not in known] == []


def test_every_setting_that_a_message_names_exists():
    named = [
        (path.name, name)
        for path in FILES.values()
        if not SCRIPTS.search(path.as_posix())
        for text in told_texts(path)
        for name in SETTING.findall(text)
        if not FILE_NAME.search(name)
    ]
    assert len(named) > 200
    assert [found for found in named if found[1] not in settings.setting_names()] == []


def follow(said: str, *, folder: str = "data/sample", cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Does what a message says, with a folder of pictures in the place of FOLDER."""
    module, words = COMMAND.search(said).groups()
    given = shlex.split(words.strip().rstrip(".").replace("FOLDER", folder))
    return run_command(module, *given, "--show-config", cwd=cwd)


@pytest.mark.parametrize(("form", "is_photograph"), [("jpg", True), ("png", False)])
def test_who_builds_from_photographs_is_told_what_to_train_with(form, is_photograph, tmp_path):
    random = np.random.default_rng(0)
    for name in ("rose", "tulip"):
        for index in range(8):
            rough = cv2.resize(random.integers(0, 256, (9, 9, 3), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
            write_picture(tmp_path / "flowers" / name / f"{index}.{form}", rough)

    said = run_command("build_records", "--images", "flowers", "--records", "records", cwd=tmp_path).stdout

    shown = re.search(r"These look like photographs.*\n  --config (\S+)$", said, re.DOTALL)
    assert bool(shown) is is_photograph, said
    if shown:
        assert run_command("train", "--config", shown[1], "--show-config").returncode == 0


def test_drawings_are_not_taken_for_photographs(tmp_path):
    pictures = sorted((ROOT / "data" / "sample").rglob("*.png"))[::8]
    for path in pictures:
        drawn = cv2.imread(str(path))
        write_picture(tmp_path / "drawings" / path.parent.name / f"{path.stem}.jpg", drawn)

    said = run_command("build_records", "--images", "drawings", "--records", "records", cwd=tmp_path)

    assert said.returncode == 0 and "photographs" not in said.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ("train", "--records", "TMP/mine"),
            "Build them first: python -m harness.build_records --images FOLDER --records TMP/mine; or, if",
        ),
        (
            ("train", "--images", "TMP/pictures"),
            "Build them first: python -m harness.build_records --images TMP/pictures --records tfrecords/pictures; or",
        ),
        (
            ("bench", "--records", "TMP/smple"),
            "Did you mean TMP/sample? To build new ones: python -m harness.build_records --images FOLDER",
        ),
        (("evaluate", "TMP/mine"), "Train one: python -m harness.train --run TMP/mine"),
        (("predict", "TMP/a run", "a.png"), "Train one: python -m harness.train --run 'TMP/a run'"),
    ],
)
def test_a_command_that_a_message_tells_is_accepted(arguments, hint, tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "manifest.json").touch()
    done = run_command(*(word.replace("TMP", str(tmp_path)) for word in arguments))
    assert done.returncode in (3, 5) and hint.replace("TMP", str(tmp_path)) in done.stderr
    followed = follow(done.stderr)
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.startswith("data.images")


ODD_FOLDER = 'it\'s "My" Photos & more (2024) $HOME'


@pytest.mark.parametrize(
    "layout",
    [
        ("pictures/day 1/a.jpg", "pictures/day 2/b.jpg"),
        ("train/a b/1.jpg", "train/c/2.jpg", "test"),
        ("train/a b/1.jpg", "train/c/2.jpg", "test/a b/3.jpg", "test/it's new/4.jpg"),
        ("train/a/1.jpg", "training/a/2.jpg", "train/b/3.jpg", "training/b/4.jpg"),
        ("test/a/1.jpg", "val/a/2.jpg", "test/b/3.jpg", "val/b/4.jpg"),
        ("train/a #1/1.jpg", "train/b/2.jpg", "test/a #1/3.jpg", "test/b/4.jpg", "more & more/5.jpg"),
    ],
    ids="+".join,
)
def test_folders_that_a_message_names_can_be_typed(layout, tmp_path):
    for name in layout:
        path = tmp_path / ODD_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no picture") if path.suffix else path.mkdir()

    done = run_command("build_records", "--images", ODD_FOLDER, "--records", "records", cwd=tmp_path)

    assert done.returncode == 3, done.stderr
    flags = re.search(r"(--images .*?)(?:\. |, or |\n|$)", done.stderr)[1]
    words = shlex.split(flags)
    assert words[:1] == ["--images"] and (tmp_path / words[1]).is_dir() and len(words) == 2, flags
    for classes in re.findall(r"(--data\.classes '.*?')(?=[.\s]|$)", done.stderr):
        asked = ("build_records", *shlex.split(classes), "--images", ODD_FOLDER, "--show-config")
        assert run_command(*asked, cwd=tmp_path).returncode == 0, classes


@pytest.mark.parametrize(
    ("records", "hint"),
    [
        ("sampel", "Did you mean TMP/sample? To build new ones"),
        ("sample/train-00000-of-00016.tfrecord", "Did you mean TMP/sample? To build new ones"),
        (".", "Did you mean TMP/sample? To build new ones"),
    ],
)
def test_mistyped_records_are_told_with_those_that_are_meant(records, hint, tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "manifest.json").touch()
    done = run_command("train", "--records", tmp_path / records)
    assert done.returncode == 3 and hint.replace("TMP", str(tmp_path)) in done.stderr


def test_a_mistyped_run_is_told_with_the_one_that_is_meant(tmp_path):
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "config.yaml").touch()
    done = run_command("evaluate", tmp_path / "flowres")
    assert done.returncode == 5 and done.stderr.endswith(f"Did you mean {tmp_path / 'flowers'}?\n")


def test_a_folder_of_something_else_is_not_told_to_be_trained_in(tmp_path):
    (tmp_path / "notes.txt").touch()
    done = run_command("evaluate", tmp_path)
    assert done.stderr.endswith("(config.yaml is missing). Give the folder of a run, such as runs/emotion_cnn.\n")


@pytest.mark.slow
def test_an_unfinished_run_ends_by_the_command_that_evaluate_tells(smoke_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(smoke_run, run)
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "export")
    told = run_command("evaluate", run)
    assert told.returncode == 5 and "is not complete" in told.stderr
    module, words = COMMAND.search(told.stderr).groups()
    done = run_command(module, *shlex.split(words))
    assert done.returncode == 0, done.stderr
    assert run_command("evaluate", run).returncode == 0
