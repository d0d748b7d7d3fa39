"""What a training is made with, decided once."""

import dataclasses

import pytest
import tensorflow as tf

from harness.base.errors import ConfigError
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.config.training_sections import TrainConfig
from harness.dataset.records import manifest
from harness.distribute.devices import Devices
from harness.training.setup import set_up

# While tests are collected nothing has used TensorFlow yet; afterwards the CPU can no longer be divided.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
IN_BFLOAT16 = Devices(tf.distribute.get_strategy(), ("/cpu:0",), "mixed_bfloat16", {"precision": "tried before"})


def config_of(records, **train):
    return Config(data=DataConfig(records=records), train=TrainConfig(**train))


def test_the_batch_of_all_replicas_counts_from_here_on(face_records, logical_cpus):
    asked = config_of(face_records, batch_size=4, batch_per="replica", precision="float32")
    setup = set_up(asked, manifest.load(face_records), devices=logical_cpus(2))
    assert setup.asked == asked and setup.config.train.batch_size == setup.effective["batch"] == 8
    rows = {row.name: row for row in setup.rows}
    assert (rows["global batch"].asked, rows["global batch"].in_force) == ("4 a replica", "8, 4 a replica")
    assert rows["strategy"].in_force == setup.effective["strategy"] == "MirroredStrategy"


def test_devices_of_another_setup_keep_their_precision_where_none_is_asked_for(face_records):
    data = manifest.load(face_records)
    open_one = set_up(config_of(face_records), data, devices=IN_BFLOAT16)
    assert open_one.effective["precision"] == "mixed_bfloat16"
    assert {row.name: row.reason for row in open_one.rows}["precision"] == "tried before"
    named = set_up(config_of(face_records, precision="float32"), data, devices=IN_BFLOAT16)
    assert named.effective["precision"] == "float32"


def test_an_auc_of_a_single_class_cannot_be_gone_by(face_records):
    data = manifest.load(face_records)
    split = dataclasses.replace(data.splits["validation"], class_counts={"happy": 4, "sad": 0})
    alone = dataclasses.replace(data, splits={**data.splits, "validation": split})
    with pytest.raises(ConfigError, match=r"val_auc, which needs pictures of two classes, .* has happy alone"):
        set_up(config_of(face_records, monitor="val_auc"), alone, devices=IN_BFLOAT16)
    assert set_up(config_of(face_records, monitor="val_f1"), alone, devices=IN_BFLOAT16)


def test_a_run_that_goes_on_is_given_what_it_was_started_with(face_records):
    devices = dataclasses.replace(IN_BFLOAT16, precision="float32")
    earlier = {"cache": "none", "engine": "device"}
    setup = set_up(config_of(face_records), manifest.load(face_records), devices=devices, earlier=earlier)
    assert (setup.inputs.cache, setup.inputs.engine) == ("none", "device")
    assert setup.effective.items() >= earlier.items()
