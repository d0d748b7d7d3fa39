"""Which setting of a search mattered: made-up searches in which it is known."""

from pathlib import Path

import numpy as np
import pytest
from conftest import run_python

from harness.config.ranges import Range
from harness.search.report import importance
from harness.search.report.axes import make_axes
from harness.search.trials.trial import Trial

SPACE = {
    "optim.learning_rate": Range(min=1e-4, max=1e-1, sampling="log"),
    "optim.name": Range(values=("adam", "sgd", "adamw")),
    "optim.momentum": Range(min=0.0, max=0.95),
    "augment.enabled": Range(values=(True, False)),
    "model.dense_dropout": Range(min=0.2, max=0.6, step=0.1),
}


def make_trial(number, values, score, *, num_epochs=5):
    return Trial(f"{number:04d}", Path("runs"), values, "completed", score=score, num_epochs=num_epochs)


def draw_values(random):
    """Values of a trial, each independent of the others; the momentum is off but for SGD."""
    values = {
        "optim.learning_rate": float(10 ** random.uniform(-4, -1)),
        "optim.name": str(random.choice(["adam", "sgd", "adamw"])),
        "augment.enabled": bool(random.integers(2)),
        "model.dense_dropout": float(random.choice([0.2, 0.3, 0.4, 0.5, 0.6])),
    }
    return values | ({"optim.momentum": float(random.uniform(0, 0.95))} if values["optim.name"] == "sgd" else {})


def search(score, *, num_trials=60, seed=0):
    random = np.random.default_rng(seed)
    tried = [draw_values(random) for _ in range(num_trials)]
    return tuple(make_trial(i, values, score(values, random)) for i, values in enumerate(tried))


def explain(trials, objective="val_accuracy", *, with_epochs=False, space=SPACE):
    return importance.explain(make_axes(space, trials), trials, objective, with_epochs=with_epochs)


def shares_of(found):
    return {item.name: item.share for item in found.settings}


DECIDED_BY = {
    "augment.enabled": lambda values, _: 0.9 if values["augment.enabled"] else 0.6,
    "optim.name": lambda values, _: {"adam": 0.9, "sgd": 0.5, "adamw": 0.8}[values["optim.name"]],
    "optim.learning_rate": lambda values, _: 0.9 - 0.1 * (np.log10(values["optim.learning_rate"]) + 3) ** 2,
    "model.dense_dropout": lambda values, _: 0.9 - values["model.dense_dropout"],
}


@pytest.mark.parametrize("name", DECIDED_BY)
def test_a_setting_that_decides_everything_has_it_all(name):
    found = explain(search(DECIDED_BY[name]))
    shares = shares_of(found)
    assert found.settings[0].name == name
    assert shares.pop(name) > 0.85
    assert max(shares.values()) < 0.05
    assert found.explained > 0.9 and found.left_out == ""


def test_the_order_is_that_of_the_effects():
    def score(values, _):
        learning_rate = (np.log10(values["optim.learning_rate"]) + 4) / 3  # 0 to 1
        return 0.3 * values["augment.enabled"] + 0.15 * learning_rate + 0.05 * values["model.dense_dropout"]

    names = [item.name for item in explain(search(score, num_trials=100)).settings]
    assert names[:2] == ["augment.enabled", "optim.learning_rate"]


def test_two_settings_that_work_only_together_both_have_a_share():
    trials = search(lambda values, _: float(values["augment.enabled"] == (values["model.dense_dropout"] > 0.35)))
    shares = shares_of(explain(trials))
    assert shares["augment.enabled"] > 0.5 and shares["model.dense_dropout"] > 0.5  # alone, neither tells anything
    assert max(shares["optim.name"], shares["optim.learning_rate"]) < 0.1


def test_chance_is_no_importance():
    found = explain(search(lambda _, random: random.uniform()))
    assert max(shares_of(found).values()) < 0.15
    assert found.explained < 0.1


def test_the_spread_holds_the_share():
    for item in explain(search(lambda values, random: values["model.dense_dropout"] + random.normal() * 0.1)).settings:
        assert 0 <= item.low <= item.share <= item.high <= 1
    assert item.low < item.high


