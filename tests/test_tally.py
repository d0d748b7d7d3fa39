"""The sums of steps, and the mean norm of the gradients of a window."""

import tensorflow as tf

from harness.training.step_metrics import Tally


def add(tally, *steps):
    for figures in steps:
        tally.totals += tf.constant(figures, tf.float64)


def test_the_sums_are_those_of_the_epoch_and_norms_and_waits_those_since_the_last_reading():
    tally = Tally()
    tally.begin_epoch((1.0, 2.0, 3.0))
    add(tally, [0.5, 1.0, 2.0, 4.0, 1.0, 0.25], [0.5, 1.0, 2.0, 6.0, 1.0, 0.5])
    assert tally.read_sums() == (2.0, 4.0, 7.0)
    assert tally.read_window() == (5.0, 0.75)
    add(tally, [0.5, 1.0, 2.0, 3.0, 1.0, 1.0])
    tally.begin_epoch((0.0, 0.0, 0.0))
    add(tally, [0.5, 1.0, 2.0, 1.0, 1.0, 1.0], [0.25, 0.0, 2.0, 0.0, 0.0, 0.5])  # the last gradient waits
    assert tally.read_sums() == (0.75, 1.0, 4.0)
    assert tally.read_window() == (2.0, 2.5)


def test_a_window_without_a_step_of_the_optimizer_has_no_norm():
    tally = Tally()
    add(tally, [0.5, 1.0, 2.0, 0.0, 0.0, 0.125])
    assert tally.read_window() == (None, 0.125)
