"""Whether best settings beat the defaults: hand-made runs with the numbers that must come, and what the words say."""

from pathlib import Path

import pytest

from harness.base.errors import DataError
from harness.results.predictions import Prediction
from harness.results.statistics.differences import Difference
from harness.search.comparison import Spread, compare, describe, list_rows

E = 2.718281828459045


def run_of(*chances, groups=None):
    """What a run says of happy pictures, by the probability it gives that class."""
    names = groups or [str(index) for index in range(len(chances))]
    return tuple(
        Prediction(f"{i}.png", group, "happy", "happy" if p > 0.5 else "sad", max(p, 1 - p), p)
        for i, (p, group) in enumerate(zip(chances, names))
    )


def test_means_ranges_and_differences_of_two_seeds_each():
    best = [run_of(1.0, 1.0, 1.0, 1.0), run_of(1.0, 1.0, 1.0, 1 / E)]
    default = [run_of(1.0, 1 / E, 1.0, 1 / E), run_of(1 / E, 1 / E, 1.0, 1 / E)]
    found = compare(best, default, "val_loss")
    assert (found.num_pictures, found.num_groups) == (4, 4)
    assert found.best.num_seeds == found.default.num_seeds == 2
    assert found.best.accuracy == Spread(0.875, 0.75, 1.0) and found.default.accuracy == Spread(0.375, 0.25, 0.5)
    assert found.best.loss == Spread(*(pytest.approx(value) for value in (0.125, 0.0, 0.25)))
    assert found.default.loss == Spread(*(pytest.approx(value) for value in (0.625, 0.5, 0.75)))
    # The pictures differ by -1/2, -1, 0, -1/2, so they move the mean of -1/2 by 0, -1/8, 1/8, 0: variance 4/3 * 2/64,
    # which is 1/24. Seeds have 1/64 on either side; single pictures of single seeds, which are in both, 1/32 in all.
    # 1/24 + 2/64 - 1/32 leaves 1/24, with (7/96)^2 / ((1/24)^2 / 3 + 2 / 64^2) = 4.983 degrees of freedom: t is 2.5732.
    assert found.loss.mean == pytest.approx(-0.5)
    assert found.loss.low == pytest.approx(-0.5 - 2.5732 / 24**0.5, abs=1e-5)
    assert found.loss.high == pytest.approx(-0.5 + 2.5732 / 24**0.5, abs=1e-5)
    assert found.accuracy.mean == 0.5


def test_pictures_alone_are_the_chance_of_one_seed():
    best, default = [run_of(0.9, 0.9, 0.9, 0.2)], [run_of(0.9, 0.2, 0.2, 0.2)]
    found = compare(best, default, "val_accuracy")
    # The pictures differ by 0, 1, 1, 0: variance of the mean 4/12 / 4 = 1/12; t of 3 degrees of freedom is 3.18245.
    assert found.accuracy.mean == 0.5
    assert found.accuracy.low == pytest.approx(0.5 - 3.18245 * (1 / 12) ** 0.5, abs=1e-5)
    assert found.accuracy.high == pytest.approx(0.5 + 3.18245 * (1 / 12) ** 0.5, abs=1e-5)
    assert found.verdict == "not shown to be better"
    assert "1 seed each. With one seed, the chance of the seed is not in it." in describe(found)
    assert "flatters" not in describe(found)


SURE, UNSURE = [0.9, 0.88, 0.92, 0.9, 0.91, 0.89], [0.6, 0.58, 0.62, 0.6, 0.61, 0.59]
WRONG = [0.1, 0.12, 0.09, 0.1, 0.11, 0.1]


@pytest.mark.parametrize(
    ("objective", "best", "default", "verdict"),
    [
        ("val_loss", SURE, UNSURE, "better"),
        ("val_loss", UNSURE, SURE, "worse"),
        ("val_accuracy", SURE, UNSURE, "not shown to be better"),  # all are right either way
        ("val_accuracy", SURE, WRONG, "better"),
        ("val_accuracy", WRONG, SURE, "worse"),
        ("val_loss", SURE, SURE, "not shown to be better"),
    ],
)
def test_the_verdict_goes_by_the_objective(objective, best, default, verdict):
    found = compare([run_of(*best)] * 3, [run_of(*default)] * 3, objective)
    assert found.verdict == verdict and describe(found).startswith(f"{verdict}: validation {objective[4:]} ")


