"""The training step: what it does to pictures and loss that a batch asks for, and the same on all replicas."""

import dataclasses
import gc
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import draw_face

from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, ModelConfig, OptimConfig, TrainConfig
from harness.dataset.records import manifest
from harness.distribute.devices import Devices
from harness.input import augment_device, loaded_split, pipeline
from harness.input.augmentation import draw_transforms
from harness.input.pipeline import Batches
from harness.models.network import walk_layers
from harness.training import steps
from harness.training.divergence import make_finite_check
from harness.training.step_metrics import NUM_SUMS

# While tests are collected nothing has used TensorFlow yet; afterwards the CPU can no longer be divided.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
WITHOUT_DROPOUT = ModelConfig(widths=(4, 8, 4), dense_units=16, dropout=0.0, dense_dropout=0.0)


@pytest.fixture
def trainee(face_records):
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32")
    config = Config(model=WITHOUT_DROPOUT, optim=OptimConfig(label_smoothing=0.0))
    return steps.make_trainee(config, devices, manifest.load(face_records))


@pytest.fixture
def batch():
    """Four pictures of both classes, the last of them padding."""
    pictures = np.stack([draw_face(index, happy=index in (0, 3), size=32) for index in range(4)])
    return {
        "image": tf.constant(pictures),
        "label": tf.constant([0, 1, 1, 0]),
        "weight": tf.constant([1 / 3, 1 / 3, 1 / 3, 0.0]),
    }


def chances(trainee, batch):
    return trainee.predict_step(batch).numpy()[:, :2]


def test_pictures_without_transforms_are_trained_on_as_they_are(trainee, batch):
    nats, predicted = -np.log(chances(trainee, batch)), chances(trainee, batch).argmax(axis=1)
    loss, num_correct, num_examples = trainee.train_step(batch, 0).numpy()[:3]
    assert loss == pytest.approx(nats[0, 0] + nats[1, 1] + nats[2, 1], rel=1e-5)
    assert num_correct == (predicted[:3] == [0, 1, 1]).sum() and num_examples == 3


def test_mixed_labels_share_the_loss_and_the_own_one_is_counted(trainee, batch):
    nats, predicted = -np.log(chances(trainee, batch)), chances(trainee, batch).argmax(axis=1)
    mixed = {**batch, "mix": tf.constant([0.75, 1.0, 0.5, 0.2])}
    loss, num_correct, num_examples = trainee.train_step(mixed, 0).numpy()[:3]
    expected = 0.75 * nats[0, 0] + 0.25 * nats[0, 1] + nats[1, 1] + 0.5 * nats[2, 1] + 0.5 * nats[2, 0]
    assert loss == pytest.approx(expected, rel=1e-5)
    assert num_correct == (predicted[:3] == [0, 1, 1]).sum() and num_examples == 3


def test_pictures_with_transforms_are_augmented_in_the_step(trainee, batch):
    drawn = draw_transforms(AugmentConfig(erasing=1.0, mixup=1.0), np.random.default_rng(0), num=4, size=32)
    augmented = {**batch, "image": augment_device.augment_batch(batch["image"], drawn)}
    nats, mix = -np.log(chances(trainee, augmented)), drawn["mix"]
    own, others = nats[range(3), [0, 1, 1]], nats[range(3), [1, 0, 0]]
    loss = trainee.train_step({**batch, **{name: tf.constant(values) for name, values in drawn.items()}}, 0).numpy()[0]
    assert loss == pytest.approx((mix[:3] * own + (1 - mix[:3]) * others).sum(), rel=1e-4)


def test_pictures_on_the_device_are_looked_up_there(trainee, batch):
    kept = {"pixels": batch["image"][::-1], "index": tf.constant([3, 2, 1, 0], tf.int64)}
    elsewhere = {name: value for name, value in batch.items() if name != "image"}
    assert np.array_equal(chances(trainee, {**elsewhere, **kept}), chances(trainee, batch))


