"""How fast a run goes, by a clock that is told the time."""

import pytest

from harness.training.step_metrics import WINDOW, Meter


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
