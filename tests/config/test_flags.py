"""Flags made from the schema."""

import re

import pytest

from harness.base.errors import ConfigError
from harness.config import flags, settings
from harness.config.hints import spelling


@pytest.mark.parametrize("flag", ["--profile", "--runtime.profile"])
def test_steps_to_profile_are_a_flag(flag):
    arguments = flags.make_parser("train", "", sections=("runtime",)).parse_args([flag, "10:20"])
    config, _ = flags.read_config(arguments)
    assert config.runtime.profile == "10:20"
    assert "profile: '10:20'" in settings.as_yaml(config)  # other programs read YAML too


def test_slots_are_a_number_or_auto_and_the_space_is_no_flag():
    parser = flags.make_parser("tune", "", sections=("tune",))
    config, _ = flags.read_config(parser.parse_args(["--tune.slots", "4", "--retrain", "0"]))
    assert (config.tune.slots, config.tune.retrain) == (4, 0)
    assert flags.read_config(parser.parse_args(["--tune.slots", "auto"]))[0].tune.slots == "auto"
    with pytest.raises(ConfigError, match=r"tune.slots is 0: it should be auto, or a whole number from 1 to 1024"):
        flags.read_config(parser.parse_args(["--tune.slots", "0"]))
    shown = parser.format_page(shows_all=True)
    assert "--tune.slots auto|INT" in shown and "--tune.start" not in shown and "--tune.space" not in shown


@pytest.mark.parametrize("word", ["-x", "-1", "-", "-x=1", "-x y"])
def test_a_name_that_begins_with_a_dash_is_the_value_of_its_flag(word):
    parser = flags.make_parser("tune", "", sections=("train", "tune"))
    parser.add_argument("paths", nargs="*")
    config, _ = flags.read_config(parser.parse_args(["--tune.folder", word, "--quiet", "--run", word]))
    assert (str(config.tune.folder), str(config.train.run)) == (word, word)
    assert parser.parse_args(["--", "--run", word]).paths == ["--run", word]
    for words in (["--run", "--quiet"], ["--run", "-h"], ["--run"], ["--quiet", "-x"]):
        with pytest.raises(SystemExit) as left:
            parser.parse_args(words)
        assert left.value.code == 2


def test_what_only_a_file_can_say_is_no_flag(capsys):
    parser = flags.make_parser("tune", "", sections=("tune",))
    with pytest.raises(SystemExit) as left:
        parser.parse_args(["--tune.space", "{}"])
    expected = "error: tune.space is no flag: state it in the config file, as configs/tune.yaml does.\n"
    assert (left.value.code, capsys.readouterr().err) == (2, expected)


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ("lr learning_rate learning-rate optim.lr train.lr", "optim.learning_rate"),
        ("bs batch batch_size batchsize", "batch-size"),
        ("aug augmentation", "augment.enabled"),
        ("wd weight-decay decay", "optim.weight_decay"),
        ("num-epochs epoch", "epochs"),
        ("train.epoch train.num_epochs", "train.epochs"),
        ("optimizer opt", "optim.name"),
        ("model arch network", "model.name"),
        ("dropout", "model.dropout"),
        ("data dataset", "images"),
        ("output_dir workdir", "run"),
        ("device", "gpus"),
        ("fp16 amp", "train.precision"),
        ("early-stopping", "train.patience"),
    ],
)
def test_the_words_of_other_programs_find_their_settings(words, setting, capsys):
    parser = flags.make_parser("train", "", sections=("data", "augment", "model", "optim", "train", "runtime"))
    for word in words.split():
        with pytest.raises(SystemExit):
            parser.parse_args([f"--{word}", "1"])
        assert f"there is no flag '{word}'. Did you mean '{setting}'?" in capsys.readouterr().err


def test_each_word_is_one_of_an_existing_setting():
    assert [name for name in spelling._WORDS if name not in settings.setting_names()] == []
    words = [word for listed in spelling._WORDS.values() for word in listed.split()]
    assert sorted(set(words)) == sorted(words)


