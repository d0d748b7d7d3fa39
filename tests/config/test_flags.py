"""Flags made from the schema."""

import pytest

from harness.base.errors import ConfigError
from harness.config import flags, settings


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
    shown = parser.format_help()
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
