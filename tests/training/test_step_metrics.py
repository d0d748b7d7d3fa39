"""The sums of steps, and how fast a run goes, by a clock that is told the time."""

import pytest
import tensorflow as tf

from harness.training.step_metrics import WINDOW, Meter, Tally


class Clock:
    """Stands until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_share_of_waiting_and_the_rate_are_those_of_the_window():
    clock = Clock()
    meter = Meter(8, clock=clock)
    with meter.running():
        clock.now += 20.0
        meter.count(5)
    figures = meter.read(waited_s=5.0)
    assert figures["window/images_per_s"] == pytest.approx(5 * 8 / 20.0)
    assert figures["window/input_wait"] == pytest.approx(0.25)
    assert figures["window/memory_gb"] > 0.01


def test_time_between_epochs_does_not_count():
    clock = Clock()
    meter = Meter(8, clock=clock)
    for _ in range(2):
        clock.now += 100.0  # an evaluation
        with meter.running():
            clock.now += 2.0
            meter.count(2)
    assert meter.read(waited_s=0.0)["window/images_per_s"] == pytest.approx(8.0)


def test_a_reading_begins_a_new_window():
    meter = Meter(1, clock=Clock())
    assert meter.num_left == WINDOW == 100
    meter.count(60)
    assert meter.num_left == 40 and not meter.is_full
    meter.count(40)
    assert meter.is_full
    meter.read(waited_s=0.0)
    assert meter.num_left == 100 and not meter.is_full


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
