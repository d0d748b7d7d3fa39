"""On how many pictures figures were measured, and in how many groups: in words, wherever figures stand.

It knows no figure.
"""

from typing import Protocol

from harness.base.text import count


class Sample(Protocol):
    """What knows on how many pictures it was measured."""

    @property
    def num_examples(self) -> int:
        """Pictures."""

    @property
    def num_groups(self) -> int | None:
        """Groups of pictures; None where they are not known."""


def describe(measured: Sample, split: str = "") -> str:
    """Returns how many pictures of a split there are, and in how many groups where some belong together."""
    pictures = count(measured.num_examples, f"{split} picture".lstrip())
    return f"{pictures} in {count(measured.num_groups or 0, 'group')}" if is_grouped(measured) else pictures


def is_grouped(measured: Sample) -> bool:
    """Whether some of the pictures are known to belong together."""
    return measured.num_groups not in (None, measured.num_examples)
