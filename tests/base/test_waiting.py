"""What a terminal shows while nothing else is to be seen."""

import contextlib
import io
import logging
import os
import sys

import pytest

from harness.base import progress

log = logging.getLogger("harness")


class Terminal:
    """A terminal, and all that it has shown since it was last looked at."""

    def __init__(self):
        self._master, slave = os.openpty()
        self.stream = os.fdopen(slave, "w")

    def look(self) -> str:
        return os.read(self._master, 1000).decode()

    def close(self):
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal():
    opened, level = Terminal(), log.level
    log.setLevel(logging.INFO)
    yield opened
    log.setLevel(level)
    opened.close()


def test_what_is_waited_for_is_shown_at_once_and_taken_away(terminal):
    with contextlib.redirect_stderr(terminal.stream), progress.tell_waiting("loading TensorFlow"):
        assert terminal.look() == "loading TensorFlow ..."
    assert terminal.look() == "\r\x1b[K"


def test_it_is_taken_away_after_an_error_too(terminal):
    waiting = progress.tell_waiting("loading TensorFlow")
    with contextlib.redirect_stderr(terminal.stream), pytest.raises(KeyboardInterrupt), waiting:
        raise KeyboardInterrupt
    assert terminal.look().endswith("\r\x1b[K")


def test_a_quiet_command_shows_none_of_it(terminal):
    log.setLevel(logging.WARNING)
    with contextlib.redirect_stderr(terminal.stream), progress.tell_waiting("loading TensorFlow"):
        print("nothing before", file=sys.stderr, flush=True)
    assert terminal.look().splitlines() == ["nothing before"]


def test_a_log_file_gets_none_of_it():
    with contextlib.redirect_stderr(io.StringIO()) as written, progress.tell_waiting("loading TensorFlow"):
        pass
    assert written.getvalue() == ""
