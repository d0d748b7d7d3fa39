"""TensorFlow's first import in a process, without its start-up lines. It sets up nothing but logging."""

import gc
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from harness.base import progress

# What Keras imports to take their objects too, if they are installed: a third of the seconds that TensorFlow needs.
_OPTIONAL = ("matplotlib.pyplot", "pandas", "sklearn")


def import_tensorflow(*extensions: str) -> None:
    """Imports TensorFlow, and modules that extend it, quietly; shows the start-up lines if an import fails.

    In a command of harness, Keras is kept from importing packages for which a command has no use there.
    """
    with (
        progress.tell_waiting("loading TensorFlow"),
        hide_start_up_lines(),
        _without_optional(),
        _without_collections(),
    ):
        for name in ("tensorflow", *extensions):
            importlib.import_module(name)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def _without_optional() -> Iterator[None]:
    """Lets imports of optional packages fail in a command; whoever imports harness may want them in Keras."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    is_command = spec is not None and spec.name.partition(".")[0] == "harness"
    hidden = [name for name in _OPTIONAL if is_command and name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # with which Python says that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keeps what is made from being searched for garbage, now and later: modules stay, and searches take a second."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def hide_start_up_lines() -> Iterator[None]:
    """Keeps what is written to stderr from the terminal, also by processes that start within; shows it on an error.

    TF_CPP_MIN_LOG_LEVEL does not reach what is logged before TensorFlow's own initialisation, so file descriptor 2 is
    turned away.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    with _open_nowhere() as swallowed:
        stderr = os.dup(2)
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except BaseException:
            swallowed.seek(0)
            os.write(stderr, swallowed.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _open_nowhere() -> BinaryIO:
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("start-up lines"), "w+b")
    return tempfile.TemporaryFile()
