"""Which labels are suspected, from probabilities made by hand and by a model, and suspects.csv."""

import csv

import numpy as np
import pytest
from conftest import run_python
from hypothesis import given
from hypothesis import strategies as st

from harness.base import csv_files
from harness.base.errors import DataError
from harness.cross_validation.labels import suspects
from harness.cross_validation.labels.suspects import Suspect

NAMES = ("cat", "dog")
PATHS = [f"{number}.png" for number in range(1000)]


def make_chances(answers, num_classes: int, probability: float = 0.9) -> np.ndarray:
    """Each answer as sure, the rest shared by the other classes."""
    chances = np.full((len(answers), num_classes), (1 - probability) / max(num_classes - 1, 1), np.float32)
    chances[np.arange(len(answers)), answers] = probability
    return chances


def find(labels, chances, names=NAMES, **groups):
    return suspects.find(PATHS[: len(labels)], np.array(labels), chances, names, **groups)


def test_a_label_that_all_speaks_against_is_suspected_with_what_is_known_of_it():
    labels = [0] * 10 + [1] * 10
    chances = make_chances([0] * 10 + [1] * 10, 2)
    chances[3] = (0.0625, 0.9375)
    assert find(labels, chances) == (Suspect(3, "3.png", "cat", "dog", 0.0625, 0.9375, 0.0625),)


def test_a_class_that_claims_a_picture_less_surely_than_its_own_ones_is_no_reason():
    labels = [0] * 10 + [1] * 10
    chances = make_chances([0] * 10 + [1] * 10, 2, 0.9)
    chances[3] = (0.125, 0.875)
    assert find(labels, chances) == ()


def test_the_most_suspect_comes_first_and_of_equals_the_first_in_the_records():
    labels = [0] * 20 + [1] * 20
    chances = make_chances([0] * 20 + [1] * 20, 2, 0.875)
    chances[[7, 4, 30]] = (0.125, 0.875), (0.125, 0.875), (0.9375, 0.0625)
    found = find(labels, chances)
    assert [item.place for item in found] == [30, 4, 7]
    assert find(labels, chances) == found
    assert suspects.rank(np.array(labels), chances)[:4].tolist() == [30, 4, 7, 0]


def test_labels_that_a_model_knows_are_not_suspected():
    labels = [0] * 5 + [1] * 5
    assert find(labels, make_chances(labels, 2, 1.0)) == ()
    assert find(labels, make_chances(labels, 2, 0.6)) == ()


def test_a_model_that_knows_nothing_suspects_nothing():
    assert find([0, 1] * 10, np.full((20, 2), 0.5, np.float32)) == ()


def test_probabilities_of_exactly_0_and_1_are_taken():
    labels = [0] * 10 + [1] * 10
    answers = [1, *labels[1:]]
    assert find(labels, make_chances(answers, 2, 1.0)) == (Suspect(0, "0.png", "cat", "dog", 0.0, 1.0, 0.0),)


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_where_all_pictures_are_of_one_class_or_none_are_there_nothing_is_suspected(num_classes):
    names = ("cat", "dog", "cow")[:num_classes]
    last = num_classes - 1
    assert find([last] * 4, make_chances([0] * 4, num_classes), names) == ()
    assert find(np.zeros(0, int), np.zeros((0, num_classes), np.float32), names) == ()


def test_a_class_without_a_picture_may_be_suggested_by_none():
    labels = [0] * 10 + [2] * 10
    answers = [2, *labels[1:]]
    found = find(labels, make_chances(answers, 3), ("cat", "cow", "dog"))
    assert [(item.place, item.suggested) for item in found] == [(0, "dog")]


def test_the_only_picture_or_group_of_a_class_is_never_suspected():
    """Who was asked about it has seen no other, and can only be against it."""
    labels = [0] * 10 + [1] * 10 + [2]
    answers = [0] * 10 + [1] * 10 + [0]
    assert find(labels, make_chances(answers, 3), ("cat", "dog", "cow")) == ()
    labels, answers = [*labels, 2], [*answers, 0]
    members = np.array([*range(20), 20, 20])
    assert find(labels, make_chances(answers, 3), ("cat", "dog", "cow"), members=members) == ()
    members[-1] = 21
    assert len(find(labels, make_chances(answers, 3), ("cat", "dog", "cow"), members=members)) == 2


