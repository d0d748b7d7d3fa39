"""Calibration: what is fitted, what chance gives, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results.statistics import calibration


def draw(num, num_classes=2, *, temperature=1.0, seed=0):
    """Labels drawn from the probabilities of logits, and the probabilities that these times a temperature give."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (num, num_classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random(num)[:, None] > true.cumsum(axis=1)).sum(axis=1)
    told = np.exp(logits * temperature)
    return labels, told / told.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_temperature_of_overconfident_logits_is_found(num_classes):
    labels, chances = draw(5000, num_classes, temperature=2.5)
    found = calibration.fit_temperature(labels, chances)
    assert found.value == pytest.approx(2.5, rel=0.07)
    assert found.loss_after < found.loss_before - 0.1
    cooled = calibration.apply_temperature(chances, found.value)
    assert -np.log(cooled[np.arange(5000), labels]).mean() == pytest.approx(found.loss_after)
    assert cooled.sum(axis=1) == pytest.approx(1) and (cooled.argmax(axis=1) == chances.argmax(axis=1)).all()


def test_too_few_pictures_are_refused_in_words():
    labels, chances = draw(199)
    found = calibration.choose(labels, chances)
    assert (found.temperature, found.threshold) == (None, None)
    assert found.refused == "a temperature and a threshold need 200 validation pictures, and there are 199"
    assert calibration.choose(*draw(200)).refused == ""
    one_class = calibration.choose(np.ones(200, int), draw(200)[1])
    assert one_class.temperature is None and "one class" in one_class.refused


def test_the_error_of_a_model_that_tells_the_truth_is_what_chance_gives():
    """With 38 pictures 0.08 to 0.19 for 15 bins, which a bare figure would call badly calibrated."""
    labels, chances = draw(38)
    found = calibration.measure(labels, chances, np.arange(38), calibration.choose(labels, chances))
    low, high = found.ece_by_chance
    assert low == pytest.approx(0.077, abs=0.03) and high == pytest.approx(0.2, abs=0.05)
    assert low < found.ece < high
    assert sum(one.num_examples for one in found.bins) == 38
    assert all(one.low <= one.confidence <= one.high for one in found.bins)


def test_bins_of_an_overconfident_model_lie_below_chance():
    labels, chances = draw(5000, temperature=3.0)
    found = calibration.measure(labels, chances, np.arange(5000), calibration.choose(labels, chances))
    assert found.ece > found.ece_by_chance[1]
    sure = found.bins[-1]
    assert sure.high == 1.0 and sure.accuracy < sure.by_chance[0] <= sure.by_chance[1]


def test_leaving_the_least_sure_to_a_person_raises_the_accuracy():
    labels, chances = draw(1000)
    choices = calibration.choose(labels, chances)
    rows = calibration.measure(labels, chances, np.arange(1000), choices).coverage
    assert [row.share_left for row in rows] == [0.0, 0.1, 0.2, 0.3]
    assert [row.num_answered for row in rows] == [1000, 900, 800, 700]
    accuracies = [row.accuracy for row in rows]
    assert accuracies == sorted(accuracies) and rows[3].accuracy_ci95[0] < accuracies[3] < rows[3].accuracy_ci95[1]
    # The thresholds of the validation are applied to other pictures as they are.
    others = calibration.measure(*draw(100, seed=1), np.arange(100), choices).coverage
    assert [row.threshold for row in others] == [row.threshold for row in rows]
    assert others[1].num_answered != 100


@given(st.integers(1, 20), st.integers(2, 5), st.integers(0, 99))
def test_any_pictures_have_a_calibration_without_nan(num, num_classes, seed):
    labels, chances = draw(max(num, num_classes), num_classes, seed=seed)
    labels, chances = labels[:num], np.eye(num_classes)[labels[:num]] if seed % 2 else chances[:num]
    found = calibration.measure(labels, chances, np.zeros(num, int), calibration.choose(labels, chances))
    assert 0 <= found.ece <= 1 and 0 <= found.ece_by_chance[0] <= found.ece_by_chance[1] <= 1
    assert sum(one.num_examples for one in found.bins) == num == found.coverage[0].num_answered
    assert all(0 <= one.by_chance[0] <= one.by_chance[1] <= 1 for one in found.bins)
    assert found == calibration.measure(labels, chances, np.zeros(num, int), calibration.choose(labels, chances))


def test_the_threshold_is_that_of_the_highest_balanced_accuracy():
    """Scores of the second class: 100 pictures of it at 0.2 to 0.3, 100 others below 0.1."""
    second = np.concatenate([np.linspace(0.0, 0.1, 100), np.linspace(0.2, 0.3, 100)])
    found = calibration.choose(np.repeat([0, 1], 100), np.stack([1 - second, second], axis=1)).threshold
    assert found.value == pytest.approx(0.15) and found.balanced_accuracy == 1.0
    assert found.balanced_accuracy_at_half == 0.5
