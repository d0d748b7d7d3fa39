"""A config file of a stranger: whatever is in it, it is read or refused in a sentence, at once."""

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.config import settings

BOMB = "\n".join(f"  x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10 if i else ['lol'])}]" for i in range(12))


def read(folder, text) -> None:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    settings.make_config(settings.read_file(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"data:\n{BOMB}\n", "config.yaml:3: this is not valid YAML: aliases .* are not taken"),
        ("data:\n  images: &a [x]\n  records: *a\n", "config.yaml:3: this is not valid YAML: aliases .* are not taken"),
        ("data:\n  images: &a [*a]\n", "config.yaml:2: this is not valid YAML: aliases"),
        ("tune:\n  space: &a {b: &c [1], d: *c}\n", "config.yaml:2: this is not valid YAML: aliases"),
        ("&a data: {images: x}\n*a : {records: y}\n", "config.yaml:2: this is not valid YAML: aliases"),
        ("? [a, b]\n: c\n", "config.yaml:1: expected the name of a section or setting"),
        ("data:\n  ? [a, b]\n  : c\n", "config.yaml:2: expected the name of a section or setting"),
        ("data:\n  ? {a: b}\n  : c\n", "config.yaml:2: expected the name of a section or setting"),
        ("tune:\n  space: {[a]: b}\n", "config.yaml:2: .*"),
        ("[" * 20_000, "config.yaml:1: this is not valid YAML: it is nested more than 16 deep"),
        ("data:\n  images: " + "[" * 20_000, "config.yaml:2: this is not valid YAML: it is nested more than 16 deep"),
        ("data:\n  images: " + "{a: " * 20_000, "config.yaml:2: this is not valid YAML: it is nested more than 16"),
        ("- " * 5_000, "config.yaml:1: this is not valid YAML: it is nested more than 16 deep"),
        ("train:\n  epochs: 2024-13-45\n", "config.yaml:2: train.epochs has a value that cannot be read: .*month"),
        ("train:\n  epochs: !!int abc\n", "config.yaml:2: train.epochs has a value that cannot be read"),
        ('train:\n  epochs: !!int ""\n', "config.yaml:2: train.epochs has a value that cannot be read"),
        ("train:\n  epochs: !!float abc\n", "config.yaml:2: train.epochs has a value that cannot be read"),
        ("train:\n  epochs: !!bool maybe\n", "config.yaml:2: train.epochs has a value that cannot be read"),
        ("train:\n  epochs: !!timestamp abc\n", "config.yaml:2: train.epochs has a value that cannot be read"),
        (f"train:\n  epochs: {'9' * 6000}\n", "config.yaml:2: train.epochs has a value that cannot be read"),
        (f"model:\n  dense_units: {'9' * 4000}\n", r"config.yaml:2: model.dense_units is 9+\.\.\.9+: "),
        (
            "train:\n  epochs: !!python/object:os.system x\n",
            "config.yaml:2: this is not valid YAML: could not determine",
        ),
        ("train:\n  epochs: !!set {a, b}\n", r"config.yaml:2: train.epochs is \{.*\}: "),
        (
            "train:\n  epochs: 3\n  run: a\x07b\n",
            "config.yaml:3: this is not valid YAML: special characters are not all",
        ),
        ("a: b\n---\nc: d\n", "config.yaml:2: this is not valid YAML: but found another document"),
        (b"data: \xff\n", "cannot read the config file .*: it is not UTF-8 text"),
        ("#" * 300_000, "cannot read the config file .*: it has more than 262144 characters"),
        (f"data:\n  {'x' * 1000}: 1\n", r"there is no setting 'data\.x+\.\.\.'"),
        (f"train:\n  epochs: [{'1, ' * 50_000}]\n", r"config.yaml:2: train.epochs is \[1, 1, 1, 1, 1, 1, \.\.\.\]: "),
    ],
    ids=range(29),
)
def test_a_hostile_file_is_a_sentence(tmp_path, text, expected):
    started = time.process_time()
    with pytest.raises(ConfigError, match=expected) as refused:
        read(tmp_path, text)
    assert len(str(refused.value)) < 600
    assert time.process_time() - started < 20


def test_a_folder_or_nothing_is_a_sentence(tmp_path):
    for path, expected in ((tmp_path, "Is a directory"), (tmp_path / "gone", "No such file")):
        with pytest.raises(ConfigError, match=rf"cannot read the config file .*: {expected}"):
            settings.read_file(path)


def test_anchors_without_aliases_and_merges_without_them_do_no_harm(tmp_path):
    read(tmp_path, "train: &a\n  epochs: &b 3\n")
    with pytest.raises(ConfigError, match=r"there is no setting 'train\.<<'"):
        read(tmp_path, "train:\n  <<: {epochs: 3}\n")


lines = st.lists(
    st.sampled_from(
        ["train:", "tune:", "  epochs: ", "  space: ", "*a", "&a ", "!!int ", "- ", "{", "[", "}", "]", "? "]
    )
    | st.text(max_size=6)
    | st.sampled_from(["\n", ": ", "'", '"', "|", ">", "%", "---", "...", "2024-01-01", "1e9", "0x", "1_", ".inf"])
).map("".join)


@given(lines | st.binary().map(lambda content: content.decode("latin-1")))
def test_nothing_but_a_config_or_a_sentence_comes_of_anything(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            read(Path(folder), text.encode("utf-8", "surrogatepass"))
        except ConfigError as refused:
            assert str(refused)
