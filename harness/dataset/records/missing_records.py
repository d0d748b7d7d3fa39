"""What to say where a folder holds no records: those that are probably meant, or the command that builds them."""

import contextlib
import difflib
import shlex
from pathlib import Path

from harness.base import storage
from harness.base.storage import Folder
from harness.base.text import list_names
from harness.config.dataset_sections import DataConfig


def advise(folder: Folder, images: Folder | str, file_name: str) -> str:
    """Returns what to do.

    Args:
      folder: has no manifest.
      images: what the records would be built from, as far as that was given.
      file_name: of manifests.
    """
    near = _list_near(folder, file_name) if isinstance(folder, Path) else []
    if len(near) == 1:
        return f"Did you mean {near[0]}? To build new ones: {_make_command(folder, images)}"
    if near:
        return f"There are some in {list_names([str(path) for path in near], separator=', ')}: give one of them."
    return (
        f"Build them first: {_make_command(folder, images)}; or, if they lie elsewhere, give that folder: --records DIR"
        f"{storage.advice(folder)}"
    )


def _make_command(folder: Folder, images: Folder | str) -> str:
    """Returns the command that builds records; the default pictures belong to the default records alone."""
    default = DataConfig()
    if images == default.images and folder != default.records_folder:
        images = "FOLDER"
    return shlex.join(["python", "-m", "harness.build_records", "--images", str(images), "--records", str(folder)])


def _list_near(folder: Path, file_name: str) -> list[Path]:
    """Returns the records that may be meant: those that it lies in, those in it, or those beside it of such a name."""
    if (folder.parent / file_name).is_file():
        return [folder.parent]
    if inside := _list_records(folder, file_name):
        return inside
    beside = {path.name: path for path in _list_records(folder.parent, file_name)}
    return [beside[name] for name in difflib.get_close_matches(folder.name, beside, n=1, cutoff=0.6)]


def _list_records(folder: Path, file_name: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path.parent for path in folder.glob(f"*/{file_name}") if not path.parent.name.startswith("."))
    return []
