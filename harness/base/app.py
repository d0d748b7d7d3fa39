"""How a command runs: logging, stop signals, errors as one sentence and an exit code. It reads no flag."""

import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from harness.base import storage
from harness.base.errors import ExitCode, HarnessError

log = logging.getLogger("harness")


def start_logging(*, quiet: bool = False, worker: int | None = None) -> None:
    """Sends log lines to stderr, warnings and errors with their level, and those of a worker with its index."""
    name = "" if worker is None else f"worker {worker}: "

    class _Format(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return name + level + record.getMessage()

    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def catch_stop_signals() -> Callable[[], str | None]:
    """Turns SIGINT, SIGTERM and USR2 into an answer to the question "was I asked to stop, and by what?".

    The work in progress asks at points where it can save. A second SIGINT stops at once. The handlers stay until the
    process ends, so that a signal that comes late does not turn a finished run into a failed one.
    """
    received: list[str] = []

    def receive(number: int, frame: object) -> None:
        if number == signal.SIGINT and received:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, receive)
    return lambda: received[0] if received else None


def run(main: Callable[[Sequence[str]], int]) -> int:
    """Runs a command; returns its exit code. An error of the user's is one sentence, only a bug shows a traceback."""
    code = _run(main)
    if storage.was_used():
        storage.leave(code)
    return code


def _run(main: Callable[[Sequence[str]], int]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A file's name may be no valid text. typeshed knows the streams as TextIO, which cannot be set up.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    gc.freeze()  # what was imported stays to the end: to search it for garbage takes 30 ms each time
    try:
        return int(main(sys.argv[1:]))
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n" if error.exit_code != ExitCode.INTERRUPTED else f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C; nothing half-finished carries a final name.\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except MemoryError:
        return _out_of_memory("the machine's memory")
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return _out_of_memory(str(error).splitlines()[0][:200])
        traceback.print_exc()
        sys.stderr.write("This is a fault of harness, not of yours: please report it with the lines above.\n")
        return ExitCode.BUG


def _out_of_memory(what: str) -> int:
    sys.stderr.write(f"error: out of memory: {what}. Use a smaller --batch-size or --data.cache none.\n")
    return ExitCode.MEMORY