@pytest.mark.parametrize(("precision", "is_finite"), [("float32", False), ("mixed_float16", True)])
def test_a_gradient_that_overflows_spoils_the_weights_but_in_float16(face_records, batch, precision, is_finite):
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), precision, ())
    config = Config(model=WITHOUT_DROPOUT, optim=OptimConfig(name="sgd"))
    trainee = steps.make_trainee(config, devices, manifest.load(face_records))
    is_finite_now = make_finite_check(trainee, devices)
    assert is_finite_now()
    figures = trainee.train_step({**batch, "weight": batch["weight"] * np.inf}, 0).numpy()
    assert np.isfinite(figures).all() and figures[3:].tolist() == [0.0, 0.0]  # no norm
    assert is_finite_now() == is_finite


def test_a_step_that_float16_leaves_out_moves_no_average(face_records, batch):
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), "mixed_float16", ())
    config = Config(model=WITHOUT_DROPOUT, optim=OptimConfig(name="sgd", ema=0.9))
    trainee = steps.make_trainee(config, devices, manifest.load(face_records))
    for _ in range(3):
        trainee.train_step(batch, 0)
    weights, average = trainee.model.get_weights(), trainee.kept_model.get_weights()
    assert int(trainee.optimizer.iterations) > 0 and not np.array_equal(weights[0], average[0])
    trainee.train_step({**batch, "weight": batch["weight"] * np.inf}, 0)
    assert all(np.array_equal(*pair) for pair in zip(trainee.model.get_weights(), weights, strict=True))
    assert all(np.array_equal(*pair) for pair in zip(trainee.kept_model.get_weights(), average, strict=True))
    trainee.train_step(batch, 0)
    assert not np.array_equal(trainee.kept_model.get_weights()[0], average[0])


@pytest.mark.slow
def test_what_is_frozen_drops_nothing_in_training(face_records, tmp_path):
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(tmp_path / "made.weights.h5")
    frozen = ModelConfig(name="EfficientNetB0", weights=tmp_path / "made.weights.h5", freeze_backbone=True)
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32")
    trainee = steps.make_trainee(Config(model=frozen), devices, manifest.load(face_records))
    rates = [layer.rate for layer in walk_layers(trainee.model) if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.0] * 9 + [0.5]


@pytest.mark.parametrize("cache", ["memory", "none", "device"])
def test_steps_are_traced_once_however_many_epochs(face_records, cache):
    data, devices = manifest.load(face_records), Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32")
    config = Config(model=WITHOUT_DROPOUT, train=TrainConfig(batch_size=5))
    trainee = steps.make_trainee(config, devices, data)
    split = loaded_split.open_split(data, face_records, "train", cache=cache, devices=devices)
    engine = "device" if cache == "device" else "host"
    make = partial(pipeline.train_batches, split, config, engine=engine, epoch=1, first_step=1)
    for _ in range(2):  # after a divergence the batches are begun again
        batches, num_batches = Batches(split, devices.strategy, make), split.num_batches(5)
        for num_steps in (1, num_batches, 2, num_batches - 2):
            trainee.train_steps(batches.iterator, batches.resident, 0, num_steps, tf.zeros(NUM_SUMS, tf.float64))
    assert trainee.count_traces() == 1


