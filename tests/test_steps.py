"""The training step: what it does to pictures and loss that a batch asks for."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from conftest import draw_face

from harness import augment_device, input_pipeline, manifest, pictures, steps
from harness.config import AugmentConfig, Config, ModelConfig, TrainConfig
from harness.distribute import Devices
from harness.input_pipeline import Batches
from harness.transforms import draw_transforms

WITHOUT_DROPOUT = ModelConfig(widths=(4, 8, 4), dense_units=16, dropout=0.0, dense_dropout=0.0)


@pytest.fixture
def trainee(face_records):
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32")
    return steps.make_trainee(Config(model=WITHOUT_DROPOUT), devices, manifest.load(face_records))


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
    loss, num_correct, num_examples = trainee.train_step(batch, 0).numpy()
    assert loss == pytest.approx(nats[0, 0] + nats[1, 1] + nats[2, 1], rel=1e-5)
    assert num_correct == (predicted[:3] == [0, 1, 1]).sum() and num_examples == 3


def test_mixed_labels_share_the_loss_and_the_own_one_is_counted(trainee, batch):
    nats, predicted = -np.log(chances(trainee, batch)), chances(trainee, batch).argmax(axis=1)
    loss, num_correct, num_examples = trainee.train_step(
        {**batch, "mix": tf.constant([0.75, 1.0, 0.5, 0.2])}, 0
    ).numpy()
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


@pytest.mark.parametrize("cache", ["memory", "none", "device"])
def test_steps_are_traced_once_however_many_epochs(face_records, cache):
    data, devices = manifest.load(face_records), Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32")
    config = Config(model=WITHOUT_DROPOUT, train=TrainConfig(batch_size=5))
    trainee = steps.make_trainee(config, devices, data)
    split = pictures.open_split(data, face_records, "train", cache=cache, devices=devices)
    engine = "device" if cache == "device" else "host"
    make = partial(input_pipeline.train_batches, split, config, engine=engine, epoch=1, first_step=1)
    for batch in Batches(split, devices.strategy, make).take(3 * split.num_batches(5)):
        trainee.train_step(batch, 0)
    assert trainee.count_traces() == 1