def test_what_has_no_figure_of_single_pictures_is_judged_by_loss_or_accuracy():
    best, default = [run_of(*WRONG)] * 3, [run_of(*SURE)] * 3
    for objective, figure in (("val_auc", "loss"), ("val_balanced_accuracy", "accuracy"), ("val_f1", "accuracy")):
        found = compare(best, default, objective)
        assert found.verdict == "worse" and describe(found).startswith(f"worse: validation {figure} ")


def test_copies_of_pictures_in_one_group_prove_nothing_more():
    best, default = [0.9, 0.9, 0.3], [0.4, 0.9, 0.3]
    few = compare([run_of(*best)], [run_of(*default)], "val_loss")
    many = compare(
        [run_of(*best * 50, groups=["a", "b", "c"] * 50)],
        [run_of(*default * 50, groups=["a", "b", "c"] * 50)],
        "val_loss",
    )
    assert many.num_pictures == 150 and many.num_groups == 3
    assert (many.loss.low, many.loss.high) == (pytest.approx(few.loss.low), pytest.approx(few.loss.high))


def test_the_sentence_and_the_table_of_a_winner():
    best = [run_of(0.9, 0.88, 0.92, 0.9), run_of(0.91, 0.9, 0.9, 0.9), run_of(0.9, 0.9, 0.91, 0.89)]
    found = compare(best, [run_of(0.6, 0.6, 0.61, 0.6)] * 2, "val_loss")
    low, high = f"{found.loss.low:+.4f}", f"{found.loss.high:+.4f}"
    text = describe(found, Path("runs/my tune/best"))
    assert text == (
        "better: validation loss 0.1045 with the best settings, 0.5067 with the defaults. The difference is -0.4022 "
        f"(95 % interval {low} to {high}), on 4 pictures, 3 and 2 seeds. The settings were chosen on the same "
        "pictures, which flatters them: judge them on the test split, "
        "python -m harness.evaluate 'runs/my tune/best' --split test."
    )
    assert describe(found).endswith("which flatters them.")
    assert -0.43 < found.loss.low < -0.4022 < found.loss.high < -0.38
    assert list_rows(found) == [
        ("settings", "seeds", "accuracy (min to max)", "loss (min to max)"),
        ("best", "3", "1.000 (1.000 to 1.000)", "0.1045 (0.1026 to 0.1055)"),
        ("default", "2", "1.000 (1.000 to 1.000)", "0.5067 (0.5067 to 0.5067)"),
        ("difference (95 % interval)", "", "+0.000 (-0.602 to +0.602)", f"-0.4022 ({low} to {high})"),
    ]


def test_defaults_that_nothing_beat_are_compared_with_nothing():
    found = compare(None, [run_of(0.9, 0.2), run_of(0.9, 0.9)], "val_loss")
    assert describe(found, Path("run")) == (
        "the same settings: the search found none that are better than the defaults."
    )
    assert [row[:3] for row in list_rows(found)[1:]] == [("default", "2", "0.750 (0.500 to 1.000)")]


def test_pictures_of_one_group_tell_nothing_of_chance():
    groups = ["the same"] * 3
    found = compare([run_of(0.9, 0.9, 0.9, groups=groups)], [run_of(0.1, 0.1, 0.1, groups=groups)], "val_accuracy")
    assert found.accuracy == Difference(1.0, float("-inf"), float("inf"))
    assert found.verdict == "not shown to be better"
    assert "+1.000, and pictures of one group tell nothing of its chance, on 3 pictures in 1 group, " in describe(found)
    assert list_rows(found)[-1][2] == "+1.000 (unknown)"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (run_of(0.9, 0.9, 0.9), "2 by one and 3 by another"),
        (run_of(0.9, 0.9)[::-1], "0.png 0 happy by one and 1.png 1 happy by another"),
        (run_of(0.9, 0.9, groups=["0", "x"]), "1.png 1 happy by one and 1.png x happy by another"),
    ],
)
def test_runs_on_other_pictures_are_refused(other, expected):
    with pytest.raises(DataError, match=f"cannot be compared: {expected}.* on the same records"):
        compare([run_of(0.9, 0.9)], [run_of(0.2, 0.9), other], "val_loss")
