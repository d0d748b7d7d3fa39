"""Files and folders that systems and programs leave among pictures, and what may be a picture: by their names alone."""

from collections.abc import Iterable

_NAMES = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"),
        *("__macosx", "lost+found", "system volume information", "$recycle.bin", "recycler"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
        "__pycache__",
    )
)
# "." covers .DS_Store, ._*, .Trash*, .cache, .ipynb_checkpoints and whatever else is hidden.
_BEGINNINGS = (".", "synophoto_thumb", "synofile_thumb")
_PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"),
)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's pictures."""
    folded = name.lower()
    return folded in _NAMES or folded.startswith(_BEGINNINGS)


def find_junk(parts: Iterable[str]) -> str:
    """Returns the first part of a path that is junk, or ""."""
    return next((part for part in parts if is_junk(part)), "")


def is_table_name(name: str) -> bool:
    """Whether a file is called like a table that may have the labels of pictures, and not like the one of groups."""
    return name.lower().endswith((".csv", ".tsv")) and name != "groups.csv" and not is_junk(name)


def is_picture_name(name: str) -> bool:
    """Whether a file is called like a picture. What is in it is another matter."""
    return name.lower().endswith(_PICTURE_ENDINGS) and not is_junk(name)
