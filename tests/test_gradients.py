"""What becomes of a gradient before the optimizer takes its step, against values worked out by hand."""

import keras
import pytest
import tensorflow as tf

from harness import optim
from harness.config import OptimConfig
from harness.gradients import Updater


def make_updater(*, precision="float32", **settings):
    """An updater of SGD with a rate of 1, and a variable [2] of zeros that it changes."""
    config = OptimConfig(name="sgd", momentum=0.0, **settings)
    optimizer = optim.make_optimizer(config, lambda: tf.constant(1.0), precision=precision)
    variable = keras.Variable([0.0, 0.0])
    optimizer.build([variable])
    return Updater(optimizer, config), optimizer, variable


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize(("gradient", "step"), [([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])])
def test_a_long_gradient_is_shortened_and_a_short_one_kept(gradient, step, precision):
    updater, optimizer, variable = make_updater(clip_norm=1.0, precision=precision)
    updater.apply([optimizer.scale_loss(tf.constant(gradient))], [variable])
    assert variable.numpy() == pytest.approx([-value for value in step], rel=1e-6)


def test_a_gradient_that_overflows_float16_is_no_step_and_halves_the_loss_scale():
    updater, optimizer, variable = make_updater(clip_norm=1.0, precision="mixed_float16")
    updater.apply([tf.constant([float("inf"), 1.0])], [variable])
    assert variable.numpy().tolist() == [0.0, 0.0]
    assert optimizer.dynamic_scale.numpy() == 2.0**14
