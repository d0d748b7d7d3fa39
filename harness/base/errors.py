"""What can go wrong for a user: one exception and one exit code for each kind.

An error's text is one or two sentences: what happened with which value and file, what was expected, what to do next.
A bug of harness is none of these: it ends in a traceback and exit code 1.
"""

import errno
import os
import re
import shutil
import signal
import sys
from enum import IntEnum
from pathlib import Path
from types import TracebackType


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    MEMORY = 4
    CHECKPOINT = 5
    CLUSTER = 6
    STORAGE = 7
    INTERRUPTED = 75  # BSD's EX_TEMPFAIL: a scheduler may start the same command again


class HarnessError(Exception):
    """A failure a user can act on; its text is shown without a traceback."""

    exit_code: int = ExitCode.BUG


class ConfigError(HarnessError):
    """A flag or a config file that cannot be used."""

    exit_code = ExitCode.USAGE


class DivergedError(ConfigError):
    """A training whose figures are no finite numbers any more: its settings do not go together."""


class DataError(HarnessError):
    """Pictures or records that cannot be used."""

    exit_code = ExitCode.DATA


class MemoryLimitError(HarnessError):
    """Work that does not fit into memory."""

    exit_code = ExitCode.MEMORY


class CheckpointError(HarnessError):
    """A run folder, checkpoint or exported model that cannot be used, or a folder that another process owns."""

    exit_code = ExitCode.CHECKPOINT


class ClusterError(HarnessError):
    """Processes that cannot train together, or no longer do."""

    exit_code = ExitCode.CLUSTER


class InterruptedRun(HarnessError):
    """A run that was asked to stop, and saved itself first."""

    exit_code = ExitCode.INTERRUPTED


class UnsavedRun(HarnessError):
    """A run that a signal ended before it had anything to save; its exit code is a shell's for that signal."""

    def __init__(self, text: str, signal_name: str) -> None:
        super().__init__(text)
        self.exit_code = 128 + signal.Signals[signal_name]


class StorageError(HarnessError):
    """A file system that is full, failing, or refuses."""

    exit_code = ExitCode.STORAGE


# What a disk, a quota, a mount or a permission does to any file; a missing file would be a fault of ours.
_STORAGE_ERRORS = tuple(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP"),
        *("EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "ENODEV", "ENXIO", "EOPNOTSUPP", "EBUSY", "ETXTBSY"),
    )
    if hasattr(errno, name)
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What libraries say when the system gives no more memory or threads.
_NO_MEMORY = (os.strerror(errno.ENOMEM), "failed to map segment", "can't start new thread", "bad_alloc")
# TensorFlow writes "/a/b; No space left on device", and "{{function_node …}} a/b; No space left on device".
_FILE_IN_TEXT = re.compile(r"\}\} ([^;\n]+?); |(?:^|\s)(/[^;\n]*?); |^(\S+?); ")


def explain(error: Exception, *, memory_advice: str) -> HarnessError | None:
    """Returns what a failure of the machine is told as; None for any other error.

    TensorFlow says ResourceExhaustedError of a full disk and of memory alike, and gives other codes of the system as
    text only.
    """
    message = str(error)
    code = error.errno if isinstance(error, OSError) else None
    if code is None and _is_tensorflow(error):
        code = next((code for code in _STORAGE_ERRORS if os.strerror(code) in message), None)
    if code is not None and code in _STORAGE_ERRORS:
        named = getattr(error, "filename", None)
        found = _FILE_IN_TEXT.search(message)
        file = os.fsdecode(named) if isinstance(named, str | bytes) else found[found.lastindex or 0] if found else ""
        return StorageError(_describe_storage(code, file))
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    if is_memory or code == errno.ENOMEM or any(words in message for words in _NO_MEMORY):
        what = message.splitlines()[0][:200] if _is_tensorflow(error) else "the machine's memory"
        return MemoryLimitError(f"out of memory: {what}. {memory_advice}")
    return None


def _is_tensorflow(error: Exception) -> bool:
    return type(error).__module__.startswith("tensorflow")


def _describe_storage(code: int, file: str) -> str:
    where = f"writing or reading {file}" if file else "writing"
    free = describe_free(OSError(code, "", file))
    advice = "Make room, and" if code in _NO_ROOM else "Once that is mended,"
    return f"{where} failed: {os.strerror(code)}{free}. {advice} the same command goes on."


def describe_free(error: OSError) -> str:
    """Returns how much is free where a file found no room; "" if that is not what the error says."""
    if error.errno not in _NO_ROOM or not error.filename:
        return ""
    file = Path(os.fsdecode(error.filename))
    folder = next(folder for folder in (file, *file.absolute().parents) if folder.exists())
    return f", {shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"


def tell_start_up_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Says on one line which package is missing, or that Ctrl-C came, as `sys.excepthook`; other errors as ever.

    It is for what ends a command while it is still importing; afterwards app.run tells it.

    Raises:
      SystemExit: with 2, where a package is missing.
    """
    if isinstance(error, KeyboardInterrupt):  # Python then ends itself by the signal: a shell says 130
        print("stopped by Ctrl-C before anything was done.", file=sys.stderr)
        return
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None or name.partition(".")[0] == "harness":
        sys.__excepthook__(kind, error, traceback)
        return
    print(
        f"error: the package {name!r} is not installed for {sys.executable}. Activate the environment that holds "
        "harness, such as with: source .venv/bin/activate\nor install what it needs: pip install -e .",
        file=sys.stderr,
    )
    raise SystemExit(ExitCode.USAGE)
