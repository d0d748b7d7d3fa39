"""Intervals hold the truth about as often as they say, for pictures alone and in groups."""

import numpy as np
import pytest

from harness.results.statistics import intervals


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_pictures_on_their_own_have_wilsons_interval(correct, total, low, high):
    is_hit = np.arange(total) < correct
    assert intervals.of_share(is_hit, np.arange(total)) == pytest.approx((low, high), abs=1e-4)


def test_groups_that_are_right_or_wrong_as_one_count_as_one_picture_each():
    """4 of 8 groups of 5: 7 pictures' worth, since the variance between 8 groups has 7 degrees of freedom."""
    is_hit = np.repeat([True, False], 20)
    low, high = intervals.of_share(is_hit, np.repeat(np.arange(8), 5))
    # Wilson for 3.5 of 7 with t(7) = 2.3646
    assert (low, high) == pytest.approx((0.1668, 0.8332), abs=1e-4)


def test_where_all_are_right_a_group_of_pictures_is_one_picture():
    low, high = intervals.of_share(np.ones(40, bool), np.repeat(np.arange(8), 5))
    assert (low, high) == pytest.approx((8 / (8 + 2.3646**2), 1.0), abs=1e-4)


def test_one_group_tells_nothing_and_no_picture_has_no_interval():
    assert intervals.of_share(np.array([True, True]), np.zeros(2, int)) == (0.0, 1.0)
    assert intervals.of_share(np.empty(0, bool), np.empty(0, int)) is None
    assert intervals.of_share(np.array([True]), np.array([0])) == pytest.approx((0.2065, 1.0), abs=1e-4)


def draw_groups(random, num_groups, size, truth, correlation):
    """Answers [groups, size] that are right with probability `truth`, alike within a group (beta-binomial)."""
    spread = (1 - correlation) / correlation
    chances = random.beta(truth * spread, (1 - truth) * spread, num_groups)
    return random.random((num_groups, size)) < chances[:, None]


@pytest.mark.parametrize("num_groups", [8, 40])
@pytest.mark.parametrize("correlation", [0.05, 0.3])
def test_the_interval_of_a_share_holds_the_truth(num_groups, correlation):
    random, members = np.random.default_rng(3), np.repeat(np.arange(num_groups), 5)
    held, held_by_plain = 0, 0
    for _ in range(400):
        is_hit = draw_groups(random, num_groups, 5, 0.85, correlation).ravel()
        low, high = intervals.of_share(is_hit, members)
        held += low <= 0.85 <= high
        low, high = intervals.wilson(is_hit.mean(), len(is_hit))
        held_by_plain += low <= 0.85 <= high
    assert held / 400 >= 0.93
    if correlation == 0.3:
        assert held_by_plain / 400 < 0.9  # what counting pictures would give


def test_the_bootstrap_of_few_groups_holds_the_truth():
    random, members = np.random.default_rng(4), np.repeat(np.arange(8), 5)
    held = 0
    for seed in range(150):
        values = random.normal(0, 1, 8)[members] + random.normal(0, 1, 40)
        found = intervals.bootstrap(
            lambda weights, v=values: {"mean": weights @ v / weights.sum(1)}, members, seed=seed
        )
        held += found["mean"][0] <= 0 <= found["mean"][1]
    assert 0.92 <= held / 150 < 1


def test_a_bootstrap_comes_out_the_same_again_and_has_no_end_where_nothing_varies():
    values, members = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0, 1, 1, 2])

    def figures(weights):
        return {
            "mean": weights @ values / weights.sum(1),
            "one": np.ones(len(weights)),
            "none": np.full(len(weights), np.nan),
        }

    first, again = (intervals.bootstrap(figures, members) for _ in range(2))
    assert first == again and first["one"] is None and first["none"] is None
    assert 0 <= first["mean"][0] < 2 < first["mean"][1] <= 5
    assert intervals.bootstrap(figures, np.zeros(4, int)) == {"mean": None, "one": None, "none": None}


def test_groups_are_numbered_by_their_names():
    assert intervals.number_groups(["b", "a", "b", "\ud800"]).tolist() == [1, 0, 1, 2]


def test_a_figure_that_resamples_change_has_no_interval():
    """How many groups there are is always higher than in resamples, which lack some of them."""

    def figures(weights):
        return {"groups": (weights > 0).sum(axis=1).astype(float)}

    assert intervals.bootstrap(figures, np.arange(30)) == {"groups": None}
