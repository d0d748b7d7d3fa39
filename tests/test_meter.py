"""How fast a run goes, by a clock that is told the time."""

import itertools

import pytest

from harness.meter import WINDOW, Meter


class Clock:
    """Stands until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_share_of_waiting_and_the_rate_are_those_of_the_window():
    clock = Clock()
    meter = Meter(8, clock=clock)

    def slow_batches():
        for number in range(5):
            clock.now += 1.0  # the input takes a second
            yield number

    for _ in meter.watch(slow_batches()):
        clock.now += 3.0  # and the step three
    figures = meter.read()
    assert figures["window/images_per_s"] == pytest.approx(5 * 8 / 20.0)
    assert figures["window/input_wait"] == pytest.approx(0.25)
    assert figures["window/memory_gb"] > 0.01


@pytest.mark.parametrize("num_left", [0, 3])
def test_time_between_epochs_does_not_count(num_left):
    clock = Clock()
    meter = Meter(8, clock=clock)
    for _ in range(2):
        clock.now += 100.0  # an evaluation
        for number in meter.watch(range(2 + num_left)):
            clock.now += 1.0
            if number == 1:
                break
    assert meter.read()["window/images_per_s"] == pytest.approx(8.0)


def test_a_reading_begins_a_new_window():
    meter = Meter(1, clock=Clock())
    for step, _ in enumerate(meter.watch(itertools.repeat(0, WINDOW)), start=1):
        assert meter.is_full == (step == WINDOW)
    meter.read()
    assert not meter.is_full
