"""Why a picture is rejected: the closed list of reasons, and the error that carries one. It rejects nothing."""

from enum import Enum


class Reason(str, Enum):
    """Why a picture is rejected: the closed list."""

    __str__ = str.__str__  # enum.StrEnum, which Python 3.10 lacks

    MISSING = "missing"
    UNLISTED = "unlisted"
    UNLABELLED = "unlabelled"
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


class Rejected(Exception):
    """A picture that cannot be used: the reason, what was measured, and the limit or expectation it missed."""

    def __init__(self, reason: Reason, measured: str, limit: str) -> None:
        super().__init__(f"{reason.replace('_', ' ')}: {measured}; expected {limit}")
        self.reason, self.measured, self.limit = reason, measured, limit
