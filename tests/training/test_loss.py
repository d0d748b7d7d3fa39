"""Losses against values worked out by hand."""

import math

import pytest
import tensorflow as tf

from harness.training.loss import balance_classes, make_loss, probabilities


def test_the_sigmoid_loss_is_binary_cross_entropy():
    loss = make_loss(num_outputs=1, label_smoothing=0.0)
    found = loss(tf.constant([1, 0]), tf.constant([[2.0], [2.0]])).numpy()
    assert found == pytest.approx([math.log1p(math.exp(-2)), math.log1p(math.exp(2))])


def test_the_softmax_loss_is_categorical_cross_entropy():
    loss = make_loss(num_outputs=3, label_smoothing=0.0)
    assert loss(tf.constant([2]), tf.constant([[0.0, 0.0, 0.0]])).numpy() == pytest.approx([math.log(3)])


def test_smoothing_spreads_the_label():
    loss = make_loss(num_outputs=1, label_smoothing=0.2)
    found = float(loss(tf.constant([1]), tf.constant([[3.0]]))[0])
    assert found == pytest.approx(0.9 * math.log1p(math.exp(-3)) + 0.1 * math.log1p(math.exp(3)))


def test_balanced_classes_weigh_the_same():
    assert balance_classes([30, 10, 0, 20]) == pytest.approx([0.5, 1.5, 0.0, 0.75])
    loss = make_loss(num_outputs=1, label_smoothing=0.0, class_weights=[0.5, 2.0])
    found = loss(tf.constant([0, 1]), tf.constant([[0.0], [0.0]])).numpy()
    assert found == pytest.approx([0.5 * math.log(2), 2 * math.log(2)])


@pytest.mark.parametrize("num_outputs", [1, 2])
@pytest.mark.parametrize("logit", [-80.0, -16.0, -1.0, 0.0, 14.0, 16.0, 80.0])
def test_a_network_that_is_sure_is_as_exact_about_either_class(logit, num_outputs):
    logits = tf.constant([[logit]]) if num_outputs == 1 else tf.constant([[0.0, logit]])
    expected = [1 / (1 + math.exp(logit)), 1 / (1 + math.exp(-logit))]
    assert probabilities(logits).numpy()[0] == pytest.approx(expected, rel=1e-5, abs=0)


def test_probabilities_of_one_logit_are_those_of_two_classes():
    assert probabilities(tf.constant([[0.0]])).numpy().tolist() == [[0.5, 0.5]]
    assert probabilities(tf.constant([[math.log(3)]])).numpy()[0] == pytest.approx([0.25, 0.75])
