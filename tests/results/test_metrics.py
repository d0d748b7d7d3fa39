"""Figures against values worked out by hand."""

import numpy as np
import pytest

from harness.results import metrics


def test_the_figures_of_four_predictions():
    labels = np.array([0, 0, 1, 1])
    chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = metrics.measure(labels, chances, ("happy", "sad"), skipped=2)
    assert found.num_examples == 4 and found.skipped == 2
    assert found.accuracy == 0.75
    assert found.confusion == ((1, 1), (0, 2))
    assert found.loss == pytest.approx(-(np.log(0.9) + np.log(0.4) + np.log(0.8) + np.log(0.7)) / 4)
    assert found.auc == 1.0  # both sad pictures rank above both happy ones
    assert found.per_class["happy"] == {"num_examples": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert found.per_class["sad"] == {"num_examples": 2, "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8}
    # 15 bins: 0.9 alone, right; 0.6 alone, wrong; 0.8 alone, right; 0.7 alone, right
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)


def test_ties_count_half_in_the_auc():
    found = metrics.measure(np.array([0, 1, 1]), np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]), ("a", "b"))
    assert found.auc == 0.75


def test_one_class_alone_has_no_auc():
    found = metrics.measure(np.array([1, 1]), np.array([[0.1, 0.9], [0.6, 0.4]]), ("a", "b"))
    assert found.auc is None
    assert found.per_class["a"] == {"num_examples": 0, "precision": 0.0, "recall": None, "f1": 0.0}


def test_the_auc_of_several_classes_is_the_mean_of_one_against_the_rest():
    chances = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
    found = metrics.measure(np.array([0, 1, 2]), chances, ("a", "b", "c"))
    assert found.auc == 1.0 and found.accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_the_interval_is_wilsons(correct, total, low, high):
    assert metrics.wilson_interval(correct, total) == pytest.approx((low, high), abs=1e-4)
