"""Which epoch is kept: in sentences, and in the curves."""

import pytest

from harness.base import figures
from harness.config.training_sections import TrainConfig
from harness.results.kept_epoch import KeptEpoch
from harness.results.report import charts

LOSSES = [0.7, 0.3, 0.4, 0.5]


def make_kept(number, **train):
    rows = [
        {"epoch": float(i), "loss": 1 / i, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.6}
        for i, loss in enumerate(LOSSES, start=1)
    ]
    return KeptEpoch(rows, number, TrainConfig(**{"epochs": len(LOSSES), "keep": "best", **train}))


def read_axes(kept, monkeypatch):
    """The loss axes of the curves, before they become a picture."""
    drawn = []
    monkeypatch.setattr(figures, "as_png", lambda figure: drawn.append(figure) or b"")
    charts.draw_curves(kept, title="a run")
    return drawn[0]


def test_the_last_epoch_is_kept_for_being_the_last_whatever_the_validation_says():
    kept = make_kept(4, keep="last")
    assert kept.explain() == [
        "Epoch 4 of 4 is kept, the last: no validation picture has a say (train.keep).",
        "The lowest validation loss is 0.3000, at epoch 2.",
    ]


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"keep": "last"}, "the last (train.keep)"),
        ({"min_epochs": 1}, "the lowest of all epochs"),
        ({"min_epochs": 3}, "the lowest of epochs 2 to 4"),
        ({"monitor": "val_balanced_accuracy"}, "the highest validation balanced accuracy of epochs 2 to 4"),
        ({"monitor": "val_auc", "min_epochs": 1}, "the highest validation AUC of all epochs"),
    ],
)
def test_what_sets_the_kept_epoch_apart_is_said_in_a_few_words(train, expected):
    assert make_kept(3, **train).distinction == expected


def test_the_curves_say_why_the_epoch_is_kept_and_shade_those_that_may_not_be(monkeypatch):
    figure = read_axes(make_kept(3, min_epochs=3), monkeypatch)  # at most half of all epochs are not judged
    assert (
        figure.get_suptitle() == "a run\nEpoch 3 of 4 is kept: its val_loss of 0.4000 is the lowest of epochs 2 to 4."
    )
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [
            "train (augmented, with dropout)",
            "validation",
            "may not be kept",
            "kept: epoch 3",
            "lowest loss: epoch 2",
        ]
        assert axes.patches[0].get_x() == 0.5 and axes.patches[0].get_width() == 1.0


@pytest.mark.parametrize("train", [{"keep": "best", "min_epochs": 1}, {"keep": "last", "min_epochs": 3}], ids=str)
def test_nothing_is_shaded_where_no_epoch_was_left_out(train, monkeypatch):
    assert not any(axes.patches for axes in read_axes(make_kept(4, **train), monkeypatch).axes)


def test_nothing_is_shaded_where_every_epoch_may_be_kept(monkeypatch):
    figure = read_axes(make_kept(2, min_epochs=1), monkeypatch)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()][2:] == ["kept: epoch 2"]
    assert not figure.axes[0].patches
