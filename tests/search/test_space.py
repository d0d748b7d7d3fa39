"""The space of a search: what it may propose is looked at before the first trial."""

import itertools
import re

import pytest
import yaml
from conftest import ROOT

from harness.base.errors import ConfigError
from harness.config import settings
from harness.config.ranges import Range
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, TrainConfig
from harness.config.tune_section import TuneConfig
from harness.search.space.corners import list_corners
from harness.search.space.space import (
    active_values,
    check_batches,
    check_space,
    count_combinations,
    default_values,
    list_combinations,
    make_trial_config,
    start_values,
)

MIXUP = {"augment.mixup": Range(values=(0.0, 0.2))}


def config_of(space, **train):
    return Config(train=TrainConfig(**train), tune=TuneConfig(space=space))


@pytest.mark.parametrize(
    ("extent", "wrong"),
    [
        (Range(values=(8, 9)), 9),
        (Range(min=4, max=16), 5),
        (Range(min=5, max=15, step=2), 5),
        (Range(min=3, max=48, step=2, sampling="log"), 3),
        (Range(min=8, max=64, sampling="log"), 9),
    ],
    ids=["values", "range", "odd steps", "odd powers", "any"],
)
def test_batches_that_two_devices_cannot_share_are_refused_before_the_first_trial(extent, wrong):
    config = config_of({"train.batch_size": extent})
    with pytest.raises(
        ConfigError, match=rf"propose a train.batch_size of {wrong}, which 2 devices.*multiples of 2 on"
    ):
        check_batches(config, 2)
    check_batches(config, 1)


@pytest.mark.parametrize(
    "extent",
    [Range(values=(8, 10)), Range(min=4, max=16, step=2), Range(min=4, max=64, step=2, sampling="log")],
    ids=["values", "range", "powers"],
)
def test_batches_that_two_devices_can_share_are_taken(extent):
    check_batches(config_of({"train.batch_size": extent}), 2)


def test_a_batch_for_each_replica_is_shared_evenly_whatever_it_is():
    check_batches(config_of({"train.batch_size": Range(values=(8, 9))}, batch_per="replica"), 2)
    either = {"train.batch_size": Range(values=(8, 9)), "train.batch_per": Range(values=("replica", "step"))}
    with pytest.raises(ConfigError, match=r"train.batch_size of 9"):
        check_batches(config_of(either), 2)


def test_pairs_of_mixup_have_to_divide_too():
    with pytest.raises(
        ConfigError, match=r"train.batch_size of 10, .* in pairs for augment.mixup.*multiples of 4 only"
    ):
        check_batches(config_of({"train.batch_size": Range(values=(8, 10)), **MIXUP}), 2)
    with pytest.raises(ConfigError, match=r"train.batch_size of 6"):
        check_batches(config_of(MIXUP, batch_size=6), 2)
    check_batches(config_of({"train.batch_size": Range(values=(8, 12)), **MIXUP}), 2)
    off = Config(augment=AugmentConfig(enabled=False), tune=TuneConfig(space=MIXUP), train=TrainConfig(batch_size=6))
    check_batches(off, 2)


DECAY = {"min": 1e-3, "max": 0.1}
OPTIMIZERS = {"optim.name": {"values": ["sgd", "adam"]}, "optim.weight_decay": {**DECAY, "when": {"optim.name": "sgd"}}}
DROPOUTS = {"model.dropout": {"values": [0.1, 0.2]}, "model.dense_dropout": {"tied": "model.dropout"}}


