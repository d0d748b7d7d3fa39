"""What a terminal shows of work that takes longer than a moment: how far, how fast, how much longer."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("harness")
_DELAY_S = 2.0


def open_bar(num: int, title: str, unit: str) -> "tqdm[NoReturn]":
    """Returns a bar of `num` units, to be used in a `with`; it is shown after two seconds, in a terminal, unless quiet.

    Args:
      num: how much there is to do.
      title: what is done.
      unit: what is counted, in the plural.
    """
    from tqdm import tqdm  # here, so that harness.doctor starts without it, and says that it is missing

    return tqdm(
        total=num,
        desc=title,
        unit=f" {unit}",
        delay=_DELAY_S,
        leave=False,
        disable=None if log.isEnabledFor(logging.INFO) else True,  # None: only where there is no terminal
    )


@contextmanager
def tell_waiting(title: str) -> Iterator[None]:
    """Shows what is waited for, in a terminal, unless quiet, and takes it away afterwards."""
    if not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
        yield
        return
    sys.stderr.write(f"{title} ...")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
