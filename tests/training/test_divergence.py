"""Trainings whose learning rate is far too high: what they say, what they leave, and how they go back and on."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMOKE, read_history, run_command, write_faces
from test_trainer import train as train_in_process

# Weight decay takes ten times each weight off at every step, so that weights grow nine times.
DIVERGING = (
    "--optim.name",
    "adamw",
    "--optim.learning_rate",
    "10",
    "--optim.weight_decay",
    "1",
    "--train.patience",
    "0",
)
SHORT = (  # epochs of 20 steps; the second is too fast
    *("--batch-size", "1", "--epochs", "4"),
    *("--optim.schedule", "constant", "--optim.warmup_epochs", "3"),
)
EACH_STEP = ("--train.checkpoint_minutes", "0.000001", "--runtime.steps_per_loop", "1")


def train(records, run, *flags):
    return run_command("train", "--config", SMOKE, "--records", records, "--run", run, *DIVERGING, *flags)


def checkpoints_of(run):
    """The steps of the latest checkpoints, all of which must hold finite numbers only."""
    found = sorted((run / "checkpoints" / "latest").glob("*.index"))
    for path in found:
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        for name, kind in reader.get_variable_to_dtype_map().items():
            assert not kind.is_floating or np.isfinite(reader.get_tensor(name)).all(), (path, name)
    return [int(path.stem.removeprefix("ckpt-")) for path in found]


def test_a_run_that_diverges_names_the_steps_and_the_last_good_checkpoint(face_records, tmp_path):
    run = tmp_path / "run"
    done = train(face_records, run, *SHORT, *EACH_STEP)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    told = re.search(r"error: training diverged between step (\d+) and step (\d+) of epoch 2: its loss", done.stderr)
    before, after = map(int, told.groups())
    assert 0 < after == before + 1
    latest = 20 + before
    assert f"The last good checkpoint is {run}/checkpoints/latest/ckpt-{latest}. " in done.stderr
    assert "optim.learning_rate is 10.0; try a tenth of it" in done.stderr
    assert "--train.on_divergence back_off" in done.stderr
    assert checkpoints_of(run) == [latest - 1, latest]
    assert all(np.isfinite(list(row.values())).all() for row in read_history(run))
    assert not (run / "metrics.json").exists()
    again = train(face_records, run, *SHORT, *EACH_STEP)  # what is kept can be restored
    assert again.returncode == 2 and f"step {before}\n" in again.stderr
    assert checkpoints_of(run) == [latest - 1, latest]


def test_a_run_that_backs_off_ends_well(face_records, tmp_path):
    run = tmp_path / "run"
    done = train(face_records, run, *SHORT, *EACH_STEP, "--train.on_divergence", "back_off")
    assert done.returncode == 0, done.stderr
    told = (
        "of epoch 2: its loss or weights are no finite numbers. Back to the start of epoch 2 with 0.1 times the "
        "learning rate (1 of at most 3 times).\n"
    )
    assert done.stderr.count("warning: training diverged between step ") == done.stderr.count(told) == 1
    history = read_history(run)
    assert [row["lr"] for row in history] == pytest.approx([10 / 3, 2 / 3, 1.0, 1.0])
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert np.isfinite(json.loads((run / "metrics.json").read_text())["loss"])
    assert checkpoints_of(run) == [80]


def test_a_run_backs_off_three_times_and_then_stops(face_records, tmp_path):
    flags = ("--optim.scale_with_batch", "linear", "--optim.accumulate_steps", "4096", "--batch-size", "20")
    done = train(face_records, tmp_path / "run", *flags, "--epochs", "60", "--train.on_divergence", "back_off")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("warning: training diverged") == 3
    assert "and was multiplied by 0.001 after 3 divergences; try a tenth of it" in done.stderr
    assert "(3 of at most 3 times)" in done.stderr
    assert checkpoints_of(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [(), ("--runtime.logical_cpus", "2", "--train.precision", "mixed_float16")],
    ids=["float32", "float16 on two replicas"],
)
def test_a_first_epoch_that_diverges_is_noticed_within_a_window_and_begun_again(tmp_path, flags):
    records, images = tmp_path / "records", write_faces(tmp_path / "images", num_each=130)
    flags = ("--batch-size", "2", "--epochs", "2", *flags, "--optim.schedule", "constant", "--optim.warmup_epochs", "0")
    assert run_command("build_records", "--config", SMOKE, "--images", images, "--records", records).returncode == 0
    done = train(records, tmp_path / "stopped", *flags)
    assert done.returncode == 2, done.stderr
    assert "training diverged between step 0 and step 100 of epoch 1" in done.stderr
    assert "There is no checkpoint yet." in done.stderr
    done = train(records, tmp_path / "run", *flags, "--train.on_divergence", "back_off")
    assert done.returncode == 0, done.stderr
    num_back_offs = done.stderr.count("Back to the start of epoch 1 with 0.1 times")  # float16 may take two
    rates = [row["lr"] for row in read_history(tmp_path / "run")]
    assert 1 <= num_back_offs <= 2 and rates == pytest.approx([10 * 0.1**num_back_offs] * 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "precision"), [("constant", "float32"), ("cosine", "mixed_float16"), ("plateau", "float32")]
)
def test_a_run_that_backs_off_goes_on_from_any_batch(face_records, tmp_path, schedule, precision):
    given = {
        "train__batch_size": 1,
        "train__epochs": 4,
        "train__patience": 0,
        "train__on_divergence": "back_off",
        "optim__name": "adamw",
        "optim__learning_rate": 10.0,
        "optim__weight_decay": 1.0,
        "optim__warmup_epochs": 3.0,
        "optim__schedule": schedule,
        "optim__ema": 0.5,
    }
    whole = train_in_process(face_records, tmp_path / "whole", precision=precision, **given)
    rates = [float(row.split(",")[-1]) for row in whole[0][1:]]
    if precision == "float32":
        assert rates[:2] == pytest.approx([10 / 3, 2 / 3])
    else:  # which leaves steps out, and they raise no rate
        assert rates[0] < 10 / 3 and rates[0] / 10 < rates[1] < 2 / 3
    for stop_after in (23, 20 + 19 + 5):  # in the epoch that diverges, and when that is begun again
        run = tmp_path / f"stopped-{stop_after}"
        assert train_in_process(face_records, run, precision=precision, stop_after=stop_after, **given) == whole
        shutil.rmtree(run)
