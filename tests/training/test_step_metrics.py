"""The sums of steps, and how fast a run goes, by a clock that is told the time."""

import pytest
import tensorflow as tf

from harness.training.step_metrics import WINDOW, Pace, StepMetrics


class Clock:
    """Stands until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def take(metrics, *steps):
    """Steps of these figures: loss, right answers, examples, norm, 1 for a norm, seconds of waiting."""
    for figures in steps:
        metrics.count(1, metrics.totals + tf.constant(figures, tf.float64))


def test_the_share_of_waiting_and_the_rate_are_those_of_the_window():
    clock = Clock()
    metrics = StepMetrics(8, clock=clock)
    with metrics.running():
        clock.now += 20.0
        take(metrics, *[[0.5, 1.0, 8.0, 2.0, 1.0, 1.0]] * 5)
    figures = metrics.read_window()
    assert figures["window/images_per_s"] == pytest.approx(5 * 8 / 20.0)
    assert figures["window/input_wait"] == pytest.approx(0.25)
    assert figures["window/memory_gb"] > 0.01


def test_time_between_epochs_does_not_count():
    clock = Clock()
    metrics = StepMetrics(8, clock=clock)
    for _ in range(2):
        clock.now += 100.0  # an evaluation
        with metrics.running():
            clock.now += 2.0
            metrics.count(2, metrics.totals)
    assert metrics.read_window()["window/images_per_s"] == pytest.approx(8.0)


def test_a_reading_begins_a_new_window():
    metrics = StepMetrics(1, clock=Clock())
    assert metrics.num_left == WINDOW == 100
    metrics.count(60, metrics.totals)
    assert metrics.num_left == 40 and not metrics.is_full
    metrics.count(40, metrics.totals)
    assert metrics.is_full
    metrics.read_window()
    assert metrics.num_left == 100 and not metrics.is_full


def read_norm_and_wait(metrics, clock):
    clock.now += 1.0  # so that the share of waiting is the seconds waited
    figures = metrics.read_window()
    return figures.get("window/gradient_norm"), figures["window/input_wait"]


def test_the_sums_are_those_of_the_epoch_and_norms_and_waits_those_since_the_last_reading():
    clock = Clock()
    metrics = StepMetrics(2, clock=clock)
    metrics.begin_epoch((1.0, 2.0, 3.0))
    take(metrics, [0.5, 1.0, 2.0, 4.0, 1.0, 0.25], [0.5, 1.0, 2.0, 6.0, 1.0, 0.5])
    assert metrics.read_sums() == (2.0, 4.0, 7.0)
    assert read_norm_and_wait(metrics, clock) == (5.0, 0.75)
    take(metrics, [0.5, 1.0, 2.0, 3.0, 1.0, 1.0])
    metrics.begin_epoch((0.0, 0.0, 0.0))
    take(metrics, [0.5, 1.0, 2.0, 1.0, 1.0, 1.0], [0.25, 0.0, 2.0, 0.0, 0.0, 0.5])  # the last gradient waits
    assert metrics.read_sums() == (0.75, 1.0, 4.0)
    assert read_norm_and_wait(metrics, clock) == (2.0, 2.5)


def test_a_window_without_a_step_of_the_optimizer_has_no_norm():
    clock = Clock()
    metrics = StepMetrics(2, clock=clock)
    take(metrics, [0.5, 1.0, 2.0, 0.0, 0.0, 0.125])
    assert read_norm_and_wait(metrics, clock) == (None, 0.125)


def run_epoch(pace: Pace, clock: Clock, *calls: tuple[int, float]) -> float:
    pace.begin_epoch(sum(num_images for num_images, _ in calls))
    for num_images, seconds in calls:
        clock.now += seconds
        pace.count(num_images)
    return pace.end_epoch()


def test_the_call_that_compiles_counts_in_the_epoch_and_not_in_what_is_expected():
    pace = Pace(clock=(clock := Clock()))
    assert run_epoch(pace, clock, (10, 9.0), (40, 0.5), (50, 0.5)) == 10.0
    assert pace.compiled_images_per_s == 90.0
    assert run_epoch(pace, clock, (50, 0.5), (50, 0.5)) == 100.0
    assert pace.compiled_images_per_s == 100.0


def test_an_epoch_of_one_call_is_all_that_is_known():
    pace = Pace(clock=(clock := Clock()))
    assert run_epoch(pace, clock, (10, 5.0)) == pace.compiled_images_per_s == 2.0
