"""What is tried next follows from the trials there are, whatever became of the process that asked before."""

import math

import pytest

from harness.config import settings
from harness.config.settings import Setting
from harness.search.oracle import Proposal, count_trials, propose
from harness.search.trials.trial_folder import Record

SPACE = {
    "optim.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
    "model.dense_units": {"values": [4, 8, 16]},
    "optim.name": {"values": ["adam", "sgd"]},
    "optim.momentum": {"min": 0.0, "max": 0.9, "when": {"optim.name": "sgd"}},
}
SMALL = {"optim.learning_rate": {"values": [1e-4, 1e-2]}, "model.dense_units": {"values": [4, 8]}}
DEFAULT = {"optim.learning_rate": 1e-3, "model.dense_units": 256}


def make_config(algorithm, space=SPACE, **tune):
    stated = {"algorithm": algorithm, "space": space, **tune}
    return settings.make_config({f"tune.{name}": Setting(value, "a test") for name, value in stated.items()})


def score(values, plan):
    """Best near a learning rate of 1e-3, and better with more epochs."""
    return abs(math.log10(values["optim.learning_rate"]) + 3) + 0.5 / (1 + plan.get("tuner/epochs", 0))


def run(config, *, most=100):
    """Tries all that is proposed, one trial after the other."""
    records, scores = {}, {}
    while len(records) < most:
        name = f"{len(records):03d}"
        proposal = propose(config, name, records, scores)
        if proposal.status != "RUNNING":
            assert proposal.status == "STOPPED"
            break
        records[name] = Record(dict(proposal.values), dict(proposal.plan), proposal.draws, "", "completed")
        scores[name] = score(proposal.values, proposal.plan)
    return records, scores


@pytest.mark.parametrize("algorithm", ["random", "grid", "hyperband"])
def test_the_defaults_are_tried_first_then_the_values_to_start_with(algorithm):
    start = [{"model.dense_units": 8}, {"optim.learning_rate": 0.01, "model.dense_units": 4}]
    records, _ = run(make_config(algorithm, SMALL, trials=20, max_epochs=4, start=start))
    first = [dict(record.values) for record in records.values()][:3]
    assert first == [
        DEFAULT,
        {"optim.learning_rate": 1e-3, "model.dense_units": 8},
        {"optim.learning_rate": 0.01, "model.dense_units": 4},
    ]


def test_grid_tries_every_combination_once():
    records, _ = run(make_config("grid", SMALL, trials=20))
    assert [tuple(record.values.values()) for record in records.values()] == [
        (1e-3, 256),
        (1e-4, 4),
        (1e-4, 8),
        (1e-2, 4),
        (1e-2, 8),
    ]


def test_random_ends_with_the_space_and_repeats_nothing():
    records, _ = run(make_config("random", SMALL, trials=20))
    assert len(records) == 5
    assert len({tuple(record.values.values()) for record in records.values()}) == 5


def test_random_uses_a_finite_space_up_to_its_last_combination():
    space = {"model.dense_units": {"min": 1, "max": 40}, "augment.flip": {"values": [0.0]}}
    records, _ = run_failing(make_config("random", space, trials=99))
    assert sorted(record.values["model.dense_units"] for record in records.values()) == [*range(1, 41), 256]


def test_random_tries_the_last_values_of_a_space_too():
    space = {"model.dense_units": {"min": 1, "max": 120}, "model.head": {"values": ["softmax"]}}
    config = make_config("random", space, trials=121)
    values = [{"model.dense_units": units, "model.head": "softmax"} for units in range(1, 121)]
    records = {f"{at:03d}": Record(one, {}, 1, "", "failed") for at, one in enumerate(values) if at != 77}
    records["120"] = Record({"model.dense_units": 256, "model.head": "auto"}, {}, 1, "", "failed")
    assert propose(config, "121", records, {}).values == values[77]


@pytest.mark.parametrize("algorithm", ["random", "grid", "hyperband"])
def test_defaults_that_are_not_tied_as_the_space_ties_them_are_tried_once(algorithm):
    space = {"model.dense_dropout": {"values": [0.1, 0.2]}, "model.dropout": {"tied": "model.dense_dropout"}}
    config = make_config(algorithm, space, trials=9, max_epochs=2)
    tried = [dict(record.values) for record in run_failing(config)[0].values()]
    assert tried[0] == {"model.dense_dropout": 0.5, "model.dropout": 0.1}
    assert sorted(values["model.dense_dropout"] for values in tried[1:]) == [0.1, 0.2]


def test_a_number_of_trials_is_kept():
    records, _ = run(make_config("random", trials=7))
    assert len(records) == 7 == count_trials(make_config("random", trials=7).tune)