@pytest.fixture
def read(tmp_path):
    """Makes config and given settings of a space, as a file states them."""

    def make(space, tune=(), **sections):
        path = tmp_path / "search.yaml"
        path.write_text(yaml.safe_dump({"tune": {"space": space, **dict(tune)}, **sections}, sort_keys=False))
        given = settings.read_file(path)
        return settings.make_config(given), given

    return make


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (
            {"records.image_size": {"values": [64]}},
            "it would need other records: build them and give them with --records",
        ),
        ({"train.run": {"values": ["a"]}}, "train.run cannot be searched: every trial has its own"),
        ({"train.monitor": {"values": ["val_f1"]}}, "train.monitor cannot be searched: trials are compared by it"),
        ({"runtime.xla": {"values": [True]}}, "runtime.xla cannot be searched"),
        ({"model.dropout": {"values": [0.1], "min": 0.1}}, "needs either values, or a min below a max"),
        ({"model.dropout": {"values": [0.1, 0.1]}}, "model.dropout names 0.1 twice"),
        ({"model.dropout": {"values": [0.1, True]}}, r"values of several kinds: \[0.1, True\]"),
        ({"model.dropout": {"min": 0, "max": 0.5, "sampling": "log"}}, "needs a min above 0"),
        ({"model.dense_units": {"min": 1, "max": 8, "step": 1, "sampling": "log"}}, "a step above 1"),
        ({"model.dropout": {"min": 0, "max": 0.5, "step": 1e-9}}, "more than 10000 values"),
        (
            {"model.widths": {"values": [[16, 32], [16, -1]]}},
            r"model.widths is \[16, -1\] \(at 1\): it should be greater",
        ),
        (
            {"train.batch_size": {"min": 8, "max": 16, "step": 0.5}},
            "train.batch_size is 8.0: it should be a valid integer",
        ),
        (DROPOUTS | {"model.dense_dropout": {"tied": "model.dropot"}}, "no other setting .* nearest is model.dropout"),
        (
            DROPOUTS | {"model.dense_dropout": {"tied": "model.dropout", "min": 1}},
            "is tied, and takes nothing else but when",
        ),
        (DROPOUTS | {"model.dropout": {"tied": "model.dense_dropout"}}, "which is tied itself"),
        (
            DROPOUTS | {"train.batch_size": {"tied": "model.dropout"}},
            "train.batch_size is 0.1: it should be a valid int",
        ),
        (
            OPTIMIZERS | {"optim.name": {"values": ["adamw"]}},
            "'sgd', a value that optim.name does not take.* is 'adamw'",
        ),
        ({"optim.weight_decay": {**DECAY, "when": {"optim.nam": "sgd"}}}, "when optim.nam, which is no other setting"),
        ({"optim.ema": {**DECAY, "when": {"optim.ema": 0.1}}}, "when optim.ema, which is no other setting"),
        (
            {"model.dropout": {"min": 0, "max": 0.5}, "optim.ema": {**DECAY, "when": {"model.dropout": 0.1}}},
            "no single value",
        ),
        (DROPOUTS | {"optim.ema": {**DECAY, "when": {"model.dense_dropout": 0.1}}}, "is tied: name model.dropout"),
        (
            {"optim.ema": {"values": [0.5], "when": {"optim.name": "adam"}}}
            | {"optim.name": {"values": ["adam"], "when": {"optim.ema": 0.5}}},
            "optim.ema, optim.name depend on one another in a circle",
        ),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_tried_is_refused_with_its_line(read, space, expected):
    with pytest.raises(ConfigError, match=rf"search.yaml:2: tune.space: .*{expected}"):
        check_space(*read(space))


def test_what_hyperband_and_grid_cannot_search_is_refused(read):
    with pytest.raises(ConfigError, match=r"hyperband, which gives each trial its own, up to tune.max_epochs"):
        check_space(*read({"train.epochs": {"values": [1, 2]}}, {"algorithm": "hyperband"}))
    with pytest.raises(ConfigError, match="endless values, and grid tries all: give it values, or a step"):
        check_space(*read({"augment.flip": {"min": 0, "max": 1}}, {"algorithm": "grid"}))
    check_space(*read({"train.epochs": {"values": [1, 2]}}, {"algorithm": "grid"}))


def test_values_that_are_wrong_only_together_are_told_with_a_condition(read):
    apart = {"optim.weight_decay": DECAY, "optim.name": {"values": ["sgd", "adam", "adamw"]}}
    with pytest.raises(ConfigError, match=r"is 0.001: it should be 0 .* when: {optim.name: \['sgd', 'adamw'\]}\.$"):
        check_space(*read(apart))
    check_space(*read(OPTIMIZERS))
    with pytest.raises(
        ConfigError, match=r"yaml:\d+: optim.weight_decay is 0.1: .* proposes optim.name 'adam' beside it"
    ):
        check_space(*read({"optim.name": {"values": ["sgd", "adam"]}}, optim={"name": "sgd", "weight_decay": 0.1}))
    always = {"optim.weight_decay": DECAY, "optim.name": {"values": ["adam"]}}
    with pytest.raises(ConfigError, match=r"adamw and sgd decay weights.$"):
        check_space(*read(always))


