"""The bar on the standard error output of work that takes longer than a moment: how far, how fast, how much longer."""

import logging
from typing import NoReturn

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
    return tqdm(
        total=num,
        desc=title,
        unit=f" {unit}",
        delay=_DELAY_S,
        leave=False,
        disable=None if log.isEnabledFor(logging.INFO) else True,  # None: only where there is no terminal
    )
