"""What becomes of a gradient before the optimizer takes its step, against values worked out by hand."""

import keras
import pytest
import tensorflow as tf
from conftest import run_python

from harness.config.training_sections import OptimConfig
from harness.training.gradients import Turn, Updater, find_turn
from harness.training.optimizer import make_optimizer


def make_updater(*, precision="float32", **settings):
    """An updater of SGD with a rate of 1, and a variable [2] of zeros that it changes."""
    config = OptimConfig(name="sgd", momentum=0.0, **settings)
    optimizer = make_optimizer(config, lambda: tf.constant(1.0), precision=precision)
    variable = keras.Variable([0.0, 0.0])
    optimizer.build([variable])
    return Updater(optimizer, [variable], config), optimizer, variable


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize(("gradient", "step"), [([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])])
def test_a_long_gradient_is_shortened_and_a_short_one_kept(gradient, step, precision):
    updater, optimizer, variable = make_updater(clip_norm=1.0, precision=precision)
    updater.apply([optimizer.scale_loss(tf.constant(gradient))], tf.constant(1.0), is_last=True)
    assert variable.numpy() == pytest.approx([-value for value in step], rel=1e-6)


def test_a_gradient_that_overflows_float16_is_no_step_and_halves_the_loss_scale():
    updater, optimizer, variable = make_updater(clip_norm=1.0, precision="mixed_float16")
    norm = updater.apply([tf.constant([float("inf"), 1.0])], tf.constant(1.0), is_last=True)
    assert norm.numpy() == float("inf")
    assert variable.numpy().tolist() == [0.0, 0.0]
    assert optimizer.dynamic_scale.numpy() == 2.0**14


def test_the_last_batches_of_an_epoch_end_a_step_and_every_picture_counts_the_same():
    turns = [find_turn(step, num_examples=13, batch_size=4, accumulate_steps=3) for step in range(4)]
    assert turns == [Turn(1 / 3, False), Turn(1 / 3, False), Turn(1 / 3, True), Turn(1.0, True)]
    turns = [find_turn(step, num_examples=6, batch_size=4, accumulate_steps=3) for step in range(2)]
    assert turns == [Turn(2 / 3, False), Turn(1 / 3, True)]
    turns = [find_turn(step, num_examples=6, batch_size=4, accumulate_steps=1) for step in range(2)]
    assert turns == [Turn(1.0, True), Turn(1.0, True)]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_gradients_wait_for_the_last_batch_of_a_step(precision):
    updater, optimizer, variable = make_updater(accumulate_steps=2, precision=precision)
    for turns in (1, 2):
        updater.apply([optimizer.scale_loss(tf.constant([1.0, 0.0]))], tf.constant(0.75), is_last=False)
        assert variable.numpy().tolist() == [-1.0 * (turns - 1), -0.5 * (turns - 1)]
        updater.apply([optimizer.scale_loss(tf.constant([1.0, 2.0]))], tf.constant(0.25), is_last=True)
        assert variable.numpy().tolist() == [-1.0 * turns, -0.5 * turns]
    assert int(optimizer.iterations) == 2


def test_what_is_clipped_is_the_accumulated_gradient():
    updater, _, variable = make_updater(accumulate_steps=2, clip_norm=1.0)
    updater.apply([tf.constant([6.0, 0.0])], tf.constant(0.5), is_last=False)
    updater.apply([tf.constant([0.0, 8.0])], tf.constant(0.5), is_last=True)
    assert variable.numpy() == pytest.approx([-0.6, -0.8])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_the_norm_is_that_before_clipping_and_without_the_scale(clip_norm, precision):
    updater, optimizer, _ = make_updater(clip_norm=clip_norm, precision=precision)
    norm = updater.apply([optimizer.scale_loss(tf.constant([3.0, 4.0]))], tf.constant(1.0), is_last=True)
    assert norm.numpy() == 5.0


def test_a_gradient_that_waits_has_no_norm_and_those_together_have():
    updater, _, _ = make_updater(accumulate_steps=2)
    assert updater.apply([tf.constant([6.0, 0.0])], tf.constant(0.5), is_last=False) is None
    assert updater.apply([tf.constant([0.0, 8.0])], tf.constant(0.5), is_last=True).numpy() == 5.0


OVERFLOW = """
import keras, tensorflow as tf
from harness.config.training_sections import OptimConfig
from harness.training.gradients import Updater
from harness.training.optimizer import make_optimizer

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
config = OptimConfig(name="sgd", momentum=0.0)
for overflowing in (0, 1):
    with strategy.scope():
        variable = keras.Variable([1.0, 1.0])
        optimizer = make_optimizer(config, lambda: tf.constant(1.0), precision="mixed_float16")
        optimizer.build([variable])
        updater = Updater(optimizer, [variable], config)

    def replica_step():
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = tf.where(index == overflowing, [float("inf"), 1.0], [1.0, 1.0])
        updater.apply([gradient], tf.constant(1.0), is_last=True)

    tf.function(lambda: strategy.run(replica_step))()
    print(variable.numpy().tolist(), optimizer.dynamic_scale.numpy())
"""


@pytest.mark.slow
def test_a_gradient_that_overflows_on_any_replica_is_no_step():
    done = run_python(OVERFLOW)
    assert done.stdout.splitlines() == ["[1.0, 1.0] 16384.0"] * 2, done.stderr
