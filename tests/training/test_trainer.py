"""The training loop called directly: what it learns, and that it goes on from any batch."""

import dataclasses
import json
import math
import shutil

import keras
import pytest
import tensorflow as tf
from conftest import SMOKE

from harness.base.errors import InterruptedRun
from harness.config import settings
from harness.config.settings import Setting
from harness.config.training_sections import RuntimeConfig
from harness.dataset.records import manifest
from harness.distribute.devices import Devices
from harness.input import placement
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.training import trainer
from harness.training.setup import Setup


def train(records, folder, *, stop_after=None, precision="float32", **given):
    """Trains on one CPU; returns the run's figures without timings, and its checkpoint's variables.

    Args:
      records: the records folder.
      folder: the run folder.
      stop_after: batches, one a call, after which the loop is asked to stop; the run then goes on in a second call.
      precision: of the layers.
      given: settings, with two underscores for the point.
    """
    stated = {name.replace("__", "."): Setting(value, "test") for name, value in given.items()}
    stated |= {"data.records": Setting(str(records), "test"), "model.first_kernels": Setting("random", "test")}
    config = settings.make_config({**settings.read_file(SMOKE), **stated})
    workdir, data = Workdir(folder), manifest.load(records)
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), precision)
    setup = Setup(config, config, data, records, devices, placement.plan_inputs(config, data, devices))
    identity.claim(workdir, config, data, effective=setup.effective)
    if stop_after:
        reasons = iter([None] * (stop_after - 1) + ["the test"])
        one_by_one = config.model_copy(update={"runtime": RuntimeConfig(steps_per_loop=1)})
        with pytest.raises(InterruptedRun):
            trainer.train_and_evaluate(
                dataclasses.replace(setup, config=one_by_one), workdir, should_stop=lambda: next(reasons)
            )
    trainer.train_and_evaluate(setup, workdir)
    rows = [line.rsplit(",", 1)[0] for line in workdir.metrics_csv.read_text().splitlines()]
    reader = tf.train.load_checkpoint(str(workdir.checkpoints))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    others = ("progress", "save_counter")  # the progress holds timings, and a stop is one save more
    return rows, {name: reader.get_tensor(name).tolist() for name in names if not name.startswith(others)}


def losses(rows):
    table = [row.split(",") for row in rows]
    return [[float(row[table[0].index(name)]) for row in table[1:]] for name in ("loss", "val_loss")]


