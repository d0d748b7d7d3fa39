"""What a check of the doctor found: one line for a person, and the values behind it for a program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# unknown: it could not be looked at, which says nothing of the training
Status = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
      group: the heading it stands under, such as "storage".
      name: what was looked at, the same on every machine.
      found: what it is like, on one line.
      fix: what to do; every warning and problem has one.
      values: the figures behind it; nodes are compared by them.
    """

    group: str
    name: str
    status: Status
    found: str
    fix: str = ""
    values: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status in ("warning", "problem") and not self.fix:
            raise ValueError(f"{self.group}, {self.name}: {self.found!r} is a {self.status} without a fix")


def from_error(group: str, name: str, error: Exception, *, fix: str, status: Status = "problem") -> Finding:
    """Returns a finding of an error's sentences: the first says what happened, the others what to do.

    Args:
      group: its heading.
      name: what was looked at.
      error: whose text is shown.
      fix: what to do where the error does not say.
      status: how bad it is.
    """
    what, _, then = str(error).partition(". ")
    return Finding(group, name, status, what, then or fix)
