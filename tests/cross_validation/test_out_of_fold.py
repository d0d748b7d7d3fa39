"""Answers to unseen pictures: gathered from runs, and what they come to, with values worked out by hand."""

import csv

import numpy as np
import pytest

from harness.base.errors import CheckpointError
from harness.config.schema import Config
from harness.cross_validation import figures, out_of_fold, tables
from harness.cross_validation.cross_validator import Answer, Question
from harness.cross_validation.folds import Assignment, Pictures
from harness.cross_validation.labels.suspects import Suspect
from harness.cross_validation.out_of_fold import OutOfFold
from harness.results import predictions
from harness.results.predictions import Prediction
from harness.runs.workdir import Workdir

NAMES = ("cat", "dog")
PICTURES = Pictures(
    [f"{number}.png" for number in range(8)], np.array([0, 0, 0, 0, 1, 1, 1, 1]), list("aabbccdd"), NAMES
)
FOLDS = Assignment(np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.zeros(8, int))


def write_run(folder, places, second: list[float]) -> Workdir:
    """A run that says of these pictures how probable the second class is."""
    run = Workdir(folder)
    chances = np.array([[1 - value, value] for value in second], np.float32)
    rows = [
        Prediction(
            PICTURES.paths[place],
            PICTURES.groups[place],
            NAMES[PICTURES.labels[place]],
            NAMES[int(value > 0.5)],
            float(max(value, 1 - value)),
            float(chances[row, PICTURES.labels[place]]),
        )
        for row, (place, value) in enumerate(zip(places, second))
    ]
    predictions.write(run.predictions, rows)
    predictions.write_probabilities(run.probabilities, chances)
    return run


def make_found(*rows) -> OutOfFold:
    """Answers by how probable the second class is, a row for each repeat."""
    second = np.array(rows, np.float32)
    return OutOfFold(PICTURES, np.stack([1 - second, second], axis=2), np.stack([FOLDS.folds] * len(rows)))


def test_answers_are_gathered_in_the_order_of_the_records_whatever_that_of_the_runs(tmp_path):
    first = write_run(tmp_path / "1", [5, 0, 4, 1], [0.75, 0.25, 0.5, 0.125])
    second = write_run(tmp_path / "2", [7, 6, 3, 2], [0.875, 0.25, 0.75, 0.5])
    found = out_of_fold.collect({(0, 0): first, (0, 1): second}, PICTURES, [FOLDS])
    assert found.chances[0, :, 1].tolist() == [0.25, 0.125, 0.5, 0.75, 0.5, 0.75, 0.25, 0.875]
    out_of_fold.write(tmp_path / "answers.csv", found)
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3] == {
        "path": "3.png", "group": "b", "label": "cat", "fold": "2", "repeat": "1", "p:cat": "0.25", "p:dog": "0.75",
    }  # fmt: skip


@pytest.mark.parametrize("places", [[0, 1, 4], [0, 1, 4, 6], [0, 0, 1, 4]])
def test_a_run_that_is_not_about_just_its_fold_is_refused(places, tmp_path):
    first = write_run(tmp_path / "1", places, [0.5] * len(places))
    with pytest.raises(CheckpointError, match="is not about the 4 pictures of fold 1"):
        out_of_fold.collect({(0, 0): first}, PICTURES, [FOLDS])


def damage(path, how) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[:-4])
    elif how == "gone":
        path.unlink()
    elif how == "pickled":
        with path.open("wb") as file:
            np.save(file, np.array([{}], object), allow_pickle=True)
    else:
        np.save(path, np.full((4, 2), np.nan, np.float32))


@pytest.mark.parametrize("how", ["cut", "gone", "pickled", "no numbers"])
def test_damaged_probabilities_are_a_sentence(how, tmp_path):
    first = write_run(tmp_path / "1", [0, 1, 4, 5], [0.5] * 4)
    damage(first.probabilities, how)
    with pytest.raises(CheckpointError, match=r"probabilities\.npy .*Remove metrics\.json of the run"):
        out_of_fold.collect({(0, 0): first}, PICTURES, [FOLDS])


def test_figures_are_of_all_answers_and_count_pictures_once():
    found = make_found([0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.75, 0.75], [0.25] * 4 + [0.75] * 4)
    measured = figures.measure(found).metrics
    assert measured.num_examples == 8 and measured.num_groups == 4
    assert measured.accuracy == 15 / 16 and measured.confusion == ((7, 1), (0, 8))
    assert measured.per_class["cat"]["num_examples"] == 4 and measured.per_class["cat"]["recall"] == 7 / 8
    rows = figures.measure_folds(found)
    assert [(row.repeat, row.fold, row.num_trained) for row in rows] == [(1, 1, 4), (1, 2, 4), (2, 1, 4), (2, 2, 4)]
    assert [row.evaluation.metrics.accuracy for row in rows] == [1.0, 0.75, 1.0, 1.0]


