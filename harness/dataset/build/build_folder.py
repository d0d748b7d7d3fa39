"""The folder in which a build works: who may use it, and how it takes the records' name or is sent to s3://.

Beside it lies a lock while a build uses the folder, or one for each task of a build that is divided. Whoever leaves
last removes the folder, if nothing in it is of use to the next build.

It does not look into the files that it moves or sends.
"""

import logging
import re
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.base import files
from harness.base.errors import DataError, StorageError, describe_free
from harness.base.storage import Folder, RemotePath
from harness.dataset.records import manifest
from harness.locks import shares
from harness.locks.verdict import USUAL, Rhythm

log = logging.getLogger("harness")
# Under which builds of records on s3:// work, beside where local records lie: bucket and folder follow.
_REMOTE_ROOT = Path("tfrecords") / ".s3"
_SHARD_NAME = re.compile(r"\w+-\d{5}-of-\d{5}\.tfrecord")  # as tfrecord.shard_name gives
_PROBE_NAME = ".writable"
_NUM_SENT = 4  # files at a time; the storage's library divides large ones itself


@dataclass(frozen=True)
class BuildFolder:
    """Where one build works: `.NAME.building` beside the records folder NAME.

    For records on s3:// that is in tfrecords/.s3/BUCKET/..., on the disk of the machine that builds.
    """

    target: Folder
    rules_sha256: str

    @property
    def place(self) -> Path:
        """Where the records lie, or would lie if they were not sent to s3://."""
        if isinstance(self.target, RemotePath):
            return _REMOTE_ROOT / self.target.bucket / (self.target.key or self.target.bucket)
        return self.target

    @property
    def root(self) -> Path:
        """The folder that takes the records' name in the end, or whose files are sent."""
        return self.place.parent / f".{self.place.name}.building"

    @property
    def cache(self) -> Path:
        """The build cache: what was examined."""
        return self.root / "spool"  # the old name stays: unfinished builds have such a folder

    @property
    def done(self) -> Path:
        """Notes of finished shards."""
        return self.root / "done"

    @property
    def near_duplicates(self) -> Path:
        """The pairs of near duplicates that were confirmed."""
        return self.root / "near_copies.json"

    @property
    def lock(self) -> Path:
        """The lock of the whole folder; those of tasks have the same name with their share behind it."""
        return self.place.parent / f".{self.place.name}.lock"

    @property
    def _replaced(self) -> Path:
        """Where the records that are replaced lie until the new ones have their name."""
        return self.place.parent / f".{self.place.name}.replaced"

    @property
    def _rules(self) -> Path:
        """By which rules the folder was made; it is missing once nobody needs the folder any more."""
        return self.root / "rules"

    def recover(self) -> None:
        """Ends what a build began that was killed while it gave its folder the records' name."""
        if isinstance(self.target, RemotePath) or not self._replaced.exists():
            return
        if not self.target.exists():
            is_complete = (self.root / manifest.FILE_NAME).is_file()
            try:
                (self.root if is_complete else self._replaced).rename(self.target)
            except OSError:
                if not self.target.exists():  # else a task beside this one was faster
                    raise
        shutil.rmtree(self._replaced, ignore_errors=True)

    def prepare(self, *, is_shared: bool) -> None:
        """Makes the folder, and empties it of what was made by other rules."""
        rules = self._rules
        found = rules.read_bytes() if rules.is_file() else None
        # In a shared build, a folder without rules may just be in the making by another process.
        if self.root.exists() and found != self.rules_sha256.encode() and not (is_shared and found is None):
            shutil.rmtree(self.root)
        files.write_text(rules, self.rules_sha256)
        for folder in (self.cache, self.done):
            folder.mkdir(parents=True, exist_ok=True)

    def list_saved(self) -> frozenset[str]:
        """Returns the names of what the next build can go on with, if this one ends here."""
        saved = [*self.cache.glob("*.csv"), *self.done.glob("*.json"), *self.root.glob(self.near_duplicates.name)]
        return frozenset(path.name for path in saved)

    def publish(self, names: Collection[str]) -> None:
        """Gives the finished folder its name; the one it replaces is removed only after that.

        Everything but the files `names` goes first: notes, what a killed process had begun, shards of an earlier plan.
        Records on s3:// are sent, after which the folder is removed.

        Raises:
          DataError: the storage does not take the files.
        """
        if isinstance(self.target, RemotePath):
            self._send(self.target, names)
            self.discard()
            return
        for path in self.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in names:
                path.unlink()
        if self.target.exists():
            self.target.rename(self._replaced)
        self.root.rename(self.target)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def _send(self, target: RemotePath, names: Collection[str]) -> None:
        """Sends the files. The old manifest goes first and the new one comes last: without one there are no records."""
        log.info("sending %d files to %s", len(names), target)
        try:
            present = {path.name for path in target.iterdir()} if target.is_dir() else set()
            stale = {name for name in present - set(names) if _SHARD_NAME.fullmatch(name)}
            for name in sorted(present & {manifest.FILE_NAME}) + sorted(stale):
                (target / name).unlink()
            with ThreadPoolExecutor(_NUM_SENT) as pool:
                for _ in pool.map(lambda name: (target / name).upload(self.root / name), _shards_first(names)):
                    pass
            (target / manifest.FILE_NAME).upload(self.root / manifest.FILE_NAME)
        except DataError as error:
            raise DataError(
                f"{error} {target} holds no records until the same command has sent them all; what is finished is in "
                f"{self.root}, and it goes on with that."
            ) from None

    def discard(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.root, ignore_errors=True)

    def abandon(self) -> None:
        """Says that nobody needs the folder any more, so that the build that leaves last removes it."""
        self._rules.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes the folder if nothing in it is of use to the next build."""
        is_needed = self._rules.is_file() and any(any(folder.glob("*")) for folder in (self.cache, self.done))
        if not is_needed:
            self.discard()


def _shards_first(names: Collection[str]) -> list[str]:
    return sorted(set(names) - {manifest.FILE_NAME}, key=lambda name: (not _SHARD_NAME.fullmatch(name), name))


def is_being_sent(target: Folder, own_files: Collection[str]) -> bool:
    """Whether a folder on s3:// holds nothing but files of records without their manifest: a sending was cut short."""
    return isinstance(target, RemotePath) and all(
        path.name in own_files or path.name == _PROBE_NAME or _SHARD_NAME.fullmatch(path.name)
        for path in target.iterdir()
    )


