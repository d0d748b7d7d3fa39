"""python -m harness.train in two processes that train together over the loopback interface."""

import csv
import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import SMOKE, command_environment, command_line, files_of, name_tasks, run_command

pytestmark = pytest.mark.slow
FLAGS = ("--model.dropout", "0", "--model.dense_dropout", "0", "--batch-size", "6", "--train.patience", "0")
LIMIT_S = 180


def name_slurm_tasks():
    """What srun would tell both tasks of a step on one node."""
    step = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
    return [step | {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)} for index in (0, 1)]


def start_two(records, run, *flags, second_flags=(), tasks=None):
    """Starts both processes; their stderr goes to files beside the run folder."""
    tasks, processes = tasks or name_tasks(), []
    for index in (0, 1):
        more = second_flags if index else ()
        with (run.parent / f"{run.name}-{index}.log").open("w") as log:
            processes.append(
                subprocess.Popen(
                    command_line("train", "--config", SMOKE, "--records", records, "--run", run, *flags, *more),
                    env=command_environment() | tasks[index],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            )
    return processes


def end_two(processes, run):
    """Waits for both; returns their exit codes, outputs and logs."""
    limit = time.monotonic() + LIMIT_S
    try:
        outputs = [process.communicate(timeout=limit - time.monotonic())[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    logs = [(run.parent / f"{run.name}-{index}.log").read_text() for index in (0, 1)]
    return [process.returncode for process in processes], outputs, logs


def train_two(records, run, *flags, **options):
    return end_two(start_two(records, run, *flags, **options), run)


def read_history(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "images_per_s"}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("cache", ["memory", "none", "device"])
def test_two_workers_learn_what_one_does(face_records, tmp_path, cache):
    flags = (*FLAGS, "--data.cache", cache)
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "one", *flags)
    assert done.returncode == 0, done.stderr
    codes, outputs, logs = train_two(face_records, tmp_path / "two", *flags)
    assert codes == [0, 0], logs
    assert "validation accuracy" in outputs[0] and outputs[1] == ""
    assert "epoch 3/3" in logs[0] and logs[1] == ""
    assert logs[0].splitlines()[-1].startswith("exported ")  # TensorFlow's threads say nothing of those who have left
    one, two = (read_history(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 3
    for row, other in zip(one, two, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    in_force = json.loads((tmp_path / "two" / "environment.json").read_text())["in_force"]
    assert (in_force["strategy"], in_force["workers"], in_force["cache"]) == ("MultiWorkerMirroredStrategy", 2, cache)
    names = [{name for name in files_of(tmp_path / run) if "tfevents" not in name} for run in ("one", "two")]
    assert names[0] == names[1]  # only one worker wrote
    assert len(list((tmp_path / "two").rglob("*tfevents*"))) == 3


def test_two_workers_normalise_by_the_global_batch_and_keep_what_they_measured(face_records, tmp_path):
    averaged = ("--optim.ema", "0.9", "--optim.accumulate_steps", "2", "--optim.name", "sgd")
    monitored = ("--train.monitor", "val_balanced_accuracy", "--train.keep", "best", "--train.min_epochs", "1")
    flags = (*FLAGS, "--model.name", "residual_cnn", "--model.widths", "[4,8]", *averaged, *monitored)
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "one", *flags)
    assert done.returncode == 0, done.stderr
    codes, _, logs = train_two(face_records, tmp_path / "two", *flags)
    assert codes == [0, 0], logs
    for row, other in zip(read_history(tmp_path / "one"), read_history(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-5)
    kept = json.loads((tmp_path / "two" / "metrics.json").read_text())
    history = read_history(tmp_path / "two")
    assert history[kept["best_epoch"] - 1]["val_loss"] == kept["loss"]
    best = max(history, key=lambda row: (row["val_balanced_accuracy"], -row["val_loss"]))
    assert kept["best_epoch"] == best["epoch"]


def test_the_tasks_of_a_slurm_step_train_together(face_records, tmp_path):
    flags = (*FLAGS, "--train.precision", "auto")  # each tries its own CPU, and both take the same
    flags += ("--runtime.exports", "[saved_model]")
    codes, _, logs = train_two(face_records, tmp_path / "run", *flags, tasks=name_slurm_tasks())
    assert codes == [0, 0], logs
    assert re.search(r"^workers  +- +2 +tasks of TF_CONFIG or SLURM's step$", logs[0], re.MULTILINE) and logs[1] == ""
    assert len(read_history(tmp_path / "run")) == 3
    assert (tmp_path / "run" / "export" / "saved_model").is_dir()


LONG = (*FLAGS, "--epochs", "12", "--runtime.deterministic", "true", "--model.dense_dropout", "0.2")


@pytest.fixture(scope="module")
def whole_run(face_records, tmp_path_factory):
    """A run of two workers that is never interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    codes, _, logs = train_two(face_records, run, *LONG)
    assert codes == [0, 0], logs
    return run


def start_training(records, run):
    """Starts two workers, and returns once their third epoch is done."""
    processes = start_two(records, run, *LONG)
    limit = time.monotonic() + LIMIT_S
    while "epoch  3/12" not in (run.parent / f"{run.name}-0.log").read_text():
        assert time.monotonic() < limit and processes[0].poll() is None
        time.sleep(0.05)
    return processes


@pytest.mark.parametrize("signalled", [0, 1])
def test_two_workers_stop_when_one_is_asked_to_and_go_on_to_the_same_figures(
    face_records, whole_run, tmp_path, signalled
):
    run = tmp_path / "run"
    processes = start_training(face_records, run)
    processes[signalled].send_signal(signal.SIGTERM)
    codes, _, logs = end_two(processes, run)
    assert codes == [75, 75], logs
    assert "\nstopped by SIGTERM" in logs[0] and "worker 1: stopped by SIGTERM" in logs[1]
    assert (run / "INTERRUPTED").read_text().startswith("SIGTERM at step ")
    codes, _, logs = train_two(face_records, run, *LONG)
    assert codes == [0, 0] and "going on at epoch" in logs[0], logs
    assert not (run / "INTERRUPTED").exists()
    assert read_history(run) == read_history(whole_run)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_worker_whose_peer_is_killed_stops_and_both_go_on_later(face_records, whole_run, tmp_path, killed):
    run = tmp_path / "run"
    processes = start_training(face_records, run)
    processes[killed].kill()
    started = time.monotonic()
    codes, _, logs = end_two(processes, run)
    assert time.monotonic() - started < 60
    assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 6, (codes, logs)
    assert f"worker {1 - killed} of 2 lost another: t" in logs[1 - killed]
    assert "its connection closed without a word" in logs[1 - killed]
    assert "Traceback" not in logs[1 - killed]
    codes, _, logs = train_two(face_records, run, *LONG)
    assert codes == [0, 0] and "going on at epoch" in logs[0], logs
    assert read_history(run) == read_history(whole_run)


def test_workers_with_different_settings_are_refused(face_records, tmp_path):
    codes, _, logs = train_two(face_records, tmp_path / "run", *FLAGS, second_flags=("--seed", "7"))
    assert codes == [6, 6], logs
    assert all("worker 1 has settings " in log for log in logs)
    assert not (tmp_path / "run").exists()


def test_a_worker_that_ends_before_they_meet_is_named_by_the_other(face_records, tmp_path):
    missing = ("--records", tmp_path / "nowhere")
    codes, _, logs = train_two(face_records, tmp_path / "run", *FLAGS, second_flags=missing)
    assert codes == [6, 3], logs
    assert "error: task 0 of 2 does not start: task 1 (127.0.0.1:" in logs[0]
    assert f" ended: there are no records in {tmp_path / 'nowhere'}" in logs[0] and "error: worker 1: " in logs[1]


def test_a_worker_whose_peer_is_frozen_stops(face_records, tmp_path):
    run = tmp_path / "run"
    first, second = start_training(face_records, run)
    second.send_signal(signal.SIGSTOP)
    try:
        assert first.wait(timeout=60) == 6
    finally:
        second.kill()
        first.kill()
    told = (run.parent / "run-0.log").read_text()
    assert "error: worker 0 of 2 lost another: " in told and "Graph execution error" not in told


def test_accumulated_clipped_and_averaged_steps_are_the_same(face_records, tmp_path):
    options = ("--optim.accumulate_steps", "3", "--optim.ema", "0.9", "--optim.clip_norm", "0.1")
    flags = (*FLAGS, "--optim.name", "sgd", "--optim.learning_rate", "0.1", *options)
    done = run_command("train", "--config", SMOKE, "--records", face_records, "--run", tmp_path / "one", *flags)
    assert done.returncode == 0, done.stderr
    codes, _, logs = train_two(face_records, tmp_path / "two", *flags)
    assert codes == [0, 0], logs
    for row, other in zip(read_history(tmp_path / "one"), read_history(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-4)


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (("--batch-size", "5"), 2, "2 devices cannot share evenly"),
        (("--runtime.logical_cpus", "2"), 2, "2 processes train together"),
    ],
)
def test_what_several_workers_cannot_do_is_refused_before_they_meet(face_records, tmp_path, flags, code, expected):
    codes, _, logs = train_two(face_records, tmp_path / "run", *flags)
    assert codes == [code, code] and all(expected in log for log in logs), logs
    assert "error: worker 1: " in logs[1]
    assert not (tmp_path / "run").exists()


def test_two_workers_back_off_together(face_records, tmp_path):
    run = tmp_path / "run"
    diverging = ("--optim.name", "adamw", "--optim.learning_rate", "10", "--optim.weight_decay", "1")
    flags = (*diverging, "--optim.warmup_epochs", "3", "--batch-size", "2", "--epochs", "5", "--train.patience", "0")
    codes, _, logs = train_two(face_records, run, *flags, "--train.on_divergence", "back_off")
    assert codes == [0, 0], logs
    assert "warning: training diverged between step 0 and step 10 of epoch " in logs[0] and logs[1] == ""
    rates = [row["lr"] for row in read_history(run)]
    assert len(rates) == 5 and rates[-1] <= 1.0
    codes, _, logs = train_two(face_records, tmp_path / "stopped", *flags)
    assert codes == [2, 2], logs
    assert all("The last good checkpoint is " in log for log in logs) and "error: worker 1: training " in logs[1]
