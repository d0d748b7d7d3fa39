"""The model without a network: what it sees, and what it makes of real records."""

import numpy as np
import pytest
from conftest import draw_face

from harness.dataset.records import manifest
from harness.input import loaded_split
from harness.results.statistics import baselines, hog


def test_features_say_where_edges_of_which_direction_are():
    """A vertical edge in the middle: its gradient points along 0 degrees, half of it to each of the bins beside."""
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    picture[:, :, 36:] = 255
    blocks = hog.describe(picture).reshape(7, 7, 4, 9)
    assert blocks.any(axis=(0, 2, 3)).tolist() == [False, False, False, True, True, False, False]
    assert np.flatnonzero(blocks.sum(axis=(0, 1, 2))).tolist() == [0, 8]
    turned = hog.describe(np.swapaxes(picture, 1, 2)).reshape(7, 7, 4, 9)
    assert np.flatnonzero(turned.sum(axis=(0, 1, 2))).tolist() == [4]
    assert np.linalg.norm(blocks[0, 3]) == pytest.approx(1, abs=5e-3)


def test_flat_pictures_have_no_features_and_brightness_does_not_matter():
    assert not hog.describe(np.full((2, 32, 32, 3), 200, np.uint8)).any()
    face = draw_face(0, happy=True)
    dark, bright = hog.describe(np.stack([face // 2, face // 2 + 100]))
    assert dark == pytest.approx(bright, abs=1e-3)


def test_it_tells_happy_from_sad_faces():
    def draw(first):
        labels = np.arange(40) % 2
        return hog.describe(np.stack([draw_face(first + i, happy=i % 2 == 0) for i in range(40)])), labels

    classifier = baselines.HogClassifier(*draw(0))
    features, labels = draw(1000)
    found = baselines.measure(classifier, labels, classifier.predict(features), np.arange(40))
    assert found.accuracy == found.balanced_accuracy > 0.9
    assert (found.num_trained, found.num_measured) == (40, 40) and found.accuracy_ci95[0] > 0.75


def test_one_class_to_learn_from_is_the_only_answer():
    classifier = baselines.HogClassifier(np.zeros((3, 1764), np.float32), np.array([1, 1, 1]))
    assert classifier.predict(np.zeros((2, 1764), np.float32)).tolist() == [1, 1]


def test_records_are_read_up_to_the_limit_and_come_to_the_same_again(face_records, monkeypatch):
    data = manifest.load(face_records, "data/faces")
    splits = [loaded_split.open_split(data, face_records, name, cache="none") for name in ("train", "validation")]
    first, again = (baselines.train(splits[0]) for _ in range(2))
    assert first.num_trained == splits[0].num_examples == 20
    answers = baselines.predict(first, splits[1])
    assert answers.tolist() == baselines.predict(again, splits[1]).tolist() and len(answers) == 4
    monkeypatch.setattr(baselines, "MOST_TRAINED", 7)
    assert baselines.train(splits[0]).num_trained == 7
