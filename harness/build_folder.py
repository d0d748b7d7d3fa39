"""The folder beside the records in which a build works, who may use it, and how it takes the records' name."""

import errno
import fcntl
import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import files
from harness.errors import DataError

log = logging.getLogger("harness")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class BuildFolder:
    """Where one build works: `.NAME.building` beside the records folder NAME."""

    target: Path
    rules_sha256: str

    @property
    def root(self) -> Path:
        """The folder that takes the records' name in the end."""
        return self.target.parent / f".{self.target.name}.building"

    @property
    def spool(self) -> Path:
        """What was examined. Findings by other rules lie elsewhere, so that they are never mixed."""
        return self.root / "spool"

    @property
    def done(self) -> Path:
        """Notes of finished shards."""
        return self.root / "done"

    @property
    def near_copies(self) -> Path:
        """The pairs of near copies that were confirmed."""
        return self.root / "near_copies.json"

    def prepare(self, *, is_shared: bool) -> None:
        """Makes the folder, and empties it of what was made by other rules."""
        rules = self.root / "rules"
        found = rules.read_text(encoding="ascii") if rules.is_file() else None
        # Without rules it may be that another process is just making the folder, if others there are.
        if self.root.exists() and found != self.rules_sha256 and not (is_shared and found is None):
            shutil.rmtree(self.root)
        files.write_text(rules, self.rules_sha256)
        for folder in (self.spool, self.done):
            folder.mkdir(parents=True, exist_ok=True)

    def publish(self, names: Collection[str]) -> None:
        """Gives the finished folder its name; the one it replaces is removed only after that.

        Everything but the files `names` goes first: notes, what a killed process had begun, shards of an earlier plan.
        """
        for path in self.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in names:
                path.unlink()
        replaced = self.target.parent / f".{self.target.name}.replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if self.target.exists():
            self.target.rename(replaced)
        self.root.rename(self.target)
        shutil.rmtree(replaced, ignore_errors=True)

    def discard(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def open_folder(target: Path, rules_sha256: str, *, is_shared: bool) -> Iterator[BuildFolder]:
    """Opens the folder of a build, for one process or, if `is_shared`, for several that each do a part.

    What fails while it is open leaves it as it is, so that the next build goes on from there.

    Raises:
      DataError: the folder cannot be written, or another build uses it.
    """
    work = BuildFolder(target, rules_sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = (target.parent / f".{target.name}.lock").open("w")
    except OSError as error:
        raise DataError(
            f"cannot write to {target.parent}: {error.strerror}. Give another folder: --records FOLDER"
        ) from None
    with lock:
        _lock(lock.fileno(), target, is_shared=is_shared)
        try:
            work.prepare(is_shared=is_shared)
            yield work
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise DataError(
                f"writing {target} failed: {error.strerror or error}{where}. Nothing was published; what is finished "
                "is kept, and the same command goes on with it."
            ) from error


def _lock(descriptor: int, target: Path, *, is_shared: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            log.warning("%s cannot be locked: start no second build of it", target)
            return
        raise DataError(
            f"another build is writing {target} just now. Wait for it, or give another --records."
        ) from None
