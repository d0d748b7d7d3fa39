"""A space as KerasTuner's hyperparameters: what it proposes is what the space says."""

import itertools

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.ranges import Range
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.config.tune_section import TuneConfig
from harness.search.space.combinations import list_values
from harness.search.space.dimensions import lies_in_space, make_hyperparameters
from harness.search.space.space import active_values, check_space, list_combinations, make_trial_config

# Forms of settings that are valid beside any others.
FORMS = {
    "optim.name": ({"values": ["adam", "adamw", "sgd"]}, {"values": ["sgd"]}),
    "augment.enabled": ({"values": [True, False]}, {"values": [False]}),
    "augment.zoom": ({"min": 0, "max": 0.5}, {"min": 0.1, "max": 0.5, "sampling": "log"}, {"values": [0, 0.25]}),
    "model.dropout": ({"min": 0.2, "max": 0.6, "step": 0.1}, {"min": 0.1, "max": 0.8, "step": 2, "sampling": "log"}),
    "train.batch_size": ({"min": 4, "max": 9}, {"min": 2, "max": 40, "step": 4, "sampling": "log"}),
    "model.dense_units": ({"min": 1, "max": 8, "sampling": "log"}, {"min": 1, "max": 64, "step": 9}),
    "model.widths": ({"values": [[8], [8, 16]]},),
    "model.weights": ({"values": [None]},),
    "model.dense_dropout": ({"tied": "model.dropout"},),
    "train.patience": ({"tied": "train.batch_size"}, {"values": [0, 3]}),
}


@st.composite
def make_spaces(draw) -> dict[str, dict]:
    """Sound spaces, in any order, whose conditions lead from one setting to another."""
    space: dict[str, dict] = {}
    for name in draw(st.permutations(sorted(FORMS))):
        form = dict(draw(st.sampled_from(FORMS[name])))
        if not draw(st.booleans()) or ("tied" in form and form["tied"] not in space):
            continue
        parents = {
            other: values
            for other, extent in space.items()
            if "tied" not in extent and (values := list_values(Range(**extent))) is not None
        }
        chosen = draw(st.lists(st.sampled_from(sorted(parents)), max_size=2, unique=True)) if parents else []
        form["when"] = {
            parent: draw(st.lists(st.sampled_from(parents[parent]), min_size=1, max_size=2, unique=True))
            for parent in chosen
        }
        space[name] = form
    return {name: space[name] for name in draw(st.permutations(sorted(space)))} or {"optim.ema": {"values": [0.5]}}


def is_on(space, values, name) -> bool:
    """Whether a setting is proposed, told from the statement alone."""
    extent = space[name]
    if extent.tied is not None and not is_on(space, values, extent.tied):
        return False
    return all(is_on(space, values, parent) and values[parent] in wanted for parent, wanted in extent.when.items())


def propose(space, num_trials, seed=1) -> list[dict]:
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=num_trials,
        seed=seed,
        hyperparameters=make_hyperparameters(space),
    )
    found = [oracle.populate_space(str(number)) for number in range(num_trials)]
    return [answer["values"] for answer in found if answer["status"] == "RUNNING"]


@settings(max_examples=150, deadline=None)
@given(make_spaces())
def test_a_random_proposal_has_the_active_settings_alone_and_makes_a_config(space):
    stated = {"tune.space": Setting(space, "search.yaml:2")}
    config = Config(tune=TuneConfig(space=space))
    check_space(config, stated)
    space = config.tune.space
    is_finite = all(extent.tied or list_values(extent) is not None for extent in space.values())
    combinations = list(itertools.islice(list_combinations(config), 20_000)) if is_finite else []
    proposals = propose(space, 8)
    assert proposals
    for values in proposals:
        assert values.keys() == {name for name in space if space[name].tied is None and is_on(space, values, name)}
        assert lies_in_space(space, values)
        made = make_trial_config(stated, values, "trial 0")
        complete = active_values(config, values)
        assert complete.keys() == {name for name in space if is_on(space, values, name)}
        assert lies_in_space(space, complete)
        if "model.dense_dropout" in complete:
            assert made.model.dense_dropout == made.model.dropout == complete["model.dropout"]
        if is_finite and len(combinations) < 20_000:
            assert values in combinations
    assert all(lies_in_space(space, values) for values in combinations[:500])


