"""Files and folders that systems and programs leave beside pictures: known by their names alone."""

from collections.abc import Iterable

_NAMES = ("thumbs.db", "desktop.ini", "__macosx")


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's pictures."""
    return name.startswith(".") or name.lower() in _NAMES


def find_junk(parts: Iterable[str]) -> str:
    """Returns the first part of a path that is junk, or ""."""
    return next((part for part in parts if is_junk(part)), "")