@pytest.mark.parametrize("num_replicas", [1, 2])
@pytest.mark.parametrize("optim", [OptimConfig(), OptimConfig(accumulate_steps=3, ema=0.9)], ids=["plain", "turns"])
def test_several_steps_in_one_call_are_those_taken_one_by_one(face_records, logical_cpus, num_replicas, optim):
    data, devices = manifest.load(face_records), logical_cpus(num_replicas)
    config = Config(model=WITHOUT_DROPOUT, train=TrainConfig(batch_size=4), optim=optim)
    split = loaded_split.open_split(data, face_records, "train", cache="memory", devices=devices)
    make = partial(pipeline.train_batches, split, config, engine="host", epoch=0)
    num_batches, found = split.num_batches(4), []
    for calls in ([1] * num_batches, [2, num_batches - 2]):
        trainee, batches = steps.make_trainee(config, devices, data), Batches(split, devices.strategy, make)
        position, totals = 0, tf.zeros(NUM_SUMS, tf.float64)
        for num_steps in calls:
            totals = trainee.train_steps(batches.iterator, batches.resident, position, num_steps, totals)
            position += num_steps
        assert trainee.num_updates == totals.numpy()[4]
        found.append((totals.numpy()[:5], [*trainee.model.get_weights(), *trainee.kept_model.get_weights()]))
    (sums, weights), (other_sums, other_weights) = found
    assert sums[2] == split.num_examples and sums[4] == -(-num_batches // optim.accumulate_steps)
    np.testing.assert_allclose(sums, other_sums, rtol=1e-5)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


STILL = {"widths": (4, 8), "dense_dropout": 0.0}
EVERYTHING = {"accumulate_steps": 3, "ema": 0.9, "clip_norm": 1.0, "weight_decay": 1e-3}


def train(records, devices, *, num_epochs, model, optim, batch_size=6):
    """Trains on devices; returns what was trained and the totals of the last epoch, whose last batch is padded."""
    data, config = manifest.load(records), Config(model=model, train=TrainConfig(batch_size=batch_size), optim=optim)
    split = loaded_split.open_split(data, records, "train", cache="memory", devices=devices)
    trainee = steps.make_trainee(config, devices, data)
    batches = pipeline.open_training(split, config, devices.strategy, engine="host", epoch=0)
    for _ in range(num_epochs):
        totals = tf.zeros(NUM_SUMS, tf.float64)
        totals = trainee.train_steps(batches.iterator, batches.resident, 0, split.num_batches(batch_size), totals)
    return trainee, totals.numpy()[:5]


def find_copied_variables():
    """All variables alive of which each replica has a copy, whoever made them."""
    found = [one for one in gc.get_objects() if issubclass(type(one), tf.distribute.DistributedValues)]
    return [one for one in found if issubclass(type(one), tf.Variable)]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # a loss that float16 does not hold
@pytest.mark.parametrize(
    ("name", "precision", "optim"),
    [
        ("emotion_cnn", "float32", EVERYTHING),
        ("residual_cnn", "float32", EVERYTHING),
        pytest.param("residual_cnn", "mixed_float16", EVERYTHING, marks=pytest.mark.slow),
        pytest.param("MobileNetV3Small", "float32", {}, marks=pytest.mark.slow),
    ],
    ids=["dropout", "normalised", "float16", "of keras"],
)
def test_all_copies_of_every_variable_stay_equal(face_records, logical_cpus, name, precision, optim):
    devices = dataclasses.replace(logical_cpus(2), precision=precision)
    earlier = {id(one): one for one in find_copied_variables()}  # of other tests
    model = ModelConfig(name=name, widths=(4, 8), dense_units=16)
    trainee, _ = train(face_records, devices, num_epochs=2, model=model, optim=OptimConfig(name="adamw", **optim))
    variables = [one for one in find_copied_variables() if id(one) not in earlier]
    known = [*trainee.model.variables, *trainee.kept_model.variables, *trainee.optimizer.variables]
    assert {id(one.value) for one in known} <= {id(one) for one in variables}
    differing = [one.name for one in variables if not np.array_equal(*(copy.numpy() for copy in one.values))]
    assert differing == []


@pytest.mark.parametrize(
    ("name", "learning_rate", "optim"),
    [
        ("residual_cnn", 1e-2, {}),
        ("residual_cnn", 1e-2, EVERYTHING),
        pytest.param("MobileNetV3Small", 1e-4, {}, marks=pytest.mark.slow),  # larger steps go anywhere on 20 pictures
    ],
    ids=["plain", "everything", "of keras"],
)
def test_two_devices_learn_what_one_does_with_batch_normalisation(
    face_records, logical_cpus, name, learning_rate, optim
):
    model = ModelConfig(name=name, **STILL)
    optim = OptimConfig(name="sgd", learning_rate=learning_rate, **optim)
    (one, totals), (two, other_totals) = (
        train(face_records, logical_cpus(num), num_epochs=2, model=model, optim=optim) for num in (1, 2)
    )
    np.testing.assert_allclose(other_totals, totals, rtol=1e-5)
    for weights, others in ((one.model, two.model), (one.kept_model, two.kept_model)):
        for weight, other in zip(weights.get_weights(), others.get_weights(), strict=True):
            np.testing.assert_allclose(other, weight, rtol=1e-6, atol=1e-6)
