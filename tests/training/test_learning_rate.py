"""Learning rates against values worked out by hand."""

import pytest
import tensorflow as tf

from harness.config.training_sections import OptimConfig
from harness.training.learning_rate import LearningRate, scale_at_plateaus, scale_learning_rate


def rates(steps, **settings):
    schedule = LearningRate(OptimConfig(**settings), batch_size=16, steps_per_epoch=10, epochs=10)
    return [float(schedule(tf.constant(step))) for step in steps]


def test_a_constant_rate_is_constant():
    assert rates([0, 50, 99], learning_rate=0.5, schedule="constant", warmup_epochs=0.0) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(("rule", "expected"), [("none", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_the_rate_is_for_16_pictures_and_grows_with_the_batch(rule, expected):
    config = OptimConfig(learning_rate=0.1, scale_with_batch=rule)
    rate = LearningRate(config, batch_size=64, steps_per_epoch=10, epochs=10)
    assert rate.of_step(9) == pytest.approx(expected)
    assert scale_learning_rate(config, 16) == 0.1


def test_a_warm_up_rises_in_a_line():
    assert rates([0, 4, 9, 10], learning_rate=1.0, warmup_epochs=1.0) == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_a_cosine_falls_to_zero_after_the_warm_up():
    found = rates([19, 20, 60, 100], learning_rate=1.0, schedule="cosine", warmup_epochs=2.0)
    assert found == pytest.approx([1.0, 1.0, 0.5, 0.0], abs=1e-6)


def test_a_plateau_lowers_the_rate_and_gives_it_time_again():
    losses = [9.0, 8.0, 8.0, 8.5, 7.9, 7.9, 7.9, 7.9, 7.9]
    config = OptimConfig(schedule="plateau", plateau_epochs=2, plateau_factor=0.1, warmup_epochs=0.0)
    found = [scale_at_plateaus(losses[:num], config) for num in range(10)]
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_the_warm_up_is_no_plateau():
    config = OptimConfig(schedule="plateau", plateau_epochs=1, plateau_factor=0.5, warmup_epochs=1.5)
    assert [scale_at_plateaus([1.0, 2.0, 3.0, 3.0][:num], config) for num in range(5)] == [1, 1, 1, 1, 0.5]


@pytest.mark.parametrize(("schedule", "expected"), [("constant", 0.01), ("cosine", 0.005), ("plateau", 0.005)])
def test_divergences_make_every_schedule_smaller(schedule, expected):
    plateau = {"plateau_epochs": 1, "plateau_factor": 0.5}
    config = OptimConfig(learning_rate=1.0, schedule=schedule, warmup_epochs=0.0, **plateau)
    rate = LearningRate(config, batch_size=16, steps_per_epoch=10, epochs=10)
    assert rate.follow([5.0, 6.0], num_back_offs=2)
    assert float(rate(tf.constant(50))) == pytest.approx(expected)
    assert not rate.follow([5.0, 6.0], num_back_offs=2)
