"""Worker processes: what they start with, and what comes back."""

import operator
import os

import pytest

from harness.dataset.build import process_pool


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
