"""Figures against values worked out by hand, and against scikit-learn's."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from harness.results import metrics


def test_the_figures_of_four_predictions():
    labels = np.array([0, 0, 1, 1])
    chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = metrics.measure(labels, chances, ("happy", "sad"), groups=["a", "b", "c", "c"], skipped=2)
    assert (found.num_examples, found.num_groups, found.skipped) == (4, 3, 2)
    assert found.accuracy == 0.75
    assert (found.majority_class, found.majority_accuracy) == ("happy", 0.5)
    assert found.confusion == ((1, 1), (0, 2))
    assert found.loss == pytest.approx(-(np.log(0.9) + np.log(0.4) + np.log(0.8) + np.log(0.7)) / 4)
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.04 + 0.09) / 4)
    assert found.balanced_accuracy == 0.75
    assert found.f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert found.auc == 1.0  # both sad pictures rank above both happy ones
    assert found.average_precision == 1.0
    happy, sad = found.per_class["happy"], found.per_class["sad"]
    assert [happy[name] for name in ("num_examples", "precision", "recall", "f1")] == [
        2,
        1.0,
        0.5,
        pytest.approx(2 / 3),
    ]
    assert [sad[name] for name in ("num_examples", "precision", "recall", "f1")] == [2, pytest.approx(2 / 3), 1.0, 0.8]
    assert sad["recall_ci95"] == (0.0, 1.0)  # both sad pictures are of one group
    assert happy["recall_ci95"] == pytest.approx((0.0945, 0.9055), abs=1e-4)  # Wilson for 1 of 2


def test_the_interval_of_f1_follows_from_that_of_the_shared_pictures():
    """2 hits among 4 pictures of the class or taken for it: J = 1/2, Wilson 0.1500 to 0.8500; F1 = 2J / (1 + J)."""
    labels, predicted = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1])
    found = metrics.measure(labels, np.eye(2)[predicted], ("a", "b")).per_class["a"]
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_ci95"] == pytest.approx((0.2609, 0.9189), abs=1e-4)


def test_ties_count_half_in_the_auc():
    found = metrics.measure(np.array([0, 1, 1]), np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]), ("a", "b"))
    assert found.auc == 0.75


def test_one_class_alone_has_no_auc():
    found = metrics.measure(np.array([1, 1]), np.array([[0.1, 0.9], [0.6, 0.4]]), ("a", "b"))
    assert (found.auc, found.average_precision, found.auc_ci95) == (None, None, None)
    empty = found.per_class["a"]
    assert (empty["num_examples"], empty["precision"], empty["recall"], empty["f1"]) == (0, 0.0, None, 0.0)
    assert (empty["recall_ci95"], empty["auc"]) == (None, None)
    assert found.balanced_accuracy == 0.5  # of the class that has pictures


def test_a_class_without_pictures_is_left_out_of_the_means():
    chances = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    found = metrics.measure(np.array([0, 0, 1, 1]), chances, ("a", "b", "c"))
    assert found.balanced_accuracy == 0.75
    assert found.f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.per_class["c"]["f1"] is None and found.per_class["c"]["precision"] is None


def draw(num, num_classes, seed=0):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), random.integers(num_classes, size=num - num_classes)])
    logits = random.normal(0, 1, (num, num_classes)).round(1) + np.eye(num_classes)[labels]
    chances = np.exp(logits)
    return labels, chances / chances.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_figures_are_those_of_scikit_learn(num_classes):
    labels, chances = draw(200, num_classes)
    predicted, names = chances.argmax(axis=1), [str(i) for i in range(num_classes)]
    found = metrics.measure(labels, chances, names)
    positive = chances[:, 1] if num_classes == 2 else chances
    scores = np.stack([-positive, positive], axis=1) if num_classes == 2 else chances
    assert found.auc == pytest.approx(sklearn_metrics.roc_auc_score(labels, positive, multi_class="ovr"))
    assert found.average_precision == pytest.approx(
        np.mean([sklearn_metrics.average_precision_score(labels == i, scores[:, i]) for i in range(num_classes)])
    )
    assert found.loss == pytest.approx(sklearn_metrics.log_loss(labels, chances))
    assert found.balanced_accuracy == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predicted))
    assert found.f1 == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    if num_classes == 2:
        assert found.brier == pytest.approx(sklearn_metrics.brier_score_loss(labels, chances[:, 1]))


def test_intervals_lie_around_their_figures_and_are_wider_for_pictures_in_groups():
    labels, chances = draw(60, 2)
    alone = metrics.measure(labels, chances, ("a", "b"))
    # every picture 4 times over tells no more than once
    labels, chances = np.repeat(labels, 4), np.repeat(chances, 4, axis=0)
    groups = [str(i // 4) for i in range(240)]
    grouped, counted = (metrics.measure(labels, chances, ("a", "b"), groups=of) for of in (groups, None))
    for name in ("loss", "brier", "accuracy", "balanced_accuracy", "f1", "auc", "average_precision"):
        (low, high), value = getattr(grouped, f"{name}_ci95"), getattr(grouped, name)
        assert low < value < high
        one, too_sure = ((end[1] - end[0]) for end in (getattr(run, f"{name}_ci95") for run in (alone, counted)))
        assert high - low == pytest.approx(one, rel=0.1) and too_sure < 0.7 * (high - low)


def test_resamples_without_a_class_do_not_flatter_the_means_over_classes():
    """A model that always says a: a resample without a picture of b would give it a mean recall of 1."""
    labels, groups = np.repeat([0, 1], [20, 15]), [str(i // 5) for i in range(35)]
    found = metrics.measure(labels, np.tile([0.7, 0.3], (35, 1)), ("a", "b"), groups=groups)
    assert (found.balanced_accuracy, found.balanced_accuracy_ci95) == (0.5, None)
    low, high = found.f1_ci95
    assert low < found.f1 < high < 0.5


def test_a_class_of_one_picture_leaves_the_means_over_classes_without_an_interval():
    labels, chances = np.arange(40), np.random.default_rng(0).dirichlet(np.ones(40), 40)
    found = metrics.measure(labels, chances, [str(i) for i in range(40)])
    for name in ("balanced_accuracy", "f1", "auc", "average_precision"):
        assert getattr(found, f"{name}_ci95") is None
    assert found.loss_ci95[0] < found.loss < found.loss_ci95[1]


def test_classes_of_a_few_pictures_each_have_intervals():
    labels, chances = draw(600, 100, seed=1)
    found = metrics.measure(labels, chances, [str(i) for i in range(100)])
    low, high = found.balanced_accuracy_ci95
    assert low < found.balanced_accuracy < high


@st.composite
def predictions(draw):
    num_classes, num = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    labels = draw(st.lists(st.integers(0, num_classes - 1), min_size=num, max_size=num))
    rows = st.lists(st.floats(0, 1), min_size=num_classes, max_size=num_classes)
    weights = np.array(draw(st.lists(rows, min_size=num, max_size=num))) + 1e-9
    groups = draw(st.lists(st.sampled_from("abc"), min_size=num, max_size=num))
    return np.array(labels), weights / weights.sum(axis=1, keepdims=True), groups, draw(st.permutations(range(num)))


def flatten(value):
    if isinstance(value, dict):
        return [part for each in value.values() for part in flatten(each)]
    return [part for each in value for part in flatten(each)] if isinstance(value, tuple | list) else [value]


@given(predictions())
def test_no_figure_is_nan_or_out_of_bounds_whatever_the_pictures_and_none_depends_on_their_order(drawn):
    labels, chances, groups, order = drawn
    names = [f"class {i}" for i in range(chances.shape[1])]
    found = dataclasses.asdict(metrics.measure(labels, chances, names, groups=groups))
    assert all(math.isfinite(value) for value in flatten(found) if isinstance(value, float))
    for name, value in found.items():
        if value is not None and name in ("accuracy", "balanced_accuracy", "f1", "auc", "average_precision"):
            assert 0 <= value <= 1 + 1e-12
            ends = found[f"{name}_ci95"]
            assert ends is None or -1e-12 <= ends[0] <= ends[1] <= 1 + 1e-12
    low, high = found["accuracy_ci95"]
    assert low <= found["accuracy"] + 1e-12 and found["accuracy"] <= high + 1e-12
    again = metrics.measure(labels[order], chances[order], names, groups=[groups[i] for i in order])
    for name in ("accuracy", "accuracy_ci95", "confusion", "auc", "loss", "f1", "per_class"):
        assert flatten(getattr(again, name)) == pytest.approx(flatten(found[name]))
