"""Why a picture is rejected: the closed list of reasons, the error that carries one, and what a person can do about it.

It rejects nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum


class Reason(str, Enum):
    """Why a picture is rejected: the closed list."""

    __str__ = str.__str__  # enum.StrEnum, which Python 3.10 lacks

    MISSING = "missing"
    UNLISTED = "unlisted"
    UNLABELLED = "unlabelled"
    LEFT_OUT = "left_out"
    UNREADABLE = "unreadable"
    BAD_NAME = "bad_name"
    SYSTEM_FILE = "system_file"
    LINKED_FOLDER = "linked_folder"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CUT_OFF = "cut_off"
    CORRUPT = "corrupt"
    SALVAGED = "salvaged"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    DUPLICATE = "duplicate"
    LABEL_CONFLICT = "label_conflict"


# What to do about each reason: the setting that decides, as a flag, and whether to change it; or that there is none.
_ADVICE: Mapping[Reason, str] = {
    Reason.MISSING: "No setting takes it: put the file there, or correct its path in the table of labels.",
    Reason.UNLISTED: "No setting takes it: add a row to the table of labels if it is meant.",
    Reason.UNLABELLED: "No setting takes it: write its label into the table if it is meant.",
    Reason.LEFT_OUT: "Remove its line from the table of --clean.labels if the picture is meant.",
    Reason.UNREADABLE: "No setting takes it: make it readable, or remove it.",
    Reason.LINKED_FOLDER: "Give --data.follow_links true if what it leads to belongs here.",
    Reason.BAD_NAME: "No setting takes it: rename it.",
    Reason.SYSTEM_FILE: "No setting takes it: rename it if it is a picture of yours.",
    Reason.EMPTY: "No setting takes it: copy it again, or remove it.",
    Reason.NOT_AN_IMAGE: "No setting takes it: put a picture in its place, or remove it.",
    Reason.UNSUPPORTED_FORMAT: "No setting takes it: do what is said of its format, or leave it out.",
    Reason.CUT_OFF: "No setting takes it: copy or download it again.",
    Reason.CORRUPT: "No setting takes it: copy it again, or open it in an editor and save it anew.",
    Reason.SALVAGED: "Give --clean.salvaged keep only after a look: nobody knows what the damage did to its pixels.",
    Reason.TOO_SMALL: "Lower --clean.min_side only if pictures as small are meant: they show little.",
    Reason.TOO_LARGE: "Raise --clean.max_pixels if the picture is meant: it takes 3 to 32 bytes of memory a pixel.",
    Reason.DUPLICATE: "No setting keeps it, and nothing need be done: one copy says all.",
    Reason.LABEL_CONFLICT: "Remove the wrong one, or correct its label (clean.labels); --clean.label_conflicts keep "
    "takes both, one with a wrong label.",
}
_MEMORY_ADVICE = "No setting takes it: free memory, or make the picture smaller; --clean.max_pixels refuses its like."
_BYTES_ADVICE = "Raise --clean.max_bytes if the file is meant: all of it is read into memory."
_TWICE_ADVICE = "No setting takes it: its pictures would be found twice. Remove the link."
_NEAR_ADVICE = (
    "Remove the wrong one, or correct its label (clean.labels); give --clean.near_conflicts keep if both are right."
)


class Rejected(Exception):
    """A picture that cannot be used: the reason, what was measured, and the limit or expectation it missed."""

    def __init__(self, reason: Reason, measured: str, limit: str) -> None:
        super().__init__(f"{_words(reason)}: {measured}; expected {limit}. {advise(reason, measured)}")
        self.reason, self.measured, self.limit = reason, measured, limit


def advise(reason: Reason, measured: str) -> str:
    """Returns what a person can do: which setting decides, and whether to change it."""
    if reason == Reason.UNREADABLE and ("memory" in measured or "worker process" in measured):
        return _MEMORY_ADVICE
    if reason == Reason.LINKED_FOLDER and not measured.endswith(" files"):
        return _TWICE_ADVICE
    if reason == Reason.TOO_LARGE and measured.endswith(" bytes"):
        return _BYTES_ADVICE
    if reason == Reason.LABEL_CONFLICT and measured.startswith("nearly "):
        return _NEAR_ADVICE
    return _ADVICE[reason]


def summarise(rejected: Iterable[tuple[object, Rejected]]) -> str:
    """Returns how many files were rejected for each reason, with a file of the most frequent and what to do about it.

    Args:
      rejected: files by their names, with why.
    """
    counts: Counter[Reason] = Counter()
    firsts: dict[Reason, tuple[object, Rejected]] = {}
    for item in rejected:
        counts[item[1].reason] += 1
        firsts.setdefault(item[1].reason, item)
    if not counts:
        return "there is no file. Put pictures there."
    (most, number), *others = counts.most_common()
    path, first = firsts[most]
    rest = count_reasons(dict(others))
    shown = f"{number} {_words(most)}, such as {path} ({first.measured}; expected {first.limit})"
    return f"{shown}. {advise(most, first.measured)}" + (f" The others: {rest}." if others else "")


def count_reasons(counts: Mapping[Reason, int]) -> str:
    """Returns how many files were rejected for each reason, in words."""
    return ", ".join(f"{number:,} {_words(reason)}" for reason, number in counts.items())


def _words(reason: Reason) -> str:
    return reason.replace("_", " ")
