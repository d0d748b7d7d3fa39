"""Moves rejected pictures out of the images folder, and writes how to move them back. It deletes nothing."""

import logging
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.base import files
from harness.base.errors import DataError, StorageError
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason

log = logging.getLogger("harness")
UNDO_NAME = "undo.sh"
# Nobody knows what is wrong with these, or nothing is: they have no label.
_STAYS = (Reason.UNREADABLE, Reason.BAD_NAME, Reason.MISSING, Reason.UNLISTED, Reason.UNLABELLED)
_UNDO_BEGINS = "#!/bin/sh\n# moves rejected pictures back\nfailed=0\ntrap 'exit $failed' EXIT\n"


def move_rejects(found: Sequence[Finding], images: Path, folder: Path) -> int:
    """Moves every rejected file to the same path below `folder`; returns how many were moved.

    `folder`/undo.sh is complete before the first file is moved; run it with `sh` to have all of them back. Links move
    as links. A file that cannot be read, has no valid name or no label stays where it is, and so does one that has
    changed since it was judged, or that `clean.labels` names: its next build would find a line without a picture.

    Raises:
      DataError: `folder` lies in the images folder, or a file is in the way.
      StorageError: a file cannot be moved.
    """
    wanted = [item for item in found if not item.is_kept and item.reason not in _STAYS and not item.label_was]
    _check_place(images, folder, wanted)
    present = [item for item in wanted if (images / item.path).is_file()]
    is_unchanged = [_is_as_judged(images / item.path, item) for item in present]
    if not all(is_unchanged):
        log.warning(
            "%d rejected files have changed since they were judged, such as %s: they stay. Build the records again.",
            is_unchanged.count(False),
            present[is_unchanged.index(False)].path,
        )
    moves = [(images / item.path, folder / item.path) for item, is_same in zip(present, is_unchanged) if is_same]
    for _, target in moves:
        if os.path.lexists(target):
            raise DataError(f"{target} exists already. Nothing was moved; give another folder: --move-rejects DIR")
    if not moves:
        return 0
    try:
        _write_undo(folder / UNDO_NAME, moves)
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
    except OSError as error:
        raise StorageError(
            f"moving rejects to {folder} failed: {error}. What was moved comes back with: sh {folder / UNDO_NAME}"
        ) from None
    return len(moves)


def _check_place(images: Path, folder: Path, wanted: Sequence[Finding]) -> None:
    paths = (PurePosixPath(item.path) for item in wanted)
    outside = next((str(path) for path in paths if path.is_absolute() or ".." in path.parts), None)
    if outside is not None:
        raise DataError(
            f"the records name the rejected file {outside!r}, which does not lie in {images}. Nothing was moved; build "
            "the records again, with --overwrite."
        )
    above = (folder.resolve(), *folder.resolve().parents)
    parents = {parent for item in wanted for parent in PurePosixPath(item.path).parents}
    if any((images / place).resolve() in above for place in (PurePosixPath(), *sorted(parents))):
        raise DataError(f"{folder} lies in the images folder {images}: rejects moved there would be found again.")


def _is_as_judged(path: Path, finding: Finding) -> bool:
    """Whether a file still holds the bytes that were rejected: it may have been complete only after that."""
    if finding.reason == Reason.SYSTEM_FILE:  # rejected by its name, whatever is in it
        return True
    try:
        if finding.reason == Reason.TOO_LARGE and path.stat().st_size == finding.num_bytes:
            return True
        return files.digest_file(path) == finding.sha256
    except OSError:
        return False


def _write_undo(path: Path, moves: Sequence[tuple[Path, Path]]) -> None:
    """Adds to the undo list; each line is safe to run twice, and whatever stands in the way is left alone."""
    lines = os.fsdecode(path.read_bytes()) if path.exists() else _UNDO_BEGINS
    for source, target in moves:
        moved, original = (shlex.quote(str(name.parent.resolve() / name.name)) for name in (target, source))
        lines += f"[ -e {original} ] || [ -L {original} ] || mv -- {moved} {original} || failed=1\n"
    files.write_bytes(path, os.fsencode(lines))
