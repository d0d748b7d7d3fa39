"""Moves rejected pictures out of the images folder, and writes how to move them back. It deletes nothing."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.base import files
from harness.base.errors import DataError
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason

UNDO_NAME = "undo.sh"
_STAYS = (Reason.UNREADABLE, Reason.BAD_NAME)


def move_rejects(found: Sequence[Finding], images: Path, folder: Path) -> int:
    """Moves every rejected file to the same path below `folder`; returns how many were moved.

    `folder`/undo.sh is complete before the first file is moved; run it with `sh` to have all of them back. A file that
    cannot be read or whose name is not valid stays where it is.

    Raises:
      DataError: `folder` lies in the images folder, a file is in the way, or a file cannot be moved.
    """
    if images.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise DataError(f"{folder} lies in the images folder {images}: rejects moved there would be found again.")
    wanted = [item for item in found if not item.is_kept and item.reason not in _STAYS]
    moves = [(images / item.path, folder / item.path) for item in wanted if (images / item.path).is_file()]
    for _, target in moves:
        if target.exists():
            raise DataError(f"{target} exists already. Nothing was moved; give another folder: --move-rejects DIR")
    if not moves:
        return 0
    try:
        _write_undo(folder / UNDO_NAME, moves)
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
    except OSError as error:
        raise DataError(
            f"moving rejects to {folder} failed: {error}. What was moved comes back with: sh {folder / UNDO_NAME}"
        ) from None
    return len(moves)


def _write_undo(path: Path, moves: Sequence[tuple[Path, Path]]) -> None:
    """Adds to the undo list; each line is safe to run twice, and whatever stands in the way is left alone."""
    lines = path.read_text(encoding="utf-8") if path.exists() else "#!/bin/sh\n# moves rejected pictures back\n"
    for source, target in moves:
        moved, original = (shlex.quote(str(name.resolve())) for name in (target, source))
        lines += f"[ -e {original} ] || mv -- {moved} {original}\n"
    files.write_text(path, lines)