@settings(max_examples=50, deadline=None)
@given(make_spaces(), st.data())
def test_what_is_not_proposed_does_not_lie_in_the_space(space, data):
    space = Config(tune=TuneConfig(space=space)).tune.space
    values = propose(space, 1)[0]
    name = data.draw(st.sampled_from(sorted(space)))
    if name in values:
        lacking = {other: value for other, value in values.items() if other != name}
        assert not lies_in_space(space, lacking)
        assert not lies_in_space(space, values | {name: "elsewhere"})
    else:
        assert not lies_in_space(space, values | {name: "elsewhere"})
    assert not lies_in_space(space, values | {"optim.momentum": 0.5})
    assert lies_in_space(space, values | {"tuner/epochs": 3})


def test_dimensions_are_of_these_kinds():
    space = TuneConfig(
        space={
            "optim.weight_decay": {"min": 0, "max": 1, "when": {"optim.name": ["sgd"], "augment.enabled": False}},
            "optim.name": {"values": ["adam", "sgd"]},
            "augment.enabled": {"values": [True, False]},
            "optim.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
            "train.batch_size": {"min": 4, "max": 16, "step": 4},
            "train.patience": {"min": 1, "max": 9},
            "model.dropout": {"values": [0, 0.5]},
            "model.dense_dropout": {"tied": "model.dropout"},
        }
    ).space
    found = make_hyperparameters(space).space
    assert [(type(one).__name__, one.name) for one in found] == [
        ("Choice", "optim.name"),
        ("Boolean", "augment.enabled"),
        ("Float", "optim.weight_decay"),
        ("Float", "optim.learning_rate"),
        ("Choice", "train.batch_size"),
        ("Int", "train.patience"),
        ("Choice", "model.dropout"),
    ]
    assert [(one.name, one.values) for one in found[2].conditions] == [
        ("optim.name", ["sgd"]),
        ("augment.enabled", [False]),
    ]
    assert found[4].values == [4, 8, 12, 16] and found[6].values == [0.0, 0.5]
    copied = keras_tuner.HyperParameters.from_config(make_hyperparameters(space).get_config())
    assert [one.get_config() for one in copied.space] == [one.get_config() for one in found]


def test_every_value_of_a_range_is_proposed_and_truth_values_stay_such():
    space = TuneConfig(
        space={"model.dropout": {"min": 0.2, "max": 0.6, "step": 0.1}, "augment.enabled": {"values": [True, False]}}
    ).space
    found = propose(space, 100)
    assert sorted({values["model.dropout"] for values in found}) == [0.2, 0.3, 0.4, 0.5, 0.6]
    assert {values["augment.enabled"] is True for values in found} == {True, False}
    assert all(type(values["augment.enabled"]) is bool for values in found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"optim.name": "adam", "model.dropout": 0.1}, True),
        ({"optim.name": "adam", "model.dropout": 0.1, "model.dense_dropout": 0.1}, True),
        ({"optim.name": "adam", "model.dropout": 0.1, "model.dense_dropout": 0.5}, False),
        ({"optim.name": "adam", "model.dropout": 0.6}, False),
        ({"optim.name": "adamw", "model.dropout": 0.1}, False),
        ({"optim.name": "sgd", "model.dropout": 0.1}, False),
        ({"optim.name": "sgd", "model.dropout": 0.1, "optim.momentum": 0.5}, True),
        ({"optim.name": "sgd", "model.dropout": 0.1, "optim.momentum": 0.55}, False),
        ({"optim.name": "adam", "model.dropout": 0.1, "optim.momentum": 0.5}, False),
        ({"optim.name": "adam", "model.dropout": True}, False),
        ({"optim.name": "adam"}, False),
        ({}, False),
    ],
)
def test_values_lie_in_a_space_or_do_not(values, expected):
    space = TuneConfig(
        space={
            "optim.momentum": {"values": [0.0, 0.5], "when": {"optim.name": "sgd"}},
            "optim.name": {"values": ["adam", "sgd"]},
            "model.dropout": {"min": 0.0, "max": 0.5},
            "model.dense_dropout": {"tied": "model.dropout"},
        }
    ).space
    assert lies_in_space(space, values) is expected