def test_more_classes_than_pictures_and_thousands_of_classes_are_taken():
    assert find([0, 1, 0, 1], make_chances([0, 1, 0, 1], 7), [f"class {i}" for i in range(7)]) == ()
    labels = np.arange(6000) % 2000
    answers = labels.copy()
    answers[17] = 5
    paths = [str(number) for number in range(6000)]
    found = suspects.find(paths, labels, make_chances(answers, 2000), [f"class {number}" for number in range(2000)])
    assert [(item.path, item.label, item.suggested) for item in found] == [("17", "class 17", "class 5")]


def test_a_probability_that_is_no_number_is_told():
    chances = make_chances([0, 1, 0, 1], 2)
    chances[2] = np.nan
    with pytest.raises(DataError, match=r"of 1 of 4 pictures, 2\.png among them, are no numbers.*learning_rate"):
        find([0, 1, 0, 1], chances)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5), st.booleans())
def test_whatever_the_probabilities_suspects_are_doubted_and_in_order(seed, num, num_classes, is_hard):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num)
    chances = random.dirichlet(np.full(num_classes, 0.3), num).astype(np.float32)
    if is_hard:
        chances = np.eye(num_classes, dtype=np.float32)[chances.argmax(axis=1)]
    names = [f"class {number}" for number in range(num_classes)]
    found = find(labels, chances, names)
    assert all(item.score == item.label_probability < item.probability for item in found)
    assert all(item.label == names[labels[item.place]] and item.suggested != item.label for item in found)
    keys = [(item.score, item.place) for item in found]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_flipped_labels_are_most_of_the_first_suspects():
    """Three clouds of points that overlap; a fifth after the other is judged by its distances to their middles."""
    random = np.random.default_rng(0)
    true = np.arange(300) % 3
    points = random.normal(size=(300, 2)) + 4 * np.array([[0, 0], [1, 0], [0, 1]])[true]
    labels = true.copy()
    flipped = random.permutation(300)[:30]
    labels[flipped] = (labels[flipped] + random.integers(1, 3, 30)) % 3
    logits = np.empty((300, 3))
    for fold in range(5):
        out = np.arange(300) // 3 % 5 == fold
        middles = np.stack([points[~out & (labels == label)].mean(axis=0) for label in range(3)])
        logits[out] = -np.square(points[out][:, None] - middles).sum(axis=2) / 2
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    found = find(labels, chances, ("a", "b", "c"))
    right = [item for item in found if item.place in flipped]
    assert len(right) / len(found) > 0.85 and len(right) / 30 > 0.75
    assert sum(item.suggested == "abc"[true[item.place]] for item in right) / len(right) > 0.9


def test_suspects_csv_has_a_row_a_suspect_and_no_suspects_leave_its_header(tmp_path):
    suspects.write(tmp_path / "suspects.csv", [Suspect(3, "cat/3, a.png", "cat", "dog", 0.125, 0.875, 0.125)])
    assert (tmp_path / "suspects.csv").read_text() == (
        'path,given,suggested,score,probability,given_probability\n"cat/3, a.png",cat,dog,0.125,0.875,0.125\n'
    )
    suspects.write(tmp_path / "suspects.csv", ())
    assert (tmp_path / "suspects.csv").read_text() == "path,given,suggested,score,probability,given_probability\n"


NAME = st.text(st.characters(exclude_characters="\0", codec=None)) | st.text("'=+-@\t\r\n\", a\ud800\udc80")


@given(st.lists(st.tuples(NAME, NAME, NAME, st.floats(0, 1), st.floats(0, 1)), max_size=4))
def test_whatever_names_hold_comes_back_and_probabilities_to_the_bit(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("run") / "suspects.csv"
    written = [Suspect(0, *names, low, high, low) for *names, low, high in drawn]
    suspects.write(path, written)
    with path.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        _, *rows = csv_files.read_rows(file)
    assert [[*row[:3], *map(float, row[3:])] for row in rows] == [list(item[1:]) for item in written]


def test_a_spreadsheet_runs_no_name(tmp_path):
    suspects.write(tmp_path / "suspects.csv", [Suspect(0, "=cmd()", "@a", "-b", 0.25, 0.5, 0.25)])
    with (tmp_path / "suspects.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][:3] == ["'=cmd()", "'@a", "'-b"]


@pytest.mark.slow
def test_cleanlab_is_imported_when_it_is_needed_and_says_nothing():
    program = """
import sys, numpy as np
from harness.cross_validation.labels import suspects
assert "cleanlab" not in sys.modules and "sklearn" not in sys.modules
labels = np.array([0] * 10 + [1] * 10)
chances = np.eye(2, dtype=np.float32)[[1, *labels[1:]]]
assert len(suspects.find(list("abcdefghijklmnopqrst"), labels, chances, ("a", "b"))) == 1
assert "tensorflow" not in sys.modules
"""
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
