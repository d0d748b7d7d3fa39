"""How many steps a call takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.training.steps_per_loop import MOST_STEPS, StepsPerLoop


def test_calls_grow_until_they_take_a_quarter_of_a_second():
    pace, taken = StepsPerLoop(0), []
    for _ in range(6):
        taken.append(pace.choose(0, most=100))
        pace.learn(taken[-1], 0.02 * taken[-1])
    assert taken == [1, 2, 4, 8, 12, 12]


def test_steps_that_become_slow_are_taken_by_themselves():
    pace = StepsPerLoop(0)
    pace.learn(8, 0.001)
    assert pace.choose(0, most=100) == 16
    pace.learn(16, 16 * 3.0)
    assert pace.choose(0, most=100) == 1


def test_calls_that_only_begin_their_steps_stay_bounded():
    pace = StepsPerLoop(0)
    for _ in range(20):
        pace.learn(pace.choose(0, most=1000), 0.0)
    assert pace.choose(0, most=1000) == MOST_STEPS == 64


def test_the_number_that_is_asked_for_holds_whatever_it_takes():
    pace = StepsPerLoop(5)
    pace.learn(5, 100.0)
    assert [pace.choose(step, most=most) for step, most in ((0, 100), (5, 3))] == [5, 3]


def test_a_call_ends_where_a_trace_begins_and_ends():
    pace = StepsPerLoop(8, ends=(10, 13))
    assert [pace.choose(step, most=100) for step in (0, 8, 10, 13)] == [8, 2, 3, 8]


@pytest.mark.parametrize("asked", [0, 3, 64])
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0, 100))
def test_workers_take_the_same_steps_whatever_their_time_and_meet_after_every_eighth(asked, step, most, seconds):
    slow, quick = StepsPerLoop(asked, num_workers=2), StepsPerLoop(asked, num_workers=2)
    slow.learn(1, seconds)
    chosen = slow.choose(step, most=most)
    assert chosen == quick.choose(step, most=most) >= 1
    assert not any(slow.is_meeting(between) for between in range(step + 1, step + chosen))
    assert slow.is_meeting(8) and not slow.is_meeting(9)


def test_a_process_alone_may_stop_after_any_call():
    assert StepsPerLoop(0).is_meeting(3)
