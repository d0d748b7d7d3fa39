"""Which epoch is the better one, for each figure that a run may go by."""

import pytest

from harness.results import history
from harness.results.metrics import Scores

FIRST = {"val_loss": 0.5, "val_accuracy": 0.8, "val_auc": 0.9, "val_balanced_accuracy": 0.7, "val_f1": 0.75}


@pytest.mark.parametrize("monitor", FIRST)
def test_the_loss_is_better_when_lower_and_the_others_when_higher(monitor):
    higher = {**FIRST, monitor: FIRST[monitor] + 0.05}
    assert history.is_better(higher, FIRST, monitor) is (monitor != "val_loss")
    assert history.is_better(FIRST, higher, monitor) is (monitor == "val_loss")
    assert (history.cost(higher, monitor) < history.cost(FIRST, monitor)) is (monitor != "val_loss")


def test_of_epochs_with_the_same_figure_the_one_of_the_lower_loss_is_better():
    surer = {**FIRST, "val_loss": 0.4}
    assert history.is_better(surer, FIRST, "val_accuracy") and not history.is_better(FIRST, surer, "val_accuracy")
    assert not history.is_better(FIRST, FIRST, "val_accuracy")


def test_a_row_has_the_figures_that_are_defined(tmp_path):
    scores = Scores(loss=0.5, accuracy=0.75, balanced_accuracy=0.7, f1=0.6, auc=None)
    row = history.make_row(3, (8.0, 12.0, 16.0), scores, learning_rate=0.001, images_per_s=100.0)
    assert row == {
        "epoch": 3,
        "loss": 0.5,
        "accuracy": 0.75,
        "val_loss": 0.5,
        "val_accuracy": 0.75,
        "val_balanced_accuracy": 0.7,
        "val_f1": 0.6,
        "lr": 0.001,
        "images_per_s": 100.0,
    }
    history.write(tmp_path / "metrics.csv", [row])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1] == "3,0.5,0.75,0.5,0.75,0.7,0.6,0.001,100.0"


def test_a_line_shows_the_figure_that_the_run_goes_by():
    row = {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "lr": 0.001, "images_per_s": 100.0, **FIRST}
    shown = {
        monitor: history.describe(row, monitor=monitor, epochs=9, seconds_left=1, is_best=True) for monitor in FIRST
    }
    assert "val balanced accuracy 0.700  " in shown["val_balanced_accuracy"]
    assert shown["val_loss"] == shown["val_accuracy"] and "balanced" not in shown["val_loss"]
