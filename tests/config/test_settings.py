"""Config files and flags: precedence, and errors that name the place."""

from pathlib import Path

import pytest
from conftest import ROOT, run_command
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.config import settings
from harness.config.schema import Config
from harness.config.settings import Setting


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return settings.make_config(settings.read_file(path))


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("train:\n  epochs: 7\n  batch_size: 8\n")
    given = settings.read_file(path) | {"train.epochs": settings.parse_flag("train.epochs", "9")}
    config = settings.make_config(given)
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (9, 8, 0)


def test_exponents_without_a_point_are_numbers(tmp_path):
    assert read(tmp_path, "optim:\n  learning_rate: 1e-3\n").optim.learning_rate == 0.001
    assert settings.parse_flag("optim.learning_rate", "2e-4").value == 0.0002


def read_flag(name: str, text: str) -> Config:
    return settings.make_config({name: settings.parse_flag(name, text)})


ODD_NAMES = ["007", "010", "0x10", "1_000", "1.50", "1e3", "x #y", '"q"', "a: b", "on", "no", "~", "2024-11-25"]
ODD_NAMES += ["2024-13-45", "- a", "[a", "{a}", "&a", "*a", "!a", "!!int a", "%a", "@a", "`a", "a\tb", " a ", "=", "."]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_is_the_one_that_was_named(name):
    assert read_flag("data.images", name).data.images == Path(name)
    assert read_flag("train.run", name).train.run == Path(name)
    assert read_flag("tune.folder", name).tune.folder == Path(name)
    assert read_flag("split.group_by", name).split.group_by == name


PATH_SETTINGS = ("data.images", "data.records", "split.previous", "train.run", "train.start_from", "tune.folder")


@given(st.sampled_from(PATH_SETTINGS), st.text(min_size=1).filter(lambda text: "\0" not in text and "://" not in text))
def test_any_name_is_read_and_saved_as_it_is(name, text):
    assume(text != "null" and not (set(text) & set("\ud800\udfff")))
    config = read_flag(name, text)
    section, field = name.split(".")
    assert getattr(getattr(config, section), field) == Path(text)


def test_null_means_none_where_that_is_a_choice():
    assert read_flag("train.run", "null").train.run is None
    assert read_flag("data.records", "null").data.records is None
    assert read_flag("data.images", "null").data.images == Path("null")
    assert read_flag("train.run", "./null").train.run == Path("null")


@pytest.mark.parametrize("name", PATH_SETTINGS)
def test_an_empty_text_is_no_folder(name):
    with pytest.raises(ConfigError, match=f"{name} is '': it should be a path"):
        read_flag(name, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("007", "007"), ("2024-11-25", "2024-11-25"), ("on", "on"), ("'a #b'", "a #b"), ("1.50", "1.50")],
)
def test_a_file_means_the_folder_that_it_names(tmp_path, text, expected):
    assert read(tmp_path, f"data:\n  images: {text}\n").data.images == Path(expected)


def test_what_is_no_text_keeps_its_kind():
    assert read_flag("runtime.gpus", "2").runtime.gpus == "2"
    assert read_flag("train.epochs", "0x10").train.epochs == 16
    assert read_flag("model.widths", "[1, 2]").model.widths == (1, 2)
    with pytest.raises(ConfigError, match=r"train\.epochs is '2024-13-45': it should be a valid integer"):
        read_flag("train.epochs", "2024-13-45")


