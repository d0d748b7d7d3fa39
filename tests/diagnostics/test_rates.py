"""The verdict on why a training is as fast as it is."""

import re

from hypothesis import given
from hypothesis import strategies as st

from harness.diagnostics.rates import Attempt, Rate, Rates, judge


def rates(given, taken, both, *, wait=0.0):
    return Rates(Rate(given, 1.0), Rate(taken, 8.0), Rate(both, 9.0), wait)


def test_a_slow_input_is_named_with_what_would_be_gained():
    found = judge(rates(400, 1000, 400, wait=0.6), inputs=[Attempt("--data.cache memory", 5000)], computes=[])
    assert found == (
        "INPUT-BOUND: the input gives 400 images/s by itself, the steps take 1,000, together 400. Faster steps would "
        "gain nothing.",
        "  --data.cache memory: expect 1,000 images/s, 2.5 times as many",
    )


def test_slow_steps_are_named_and_the_most_useful_change_comes_first():
    trials = [Attempt("--train.batch_size 32", 101), Attempt("--train.precision mixed_bfloat16", 200)]
    found = judge(rates(5000, 100, 100), inputs=[], computes=trials)
    assert found == (
        "COMPUTE-BOUND: the input gives 5,000 images/s by itself, the steps take 100, together 100. A faster input "
        "would gain nothing.",
        "  --train.precision mixed_bfloat16: expect 200 images/s, 2 times as many",
        "  --train.batch_size 32: tried, no gain (101 images/s by itself)",
    )


def test_waiting_for_a_fast_input_on_shared_cores_is_not_taken_for_a_slow_input():
    found = judge(rates(684, 91, 82, wait=0.1), inputs=[Attempt("--data.cache memory", 20000)], computes=[])
    assert found == (
        "COMPUTE-BOUND: the input gives 684 images/s by itself, the steps take 91, together 82. A faster input would "
        "gain 11% at most.",
        "  --data.cache memory: expect 91 images/s, 1.1 times as many",
    )


def test_what_shares_the_cores_goes_on_sharing_them():
    # 10 ms a picture for the input and 10 ms for the step, on one core: half the input's time is a quarter of all.
    found = judge(rates(100, 100.1, 50), inputs=[Attempt("--data.cache memory", 200)], computes=[])
    assert found[1] == "  --data.cache memory: expect 67 images/s, 1.3 times as many"


def test_faster_steps_are_not_promised_more_than_the_input_gives():
    found = judge(rates(150, 100, 100), inputs=[], computes=[Attempt("--train.precision mixed_bfloat16", 400)])
    assert found[1] == "  --train.precision mixed_bfloat16: expect 150 images/s, 1.5 times as many"


def test_where_nothing_helps_it_says_so():
    slow_input = rates(400, 1000, 390, wait=0.6)
    told = "Nothing that was tried helps: build the records with --records.encoding raw, or lend more cores."
    assert judge(slow_input, inputs=[], computes=[])[-1] == told
    told = "Nothing that was tried helps: lend more cores, or augment less."
    assert judge(slow_input, inputs=[], computes=[], cache="memory")[-1] == told
    assert "Nothing that was tried helps" in judge(rates(5000, 100, 95), inputs=[], computes=[Attempt("--x", 90)])[-1]


def test_where_nothing_is_to_be_gained_nothing_is_promised():
    assert judge(rates(103, 102, 100), inputs=[], computes=[]) == (
        "BALANCED: the input gives 103 images/s by itself, the steps take 102, together 100. Neither a faster input "
        "alone nor faster steps alone would gain much.",
    )


speeds = st.floats(1, 1e6)
trials = st.lists(speeds.map(lambda speed: Attempt("--flag", speed)), max_size=3)


@given(speeds, speeds, speeds, st.floats(0, 1), trials, trials)
def test_no_sentence_is_denied_by_its_own_figures(input_rate, compute_rate, reached, wait, inputs, computes):
    found = judge(rates(input_rate, compute_rate, reached, wait=wait), inputs=inputs, computes=computes)
    head, lines = found[0], found[1:]
    word = head.split(":")[0]
    gains = {"input": compute_rate / reached - 1, "steps": input_rate / reached - 1}
    if word == "BALANCED":
        assert max(gains.values()) < 0.05
    else:
        assert (compute_rate > input_rate) == (word == "INPUT-BOUND")
        assert max(gains.values()) >= 0.05
        said = re.search(r"faster (\w+) would gain (\d+%|nothing)", head, re.IGNORECASE)
        assert (said[2] == "nothing") == (gains[said[1]] < 0.05)
        assert gains[said[1]] == min(gains.values())
    for line in lines:
        if promised := re.search(r"expect ([\d,]+) images/s, ([\d.e+]+) times", line):
            assert float(promised[1].replace(",", "")) >= 1.05 * reached - 0.5
            assert float(promised[2]) > 1
    best = [min(trial.images_per_s, compute_rate) for trial in inputs]
    best += [min(trial.images_per_s, input_rate) for trial in computes]
    assert len([line for line in lines if "expect" in line]) <= sum(limit >= 1.05 * reached for limit in best)
