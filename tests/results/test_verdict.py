"""What the verdict says of which figures, and how an evaluation reads."""

import dataclasses

import numpy as np
import pytest

from harness.results import evaluation, tables, verdict
from harness.results.statistics import baselines, calibration

NAMES = ("happy", "sad")


def evaluate(labels, predicted, *, of_baseline=None, groups=None, names=NAMES, split="validation", sure=0.9):
    """An evaluation of a model that gives its answers the probability `sure`."""
    labels, rest = np.asarray(labels), (1 - sure) / (len(names) - 1)
    chances = np.full((len(labels), len(names)), rest)
    chances[np.arange(len(labels)), predicted] = sure
    classifier = None
    if of_baseline is not None:
        classifier = baselines.HogClassifier(np.zeros((1, 4), np.float32), np.array([0]))
    return evaluation.evaluate(
        split,
        evaluation.Answers(labels, chances, groups),
        names,
        choices=calibration.choose(labels, chances),
        classifier=classifier,
        of_baseline=None if of_baseline is None else np.asarray(of_baseline),
    )


def flip(labels, *positions):
    found = np.array(labels)
    found[list(positions)] = 1 - found[list(positions)]
    return found


HALVES = np.repeat([0, 1], 20)
WITHOUT_NETWORK = flip(HALVES, *range(10), *range(20, 28))  # 22 of 40


def test_a_model_above_both_baselines_beyond_doubt_is_good():
    found = verdict.judge(evaluate(HALVES, flip(HALVES, 20, 21), of_baseline=WITHOUT_NETWORK), chose_weights=True)
    assert found.level == "good"
    assert found.sentences == (
        "validation accuracy 0.950 (95 % interval 0.835 to 0.986) on 40 pictures; always answering happy gives 0.500, "
        "HOG features and logistic regression 0.550",
        "Good: it is better than both beyond doubt.",
        "What fails: sad taken for happy: 2 of 20.",
        "The epoch was chosen on these same pictures, which flatters the figures a little.",
    )
    assert found.next_steps[0] == "look at the sad pictures taken for happy, and add pictures like them"
    assert found.next_steps[1].endswith("--split.test 0.1 of the build")


@pytest.mark.parametrize(
    ("predicted", "of_baseline", "level", "second"),
    [
        (np.zeros(40, int), WITHOUT_NETWORK, "bad", "Not good: it is no better than giving the most frequent class"),
        (
            flip(HALVES, *range(6), *range(20, 26)),
            HALVES,
            "bad",
            "Not good: HOG features and logistic regression, which need no network, are better beyond doubt (",
        ),
        (
            flip(HALVES, 0),
            HALVES,
            "not shown",
            "Not shown to be good: HOG features and logistic regression, which need no network, do better here, maybe",
        ),
        (
            flip(HALVES, 0, 20),
            flip(HALVES, 1, 21),
            "not shown",
            "Not shown to be good: HOG features and logistic regression, which need no network, do as well (difference",
        ),
        (HALVES, HALVES, "not shown", "Not shown to be good: these pictures are too easy, as HOG features and"),
        (flip(HALVES, 0, 1), flip(HALVES, 2, 3, 4), "not shown", "Better than always giving one class, but not shown"),
        (flip(HALVES, *range(8), *range(20, 28)), None, "not shown", "Not shown to be good: chance alone"),
        (HALVES, None, "good", "Good: it is better than that beyond doubt."),
    ],
)
def test_the_level_goes_by_both_baselines_and_by_chance(predicted, of_baseline, level, second):
    found = verdict.judge(evaluate(HALVES, predicted, of_baseline=of_baseline))
    assert found.level == level and found.sentences[1].startswith(second)


@pytest.mark.parametrize(
    ("groups", "step"),
    [
        (None, "measure on more pictures (all there are"),
        (["a", "b"] * 20, "measure on more groups of pictures (all there are"),
    ],
)
def test_groups_are_spoken_of_only_where_pictures_belong_together(groups, step):
    found = verdict.judge(evaluate(HALVES, flip(HALVES, *range(8), *range(20, 28)), groups=groups))
    assert any(said.startswith(step) for said in found.next_steps), found.next_steps
    assert ("group" in " ".join((*found.sentences, *found.next_steps))) == (groups is not None)


def test_few_groups_and_missing_classes_are_said():
    groups = [f"person {i // 5}" for i in range(40)]
    found = verdict.judge(evaluate(HALVES, HALVES, groups=groups, names=("happy", "sad", "angry", "calm")))
    assert "on 40 pictures in 8 groups" in found.sentences[0]
    assert "No picture of angry | calm is among them: no figure says anything of that." in found.sentences
    assert any(sentence.startswith("8 groups are few: ") for sentence in found.sentences)
    assert found.next_steps[0].startswith("give angry | calm more groups")


def test_where_all_pictures_were_measured_no_larger_split_is_advised():
    found = evaluate(HALVES, WITHOUT_NETWORK, of_baseline=WITHOUT_NETWORK, names=("happy", "sad"))
    wanted = "measure on more pictures"
    split = f"{wanted} (all there are: python -m harness.cross_validate; or others: --images)"
    assert split in verdict.judge(found).next_steps
    told = verdict.judge(found, has_all=True).next_steps
    assert f"{wanted} (add some, and build)" in told and split not in told


def test_classes_that_are_never_answered_are_named():
    found = verdict.judge(evaluate([0, 0, 0, 1, 1, 2], [0, 0, 0, 0, 0, 0], names=("circle", "square", "star", "moon")))
    assert "It never answers square | star." in found.sentences
    assert "No picture of moon is among them: no figure says anything of that." in found.sentences
    found = verdict.judge(evaluate([0, 0, 1, 1], [0, 0, 0, 1]))
    assert not any("never answers" in sentence for sentence in found.sentences)