@pytest.mark.parametrize(
    ("word", "setting", "command"),
    [
        ("image-size", "records.image_size", "build_records"),
        ("img_size", "records.image_size", "build_records"),
        ("records.image_size", "", "build_records"),
        ("split-from", "split.previous", "build_records"),
        ("data.classes", "", "build_records"),
        ("num_workers", "runtime.workers", "build_records"),
        ("n_trials", "tune.trials", "tune"),
        ("retrain", "tune.retrain", "tune"),
    ],
)
def test_a_setting_of_another_command_is_told_with_that_command_whatever_it_is_called(word, setting, command, capsys):
    parser = flags.make_parser("train", "", sections=("data", "model", "runtime"))
    with pytest.raises(SystemExit):
        parser.parse_args([f"--{word}", "1"])
    said = f" ({setting})" if setting else ""
    expected = f"error: --{word}{said} is a setting of python -m harness.{command}: python -m harness.train does not"
    assert capsys.readouterr().err.startswith(expected)


def test_a_word_that_belongs_to_no_flag_is_told_with_what_a_list_looks_like(capsys):
    parser = flags.make_parser("train", "", sections=("train", "runtime"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--gpus", "0", "1"])
    expected = "error: '1' belongs to no flag. A flag takes one word: --gpus 0,1 or --model.widths '[16, 32]'."
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize("words", [["a b"], ["x", "a b", "c"], ["--images", "x", "y z"]])
def test_words_that_belong_to_no_flag_may_hold_blanks_themselves(capsys, words):
    with pytest.raises(SystemExit):
        flags.make_parser("train", "", sections=("data", "train")).parse_args(words)
    assert capsys.readouterr().err.startswith("error: '")


@pytest.mark.parametrize(
    "words",
    [["--images", "my", "red", "roses"], ["--images=x", "--run", "my", "red", "roses"], ["--run=my", "red", "roses"]],
)
def test_a_path_with_blanks_that_was_not_quoted_is_told_in_quotes(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    parser = flags.make_parser("train", "", sections=("data", "train"))
    told = []
    for _ in range(2):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        told.append(capsys.readouterr().err)
        (tmp_path / "my red roses").mkdir(exist_ok=True)
    assert told[0].startswith("error: 'red' belongs to no flag. A flag takes one word: ")
    assert told[1].startswith("error: 'red' belongs to no flag. A path with blanks goes in quotes: 'my red roses'")


def test_a_file_after_a_flag_that_prints_is_told_how_it_gets_there(capsys):
    parser = flags.make_parser("predict", "", sections=())
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--csv", action="store_true")
    with pytest.raises(SystemExit):
        parser.parse_args(["a.jpg", "--csv", "out&about.csv"])
    assert capsys.readouterr().err.startswith(
        "error: 'out&about.csv' belongs to no flag. --csv prints to the standard output. To have that in a file: "
        "--csv > 'out&about.csv'\n"
    )


def test_help_shows_ten_settings_and_names_the_others_and_help_all_explains_them(capsys):
    parser = flags.make_parser("train", "Trains.", sections=("data", "model", "runtime"), seed="train.seed")
    shown = parser.format_help()
    assert re.findall(r"^  --(\S+)", shown.split("give first:")[1], re.MULTILINE) == FIRST
    assert "  data.     stage, cache\n" in shown and "workers" not in shown
    with pytest.raises(SystemExit) as left:
        parser.parse_args(["--help-all"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert "--data.images PATH, --images PATH" in shown and "--model.dropout FLOAT" in shown


FIRST = ["images", "records", "gpus", "model.name"]


def test_a_build_takes_only_the_settings_of_machines_that_it_uses():
    page = flags.make_parser("build_records", "", sections=("data", "runtime")).format_page(shows_all=True)
    names = re.findall(r"--((?:data|runtime)\.\w+)", page)
    expected = ["data.images", "data.labels", "data.records", "data.classes", "data.follow_links", "runtime.workers"]
    assert names == expected