def test_corners_that_are_wrong_are_found_among_many_dimensions(read):
    names = ("flip", "rotation", "zoom", "shift", "shear", "brightness", "contrast", "saturation", "hue", "grayscale")
    many = {f"augment.{name}": {"min": 0.1, "max": 0.5} for name in (*names, "erasing", "mixup", "erasing_area")}
    check_space(*read({**many, **OPTIMIZERS}))
    with pytest.raises(ConfigError, match=r"when: {optim.name: \['sgd'\]}"):
        check_space(*read({**many, **OPTIMIZERS, "optim.weight_decay": DECAY}))


def test_corners_are_ends_and_what_switches_others_on(read):
    space = {
        "train.batch_size": {"min": 8, "max": 64, "step": 8},
        "optim.ema": {"values": [0.9], "when": {"train.batch_size": [8, 32]}},
    }
    corners = list_corners(read(space)[0].tune.space)
    assert [(corner["train.batch_size"], "optim.ema" in corner) for corner in corners] == [
        (8, True),
        (16, False),
        (24, False),
        (32, True),
        (40, False),
        (64, False),
    ]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"optim.nam": "sgd"}, "names optim.nam, which is no other setting of the space; the nearest is optim.name"),
        ({"optim.name": "sdg"}, "optim.name is 'sdg': it should be 'adam', 'adamw' or 'sgd'"),
        (
            {"optim.weight_decay": 0.1},
            r"names optim.weight_decay, which is off beside the values there: it has when {'optim.name': \['sgd'\]}",
        ),
        (
            {"optim.name": "sgd", "optim.weight_decay": 2.0},
            "optim.weight_decay is 2.0: it should be less than or equal to 1",
        ),
        ({"model.dense_dropout": 0.1}, "names model.dense_dropout, which is tied: name model.dropout"),
    ],
)
def test_a_start_that_cannot_be_tried_is_refused(read, start, expected):
    config, given = read(OPTIMIZERS | DROPOUTS, {"start": [{"optim.name": "adam"}, start]})
    with pytest.raises(ConfigError, match=rf"search.yaml:\d+: tune.start:? {expected}"):
        check_space(config, given)


def test_the_settings_as_they_are_are_tried_first_and_nothing_twice(read):
    start = [{"optim.name": "sgd", "optim.weight_decay": 0.5}, {}, {"model.dropout": 0.1}, {"model.dropout": 0.1}]
    config, given = read({**OPTIMIZERS, **DROPOUTS}, {"start": start}, train={"batch_size": 4})
    check_space(config, given)
    first = {"optim.name": "adam", "model.dropout": 0.1, "model.dense_dropout": 0.5}
    assert default_values(config) == first
    found = start_values(config)
    assert found == (
        first,
        {"optim.name": "sgd", "optim.weight_decay": 0.5, "model.dropout": 0.1},
        {"optim.name": "adam", "model.dropout": 0.1},
    )
    dropouts = [
        (made.model.dropout, made.model.dense_dropout, made.optim.weight_decay, made.train.batch_size)
        for made in (make_trial_config(given, values, "trial 0") for values in found)
    ]
    assert dropouts == [(0.1, 0.5, 0.0, 4), (0.1, 0.1, 0.5, 4), (0.1, 0.1, 0.0, 4)]


def test_a_trial_has_its_own_values_the_tied_ones_and_nothing_of_the_search(read):
    space = DROPOUTS | {
        "model.widths": {"values": [[8, 16], [4]]},
        "model.weights": {"values": [None, "a.h5"], "when": {"model.name": "MobileNet"}},
        "model.name": {"values": ["emotion_cnn", "MobileNet"]},
        "augment.enabled": {"values": [True, False]},
    }
    config, given = read(space)
    check_space(config, given)
    assert default_values(config)["model.widths"] == "[16, 32, 16]"
    values = {"model.dropout": 0.2, "model.widths": "[8, 16]", "model.name": "MobileNet", "model.weights": "null"}
    values |= {"augment.enabled": False, "tuner/bracket": 1}
    made = make_trial_config(given, values, "trial 0")
    assert made.model.model_dump(include={"dropout", "dense_dropout", "widths", "weights"}) == {
        "dropout": 0.2,
        "dense_dropout": 0.2,
        "widths": (8, 16),
        "weights": None,
    }
    assert made.tune == TuneConfig() and made.augment.enabled is False
    assert active_values(config, values) == {
        "model.dropout": 0.2,
        "model.dense_dropout": 0.2,
        "model.widths": "[8, 16]",
        "model.weights": "null",
        "model.name": "MobileNet",
        "augment.enabled": False,
    }
    with pytest.raises(ConfigError, match=r"trial 7: model.dense_dropout is 2.0: it should be less than 1"):
        make_trial_config(given, {"model.dropout": 0.5, "model.dense_dropout": 2.0}, "trial 7")


