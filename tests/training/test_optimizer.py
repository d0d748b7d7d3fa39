"""Optimizers against values worked out by hand and against those of Keras."""

from functools import partial

import keras
import pytest
import tensorflow as tf

from harness.config.training_sections import OptimConfig
from harness.training.learning_rate import LearningRate
from harness.training.optimizer import average_weights, make_optimizer


def test_the_optimizer_takes_the_lowered_rate():
    config = OptimConfig(
        name="sgd", momentum=0.0, learning_rate=1.0, schedule="plateau", plateau_epochs=1, warmup_epochs=0.2
    )
    rate = LearningRate(config, batch_size=16, steps_per_epoch=10, epochs=10)
    variable = tf.Variable(0.0)
    optimizer = make_optimizer(config, rate, precision="float32")
    optimizer.build([variable])
    optimizer.apply([tf.constant(1.0)], [variable])
    assert not rate.follow([5.0, 4.0])
    assert rate.follow([5.0, 4.0, 4.0])
    optimizer.apply([tf.constant(1.0)], [variable])
    assert variable.numpy() == -0.5 - 0.5  # half of the warm-up, then half of the whole rate
    assert rate.of_step(29) == 0.5


def test_float16_alone_scales_the_loss():
    config = OptimConfig()
    plain = make_optimizer(config, lambda step: 0.1, precision="mixed_bfloat16")
    scaled = make_optimizer(config, lambda step: 0.1, precision="mixed_float16")
    is_scaled = [isinstance(optimizer, keras.optimizers.LossScaleOptimizer) for optimizer in (plain, scaled)]
    assert is_scaled == [False, True]


def apply_once(config, gradients, *, precision="float32", steps=1):
    """A kernel [2] of ones and a bias [1] of one after so many steps of these gradients at a rate of 0.1."""
    layer = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 2))
    optimizer = make_optimizer(config, lambda step=None: tf.constant(0.1), precision=precision)
    optimizer.build(layer.trainable_variables)
    for _ in range(steps):
        scaled = [optimizer.scale_loss(tf.constant(gradient)) for gradient in gradients]
        optimizer.apply(scaled, layer.trainable_variables)
    return [weight.ravel().tolist() for weight in layer.get_weights()]


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.1)])
def test_adam_takes_the_steps_of_keras(name, decay):
    ours = make_optimizer(OptimConfig(name=name, weight_decay=decay), lambda: tf.constant(0.1), precision="float32")
    theirs = keras.optimizers.AdamW(0.1, weight_decay=decay) if decay else keras.optimizers.Adam(0.1)
    kernels = [keras.Variable([[1.0, -2.0], [0.5, 3.0]], name="kernel") for _ in range(2)]
    for gradient in ([[0.1, -4.0], [0.0, 1e-6]], [[-2.0, 1.0], [0.0, 1e-3]], [[0.5, 0.5], [7.0, -1e-6]]):
        for optimizer, kernel in zip((ours, theirs), kernels):
            optimizer.apply([tf.constant(gradient)], [kernel])
        assert kernels[0].numpy() == pytest.approx(kernels[1].numpy(), rel=1e-6)


def test_momentum_takes_the_last_step_again():
    config = OptimConfig(name="sgd", momentum=0.5)
    kernel, bias = apply_once(config, ([[1.0], [2.0]], [4.0]), steps=2)  # steps of 1 and 1.5 times the gradient
    assert kernel == pytest.approx([0.75, 0.5]) and bias == pytest.approx([0.0])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weights_decay_and_biases_do_not(name, precision):
    config = OptimConfig(name=name, weight_decay=0.5)
    kernel, bias = apply_once(config, ([[0.0], [0.0]], [0.0]), precision=precision)
    assert kernel == pytest.approx([0.95, 0.95]) and bias == [1.0]


def test_normalisation_does_not_decay():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 2))
    optimizer = make_optimizer(
        OptimConfig(name="adamw", weight_decay=0.5), lambda: tf.constant(0.1), precision="float32"
    )
    optimizer.build(layer.trainable_variables)
    optimizer.apply([tf.zeros(2), tf.zeros(2)], layer.trainable_variables)
    assert layer.gamma.numpy().tolist() == [1.0, 1.0]


def test_an_average_follows_the_weights_faster_at_first():
    def make(value):
        layer = keras.layers.BatchNormalization(moving_mean_initializer=keras.initializers.Constant(value))
        return keras.Sequential([keras.Input((1,)), layer])

    average, model = make(0.0), make(1.0)
    mean = average.layers[0].moving_mean
    follow = partial(average_weights, average, model, tf.distribute.get_strategy(), decay=0.5)
    for num_steps, expected in ((1, 9 / 11), (1000, 9 / 11 + 0.5 * 2 / 11)):  # keeps 2/11, then a half
        follow(num_steps=tf.constant(num_steps), is_taken=tf.constant(True))
        assert mean.numpy() == pytest.approx([expected])
        before = mean.numpy()
        follow(num_steps=tf.constant(num_steps), is_taken=tf.constant(False))
        assert mean.numpy() == before
