"""What becomes of tasks while TensorFlow connects them: one is frozen there, and all others wait for it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import SMOKE, command_environment, name_tasks

pytestmark = pytest.mark.slow
LIMIT_S = 180
# The training of a task that freezes once all have met, just before it connects.
TRAIN = """
import os, signal, sys
from harness.base import app, tf_import

tf_import.import_tensorflow()
import tensorflow as tf
from harness import train
from harness.distribute import join

connect = tf.distribute.MultiWorkerMirroredStrategy

def freeze_and_connect():
    os.kill(os.getpid(), signal.SIGSTOP)
    return connect()

if os.environ["FREEZES"] == "yes":
    tf.distribute.MultiWorkerMirroredStrategy = freeze_and_connect
join._CONNECT_S = float(os.environ.get("CONNECT_S", join._CONNECT_S))
raise SystemExit(app.run(train.main))
"""


@contextlib.contextmanager
def tasks_that_wait_for(frozen, num_tasks, records, folder, **variables):
    """Starts tasks that train; yields them once one is frozen, and the TensorFlow of all others waits for it."""
    names, processes = name_tasks(num_tasks), []
    addresses = json.loads(names[0]["TF_CONFIG"])["cluster"]["worker"]
    words = ("--config", SMOKE, "--records", records, "--run", folder / "run", "--batch-size", "6")
    try:
        for index, name in enumerate(names):
            environment = command_environment() | name | variables | {"FREEZES": "yes" if index == frozen else "no"}
            with (folder / f"{index}.log").open("w") as log:
                processes.append(
                    subprocess.Popen([sys.executable, "-c", TRAIN, *words], env=environment, stderr=log, stdout=log)
                )
        wait_until(lambda: os.waitpid(processes[frozen].pid, os.WUNTRACED | os.WNOHANG)[0])
        others = [index for index in range(num_tasks) if index != frozen]
        wait_until(lambda: all(listens(addresses[index]) for index in others) or has_ended(processes, others, folder))
        yield SimpleNamespace(processes=processes, others=others, addresses=addresses)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def has_ended(processes, others, folder):
    """Fails, with what it has said, where a task does not wait."""
    for index in others:
        assert processes[index].poll() is None, (folder / f"{index}.log").read_text()


def wait_until(is_so):
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def listens(address):
    """Whether TensorFlow has opened its port: the tasks' own connections do not need it any more by then."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


@pytest.mark.parametrize(("num_tasks", "killed"), [(2, 0), (2, 1), (3, 0), (3, 2)])
def test_tasks_whose_peer_is_killed_while_tensorflow_connects_them_say_so(face_records, tmp_path, num_tasks, killed):
    with tasks_that_wait_for(killed, num_tasks, face_records, tmp_path) as tasks:
        tasks.processes[killed].kill()
        codes = [process.wait(timeout=30) for process in tasks.processes]
    assert codes == [6 if index in tasks.others else -signal.SIGKILL for index in range(num_tasks)]
    who = f"the task at {tasks.addresses[0]}" if killed == 0 else f"task {killed} ({tasks.addresses[killed]})"
    how = "its connection closed without a word" + (", as when it is killed" if killed else "")
    advice = "The same command on all workers goes on from the last checkpoint."
    for index in tasks.others:
        *before, said = (tmp_path / f"{index}.log").read_text().splitlines()
        assert before == ([] if index else [f"waiting for {num_tasks} tasks at {tasks.addresses[0]}"])
        prefix = f"worker {index}: " if index else ""
        assert said == f"error: {prefix}worker {index} of {num_tasks} lost another: {who} is gone: {how}. {advice}"


@pytest.mark.parametrize("asked", [0, 1])
def test_a_task_that_is_asked_to_stop_while_tensorflow_connects_it_stops(face_records, tmp_path, asked):
    with tasks_that_wait_for(1 - asked, 2, face_records, tmp_path) as tasks:
        for _ in range(5):  # one that TensorFlow's own handler takes, in its first hundredth of a second, is lost
            tasks.processes[asked].send_signal(signal.SIGTERM)
            time.sleep(0.1)
        tasks.processes[1 - asked].send_signal(signal.SIGCONT)
        codes = [process.wait(timeout=LIMIT_S) for process in tasks.processes]
    logs = [(tmp_path / f"{index}.log").read_text() for index in (0, 1)]
    assert codes == [75, 75], logs
    assert "\nstopped by SIGTERM after step " in logs[0] and logs[1].startswith(
        "worker 1: stopped by SIGTERM after step "
    )


def test_tasks_that_tensorflow_does_not_connect_end_with_6_in_time(face_records, tmp_path):
    with tasks_that_wait_for(1, 2, face_records, tmp_path, CONNECT_S="3") as tasks:
        assert tasks.processes[0].wait(timeout=LIMIT_S) == 6
    assert (tmp_path / "0.log").read_text().splitlines()[-1] == (
        f"error: task 0 of 2 could not join the others at {' '.join(tasks.addresses)}: TensorFlow has not connected "
        "them within 3 s. See whether their nodes reach one another at these ports."
    )
