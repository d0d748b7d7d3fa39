"""The confusion matrix of any number of classes: what is drawn of very many, and how large it may become."""

import cv2
import numpy as np
import pytest

from harness.results import metrics
from harness.results.report import charts


def measure(num_classes: int, mistakes: dict[tuple[int, int], int]) -> metrics.Metrics:
    """Figures of one right picture a class and of these mistakes: label and prediction -> how often."""
    pairs = [(label, label) for label in range(num_classes)]
    pairs += [pair for pair, number in mistakes.items() for _ in range(number)]
    labels, predicted = np.array(pairs).T
    chances = np.eye(num_classes, dtype=np.float32)[predicted] * 0.9 + 0.1 / num_classes
    return metrics.measure(labels, chances, [f"class {label}" for label in range(num_classes)])


def test_the_most_confused_classes_take_part_in_most_mistakes():
    found = measure(50, {(7, 40): 5, (3, 40): 1, (12, 13): 2})
    assert charts.find_most_confused(found, 5).tolist() == [3, 7, 12, 13, 40]
    assert charts.find_most_confused(found, 1).tolist() == [40]


def test_a_perfect_model_confuses_the_first_classes_as_much_as_any():
    assert charts.find_most_confused(measure(50, {}), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("num_classes", [2, 20, 21, 40, 41, 300])
def test_a_matrix_of_any_number_of_classes_fits_a_page(num_classes):
    png = charts.draw_confusion(measure(num_classes, {(0, 1): 3}), title="run")
    height, width = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert max(height, width) <= 2400 and len(png) < 2_000_000
