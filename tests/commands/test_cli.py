"""The commands' manners: help at once, one sentence and a code for an error."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, command_environment, run_command

from harness.config import flags, settings

ALL = sorted(path.stem for path in (ROOT / "harness").glob("*.py") if path.stem != "__init__")
COMMANDS = ("build_records", "train", "tune", "evaluate", "predict")
FILE_ONLY = ("tune.space", "tune.start")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_without_tensorflow(command):
    program = (
        f"import sys, harness.{command}\n"
        "try:\n"
        f"    harness.{command}.main(['--help'])\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules), 'a heavy import'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m harness.{command}" in done.stdout


@pytest.mark.parametrize("command", ALL)
def test_help_fits_into_80_columns_and_says_where_the_rest_is(command):
    short, long = (run_command(command, word).stdout for word in ("--help", "--help-all"))
    assert [line for line in (short + long).splitlines() if len(line) > 80] == []
    assert short.startswith(f"usage: python -m harness.{command} ")
    assert (f"further settings (python -m harness.{command} --help-all explains them):" in short) == (short != long)


def test_a_setting_of_another_command_is_told_with_the_command_that_has_its_flag(capsys):
    pages = {name: run_command(name, "--help-all").stdout for name in ("build_records", "train", "tune")}
    parser = flags.make_parser("export", "", sections=())
    for name in settings.setting_names():
        if name in FILE_ONLY or name == "train.run":
            continue
        with pytest.raises(SystemExit):
            parser.parse_args([f"--{name}", "1"])
        told = re.findall(r"harness\.(\w+)", capsys.readouterr().err.split(": python")[0])
        assert told and [command for command in told if f"--{name} " not in pages[command]] == [], name


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("train", "--train.epoch", "3"), 2, "error: there is no flag 'train.epoch'. Did you mean 'train.epochs'?"),
        (("train", "--runtime.seed", "3"), 2, "error: there is no flag 'runtime.seed'. Did you mean 'train.seed'?"),
        (("evaluate", "runs/x", "--data.images=x"), 2, "error: there is no flag 'data.images'. Did you mean 'images'?"),
        (
            ("train", "--split.test", "0.2"),
            2,
            "error: --split.test is a setting of python -m harness.build_records: python -m harness.train does not "
            "take it.",
        ),
        (
            ("predict", "runs/x", "a.png", "--epochs", "3"),
            2,
            "error: --epochs (train.epochs) is a setting of python -m harness.train: python -m harness.predict does",
        ),
        (
            ("train", "--epochs", "many"),
            2,
            "error: flag --train.epochs: train.epochs is 'many': it should be a valid integer",
        ),
        (("train", "--config", "configs/nothing.yaml"), 2, "error: cannot read the config file configs/nothing.yaml"),
        (
            ("train", "--gpus", "some"),
            2,
            "error: flag --runtime.gpus: runtime.gpus is 'some': it should be all, none, how many",
        ),
        (
            ("build_records", "--split.validation=0.9", "--split.test=0.5"),
            2,
            "error: split.validation is 0.9 and split.test",
        ),
        (("train", "--records", "MISSING"), 3, "error: there are no records in MISSING"),
        (
            ("train", "--images", "data/mine"),
            3,
            "error: there are no records in tfrecords/mine (no manifest.json). Build them first: "
            "python -m harness.build_records --images data/mine --records tfrecords/mine; or, if they lie elsewhere, "
            "give that folder: --records DIR",
        ),
        (("build_records", "--images", "MISSING"), 3, "error: there is no images folder MISSING"),
        (("evaluate", "MISSING"), 5, "error: MISSING is no run folder"),
        (("predict", "MISSING", "x.png"), 5, "error: MISSING is no run folder"),
        (("tune",), 2, "error: tune.space is empty"),
        (
            ("cross_validate", "--train.keep", "best"),
            2,
            "error: flag --train.keep: train.keep is best, but each training of a cross-validation is measured",
        ),
        (
            ("cross_validate", "--train.last_epoch", "3"),
            2,
            "error: flag --train.last_epoch: train.last_epoch is 3",
        ),
        (
            ("bench", "--plot", "a.png", "--show-augmentation", "b.png"),
            2,
            "error: --plot does nothing beside --show-augmentation. Leave one of them out.",
        ),
        (
            ("build_records", "--verify", "MISSING", "--overwrite"),
            2,
            "error: --overwrite does nothing beside --verify. Leave one of them out.",
        ),
        (("build_records", "--verify", "MISSING", "--images", "x"), 2, "error: --data.images does nothing beside --ve"),
        (
            ("build_records", "--task-index", "0", "--num-tasks", "2", "--move-rejects", "MISSING"),
            2,
            "error: --move-rejects does nothing beside --task-index. Leave one of them out.",
        ),
        (
            ("train", "--fork", "runs/new", "--run", "MISSING"),
            2,
            "error: --fork runs/new starts from the weights of the run MISSING, and there is none. Say from which: "
            "--run runs/ORIGIN --fork runs/new",
        ),
        (
            ("train", "--config", "residual_cnn"),
            2,
            "error: cannot read the config file residual_cnn: No such file or directory. Did you mean "
            "configs/residual_cnn.yaml?",
        ),
        (("predict", "runs/x", "a.png", "-0"), 2, "error: -0 is about the list on the standard input: give - among"),
        (
            ("train", "--fork", "runs/a", "--train.start_from", "runs/b"),
            2,
            "error: train.start_from does nothing beside --fork, which starts from the run itself, runs/emotion_cnn.",
        ),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(arguments, code, expected, tmp_path):
    missing = str(tmp_path / "missing")
    done = run_command(*(missing if word == "MISSING" else word for word in arguments))
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(expected.replace("MISSING", missing))
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_of_ours_shows_the_traceback_and_exits_with_1(monkeypatch, capsys):
    from harness.base import app

    def fail(argv):
        raise ZeroDivisionError("ours")

    assert app.run(fail) == 1
    assert "Traceback" in capsys.readouterr().err