def test_proposals_differ_with_the_seed_and_are_the_same_with_it():
    found = [run(make_config("random", trials=6, seed=seed))[0] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_hyperband_promotes_the_best_of_each_round():
    config = make_config("hyperband", max_epochs=9)
    records, scores = run(config)
    assert len(records) == 23 == count_trials(config.tune)
    promoted = {name: record for name, record in records.items() if "tuner/trial_id" in record.plan}
    assert len(promoted) == 6
    for record in promoted.values():
        origin = records[record.plan["tuner/trial_id"]]
        assert record.values == origin.values
        assert record.plan["tuner/initial_epoch"] == origin.plan["tuner/epochs"] < record.plan["tuner/epochs"]
    first_round = [name for name in records if records[name].plan["tuner/epochs"] == 1]
    best = sorted(first_round, key=scores.get)[:3]
    assert {record.plan["tuner/trial_id"] for record in promoted.values()} >= set(best)


def test_hyperband_promotes_the_best_of_a_space_with_few_values():
    records, scores = run(make_config("hyperband", SMALL, max_epochs=9))
    epochs = [record.plan["tuner/epochs"] for record in records.values()]
    assert epochs == [1] * 5 + [3] * 3 + [9]
    best = min(list(records)[:5], key=scores.get)
    assert records["008"].values == records[best].values


def test_hyperband_promotes_as_many_as_it_can_where_trials_fail():
    config = make_config("hyperband", max_epochs=9)
    records, scores = {}, {}
    while (proposal := propose(config, f"{len(records):03d}", records, scores)).status == "RUNNING":
        name, has_failed = f"{len(records):03d}", len(records) < 8
        status = "failed" if has_failed else "completed"
        records[name] = Record(dict(proposal.values), dict(proposal.plan), proposal.draws, "", status)
        if not has_failed:
            scores[name] = score(proposal.values, proposal.plan)
    assert proposal.status == "STOPPED"
    first = [(record.plan["tuner/epochs"], record.plan.get("tuner/trial_id")) for record in records.values()][:11]
    assert first == [(1, None)] * 9 + [(3, "008"), (9, "009")]


def test_hyperband_waits_for_a_round_that_is_still_running():
    config = make_config("hyperband", max_epochs=3)
    records = {}
    for number in range(count_trials(config.tune)):
        proposal = propose(config, f"{number:03d}", records, {})
        if proposal.status != "RUNNING":
            break
        records[f"{number:03d}"] = Record(dict(proposal.values), dict(proposal.plan), proposal.draws, "")
    assert proposal == Proposal("IDLE", {}, {}, proposal.draws)
    assert {record.plan["tuner/round"] for record in records.values()} == {0}


@pytest.mark.slow
def test_bayesian_search_never_repeats_values_and_leaves_out_what_lies_beside_the_space():
    space = {"optim.learning_rate": SPACE["optim.learning_rate"]}
    records, _ = run(make_config("bayesian", space, trials=6))
    rates = [record.values["optim.learning_rate"] for record in records.values()]
    assert rates[0] == 1e-3 and len(set(rates)) == 6
    beside = make_config("bayesian", {"model.dense_units": {"values": [2, 4, 8, 16, 32]}}, trials=6)
    records, _ = run_units(beside)
    assert sorted(record.values["model.dense_units"] for record in records.values()) == [2, 4, 8, 16, 32, 256]


def run_units(config):
    records, scores = {}, {}
    for number in range(6):
        name = f"{number:03d}"
        proposal = propose(config, name, records, scores)
        units = proposal.values["model.dense_units"]
        status = "running" if number == 4 else "completed"
        records[name] = Record(dict(proposal.values), {}, proposal.draws, "", status)
        if status == "completed":
            scores[name] = float(units)
    return records, scores


def test_failed_trials_count_and_are_not_tried_again():
    config = make_config("random", SMALL, trials=20)
    records, scores = {}, {}
    while (proposal := propose(config, f"{len(records):03d}", records, scores)).status == "RUNNING":
        name = f"{len(records):03d}"
        records[name] = Record(dict(proposal.values), {}, proposal.draws, "", "failed", reason="it diverged")
    assert len(records) == 5


def test_records_that_have_lost_their_draws_do_not_end_the_search():
    config = make_config("random", trials=30)
    records, scores = run(config, most=20)
    lost = {name: Record(record.values, {}, 0, "", "completed") for name, record in records.items()}
    proposal = propose(config, "020", lost, scores)
    assert proposal.status == "RUNNING" and dict(proposal.values) not in [record.values for record in records.values()]


def test_whole_numbers_and_fractions_that_are_equal_are_one_value():
    space = {"augment.rotation": {"values": [5, 10]}}
    config = make_config("grid", space, trials=9)
    records, _ = run_failing(config)
    assert [record.values["augment.rotation"] for record in records.values()] == [10.0, 5.0]


def run_failing(config):
    records = {}
    while (proposal := propose(config, f"{len(records):03d}", records, {})).status == "RUNNING":
        records[f"{len(records):03d}"] = Record(dict(proposal.values), {}, proposal.draws, "", "failed", reason="x")
    return records, {}