def test_a_setting_that_is_off_does_not_take_the_share_of_what_turns_it_off():
    trials = search(lambda values, _: 0.5 if values["optim.name"] == "sgd" else 0.9)
    shares = shares_of(explain(trials))
    assert shares["optim.name"] > 0.85 and shares["optim.momentum"] < 0.02


def test_a_setting_counts_where_it_is_on():
    shares = shares_of(explain(search(lambda values, _: values.get("optim.momentum", 0.5), num_trials=150)))
    assert shares["optim.momentum"] > 0.7


def test_one_loss_that_went_wrong_does_not_hide_all_else():
    def score(values, _):
        return (0.3 if values["augment.enabled"] else 0.6) * (1000 if values["optim.learning_rate"] > 0.095 else 1)

    trials = search(score, num_trials=100)
    assert sum(trial.score > 100 for trial in trials) == 1
    assert explain(trials, "val_loss").settings[0].name == "augment.enabled"


def test_epochs_that_hyperband_chose_have_a_share_of_their_own():
    random = np.random.default_rng(0)
    trials = []
    for i in range(60):
        num_epochs = (2, 6, 18)[i % 3]
        trials.append(make_trial(i, draw_values(random), 0.9 - 0.5 / num_epochs, num_epochs=num_epochs))
    found = explain(trials, with_epochs=True)
    assert found.settings[0].name == importance.EPOCHS and found.settings[0].share > 0.85
    assert importance.EPOCHS not in shares_of(explain(trials))


def test_the_same_trials_give_the_same_twice():
    trials = search(DECIDED_BY["optim.name"], num_trials=12)
    assert explain(trials) == explain(trials)


def test_a_default_outside_the_space_has_a_place():
    odd = {"optim.learning_rate": 0.0, "optim.name": "lion", "augment.enabled": True, "model.dense_dropout": "auto"}
    trials = (make_trial(99, odd, 0.4), *search(DECIDED_BY["augment.enabled"]))
    learning_rate, name, _, _, dropout = make_axes(SPACE, trials)
    assert (learning_rate.low, learning_rate.high) == (1e-4, 1e-1)
    assert learning_rate.place(0.0) < 0 and dropout.place("auto") < 0 and name.place("lion") == 1.0
    assert learning_rate.off < learning_rate.place(0.0)
    assert explain(trials).settings[0].name == "augment.enabled"


def test_too_little_is_left_out_with_the_reason():
    trials = search(DECIDED_BY["augment.enabled"])
    assert "at least 5" in explain(trials[:4]).left_out and "there are 4" in explain(trials[:4]).left_out
    assert explain(trials[:5]).left_out == ""
    assert "the same val_accuracy" in explain(search(lambda *_: 0.5)).left_out
    same = [make_trial(i, {"augment.enabled": True}, i / 10) for i in range(9)]
    assert "one value" in explain(same).left_out


def test_a_setting_with_one_value_is_not_weighed():
    trials = search(DECIDED_BY["optim.name"])
    fixed = [make_trial(i, {**trial.values, "augment.enabled": True}, trial.score) for i, trial in enumerate(trials)]
    assert "augment.enabled" not in shares_of(explain(fixed))


def test_forests_are_imported_only_to_weigh():
    program = "import harness.search.report.page, sys; sys.exit(bool({'sklearn', 'tensorflow'} & set(sys.modules)))"
    done = run_python(program)
    assert done.returncode == 0, done.stderr


def test_numbers_stand_by_their_size_and_choices_at_even_distances():
    space = {
        "optim.learning_rate": Range(min=0.001, max=0.1, sampling="log"),
        "model.dense_dropout": Range(min=0.2, max=0.6),
        "augment.rotation": Range(values=(20.0, 5.0, 10.0)),
        "optim.name": Range(values=("sgd", "adam")),
    }
    rate, dropout, rotation, name = make_axes(space, ())
    assert [rate.place(value) for value in (0.001, 0.01, 0.1)] == pytest.approx([0, 0.5, 1])
    assert [dropout.place(value) for value in (0.2, 0.3, 0.6)] == pytest.approx([0, 0.25, 1])
    assert [rotation.place(value) for value in (5.0, 10.0, 20.0)] == [0, 0.5, 1]
    assert [name.place(value) for value in ("sgd", "adam")] == [0, 1]
    assert (rotation.is_ordered, name.is_ordered) == (True, False)