def check_writable(target: Folder) -> None:
    """Writes and removes a file at an address on s3://, which otherwise refuses only when all the work is done.

    Raises:
      DataError: the storage refuses it.
    """
    if isinstance(target, RemotePath):
        (target / _PROBE_NAME).write_bytes(b"written to see whether records can be\n")
        (target / _PROBE_NAME).unlink()


@contextmanager
def open_folder(
    target: Folder, rules_sha256: str, *, share: str | None = None, rhythm: Rhythm = USUAL
) -> Iterator[BuildFolder]:
    """Opens the folder of a build, for one process or for the task that does one share, such as "3-of-8".

    What fails while it is open leaves it as it is, so that the next build goes on from there.

    Raises:
      InUse: another build uses it, or another task does the same share.
      StorageError: the folder cannot be written.
    """
    work = BuildFolder(target, rules_sha256)
    if share is None:
        held = shares.hold_whole(work.lock, target, work.tidy, rhythm)
    else:
        held = shares.hold_share(work.lock, share, target, work.tidy, rhythm)
    with ExitStack() as stack:
        try:
            stack.enter_context(held)
        except OSError as error:
            raise StorageError(
                f"cannot write to {work.place.parent}: {error.strerror}. Give another folder: --records FOLDER"
            ) from None
        try:
            work.recover()
            yield work
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise StorageError(
                f"writing {target} failed: {error.strerror or error}{where}{describe_free(error)}. Nothing was "
                "published; what is finished is kept, and the same command goes on with it."
            ) from error
