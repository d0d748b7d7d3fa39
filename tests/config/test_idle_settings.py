"""Settings that do nothing where they stand are refused, if somebody set them."""

from pathlib import Path

import pytest
from conftest import ROOT

from harness.base.errors import ConfigError
from harness.config import flags, networks, settings
from harness.config.hints import idle_settings
from harness.config.schema import Config

SECTIONS = ("data", "records", "augment", "model", "optim", "train", "runtime", "tune")


def read(words: str, file: Path | None = None, **fixed: str) -> Config:
    parser = flags.make_parser("train", "", sections=SECTIONS)
    given = ["--config", str(file)] if file else []
    names = {name.replace("__", "."): value for name, value in fixed.items()}
    return flags.read_config(parser.parse_args([*given, *words.split()]), fixed=names)[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "--model.name MobileNet --model.dropout 0.3",
            "flag --model.dropout: model.dropout is 0.3, which does nothing with model.name MobileNet. Leave it out, "
            "or set model.name to emotion_cnn.",
        ),
        (
            "--model.name VGG16 --model.widths [8]",
            "VGG16. Leave it out, or set model.name to emotion_cnn or residual_cnn.",
        ),
        ("--model.name residual_cnn --model.dense_units 8", "with model.name residual_cnn. Leave it out, or set"),
        ("--optim.momentum 0.5", "does nothing with optim.name adam. Leave it out, or set optim.name to sgd."),
        (
            "--optim.schedule constant --optim.plateau_epochs 3",
            "optim.schedule constant. Leave it out, or set optim.schedule to plateau.",
        ),
        ("--optim.schedule cosine --optim.plateau_factor 0.1", "does nothing with optim.schedule cosine."),
        (
            "--train.keep last --train.patience 3",
            "with train.keep last. Leave it out, or set train.keep to best.",
        ),
        ("--train.keep last --train.min_epochs 3", "train.min_epochs is 3, which does nothing with train.keep last."),
        (
            "--augment.erasing_area 0.5",
            "augment.erasing 0.0. Leave it out, or set augment.erasing to more than 0.",
        ),
        ("--augment.enabled false --augment.hue 5", "does nothing with augment.enabled false. Leave it out, or set"),
        (
            "--records.pad_color [1,2,3]",
            "with records.fit stretch. Leave it out, or set records.fit to pad.",
        ),
        ("--records.encoding raw --records.jpeg_quality 80", "does nothing with records.encoding raw."),
        (
            "--tune.max_epochs 5",
            "with tune.algorithm random. Leave it out, or set tune.algorithm to hyperband.",
        ),
        ("--tune.algorithm hyperband --tune.trials 5", "set tune.algorithm to random or grid or bayesian."),
    ],
)
def test_a_flag_that_does_nothing_is_refused_with_what_it_needs(words, expected):
    with pytest.raises(ConfigError) as error:
        read(words)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        "--optim.momentum 0.9",  # the default, said out loud
        "--optim.name sgd --optim.momentum 0.5",
        "--optim.schedule plateau --optim.plateau_epochs 3",
        "--model.name VGG16 --model.dropout 0 --model.dense_dropout 0.2",
        "--model.name residual_cnn --model.widths [8]",
        "--train.keep last --train.patience 0",  # which is what last does
        "--augment.erasing 0.5 --augment.erasing_area 0.5",
        "--augment.enabled false --augment.flip 0",
    ],
)
def test_what_counts_is_the_default_or_says_off_is_taken(words):
    read(words)


def test_a_setting_of_a_file_is_refused_where_the_file_itself_makes_it_idle(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("optim:\n  momentum: 0.5\n")
    with pytest.raises(ConfigError, match=r"my\.yaml:2: optim\.momentum is 0\.5, which does nothing with"):
        read("", path)
    assert read("--optim.name sgd", path).optim.momentum == 0.5
    path.write_text("optim:\n  name: sgd\n  momentum: 0.5\n")
    assert read("--optim.name adam", path).optim.name == "adam"  # a flag may turn off what a file sets
    path.write_text("optim:\n  name: adamw\n  weight_decay: 0.1\n  momentum: 0.5\n")
    with pytest.raises(ConfigError, match=r"momentum is 0\.5, which does nothing with optim\.name adamw"):
        read("", path)


def test_a_file_may_turn_off_all_augmentation_and_keep_it(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("augment:\n  enabled: false\n  rotation: 30.0\n")
    assert not read("", path).augment.enabled
    with pytest.raises(ConfigError, match=r"augment\.hue is 5, which does nothing with augment.enabled false"):
        read("--augment.hue 5", path)


def test_a_file_of_every_setting_sets_nothing_in_particular(tmp_path):
    path = tmp_path / "config.yaml"
    config = settings.make_config({"optim.momentum": settings.Setting(0.5, "a search")})
    path.write_text(settings.as_yaml(config, "data", "augment", "model", "optim", "train", "runtime"))
    assert read("--epochs 2", path).optim.momentum == 0.5
    with pytest.raises(ConfigError, match=r"model\.dropout is 0\.2, which does nothing"):
        read("--model.name VGG16 --model.dropout 0.2", path)


def test_what_a_search_decides_is_open(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("optim:\n  momentum: 0.5\ntune:\n  space:\n    optim.name: {values: [adam, sgd]}\n")
    assert read("", path).optim.momentum == 0.5
    path.write_text("tune:\n  space:\n    optim.momentum: {values: [0.5, 0.8]}\n")
    assert read("", path).optim.momentum == 0.9


def test_what_a_command_fixes_is_no_advice(tmp_path):
    with pytest.raises(ConfigError) as error:
        read("--train.patience 3", train__keep="last")
    expected = (
        "flag --train.patience: train.patience is 3, which does nothing in this command: train.keep is last in it. "
        "Leave it out."
    )
    assert str(error.value) == expected
    path = tmp_path / "my.yaml"
    path.write_text("train: {keep: best, patience: 5}\n")
    assert read("", path, train__keep="last").train.patience == 5


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_setting_of_the_configs_does_something(path):
    flags.refuse_idle(settings.read_file(path), {})


def test_the_table_names_settings_that_exist_and_all_of_augmentation():
    known = settings.setting_names()
    named = [name for _, names in idle_settings._TABLE for name in names]
    assert [name for name in named if name not in known] == []
    assert [need.setting for need, _ in idle_settings._TABLE if need.setting not in known] == []
    of_augment = {name for name in known if name.startswith("augment.")} - {"augment.enabled"}
    assert {name for name in named if name.startswith("augment.")} == of_augment
    assert idle_settings._OWN == networks.OWN_NETWORKS


def test_flags_of_a_command_that_exclude_one_another_are_told():
    parser = flags.make_parser("bench", "", sections=())
    parser.add_argument("--plot")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--show-augmentation")
    words = ["--show-augmentation", "a.png", "--seconds", "5"]
    with pytest.raises(ConfigError, match=r"^--seconds does nothing beside --show-augmentation\. Leave one"):
        flags.refuse_beside(parser, parser.parse_args(words), "--show-augmentation", "--plot", "--seconds")
    flags.refuse_beside(parser, parser.parse_args(words), "--plot", "--seconds")