def test_settings_beside_themselves_are_not_shown_to_differ():
    found = make_found([0.25, 0.5, 0.75, 0.25, 0.75, 0.5, 0.75, 0.625])
    contrast = figures.contrast(found, found)
    assert contrast.accuracy.word == contrast.loss.word == "not shown to differ"
    assert contrast.accuracy.difference.mean == contrast.loss.difference.mean == 0


def test_settings_that_do_better_on_nearly_all_groups_are_better():
    """Forty pictures of their own group each, of which the second settings get a quarter wrong."""
    labels = np.arange(40) % 2
    pictures = Pictures([str(number) for number in range(40)], labels, [str(number) for number in range(40)], NAMES)
    second = np.where(labels == 1, 0.75, 0.25).astype(np.float32)
    good = np.stack([1 - second, second], axis=1)[None]
    bad = good.copy()
    bad[0, :10] = bad[0, :10, ::-1]
    folds = np.zeros((1, 40), int)
    contrast = figures.contrast(OutOfFold(pictures, good, folds), OutOfFold(pictures, bad, folds))
    assert contrast.accuracy.word == contrast.loss.word == "better"
    assert contrast.accuracy.difference.mean == 0.25 and contrast.accuracy.p_value < 0.01
    other = figures.contrast(OutOfFold(pictures, bad, folds), OutOfFold(pictures, good, folds))
    assert other.accuracy.word == other.loss.word == "worse"


def test_a_learning_curve_tells_what_each_step_has_gained():
    few, all_of_them = make_found([0.75] * 8), make_found([0.25] * 4 + [0.75] * 4)
    curve = figures.trace([(0.5, 2.0, few), (1.0, 4.0, all_of_them)])
    assert [point.accuracy for point in curve] == [0.5, 1.0] and [point.num_trained for point in curve] == [2.0, 4.0]
    assert curve[0].gain is None and curve[1].gain.mean == 0.5
    assert curve[1].word == "not shown to differ", "four groups tell too little"


def test_the_baseline_answers_each_picture_without_its_fold():
    features = np.array([[0.0], [0.1], [0.2], [0.1], [5.0], [5.1], [5.2], [5.1]], np.float32)
    classifier, answers = figures.train_baselines(features, PICTURES.labels, FOLDS)
    assert answers.tolist() == PICTURES.labels.tolist() and classifier.num_trained == 4
    lonely = Assignment(np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8, int))
    assert figures.train_baselines(features, PICTURES.labels, lonely)[1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("num_repeats", "divided"), [(1, "divided once"), (2, "divided 2 times")])
def test_what_fails_in_several_divisions_is_said_to_be_counted_in_answers(num_repeats, divided, tmp_path):
    found = make_found(*[[0.1, 0.9, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9]] * num_repeats)
    question = Question(tmp_path, {"small": Config()}, None, tmp_path, 2, num_repeats)
    judged = tables.judge(Answer(question, found, figures.measure(found), (), (), (), (), 1.0))
    assert f"What fails: cat taken for dog: {num_repeats} of {4 * num_repeats}." in judged.sentences
    said = next(sentence for sentence in judged.sentences if divided in sentence)
    assert said.endswith(
        "nothing was chosen by what is measured."
        if num_repeats == 1
        else "nothing was chosen by what is measured. What fails is counted in answers, 2 of each picture."
    )


def test_models_that_hardly_know_the_classes_are_told_to_be_improved_before_labels_are_doubted(tmp_path):
    found = make_found([0.9, 0.9, 0.9, 0.4, 0.6, 0.7, 0.1, 0.1])
    suspect = Suspect(0, "0.png", "cat", "dog", 0.1, 0.9, 0.1)
    question = Question(tmp_path, {"small": Config()}, None, tmp_path, 2, 1)
    told = {}
    for number, learnt in ((2, 0.45), (3, 0.99)):
        histories = (({"accuracy": 0.1}, {"accuracy": learnt}), ({"accuracy": learnt},))
        answer = Answer(
            question,
            found,
            figures.measure(found),
            figures.measure_folds(found),
            (suspect,) * number,
            (),
            histories,
            1.0,
        )
        judged = tables.judge(answer)
        told[number] = judged.next_steps[0], tables.describe(answer, judged)
    assert told[2][0].startswith("it has learnt too little") and "0.450 right" in told[2][0]
    assert told[3][0].startswith("it learns by heart") and "0.990 right" in told[3][0]
    assert "Few of these" not in told[2][1]
    assert "\nFew of these will be wrong: 3 of 8 pictures have a doubted label. So many come from" in told[3][1]
