"""Worker processes: what they start with, and what comes back."""

import operator
import os
import signal
import time
from pathlib import Path

import pytest

from harness.base.errors import DataError
from harness.dataset.build import process_pool, worker
from harness.dataset.build.process_pool import Died


def test_results_come_in_the_order_of_the_tasks_and_errors_as_they_were_raised():
    with process_pool.open_pool(2) as pool:
        tasks = [(12, 4), (9, 3), (10, 5), (8, 8)]
        assert process_pool.run_all(pool, operator.floordiv, tasks, sizes=[1] * 4, title="dividing") == [3, 3, 2, 1]
        with pytest.raises(ZeroDivisionError):
            process_pool.run_all(pool, operator.floordiv, [(1, 0)], sizes=[1], title="dividing")


def test_what_workers_are_started_with_stays_theirs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    names = [("OMP_NUM_THREADS",), ("OPENBLAS_NUM_THREADS",), ("MALLOC_TRIM_THRESHOLD_",)]
    with process_pool.open_pool(1) as pool:
        found = process_pool.run_all(pool, os.getenv, names, sizes=[1] * 3, title="asking")
    assert found == ["1", "1", "67108864"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def die(how: str) -> str:
    """Ends the process in a way of its own, or returns."""
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crashed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "left":
        os._exit(9)
    return how


def test_a_task_that_ends_its_worker_is_known_and_the_others_are_done():
    tasks = [("a",), ("killed",), ("b",), ("crashed",), ("left",), ("c",)]
    with process_pool.open_pool(2) as pool:
        done = process_pool.try_all(pool, die, tasks, sizes=[1] * 6, title="dying")
        assert done == ["a", Died(-signal.SIGKILL), "b", Died(-signal.SIGSEGV), Died(9), "c"]
        assert [str(item) for item in done if isinstance(item, Died)] == ["SIGKILL", "SIGSEGV", "exit code 9"]
        with pytest.raises(DataError, match=r"a worker process died \(SIGKILL\).*the same command goes on"):
            process_pool.run_all(pool, die, tasks[1:2], sizes=[1], title="dying")


def note_times(folder: str, name: str) -> None:
    (Path(folder) / f"{name}.begin").write_text(repr(time.monotonic()))
    time.sleep(0.05)
    (Path(folder) / f"{name}.end").write_text(repr(time.monotonic()))


def test_tasks_that_take_much_memory_wait_for_room(tmp_path):
    memory = [4, 7, 3, 20, 1]  # of 10 that are free
    tasks = [(str(tmp_path), str(index)) for index in range(len(memory))]
    with process_pool.open_pool(3) as pool:
        process_pool.try_all(pool, note_times, tasks, sizes=[1] * 5, title="noting", memory=memory, free_memory=10)
    times = {path.name: float(path.read_text()) for path in tmp_path.iterdir()}
    for moment in sorted(times.values()):
        running = [i for i in range(5) if times[f"{i}.begin"] <= moment < times[f"{i}.end"]]
        assert sum(memory[index] for index in running) <= 10 or running == [3]


def test_workers_that_cannot_start_are_an_error_and_no_tasks_fault(monkeypatch):
    monkeypatch.setitem(worker._ENVIRONMENT, "PYTHONHOME", "/nowhere")
    with process_pool.open_pool(1) as pool, pytest.raises(DataError, match="ended when it started"):
        process_pool.try_all(pool, die, [("a",)], sizes=[1], title="starting")


def test_an_error_on_the_way_to_the_work_is_raised_as_it_is():
    with process_pool.open_pool(1) as pool, pytest.raises(ValueError, match="no number"):
        process_pool.try_all(pool, Vanished(), [()], sizes=[1], title="vanishing")


class Vanished:
    """Can be sent, but not received."""

    def __reduce__(self):
        return int, ("no number",)
