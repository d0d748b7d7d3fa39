"""Checkpoints: what a crash leaves is passed over, and long epochs are saved within."""

import json
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMOKE, command_environment, command_line, files_of, run_command

from harness.base.errors import CheckpointError
from harness.runs.checkpoint import Checkpoints, Progress, open_latest
from harness.runs.workdir import Workdir

KERNEL = "optimizer/_trainable_variables/0/.ATTRIBUTES/VARIABLE_VALUE"  # of the first convolution
FLAGS = ("--epochs", "3", "--train.patience", "0", "--batch-size", "4", "--runtime.deterministic", "true")


def train(records, run, *flags):
    return run_command("train", "--config", SMOKE, "--records", records, "--run", run, *FLAGS, *flags)


@pytest.fixture
def finished(face_records, tmp_path):
    """A finished run, and its folder as it was before the results were written."""
    run = tmp_path / "run"
    assert train(face_records, run).returncode == 0
    figures = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").unlink()
    return run, figures


def latest(run):
    found = {int(path.stem.split("-")[1]): path for path in (run / "checkpoints" / "latest").glob("*.index")}
    return [found[number].with_suffix("") for number in sorted(found, reverse=True)]


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_short_is_passed_over_with_a_warning(face_records, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    flags = ("--config", SMOKE, "--records", face_records, *FLAGS, "--epochs", 20)
    words = command_line("train", *flags, "--run", run)
    with subprocess.Popen(words, env=command_environment(), stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if line.startswith("epoch  2/20"))
        process.terminate()
        process.stderr.read()
    assert process.returncode == 75
    newest, before = latest(run)
    data = newest.with_suffix(".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    done = run_command("train", *flags, "--run", run)
    assert done.returncode == 0, done.stderr
    assert f"warning: the checkpoint {newest} cannot be restored" in done.stderr
    assert f"Going on from the one before, {before}." in done.stderr
    assert run_command("train", *flags, "--run", whole).returncode == 0
    first, second = (json.loads((each / "metrics.json").read_text())["loss"] for each in (run, whole))
    assert first == second
    assert [len(latest(each)) for each in (run, whole)] == [1, 1]  # which is complete


@pytest.mark.slow
def test_checkpoints_that_are_all_damaged_end_the_run_with_what_to_do(finished, face_records):
    run, _ = finished
    for path in latest(run):
        path.with_suffix(".index").write_bytes(b"nothing")
    done = train(face_records, run)
    assert done.returncode == 5 and "Start again in another folder: --run runs/NEW" in done.stderr


@pytest.mark.slow
def test_tensorflows_own_list_of_checkpoints_may_be_lost(finished, face_records):
    run, figures = finished
    (run / "checkpoints" / "latest" / "checkpoint").write_bytes(b"\0" * 20)
    done = train(face_records, run)
    assert done.returncode == 0 and "nothing is left to train" in done.stderr
    assert json.loads((run / "metrics.json").read_text())["loss"] == figures["loss"]


def make_checkpoints(folder):
    """A network of one weight, and its checkpoints."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    return model.weights[0], Checkpoints(Workdir(folder), model, optimizer, kept_model=model)


@pytest.fixture
def weight_and_checkpoints(tmp_path):
    return make_checkpoints(tmp_path)


def test_going_back_leaves_nothing_that_came_later(weight_and_checkpoints, tmp_path):
    weight, checkpoints = weight_and_checkpoints
    for step in (4, 6, 7):
        weight.assign([[float(step)]])
        checkpoints.save(Progress(epoch=2, step=step, step_in_epoch=step - 4))
        if step == 4:
            checkpoints.save_start(Progress(epoch=2, step=4))
    expected = Progress(epoch=2, step=4, num_back_offs=1)
    assert checkpoints.go_back(4, num_back_offs=1) == expected and weight.numpy() == [[4.0]]
    assert {path.name for path in latest(tmp_path)} == {"ckpt-4"}
    assert not list((tmp_path / "checkpoints" / "latest").glob("ckpt-[67]*"))
    weight.assign([[9.0]])
    assert checkpoints.restore() == expected and weight.numpy() == [[4.0]]


def test_what_a_killed_save_left_is_removed_when_the_run_goes_on(weight_and_checkpoints, tmp_path):
    _, checkpoints = weight_and_checkpoints
    checkpoints.save(Progress(step=3))
    latest = Workdir(tmp_path).checkpoints
    (latest / ".k2l.tmp").mkdir()
    (latest / ".k2l.tmp" / "ckpt-7.index").write_bytes(b"half an ")
    (latest / "ckpt-7_temp").mkdir()
    (latest / "ckpt-7_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half a ")
    assert checkpoints.restore().step == 3
    assert sorted(path.name for path in latest.iterdir()) == [
        "checkpoint",
        "ckpt-3.data-00000-of-00001",
        "ckpt-3.index",
    ]


def test_going_back_to_what_is_not_there_is_refused(weight_and_checkpoints):
    _, checkpoints = weight_and_checkpoints
    checkpoints.save_start(Progress(step=4))
    with pytest.raises(CheckpointError, match="epoch_start holds no checkpoint of step 5 to go back to"):
        checkpoints.go_back(5, num_back_offs=1)


@pytest.mark.slow
def test_a_run_is_forked_from_the_weights_of_another(smoke_run, face_records, tmp_path):
    flags = ("--records", face_records, "--run", smoke_run, "--optim.learning_rate", "0.0001", "--epochs", "1")
    refused = run_command("train", "--config", SMOKE, *flags)
    assert refused.returncode == 5 and "--fork runs/NEW" in refused.stderr
    done = run_command("train", "--config", SMOKE, *flags, "--fork", tmp_path / "forked")
    assert done.returncode == 0, done.stderr
    first, forked = (
        tf.train.load_checkpoint(str(run / "checkpoints" / "latest")).get_tensor(KERNEL)
        for run in (smoke_run, tmp_path / "forked")
    )
    assert 0 < np.abs(forked - first).max() < 0.001  # a few steps of a ten-thousandth each
    assert f"start_from: {smoke_run}" in (tmp_path / "forked" / "config.yaml").read_text()


def test_a_fork_of_no_run_is_refused(face_records, tmp_path):
    done = train(face_records, tmp_path / "nothing", "--fork", tmp_path / "forked")
    assert (
        done.returncode == 2 and "starts from the weights of the run" in done.stderr and "there is none" in done.stderr
    )
    assert not (tmp_path / "forked").exists()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_kills_have_left_goes_with_the_next_save(weight_and_checkpoints, tmp_path):
    """A killed process has saved what the next one does not know of; only the newest two are needed."""
    _, checkpoints = weight_and_checkpoints
    latest = Workdir(tmp_path).checkpoints
    for step in (3, 6, 9, 13):
        checkpoints.save(Progress(step=step))
        for part in latest.glob(f"ckpt-{step}.*"):
            (tmp_path / part.name).write_bytes(part.read_bytes())
    for part in tmp_path.glob("ckpt-*.*"):
        part.rename(latest / part.name)
    (latest / "checkpoint.tmp1bf8a").write_bytes(b"half")
    (latest / ".checkpoint.77.tmp").write_bytes(b"half")
    (latest / "ckpt-14.data-00000-of-00001").write_bytes(b"without an index")
    assert checkpoints.restore().step == 13
    checkpoints.save(Progress(step=16))
    assert names_in(latest) == [
        "checkpoint",
        "ckpt-13.data-00000-of-00001",
        "ckpt-13.index",
        "ckpt-16.data-00000-of-00001",
        "ckpt-16.index",
    ]


def test_other_readers_find_the_latest_checkpoint_by_tensorflows_list(weight_and_checkpoints, tmp_path):
    _, checkpoints = weight_and_checkpoints
    for step in (3, 6, 9):
        checkpoints.save(Progress(step=step))
    latest = Workdir(tmp_path).checkpoints
    assert tf.train.latest_checkpoint(str(latest)) == str(latest / "ckpt-9")
    listed = tf.train.get_checkpoint_state(str(latest)).all_model_checkpoint_paths
    assert list(listed) == [str(latest / "ckpt-6"), str(latest / "ckpt-9")]


def test_a_list_of_tensorflow_that_names_other_files_removes_none(weight_and_checkpoints, tmp_path):
    _, checkpoints = weight_and_checkpoints
    latest = Workdir(tmp_path).checkpoints
    latest.mkdir(parents=True)
    (tmp_path / "mine.index").write_bytes(b"precious")
    (latest / "checkpoint").write_text(
        'model_checkpoint_path: "ckpt-1"\n' + f'all_model_checkpoint_paths: "{tmp_path}/mine"\n' * 4
    )
    for step in (1, 2, 3):
        checkpoints.save(Progress(step=step))
    assert (tmp_path / "mine.index").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["a[1]", "[", "a*", "?", "back\\slash", "{a,b}", "two words", "ä\n", "$x"])
def test_any_name_of_a_run_folder_can_be_gone_on_with(tmp_path, name):
    weight, checkpoints = make_checkpoints(tmp_path / name)
    for step in (4, 6, 7):
        weight.assign([[float(step)]])
        checkpoints.save(Progress(step=step))
        checkpoints.save_best(Progress(step=step))
        checkpoints.save_start(Progress(step=step))
    for folder, kept in (("latest", {6, 7}), ("best", {6, 7}), ("epoch_start", {7})):
        found = (tmp_path / name / "checkpoints" / folder).iterdir()
        assert {path.name for path in found if path.suffix == ".index"} == {f"ckpt-{step}.index" for step in kept}
    weight, checkpoints = make_checkpoints(tmp_path / name)
    assert checkpoints.restore() == Progress(step=7) and weight.numpy() == [[7.0]]
    weight.assign([[0.0]])
    checkpoints.restore_best(Progress(epoch=1, step=7, best_epoch=1))
    assert weight.numpy() == [[7.0]]
    weight.assign([[0.0]])
    assert checkpoints.go_back(7, num_back_offs=1).step == 7 and weight.numpy() == [[7.0]]
    with open_latest(tmp_path / name / "checkpoints" / "best") as reader:
        assert [reader.get_tensor(key) for key in reader.get_variable_to_shape_map() if "kernel" in key] == [[[7.0]]]
    other, of_another_run = make_checkpoints(tmp_path / "other")
    of_another_run.start_from(Workdir(tmp_path / name))
    assert other.numpy() == [[7.0]]


def test_a_damaged_checkpoint_is_named_by_its_own_path(tmp_path):
    _, checkpoints = make_checkpoints(tmp_path / "a[1]")
    checkpoints.save_best(Progress(step=4))
    path = tmp_path / "a[1]" / "checkpoints" / "best" / "ckpt-4"
    path.with_suffix(".index").write_bytes(b"nothing")
    with pytest.raises(CheckpointError) as refused:
        checkpoints.restore_best(Progress(epoch=1, step=4, best_epoch=1))
    assert str(refused.value).startswith(f"the checkpoint {path} cannot be restored: ")
    assert "/proc/" not in str(refused.value)


def test_progress_is_restored_as_it_was_saved(weight_and_checkpoints):
    """Down to whole numbers: metrics.csv is written from it, and is to be the same after a kill."""
    _, checkpoints = weight_and_checkpoints
    row = {"epoch": 1, "loss": 2.0, "val_loss": float("inf")}
    checkpoints.save(Progress(epoch=1, step=5, sums=(1.5, 2.0, 3.0), best_epoch=1, history=[row]))
    found = checkpoints.restore()
    assert repr(found.history) == "[{'epoch': 1, 'loss': 2.0, 'val_loss': inf}]"
    assert (found.sums, found.best_epoch, found.step) == ((1.5, 2.0, 3.0), 1, 5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"epoch": "3"}', '{"epoch": -1}', '{"sums": [1, 2]}', '{"new": 1}', "[" * 100_000, "\udcff"],
)
def test_progress_of_another_form_is_refused(weight_and_checkpoints, text):
    _, checkpoints = weight_and_checkpoints
    checkpoints._progress.assign(text.encode("utf-8", "surrogateescape"))
    checkpoints._save(checkpoints._everything, checkpoints._latest, 5, num_kept=2)
    with pytest.raises(CheckpointError, match=r"ckpt-5 cannot be restored: its progress: .*--run runs/NEW"):
        checkpoints.restore()


def test_the_best_weights_are_those_that_the_progress_names(tmp_path):
    weight, checkpoints = make_checkpoints(tmp_path)
    for step in (4, 8):  # after the second, the run is killed before its progress says so, and the epoch is run again
        weight.assign([[float(step)]])
        checkpoints.save_best(Progress(step=step))
    weight, checkpoints = make_checkpoints(tmp_path)
    checkpoints.restore_best(Progress(epoch=3, step=12, best_epoch=1))
    assert weight.numpy() == [[4.0]]
    with pytest.raises(CheckpointError, match="holds no checkpoint of step 12"):
        checkpoints.restore_best(Progress(epoch=3, step=12, best_epoch=3))


def test_a_run_that_is_complete_keeps_its_last_checkpoint_and_the_kept_weights(tmp_path):
    weight, checkpoints = make_checkpoints(tmp_path)
    for step in (4, 8, 12):
        progress = Progress(epoch=step // 4, step=step, best_epoch=1 + (step > 4))
        weight.assign([[float(step)]])
        checkpoints.save_start(progress)
        checkpoints.save_best(progress)
        checkpoints.save(progress)
    checkpoints.slim(progress)
    names = {name.partition(".")[0] for name in files_of(tmp_path / "checkpoints")}
    assert names == {"latest/checkpoint", "latest/ckpt-12", "best/checkpoint", "best/ckpt-8"}
    checkpoints.restore_best(progress)
    assert weight.numpy() == [[8.0]]
    assert checkpoints.restore() == progress and weight.numpy() == [[12.0]]


def test_a_save_without_room_leaves_the_checkpoint_of_the_same_step(small_disk):
    weight, checkpoints = make_checkpoints(small_disk / "run")
    weight.assign([[4.0]])
    checkpoints.save(Progress(step=4))
    before = files_of(small_disk / "run")
    with (small_disk / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 20))
    with pytest.raises((OSError, tf.errors.OpError)):
        checkpoints.save(Progress(step=4))
    assert files_of(small_disk / "run") == before
    weight, checkpoints = make_checkpoints(small_disk / "run")
    assert checkpoints.restore() == Progress(step=4) and weight.numpy() == [[4.0]]
