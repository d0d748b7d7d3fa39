"""Folders of pictures in; a trained, measured, exported image classifier out."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # so it is while python -m harness.COMMAND begins, and nowhere else
    from harness.base import errors

    sys.excepthook = errors.tell_start_up_error
