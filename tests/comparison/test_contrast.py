"""Whether runs differ beyond chance: hand-made answers with the numbers and words that must come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import rows_of

from harness.comparison import contrast
from harness.results.statistics.differences import Difference

GOOD, BAD = [0.9] * 8 + [0.1] * 8, [0.1] * 8 + [0.9] * 8


def swap(chances, count):
    """The same with the first answers wrong."""
    return [1 - chance for chance in chances[:count]] + list(chances[count:])


def test_what_one_gets_right_and_the_other_does_not_is_counted():
    # The reference is wrong on pictures 0 to 2, the other on 2 and 3: it wins 0 and 1, loses 3.
    other = [*GOOD[:2], 0.1, 0.1, *GOOD[4:]]
    (found,) = contrast.contrast(rows_of(swap(GOOD, 3)), [rows_of(other)])
    assert (found.num_won, found.num_lost) == (2, 1)
    assert found.mcnemar == pytest.approx(1.0)  # two of three or more, or one or less, of a fair coin
    assert found.accuracy.difference.mean == pytest.approx(1 / 16)
    assert found.accuracy.word == found.loss.word == "not shown to differ"


def test_the_exact_test_is_that_of_mcnemar():
    # Seven pictures won and none lost: 2 / 2^7.
    (found,) = contrast.contrast(rows_of(swap(GOOD, 7)), [rows_of(GOOD)])
    assert (found.num_won, found.num_lost, found.mcnemar) == (7, 0, pytest.approx(0.015625))
    assert found.accuracy.word == "better" and found.accuracy.p_value == pytest.approx(0.015625)
    (found,) = contrast.contrast(rows_of(GOOD), [rows_of(swap(GOOD, 7))])
    assert found.accuracy.word == "worse" and found.loss.word == "worse"


def test_few_pictures_show_nothing_however_alike_they_are():
    """Student's t takes three equal differences for certain; McNemar's test does not: 2 / 2^3 is 0.25."""
    (found,) = contrast.contrast(rows_of([0.1, 0.1, 0.9]), [rows_of([0.9, 0.9, 0.1])])
    assert found.accuracy.difference == Difference(1.0, pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 3))), 1.0)
    assert found.accuracy.p_value == 0.25 and found.accuracy.word == "not shown to differ"


def test_pictures_of_a_group_count_as_one():
    """Seven pictures won show something if they are independent, and nothing if they are all of one of four people."""
    groups = ["one"] * 8 + ["two"] * 3 + ["three"] * 3 + ["four"] * 2
    (found,) = contrast.contrast(rows_of(swap(GOOD, 7), groups=groups), [rows_of(GOOD, groups=groups)])
    assert found.mcnemar == pytest.approx(0.015625)
    assert found.accuracy.p_value > 0.1 and found.accuracy.word == "not shown to differ"


def test_the_same_answers_do_not_differ():
    (found,) = contrast.contrast(rows_of(GOOD), [rows_of(GOOD)])
    assert (found.accuracy.p_value, found.loss.p_value, found.mcnemar) == (1.0, 1.0, 1.0)
    assert found.accuracy.word == found.loss.word == "not shown to differ"


def test_among_many_runs_chance_has_many_tries():
    """What shows in a comparison of two, 0.015625, does not among five: Holm takes it five times."""
    others = [rows_of(GOOD), *[rows_of(swap(GOOD, 7))] * 4]
    found = contrast.contrast(rows_of(swap(GOOD, 7)), others)
    assert found[0].accuracy.p_value == pytest.approx(0.078125)
    assert found[0].accuracy.word == "not shown to differ" and found[0].mcnemar == pytest.approx(0.015625)


def test_p_values_after_holm():
    assert contrast.correct([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert contrast.correct([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert contrast.correct([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lowers_nothing(p_values):
    found = contrast.correct(p_values)
    assert all(old <= new <= 1 for old, new in zip(p_values, found))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [found[index] for index in order] == sorted(found)


def draw_equal_runs(random, num_runs, num_groups, size):
    """Answers of runs that differ by chance only, which pictures of a group share."""
    num, groups = num_groups * size, np.repeat(np.arange(num_groups), size)
    common = 1.2 + random.normal(0, 1, num_groups)[groups] + random.normal(0, 0.7, num)
    for _ in range(num_runs):
        logits = common + random.normal(0, 0.8, num_groups)[groups] + random.normal(0, 0.8, num)
        yield rows_of((1 / (1 + np.exp(-logits))).tolist(), groups=groups.astype(str).tolist(), label="happy")


@pytest.mark.slow
def test_equal_runs_are_rarely_called_different_however_many_there_are():
    random, told, by_mcnemar_alone = np.random.default_rng(5), 0, 0
    for _ in range(200):
        first, *others = draw_equal_runs(random, 6, 40, 5)
        found = contrast.contrast(first, others)
        told += any(one.accuracy.word != "not shown to differ" for one in found)
        by_mcnemar_alone += any(one.mcnemar < 0.05 for one in found)
    assert told <= 20 and by_mcnemar_alone >= 60
