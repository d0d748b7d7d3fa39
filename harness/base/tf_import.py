"""TensorFlow's first import in a process, without its start-up lines. It sets up nothing but logging."""

import importlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from harness.base import progress


def import_tensorflow(*extensions: str) -> None:
    """Imports TensorFlow, and modules that extend it, quietly; shows the start-up lines if an import fails."""
    with progress.tell_waiting("loading TensorFlow"), hide_start_up_lines():
        for name in ("tensorflow", *extensions):
            importlib.import_module(name)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


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
