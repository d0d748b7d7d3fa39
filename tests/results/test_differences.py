"""The interval of a difference holds the truth about as often as it says, whatever the kind of chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results.statistics import differences

KINDS = {
    "seeds as a whole": {"seed": 0.3, "picture": 0.3},
    "single pictures": {"picture": 1.0},
    "pictures of a group": {"group": 0.5, "picture": 0.3},
    "one of the two steady": {"seed": 0.3, "picture": 0.3, "second_seed": 0.03},
    "other pictures suit": {"seed": 0.1, "picture": 0.3, "suits": 1.0},
}


def draw(random, num_groups, size, num_seeds, *, picture, seed=0.0, group=0.0, suits=0.0, second_seed=None):
    """Figures of two ways of training that differ by 0 in truth, as normal deviations of each kind; and the groups."""
    groups = np.repeat(np.arange(num_groups), size)
    common = random.normal(0, 1, num_groups)[groups]

    def train(seed):
        of_group = random.normal(0, group, (num_seeds, num_groups))[:, groups]
        of_picture = random.normal(0, picture, (num_seeds, len(groups)))
        return common + random.normal(0, seed, (num_seeds, 1)) + of_group + of_picture

    first = train(seed) + random.normal(0, suits, num_groups)[groups]
    return first, train(seed if second_seed is None else second_seed), groups.astype(str)


def count_held(kind, num_groups, size, num_seeds, num_drawn=400):
    """The share of simulations whose interval holds 0."""
    random = np.random.default_rng(7)
    found = [differences.estimate(*draw(random, num_groups, size, num_seeds, **kind)) for _ in range(num_drawn)]
    return np.mean([one.low <= 0 <= one.high for one in found])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("num_groups", "size"), [(8, 5), (40, 1), (200, 2)])
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_the_truth_is_within_as_often_as_the_interval_says(kind, num_groups, size, num_seeds):
    assert 0.88 <= count_held(KINDS[kind], num_groups, size, num_seeds) <= 0.995


def test_seeds_are_a_part_of_the_chance_as_soon_as_there_are_two():
    """With one seed the interval holds the pictures' chance only, and the truth is outside of most."""
    kind = KINDS["seeds as a whole"]
    assert count_held(kind, 40, 1, 1, 200) < 0.4
    assert count_held(kind, 40, 1, 3, 200) > 0.9


def test_groups_are_a_part_of_the_chance():
    """What is the same for all pictures of a group must not count once for each."""
    random = np.random.default_rng(3)
    first, second, groups = draw(random, 8, 20, 1, picture=0.01, group=1.0)
    grouped = differences.estimate(first, second, groups)
    each = differences.estimate(first, second, [str(index) for index in range(len(groups))])
    assert each.mean == grouped.mean and grouped.high - grouped.low > 3 * (each.high - each.low)


def test_a_hand_made_interval_of_two_seeds_each():
    # Means of the seeds: 1 and 3; 0 and 0. Every picture differs by 2, so pictures have no part; the seeds of the first
    # have variance 2 / 2 = 1, and it alone has degrees of freedom: 1, whose t is 12.7062.
    found = differences.estimate(np.array([[1.0, 1.0], [3.0, 3.0]]), np.zeros((2, 2)), ["a", "b"])
    assert found.mean == 2.0
    assert (found.low, found.high) == (pytest.approx(2 - 12.7062, abs=1e-4), pytest.approx(2 + 12.7062, abs=1e-4))


def test_the_part_of_single_seeds_on_single_pictures_counts_once():
    # Seed 1 says 2, 0 and seed 2 says 0, 2: both have mean 1, each picture too, so neither pictures nor seeds move it.
    found = differences.estimate(np.array([[2.0, 0.0], [0.0, 2.0]]), np.zeros((2, 2)), ["a", "b"])
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_a_hand_made_p_value():
    # The pictures differ by 0, 1, 1, 0: mean 1/2, standard error (1/12)^0.5, so t is 3^0.5 with 3 degrees of freedom.
    first, second, groups = np.array([[1.0, 1.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.0, 0.0]]), ["a", "b", "c", "d"]
    assert differences.p_value(first, second, groups) == pytest.approx(0.18169, abs=1e-5)
    assert differences.p_value(first, first, groups) == 1.0
    assert differences.p_value(first, second, ["a"] * 4) == 1.0  # one group tells nothing
    assert differences.p_value(np.ones((1, 4)), np.zeros((1, 4)), groups) == 0.0  # no picture differs otherwise


def test_pictures_that_all_differ_alike_tell_as_much_as_there_are_groups_of_them():
    """Of shares: the chance to see none of those that differ otherwise is 2.5 %, where these are 1 - 0.025^(1/n)."""
    for num, unseen, won in ((3, 0.708, False), (5, 0.522, False), (6, 0.459, True), (100, 0.036, True)):
        right, wrong, groups = np.ones((1, num)), np.zeros((1, num)), [str(number) for number in range(num)]
        found = differences.estimate(right, right, groups, is_share=True)
        assert (found.mean, found.low, found.high) == (
            0.0,
            pytest.approx(-unseen, abs=1e-3),
            pytest.approx(unseen, abs=1e-3),
        )
        found = differences.estimate(right, wrong, groups, is_share=True)
        assert (found.mean, found.low, found.high) == (1.0, pytest.approx(1 - 2 * unseen, abs=2e-3), 1.0)
        assert (found.low > 0) == won == (differences.p_value(right, wrong, groups, is_share=True) < 0.05)


@given(st.integers(1, 200), st.integers(1, 3), st.integers(0, 3))
def test_groups_that_all_differ_alike_by_a_part_have_a_p_value_that_fits_the_interval(num_groups, size, num_won):
    first = np.tile(np.arange(size) < num_won, num_groups).astype(float)[None]
    groups = np.repeat(np.arange(num_groups), size)
    found = differences.estimate(first, np.zeros_like(first), groups, is_share=True)
    is_shown = differences.p_value(first, np.zeros_like(first), groups, is_share=True) < 0.05
    assert is_shown == (found.low > 0 or found.high < 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 8)), min_size=2, max_size=12))
def test_of_shares_too_an_interval_without_0_and_a_p_value_below_5_percent_are_the_same(drawn):
    first, second = (np.array([[row[column] for row in drawn]], float) for column in (0, 1))
    groups = [group for *_, group in drawn]
    found = differences.estimate(first, second, groups, is_share=True)
    is_shown = differences.p_value(first, second, groups, is_share=True) < 0.05
    assert is_shown == (found.low > 0 or found.high < 0)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), min_size=2, max_size=12))
def test_an_interval_without_0_and_a_p_value_below_5_percent_are_the_same(drawn):
    values, groups = np.array([[float(value) for value, _ in drawn]]), [group for _, group in drawn]
    found = differences.estimate(values, np.zeros_like(values), groups)
    assert (differences.p_value(values, np.zeros_like(values), groups) < 0.05) == (found.low > 0 or found.high < 0)
