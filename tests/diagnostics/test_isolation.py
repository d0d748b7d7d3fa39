"""Checks in processes of their own: what hangs, crashes or fails there is told, and stops nothing else."""

import os
import signal
import subprocess
import time
from functools import partial

import pytest

from harness.diagnostics import isolation
from harness.diagnostics.checks import machine
from harness.diagnostics.checks.finding import Finding
from harness.diagnostics.isolation import Check

FINE = Finding("group", "fine", "ok", "as it should be", values={"number": 7})


def run(look, limit_s=10.0, **others):
    (found,) = isolation.run([Check("group", "it", look, limit_s, **others)])
    return list(found)


def look_fine():
    yield FINE


def test_what_is_found_comes_back_as_it_was():
    odd = Finding("group", "odd", "warning", "a\nb \udcff ä", "do \x1b[31m", {"none": None, "list": [1, 2.5]})
    assert run(lambda: iter([FINE, odd])) == [FINE, odd]


def test_findings_come_in_the_order_of_the_checks_whichever_is_first_done():
    def look_slowly():
        time.sleep(0.3)
        yield Finding("group", "slow", "ok", "late")

    checks = [Check("group", "slow", look_slowly), Check("group", "fine", look_fine)]
    assert [[one.name for one in found] for found in isolation.run(checks)] == [["slow"], ["fine"]]


def stand_still():
    yield FINE
    os.kill(os.getpid(), signal.SIGSTOP)
    yield FINE


def sleep_in_a_program():
    yield FINE
    subprocess.run(["sleep", "60"], check=True)


@pytest.mark.parametrize("look", [stand_still, sleep_in_a_program])
def test_what_hangs_is_given_up_with_what_it_had_found(look):
    started = time.monotonic()
    found = run(look, limit_s=1.5, silence="See to it.")
    assert found == [FINE, Finding("group", "it", "problem", "did not answer within 1.5 s", "See to it.")]
    assert time.monotonic() - started < 30


def test_a_file_that_does_not_answer_is_given_up(tmp_path):
    os.mkfifo(tmp_path / "cpuinfo")  # nobody writes to it
    found = run(partial(machine.check_processors, {}, proc=tmp_path), limit_s=1.5)
    assert [(one.status, one.found) for one in found] == [("problem", "did not answer within 1.5 s")]


def test_what_goes_on_finding_things_is_not_given_up():
    def look_step_by_step():
        for _ in range(9):
            time.sleep(0.2)
            yield FINE

    assert run(look_step_by_step, limit_s=1.5) == [FINE] * 9


def test_what_hangs_does_not_keep_the_others_waiting():
    checks = [Check("group", str(index), stand_still, 1.5) for index in range(4)] + [Check("group", "4", look_fine)]
    started = time.monotonic()
    found = list(isolation.run(checks))
    assert [len(one) for one in found] == [2, 2, 2, 2, 1]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(("number", "fix"), [(signal.SIGKILL, "memory"), (signal.SIGTERM, "Install it again")])
def test_a_crash_is_told_with_its_signal(number, fix):
    def crash():
        yield FINE
        os.kill(os.getpid(), number)

    found = run(crash)
    assert found[0] == FINE
    assert (found[1].status, found[1].found) == ("problem", f"ended by {number.name}") and fix in found[1].fix


def test_an_error_of_a_check_is_told_as_unknown():
    def fail():
        yield FINE
        raise KeyError("no such thing")

    assert run(fail) == [
        FINE,
        Finding("group", "it", "unknown", "could not be looked at: KeyError: 'no such thing'"),
    ]


def test_much_that_is_found_fills_no_pipe():
    def look_long():
        for _ in range(300):
            yield Finding("group", "long", "ok", "x" * 2000)

    checks = [Check("group", "slow", look_fine), Check("group", "long", look_long)]
    assert [len(found) for found in isolation.run(checks)] == [1, 300]


def test_what_a_check_prints_reaches_no_terminal(capfd):
    def print_much():
        os.write(1, b"to stdout")
        os.write(2, b"to stderr")
        yield FINE

    assert run(print_much) == [FINE]
    assert capfd.readouterr() == ("", "")


def test_checks_that_nobody_waits_for_are_ended(tmp_path):
    def tell_and_sleep():
        (tmp_path / "new").write_text(str(os.getpid()))
        (tmp_path / "new").rename(tmp_path / "pid")
        time.sleep(60)
        yield FINE

    def wait_for_the_other():
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        yield FINE

    running = isolation.run([Check("group", "fine", wait_for_the_other), Check("group", "hangs", tell_and_sleep, 60.0)])
    next(running)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_check_may_run_checks():
    def look_deeper():
        checks = [Check("group", "hangs", stand_still, 1.5), Check("group", "fine", look_fine)]
        for found in isolation.run(checks, is_nested=True):
            yield from found

    assert [one.status for one in run(look_deeper)] == ["ok", "problem", "ok"]