def test_combinations_come_in_the_order_of_the_space(read):
    space = {
        "optim.weight_decay": {"values": [0, 0.1], "when": {"optim.name": "sgd"}},
        "optim.name": {"values": ["adam", "sgd"]},
        "train.batch_size": {"min": 4, "max": 16, "step": 2, "sampling": "log"},
        "train.patience": {"tied": "train.batch_size"},
    }
    config, _ = read(space, {"algorithm": "grid"})
    rows = [tuple(values.values()) for values in list_combinations(config)]
    assert rows[:3] == [("adam", 4), ("adam", 8), ("adam", 16)]
    assert rows[3:] == [("sgd", decay, size) for decay in (0.0, 0.1) for size in (4, 8, 16)]
    assert count_combinations(config, 100) == 9 and count_combinations(config, 5) == 5


@pytest.mark.parametrize(
    ("name", "extent", "expected"),
    [
        ("model.dense_dropout", {"min": 0.2, "max": 0.6, "step": 0.1}, [0.2, 0.3, 0.4, 0.5, 0.6]),
        ("model.dense_dropout", {"min": 0, "max": 0.9, "step": 0.4}, [0.0, 0.4, 0.8]),
        ("optim.learning_rate", {"min": 1e-4, "max": 1e-1, "step": 10, "sampling": "log"}, [1e-4, 1e-3, 1e-2, 1e-1]),
        ("train.batch_size", {"min": 3, "max": 6}, [3, 4, 5, 6]),
        ("model.dense_units", {"min": 2, "max": 40, "step": 4, "sampling": "log"}, [2, 8, 32]),
        ("augment.rotation", {"values": [5, 10.5]}, [5.0, 10.5]),
    ],
)
def test_steps_lead_to_exactly_these_values(read, name, extent, expected):
    config, _ = read({name: extent}, {"algorithm": "grid"})
    found = [values[name] for values in list_combinations(config)]
    assert found == expected and {type(value) for value in found} == {type(expected[0])}


def test_a_setting_that_takes_fractions_has_more_than_its_whole_numbers(read):
    assert count_combinations(read({"augment.flip": {"min": 0, "max": 1}})[0], 50) == 50
    assert count_combinations(read({"train.patience": {"min": 0, "max": 1}})[0], 50) == 2


def test_batches_are_looked_at_as_conditions_and_ties_let_them_meet(read):
    sizes = {"train.batch_size": {"values": [8, 9], "when": {"train.batch_per": "replica"}}}
    basis = {"train.batch_per": {"values": ["replica", "step"]}}
    check_batches(read(sizes | basis)[0], 2)
    with pytest.raises(ConfigError, match=r"train.batch_size of 15"):
        check_batches(read(sizes | basis, train={"batch_size": 15})[0], 2)
    tied = {"train.batch_size": {"tied": "model.dense_units"}, "model.dense_units": {"values": [8, 9]}}
    with pytest.raises(ConfigError, match=r"train.batch_size of 9"):
        check_batches(read(tied)[0], 2)
    mixed = {
        "augment.mixup": {"values": [0.2], "when": {"train.batch_size": 8}},
        "train.batch_size": {"values": [6, 8]},
    }
    check_batches(read(mixed)[0], 2)
    with pytest.raises(ConfigError, match=r"train.batch_size of 1, .*multiples of 8 only"):
        check_batches(read({"train.batch_size": {"min": 1, "max": 2**31 - 1}})[0], 8)


def test_the_spaces_of_the_page_are_sound(tmp_path):
    found = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "tuning.md").read_text(), re.DOTALL)
    assert len(found) >= 2
    for number, text in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        given = settings.read_file(path)
        check_space(settings.make_config(given), given)


def test_a_space_that_is_written_is_read_as_it_was(read, tmp_path):
    space = OPTIMIZERS | DROPOUTS | {"model.widths": {"values": [[8], [8, 16]]}, "augment.zoom": {"min": 0, "max": 0.5}}
    config, _ = read(space, {"start": [{"model.widths": [8]}], "slots": 4})
    path = tmp_path / "config.yaml"
    path.write_text(settings.as_yaml(config))
    assert "augment.zoom: {}" not in path.read_text() and "tied: null" not in path.read_text()
    again = settings.make_config(settings.read_file(path))
    assert again == config and list(again.tune.space) == list(space)
