"""The verdict on why a training is as fast as it is."""

from harness.diagnostics.rates import Attempt, Rate, Rates, judge


def rates(given, taken, both, *, wait=0.0):
    return Rates(Rate(given, 1.0), Rate(taken, 8.0), Rate(both, 9.0), wait)


def test_a_slow_input_is_named_with_what_would_be_gained():
    found = judge(rates(400, 1000, 390, wait=0.6), inputs=[Attempt("--data.cache memory", 5000)], computes=[])
    assert found == (
        "INPUT-BOUND: the steps wait for pictures 60% of the time. The input gives 400 images/s, the steps could take "
        "1,000.",
        "  --data.cache memory: expect 1,000 images/s, 2.6 times as many",
    )


def test_an_input_that_is_fast_enough_alone_but_waited_for_is_what_is_slow():
    assert judge(rates(1200, 1000, 700, wait=0.3), inputs=[], computes=[])[0].startswith("INPUT-BOUND")


def test_slow_steps_are_named_and_the_most_useful_change_comes_first():
    trials = [Attempt("--train.batch_size 32", 101), Attempt("--train.precision mixed_bfloat16", 200)]
    found = judge(rates(5000, 100, 95), inputs=[], computes=trials)
    assert found == (
        "COMPUTE-BOUND: the input gives 5,000 images/s, 50.0 times what the steps take. A faster input would gain 5% "
        "at most.",
        "  --train.precision mixed_bfloat16: expect 190 images/s, 2.0 times as many",
        "  --train.batch_size 32: tried, no gain (101 images/s by itself)",
    )


def test_faster_steps_are_not_promised_more_than_the_input_gives():
    found = judge(rates(150, 100, 100), inputs=[], computes=[Attempt("--train.precision mixed_bfloat16", 400)])
    assert found[1] == "  --train.precision mixed_bfloat16: expect 150 images/s, 1.5 times as many"


def test_where_nothing_helps_it_says_so():
    assert "Nothing that was tried helps" in judge(rates(400, 1000, 390, wait=0.6), inputs=[], computes=[])[-1]
    assert "Nothing that was tried helps" in judge(rates(5000, 100, 95), inputs=[], computes=[Attempt("--x", 90)])[-1]
