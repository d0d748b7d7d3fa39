"""How a command runs: logging, stop signals, errors as one sentence and an exit code. It reads no flag."""

import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TextIO

from harness.base import storage
from harness.base.errors import ExitCode, HarnessError, InterruptedRun, StorageError, UnsavedRun, explain
from harness.base.text import visible

log = logging.getLogger("harness")
MEMORY_ADVICE = "Use a smaller --batch-size or --data.cache none."


def start_logging(*, quiet: bool = False, worker: int | None = None) -> None:
    """Sends log lines to stderr, warnings and errors with their level, and those of a worker with its index."""
    name = "" if worker is None else f"worker {worker}: "

    class _Format(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return name + level + visible(record.getMessage())  # a name in it may hold a line end

    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def log_lines(lines: str) -> None:
    """Logs a text of several lines: one record is one line, lest a name in it begins another."""
    for line in lines.split("\n"):
        log.info("%s", line)


def show(lines: str) -> None:
    """Prints a text of a person's on the standard output; control characters in its lines are shown as escapes."""
    print("\n".join(map(visible, lines.split("\n"))))


def say(text: str) -> None:
    """Writes to the standard error output; one that was closed, or is a file on a full disk, stops nothing."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def catch_stop_signals() -> Callable[[], str | None]:
    """Turns SIGINT, SIGTERM, SIGHUP and USR2 into an answer to the question "was I asked to stop, and by what?".

    The work in progress asks at points where it can save. A second SIGINT stops at once. The handlers stay until the
    command ends, and `run` ignores what comes after: a late signal must not turn a finished run into a failed one.
    """
    received: list[str] = []

    def receive(number: int, frame: object) -> None:
        if number == signal.SIGINT and received:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, receive)
    return lambda: received[0] if received else None


def part_stderr() -> Callable[[], object]:
    """Gives `sys.stderr` a descriptor of its own, before any line is logged.

    Returns:
      What silences the libraries: their threads write to the old descriptor without asking anybody.
    """
    silent = os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    return lambda: os.dup2(silent, 2)


def run(
    main: Callable[[Sequence[str]], int],
    *,
    memory_advice: str = MEMORY_ADVICE,
    continues: bool = False,
) -> int:
    """Runs a command; returns its exit code. An error of the user's is one sentence, only a bug shows a traceback.

    Args:
      main: the command.
      memory_advice: what is to be done when memory runs out.
      continues: whether the same command goes on with what this start has finished.
    """
    _open_streams()
    gc.freeze()  # what was imported stays to the end: to search it for garbage takes 30 ms each time
    try:
        code = int(main(sys.argv[1:]))
    except (Exception, KeyboardInterrupt) as error:
        code = _tell_end(error, memory_advice, continues=continues)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        if callable(signal.getsignal(number)):  # the interpreter would make it deadly again before it ends
            signal.signal(number, signal.SIG_IGN)
    if storage.was_used():  # its library aborts the process in the ordinary way out, with code 134
        _leave(code)
    if main.__module__ == "__main__" and "tensorflow" in sys.modules:  # to free that takes a second, and gains nothing
        code = _flush(code)
        atexit._run_exitfuncs()
        _leave(code)
    return _flush(code)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Ends the process of a training with the block, at once, after all that was printed, error or not.

    In the ordinary way out, and when it frees what an error holds, TensorFlow waits for processes that have ended.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        _leave(_tell_end(error, MEMORY_ADVICE, continues=True))
    _leave(ExitCode.DONE)


def _leave(code: int) -> NoReturn:
    os._exit(_flush(code))


def _open_streams() -> None:
    """Opens what was closed when the process began: a file of ours would otherwise become the standard output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        # A file's name may be no valid text. typeshed knows the streams as TextIO, which cannot be set up.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _tell_end(error: BaseException, memory_advice: str, *, continues: bool) -> int:
    """Says what ended a command; returns its exit code."""
    if isinstance(error, HarnessError):
        return _tell(error)
    if isinstance(error, KeyboardInterrupt):
        say(f"stopped by Ctrl-C. No incomplete file was left{'; the same command continues' if continues else ''}.\n")
        return 128 + signal.SIGINT
    if isinstance(error, BrokenPipeError):
        _discard(sys.stdout)
        return 128 + signal.SIGPIPE
    if isinstance(error, Exception) and (found := explain(error, memory_advice=memory_advice)):
        return _tell(found)
    with contextlib.suppress(OSError):
        traceback.print_exception(error)
    say("This is a fault of harness, not of yours: please report it with the lines above.\n")
    return ExitCode.BUG


def _tell(error: HarnessError) -> int:
    """Says an error on one line, whatever the names in it; returns its exit code."""
    say(f"{'' if isinstance(error, InterruptedRun | UnsavedRun) else 'error: '}{visible(error)}\n")
    return error.exit_code


def _flush(code: int) -> int:
    """Returns the exit code after all was handed to the standard output, which may be a file on a full disk."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        code = code or 128 + signal.SIGPIPE
    except OSError as error:
        _discard(sys.stdout)
        code = code or _tell(StorageError(f"writing to the standard output failed: {error.strerror}."))
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def _discard(stream: TextIO) -> None:
    """Sends what a stream still holds to nowhere, lest the interpreter fails with it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
