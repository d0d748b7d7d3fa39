"""The forward pass in training: the function of the Keras model, its gradients, and the same dropout for less work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness.config.training_sections import ModelConfig
from harness.models import cpu_forward
from harness.models.network import build_model, logits_of, seed_states

SMALL = {"widths": (4, 8, 4), "dense_units": 16, "first_kernels": "random"}
STILL = {"dropout": 0.0, "dense_dropout": 0.0}


def build_logits(precision="float32", num_classes=2, **settings):
    config = ModelConfig(**{**SMALL, **settings})
    model = build_model(config, num_classes=num_classes, image_size=46, seed=3, precision=precision)
    for weight in model.trainable_variables:
        if weight.name == "bias":
            weight.assign(np.random.default_rng(weight.shape[0]).normal(0, 0.1, weight.shape))
    return logits_of(model)


def pixels(num=3):
    return tf.constant(np.random.default_rng(0).integers(0, 256, (num, 46, 46, 3)).astype(np.float32))


def answer(call, model):
    """The logits, and the gradients of their squares' sum."""

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            logits = call(pixels())
            loss = tf.reduce_sum(tf.square(logits))
        return logits, tape.gradient(loss, [weight.value for weight in model.trainable_variables])

    return tf.nest.map_structure(lambda value: value.numpy(), compute())


@pytest.mark.parametrize(
    "settings",
    [{}, {"pooling": "average"}, {"widths": (3,)}, {"widths": (5, 2, 7, 3), "num_classes": 5}],
    ids=["default", "average", "one layer", "four layers, five classes"],
)
def test_without_dropout_logits_and_gradients_are_those_of_the_keras_model(settings):
    model = build_logits(**STILL, **settings)
    logits, gradients = answer(cpu_forward.make_forward(model), model)
    expected, expected_gradients = answer(lambda images: model(images, training=True), model)
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_with_fewer_bits_it_is_as_near_as_those_bits_are(precision):
    model = build_logits(precision=precision, **STILL)
    logits, gradients = answer(cpu_forward.make_forward(model), model)
    expected, expected_gradients = answer(lambda images: model(images, training=True), model)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0.03, atol=0.03)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        assert np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("rate", "lots"),
    [
        (0.0, (8, 0)),
        (0.1, (8, 26)),
        (0.5, (8, 128)),
        (0.01, (16, 655)),
        (0.999, (16, 65470)),
        (0.9999999, (16, 65535)),
    ],
)
def test_eight_bits_draw_a_rate_they_come_near_to_and_sixteen_the_others(rate, lots):
    assert cpu_forward.find_lots(rate) == lots


def make_dropout(rate, size):
    """A network of ones that are dropped."""
    inputs = keras.Input((size,))
    return keras.Model(inputs, keras.layers.Dropout(rate, seed=5)(inputs))


@pytest.mark.parametrize(("rate", "share"), [(0.1, 26 / 256), (0.5, 0.5), (0.01, 655 / 65536)])
def test_dropout_keeps_its_share_and_the_mean(rate, share):
    model = make_dropout(rate, 100_001)
    dropped = cpu_forward.make_forward(model)(tf.ones([3, 100_001])).numpy()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / (1 - share))}
    assert np.mean(dropped == 0) == pytest.approx(share, abs=0.003)
    assert dropped.mean() == pytest.approx(1.0, abs=0.005)
    rows = dropped == 0
    assert np.mean(rows[0] & rows[1]) == pytest.approx(share**2, abs=0.003)  # pictures do not share masks


def test_masks_follow_the_seed_in_the_checkpoint():
    model = make_dropout(0.5, 64)
    (state,), call = seed_states(model), cpu_forward.make_forward(model)
    before = state.numpy()
    first, second = call(tf.ones([2, 64])).numpy(), call(tf.ones([2, 64])).numpy()
    assert not np.array_equal(first, second)
    state.assign(before)
    assert np.array_equal(call(tf.ones([2, 64])).numpy(), first)


def test_the_gradient_passes_what_was_kept():
    model, ones = make_dropout(0.5, 64), tf.ones([2, 64])
    with tf.GradientTape() as tape:
        tape.watch(ones)
        dropped = cpu_forward.make_forward(model)(ones)
    assert np.array_equal(tape.gradient(dropped, ones), dropped)


def test_a_network_that_is_no_plain_chain_is_called_as_it_is():
    model = build_logits(name="residual_cnn", **STILL)
    logits = cpu_forward.make_forward(model)(pixels())
    assert np.array_equal(logits, build_logits(name="residual_cnn", **STILL)(pixels(), training=True))