def test_a_run_keeps_the_epoch_and_stops_by_the_figure_it_goes_by(face_records, tmp_path):
    """The learning rate is so high that accuracy and loss go different ways."""
    given = {"train__monitor": "val_accuracy", "train__keep": "best", "train__min_epochs": 1, "train__patience": 2}
    given |= {"optim__schedule": "constant", "optim__learning_rate": 0.02, "optim__warmup_epochs": 0}
    rows, _ = train(face_records, tmp_path, **given, train__epochs=8, train__batch_size=4)
    table = [dict(zip(rows[0].split(","), map(float, row.split(",")))) for row in rows[1:]]
    best = max(table, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["best_epoch"] == best["epoch"] and found["accuracy"] == best["val_accuracy"]
    assert found["loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert len(table) == min(8, best["epoch"] + 2)


def test_the_last_epoch_is_kept_where_the_validation_has_no_say(face_records, tmp_path):
    """The learning rate is so high that the loss is the lowest long before, and patience would end the run."""
    given = {"train__keep": "last", "train__min_epochs": 1, "train__patience": 1, "train__epochs": 6}
    rows, _ = train(face_records, tmp_path, **given, optim__learning_rate=0.02, train__batch_size=4)
    table = [dict(zip(rows[0].split(","), map(float, row.split(",")))) for row in rows[1:]]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert len(table) == found["best_epoch"] == 6
    assert min(range(6), key=lambda index: table[index]["val_loss"]) < 5
    assert found["loss"] == pytest.approx(table[-1]["val_loss"], rel=1e-5)
    assert "flatters" not in " ".join(found["verdict"]["sentences"])


@pytest.mark.slow
def test_accumulated_batches_learn_what_a_large_one_does(face_records, tmp_path):
    still = {"model__dropout": 0.0, "model__dense_dropout": 0.0, "augment__enabled": False, "optim__warmup_epochs": 2.0}
    large, _ = train(face_records, tmp_path / "large", train__batch_size=6, **still)
    small, _ = train(face_records, tmp_path / "small", train__batch_size=2, optim__accumulate_steps=3, **still)
    assert losses(small) == [pytest.approx(values, rel=1e-5) for values in losses(large)]
    assert [row.split(",")[-1] for row in small] == [row.split(",")[-1] for row in large]  # the learning rate


EVERYTHING = {
    "train__batch_size": 4,
    "train__epochs": 4,
    "optim__learning_rate": 1.0,
    "optim__name": "sgd",
    "optim__weight_decay": 1e-3,
    "optim__schedule": "plateau",
    "optim__warmup_epochs": 0.0,
    "optim__plateau_epochs": 1,
    "optim__clip_norm": 0.5,
    "optim__accumulate_steps": 3,
    "optim__ema": 0.9,
}


@pytest.fixture(scope="module", params=["float32", "mixed_float16"])
def whole_run(request, face_records, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    return request.param, train(face_records, run, precision=request.param, **EVERYTHING)


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [2, 9, 18])
def test_a_run_goes_on_from_any_batch(face_records, whole_run, tmp_path, stop_after):
    precision, whole = whole_run
    stopped = train(face_records, tmp_path / "run", precision=precision, stop_after=stop_after, **EVERYTHING)
    assert stopped == whole
    rates = [row.split(",")[-1] for row in whole[0][1:]]
    assert len(set(rates)) > 1  # a plateau was met


def test_the_average_is_what_is_measured_kept_and_exported(face_records, tmp_path):
    still = {"optim__ema": 0.9, "train__epochs": 1, "train__batch_size": 20, "optim__learning_rate": 0.1}
    _, variables = train(face_records, tmp_path, **still)
    exported = keras.models.load_model(tmp_path / "export" / "model.keras").get_layer("conv1").kernel.numpy().tolist()
    assert [name.split("/")[0] for name, value in variables.items() if value == exported] == ["average"]


def test_the_recorded_rate_is_that_of_the_last_step_taken(face_records, tmp_path, monkeypatch):
    defaults = keras.optimizers.LossScaleOptimizer.__init__.__defaults__
    monkeypatch.setattr(keras.optimizers.LossScaleOptimizer.__init__, "__defaults__", (2.0**30, *defaults[1:]))
    still = {"train__batch_size": 1, "train__epochs": 2, "optim__learning_rate": 0.01, "optim__warmup_epochs": 0}
    rows, variables = train(face_records, tmp_path, precision="mixed_float16", optim__ema=0.9, **still)
    num_taken = variables["optimizer/inner_optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"]
    assert 0 < num_taken < 40  # of 40 steps
    recorded = float(rows[-1].split(",")[rows[0].split(",").index("lr")])
    assert recorded == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * (num_taken - 1) / 40)), rel=1e-4)


def test_balanced_classes_change_the_training_loss_and_not_the_validation_loss(face_records, tmp_path):
    still = {"model__dropout": 0.0, "model__dense_dropout": 0.0, "augment__enabled": False}
    still |= {
        "train__epochs": 1,
        "train__batch_size": 20,
        "optim__learning_rate": 1e-9,
    }  # the initial weights are measured
    data = manifest.load(face_records)
    split = dataclasses.replace(data.splits["train"], class_counts={"happy": 5, "sad": 15})
    records = shutil.copytree(face_records, tmp_path / "records")
    manifest.save(dataclasses.replace(data, splits={**data.splits, "train": split}), records)
    (plain,), (validation,) = losses(train(face_records, tmp_path / "plain", **still)[0])
    (weighted,), (again,) = losses(train(records, tmp_path / "run", train__class_weights="balanced", **still)[0])
    assert again == validation and weighted != plain
    assert 2 / 3 * plain < weighted < 2 * plain


@pytest.mark.slow
def test_a_network_of_keras_goes_on_from_any_batch(face_records, tmp_path):
    network = {"model__name": "EfficientNetB0", "train__epochs": 1, "train__batch_size": 8}  # has dropout inside
    whole = train(face_records, tmp_path / "whole", **network)
    assert train(face_records, tmp_path / "stopped", stop_after=2, **network) == whole