def test_pictures_that_were_learnt_tell_nothing():
    found = verdict.judge(evaluate(HALVES, HALVES, split="data/faces/"), num_learnt=len(HALVES))
    assert found.level == "not shown"
    assert found.sentences[1] == "The model has learnt these pictures: that says nothing of how it does on others."


def test_of_pictures_that_were_learnt_in_part_the_others_tell():
    found = verdict.judge(evaluate(HALVES, HALVES, split="data/faces/"), num_learnt=30)
    assert found.level == "not shown"
    told = "The model has learnt 30 of these 40 pictures: only the other 10 can tell how good it is."
    assert found.sentences[1] == told
    assert found.next_steps[0] == "measure on another split, or on other pictures with --images"


def test_pictures_that_may_have_been_learnt_do_not_tell():
    found = verdict.judge(evaluate(HALVES, HALVES), num_learnt=None)
    assert found.level == "not shown" and "may have learnt these:" in found.sentences[1]
    assert found.next_steps[0].startswith("measure on the records of the run")


def test_one_class_alone_tells_nothing():
    found = verdict.judge(evaluate([0, 0, 0], [0, 0, 1]))
    assert found.level == "not shown"
    assert found.sentences[1] == "All pictures are of one class: these figures do not tell whether the model is good."


def test_one_group_alone_tells_nothing():
    found = verdict.judge(evaluate(HALVES, HALVES, groups=["me"] * 40, of_baseline=WITHOUT_NETWORK))
    assert found.level == "not shown" and "interval 0.000 to 1.000" in found.sentences[0]
    assert "All pictures are of one group: they tell nothing of how the model does on others." in found.sentences


def test_values_for_json_have_no_infinity():
    values = evaluate(HALVES, HALVES, groups=["me"] * 40, of_baseline=WITHOUT_NETWORK).as_values()
    assert values["baseline"]["gain"] == pytest.approx(0.45) and values["baseline"]["gain_ci95"] is None
    assert (values["split"], values["num_groups"], values["accuracy_ci95"]) == ("validation", 1, (0.0, 1.0))


def test_a_baseline_of_the_first_pictures_is_compared_on_these():
    found = evaluate(HALVES, flip(HALVES, 0), of_baseline=flip(HALVES[:10], 0, 1))
    assert (found.baseline.num_measured, found.baseline.accuracy) == (10, 0.8)
    assert found.gain.mean == pytest.approx(0.1)


@pytest.mark.parametrize("num_classes", [2, 5, 40])
def test_an_evaluation_is_shown_within_100_columns_what_fails_first(num_classes):
    names = [f"class {i} with a rather long name {'x' * i}" for i in range(num_classes)]
    labels = np.repeat(np.arange(num_classes), 6)
    predicted = labels.copy()
    predicted[6:9] = 0  # half of class 1
    found = evaluate(labels, predicted, names=names, groups=[str(i // 2) for i in range(len(labels))])
    text = tables.describe(found, verdict.judge(found, chose_weights=True))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) < 90
    classes = lines[next(i for i, line in enumerate(lines) if line.startswith("class ")) + 1 :]
    assert {classes[0][:8].strip(), classes[1][:8].strip()} == {"class 1", "class 0"}
    assert ("the classes with the lowest F1 (and 20 more; all of them: --json)" in lines) is (num_classes == 40)
    assert ("most often taken for another class" in lines) is (num_classes == 40)
    assert found.metrics.confusion[1][:2] == (3, 3)


def test_a_verdict_is_kept_as_plain_values():
    found = verdict.judge(evaluate(HALVES, HALVES))
    assert verdict.Verdict(**dataclasses.asdict(found)) == found
    assert found.as_text().startswith("validation accuracy 1.000 (95 % interval 0.912 to 1.000) on 40 pictures; always")


def test_what_a_bad_model_needs_follows_from_what_it_does_on_the_training_pictures():
    bad = evaluate(HALVES, flip(HALVES, *range(20)), of_baseline=WITHOUT_NETWORK)
    told = {share: verdict.judge(bad, train_accuracy=share).next_steps[0] for share in (None, 0.45, 0.599, 0.601, 0.99)}
    assert told[None].startswith("look at the training loss")
    for share in (0.45, 0.599):
        begin = "it has learnt too little: even of the training pictures, as augmented, it got only"
        assert told[share].startswith(f"{begin} {share:.3f} right. Train for longer (--epochs)")
    for share in (0.601, 0.99):
        assert told[share].startswith(f"it learns by heart: of the training pictures it got {share:.3f} right.")
    good = evaluate(HALVES, HALVES, of_baseline=WITHOUT_NETWORK)
    assert not any("learn" in step for step in verdict.judge(good, train_accuracy=1.0).next_steps)


@pytest.mark.parametrize("train_accuracy", [None, 0.91, 1.0])
def test_a_rare_class_that_is_never_answered_is_what_a_bad_model_needs_to_see_more_of(train_accuracy):
    rare = [0] * 38 + [1] * 2
    found = verdict.judge(evaluate(rare, [0] * 40, names=("ok", "cracked")), train_accuracy=train_accuracy)
    assert found.level == "bad" and found.next_steps[0] == (
        "most pictures are of ok: let each class count the same (--train.class_weights balanced), and add pictures of "
        "cracked; see docs/when-it-is-bad.md"
    )
    answered = verdict.judge(evaluate(rare, flip(rare, 0, 1, 2, 38)), train_accuracy=train_accuracy)
    assert answered.level == "bad" and "class_weights" not in answered.next_steps[0]
