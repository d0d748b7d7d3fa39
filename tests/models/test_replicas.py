"""Networks in training on two replicas: dropout has masks of its own on each, from one seed that a checkpoint holds."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness.config.training_sections import ModelConfig
from harness.models import cpu_forward, replicas
from harness.models.network import build_model, logits_of, seed_states, walk_layers

# While tests are collected nothing has used TensorFlow yet; afterwards the CPU can no longer be divided.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
NETWORKS = [
    {"name": "emotion_cnn", "widths": (4, 8, 4), "dense_units": 16},
    {"name": "residual_cnn", "widths": (4, 8)},
    pytest.param({"name": "EfficientNetB0"}, marks=pytest.mark.slow),  # has dropout inside
]
FORWARD = {"layers": lambda model: partial(model, training=True), "cpu": cpu_forward.make_forward}


def build(strategy, **settings):
    with strategy.scope():
        model = build_model(ModelConfig(**settings), num_classes=2, image_size=46, seed=3)
        replicas.share_training(model, strategy.num_replicas_in_sync)
    return model


def answer(strategy, forward):
    """What each replica answers in training to the same four pictures."""
    pictures = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 46, 46, 3)).astype(np.float32))
    found = tf.function(lambda: strategy.run(forward, args=(pictures,)))()
    return [value.numpy() for value in strategy.experimental_local_results(found)]


@pytest.mark.parametrize("way", FORWARD)
@pytest.mark.parametrize("settings", NETWORKS)
def test_each_replica_drops_others_and_all_the_same_again_from_the_same_seed(logical_cpus, settings, way):
    strategy = logical_cpus(2).strategy
    model = build(strategy, **settings)
    forward, states = FORWARD[way](logits_of(model)), seed_states(model)
    begun = [state.numpy() for state in states]
    first, second = answer(strategy, forward)
    assert not np.allclose(first, second, rtol=1e-2)
    for state in states:
        one, other = state.values
        assert np.array_equal(one, other)  # so a checkpoint holds that of both
    for state, value in zip(states, begun):
        state.assign(value)
    again = answer(strategy, forward)
    assert np.array_equal(again[0], first) and np.array_equal(again[1], second)


def test_half_of_the_units_are_dropped_on_each_replica_and_a_quarter_on_both(logical_cpus):
    strategy = logical_cpus(2).strategy
    with strategy.scope():
        inputs = keras.Input((20_000,))
        model = keras.Model(inputs, keras.layers.Dropout(0.5, seed=5)(inputs))
        replicas.share_training(model, 2)
    drop = tf.function(lambda: strategy.run(partial(model, training=True), args=(tf.ones([1, 20_000]),)))
    first, second = (mask.numpy() == 0 for mask in drop().values)
    assert [first.mean(), second.mean(), (first & second).mean()] == pytest.approx([0.5, 0.5, 0.25], abs=0.02)


def test_on_one_device_layers_stay_as_keras_builds_them():
    strategy, settings = tf.distribute.get_strategy(), {"name": "residual_cnn", "widths": (4, 8)}
    untouched = build_model(ModelConfig(**settings), num_classes=2, image_size=46, seed=3)
    model = build(strategy, **settings)
    (found,), (expected,) = (answer(strategy, partial(one, training=True)) for one in (model, untouched))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("num_replicas", "is_synchronized"), [(1, False), (2, True)])
@pytest.mark.parametrize(("name", "num_layers"), [("residual_cnn", 9), ("MobileNetV3Small", 34)])
def test_several_replicas_share_the_statistics_of_every_layer(
    logical_cpus, name, num_layers, num_replicas, is_synchronized
):
    model = build(logical_cpus(num_replicas).strategy, name=name)
    layers = [layer for layer in walk_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    assert [layer.synchronized for layer in layers] == [is_synchronized] * num_layers