@pytest.mark.parametrize("steps", ["10:20", "'10:20'", '"10:20"'])
def test_steps_to_profile_are_read_with_and_without_quotes(tmp_path, steps):
    assert read(tmp_path, f"runtime: {{profile: {steps}}}\n").runtime.profile == "10:20"
    assert read(tmp_path, f"runtime:\n  profile: {steps}\n").runtime.profile == "10:20"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "train:\n  epochs: 5\n  epoch: 6\n",
            "my.yaml:3: there is no setting 'train.epoch'. Did you mean 'train.epochs'?",
        ),
        ("trian:\n  epochs: 5\n", "my.yaml:1: there is no section 'trian'. Did you mean 'train'?"),
        ("train:\n  epochs: five\n", "my.yaml:2: train.epochs is 'five': it should be a valid integer"),
        ("train:\n  epochs: true\n", "my.yaml:2: train.epochs is True: it should be a valid integer"),
        ("train:\n  epochs: 0\n", "my.yaml:2: train.epochs is 0: it should be greater than or equal to 1"),
        ("train:\n  epochs: 1\n  epochs: 2\n", "my.yaml:3: train.epochs is stated twice, first at"),
        (f"train:\n  epochs: {'9' * 400}\n", "it should be less than or equal to 2147483647"),
        (f"train:\n  batch_size: {2**63}\n", "it should be less than or equal to 2147483647"),
        ("augment:\n  flip: 1.5\n", "augment.flip is 1.5: it should be less than or equal to 1"),
        ("optim:\n  learning_rate: .nan\n", "optim.learning_rate is nan: it should be a finite number"),
        ("model:\n  name: resnet\n", "model.name is 'resnet': it should be emotion_cnn, residual_cnn or a net"),
        ("model:\n  name: mobilenet_v3_small\n", "keras.applications; the nearest is MobileNetV3Small."),
        ("model:\n  weights: w.h5\n", "model.weights is 'w.h5': it should be null with model.name emotion_cnn"),
        ("model:\n  name: VGG16\n  weights: w.pkl\n", "it should be a .weights.h5, .h5 or .keras file"),
        ("model:\n  freeze_backbone: true\n", "it should be false without model.weights"),
        ("model:\n  widths: [4, x]\n", "model.widths is [4, 'x'] (at 1): it should be a valid integer"),
        (
            "optim:\n  weight_decay: 0.1\n",
            "my.yaml:2: optim.weight_decay is 0.1: it should be 0 with optim.name adam; adamw and sgd decay weights",
        ),
        *(
            (f"runtime:\n  profile: {text}\n", f"runtime.profile is {value!r}: it should be two steps, the first below")
            for text, value in (("20:10", "20:10"), ("0:0", "0:0"), ("a:b", "a:b"), ("10-20", "10-20"), ("10", "10"))
        ),
        ("train: 5\n", "my.yaml:1: expected settings under 'train:', found a single value"),
        ("train:\n  epochs: [1\n", "this is not valid YAML"),
        ("train:\n  run: !!python/object/apply:os.system [ls]\n", "this is not valid YAML"),
    ],
)
def test_a_wrong_config_is_one_sentence_with_its_place(tmp_path, text, expected):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert expected in str(error.value)


def test_a_missing_config_file_is_named():
    with pytest.raises(ConfigError, match=r"cannot read the config file no\.yaml: No such file"):
        settings.read_file(Path("no.yaml"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("residual_cnn", "configs/residual_cnn.yaml"),
        ("residual_cnn.yaml", "configs/residual_cnn.yaml"),
        ("configs/residual_cnn", "configs/residual_cnn.yaml"),
        ("residaul_cnn.yaml", "configs/residual_cnn.yaml"),
        ("runs/mine", "runs/mine/config.yaml"),
        ("runs/mine/config", "runs/mine/config.yaml"),
    ],
)
def test_a_config_file_without_its_folder_or_ending_is_told_where_it_is(given, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("configs/residual_cnn.yaml", "configs/tune.yaml", "runs/mine/config.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(ConfigError, match=f"^cannot read the config file {given}: .* Did you mean {meant}\\?$"):
        settings.read_file(Path(given))


def test_the_saved_config_reads_back_equal(tmp_path):
    config = settings.make_config({"train.epochs": Setting(3, "test"), "model.widths": Setting([1, 2], "test")})
    path = tmp_path / "config.yaml"
    path.write_text(settings.as_yaml(config, header="two\nlines"))
    assert settings.make_config(settings.read_file(path)) == config
    assert path.read_text().startswith("# two\n# lines\n")


def test_emotion_cnn_yaml_says_the_defaults_out_loud():
    stated = settings.read_file(ROOT / "configs" / "emotion_cnn.yaml")
    assert settings.make_config(stated) == Config()
    used = {name for name in settings.setting_names() if name.split(".")[0] in ("augment", "model", "optim")}
    assert used <= set(stated)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_valid_and_opens_with_its_command(path):
    settings.make_config(settings.read_file(path))
    assert path.read_text().startswith("#")
    assert "python -m harness." in path.read_text()


def test_digest_follows_the_values_not_their_source():
    assert Config().digest("train") == settings.make_config({"train.epochs": Setting(30, "x")}).digest("train")
    assert Config().digest("train") != settings.make_config({"train.epochs": Setting(31, "x")}).digest("train")


def test_show_config_prints_every_setting_with_its_source():
    done = run_command("train", "--config", "configs/smoke.yaml", "--train.epochs", "4", "--show-config")
    assert done.returncode == 0
    lines = {line.split()[0]: line.split(maxsplit=2) for line in done.stdout.splitlines()}
    assert set(lines) == set(settings.setting_names())
    assert lines["train.epochs"] == ["train.epochs", "4", "flag --train.epochs"]
    assert lines["train.batch_size"][2].startswith("configs/smoke.yaml:")
    assert lines["train.seed"] == ["train.seed", "0", "default"]
