"""python -m harness.train in two processes that train together over the loopback interface."""

import csv
import json
import socket
import subprocess
import time

import pytest
from conftest import SMOKE, command_environment, command_line, files_of, run_command

pytestmark = pytest.mark.slow
FLAGS = ("--model.dropout", "0", "--model.dense_dropout", "0", "--batch-size", "6", "--train.patience", "0")
LIMIT_S = 180


def free_addresses():
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in (first, second)]


def start_two(records, run, *flags, second_flags=()):
    """Starts both processes; their stderr goes to files beside the run folder."""
    addresses, processes = free_addresses(), []
    for index in (0, 1):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        more = second_flags if index else ()
        with (run.parent / f"{run.name}-{index}.log").open("w") as log:
            processes.append(
                subprocess.Popen(
                    command_line("train", "--config", SMOKE, "--records", records, "--run", run, *flags, *more),
                    env={**command_environment(), "TF_CONFIG": json.dumps(task)},
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
    one, two = (read_history(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 3
    for row, other in zip(one, two, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    in_force = json.loads((tmp_path / "two" / "environment.json").read_text())["in_force"]
    assert (in_force["strategy"], in_force["workers"], in_force["cache"]) == ("MultiWorkerMirroredStrategy", 2, cache)
    names = [{name for name in files_of(tmp_path / run) if "tfevents" not in name} for run in ("one", "two")]
    assert names[0] == names[1]  # only one worker wrote
    assert len(list((tmp_path / "two").rglob("*tfevents*"))) == 3
