"""Records copied to a disk of the node that reads them: data.stage.

A file server that many nodes ask for the same pictures, epoch after epoch, is asked once a node so. The copy is a
records folder like any other, named after the digest of the records; it stays, and the next run on the node finds it.
"""

import concurrent.futures
import contextlib
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from harness.base import files
from harness.base.errors import ClusterError, ConfigError, StorageError
from harness.base.storage import Folder
from harness.config.dataset_sections import DataConfig
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest, ShardInfo
from harness.locks import lock

log = logging.getLogger("harness")
_NUM_COPIED = 4  # shards at a time: a file server answers several better than one, and sha256 takes a core
_BLOCK_BYTES = 1 << 20
_LOOK_S = 0.2
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def find_records(
    config: DataConfig,
    data: Manifest,
    environment: Mapping[str, str],
    should_stop: Callable[[], str | None] = lambda: None,
) -> Folder:
    """Returns the folder to read the records from: where they lie, or the copy that `data.stage` asks for.

    Raises:
      as of `stage`.
    """
    if config.stage is None:
        return config.records_folder
    return stage(data, config.records_folder, config.stage, environment=environment, should_stop=should_stop)


def stage(
    data: Manifest,
    folder: Folder,
    stage: Path,
    *,
    environment: Mapping[str, str],
    should_stop: Callable[[], str | None] = lambda: None,
    patience_s: float = 600.0,
) -> Path:
    """Copies records below a folder of this node, once for all its processes; returns the folder of the copy.

    Every shard is compared with its sha256, whether it is copied now or was before. A copy that was cut short goes on.

    Args:
      data: the manifest of the records.
      folder: where they lie.
      stage: a folder on a disk of this node, made if it is missing. A first part such as $TMPDIR is what the variable
        says on this node.
      environment: the variables of this process.
      should_stop: "SIGINT" ends the copying, or the wait for another's; other signals are heard once the training has
        begun.
      patience_s: seconds in which another process that copies the same has to come further.

    Raises:
      ClusterError: another process of the node copies them and comes no further.
      ConfigError: the variable is not set.
      DataError: the records are not what their manifest says.
      StorageError: there is no room for them.
    """
    parent = expand(stage, environment)
    target = parent / f"{folder.name}-{data.digest[:16]}"
    with _alone(parent / f".{target.name}.lock", target, should_stop, patience_s) as has_waited:
        if has_waited and (target / manifest.FILE_NAME).is_file():
            return target  # whoever was waited for has just compared every byte
        started = time.perf_counter()
        num_bytes = _copy(data, folder, target, should_stop)
        took = f"{time.perf_counter() - started:.1f} s"
        what = f"{num_bytes / 1e6:,.1f} MB copied to" if num_bytes else "found in"
        log.info("records %s %s in %s, every byte as written", what, target, took)
    return target


def expand(path: Path, environment: Mapping[str, str]) -> Path:
    """Returns a path whose first part may be a variable, with what that says on this node.

    Raises:
      ConfigError: the variable is not set.
    """
    first, *rest = path.parts or (".",)
    found = _VARIABLE.fullmatch(first)
    if not found:
        return path
    name = found[1] or found[2]
    if not environment.get(name):
        raise ConfigError(
            f"data.stage is {path}, but ${name} is not set on this node. Give a folder on a disk of the node, or "
            "leave data.stage out."
        )
    return Path(environment[name], *rest)


@contextlib.contextmanager
def _alone(path: Path, target: Path, should_stop: Callable[[], str | None], patience_s: float) -> Iterator[bool]:
    """Keeps the node's other processes out; gives whether one of them had to be waited for."""
    seen, limit, has_waited = -1, time.monotonic() + patience_s, False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.hold(path, target))
                break
            except lock.InUse as error:
                has_waited = True
                if (size := _count_bytes(target)) != seen:
                    seen, limit = size, time.monotonic() + patience_s
                if time.monotonic() > limit:
                    raise ClusterError(f"no record was copied for {patience_s:g} s (data.stage): {error}") from None
            _end_if_told(should_stop)
            time.sleep(_LOOK_S)
        yield has_waited


def _end_if_told(should_stop: Callable[[], str | None]) -> None:
    if should_stop() == "SIGINT":
        raise KeyboardInterrupt


def _count_bytes(folder: Path) -> int:
    num_bytes = 0
    with contextlib.suppress(OSError):  # files take their names meanwhile
        for entry in os.scandir(folder):
            num_bytes += entry.stat().st_size
    return num_bytes


def _copy(data: Manifest, folder: Folder, target: Path, should_stop: Callable[[], str | None]) -> int:
    """Copies what is missing; returns the bytes that were. The manifest comes last, as in every records folder."""
    target.mkdir(parents=True, exist_ok=True)
    for unfinished in target.glob(".*.tmp"):
        unfinished.unlink()
    shards = [shard for split in data.splits.values() for shard in split.shards]
    _check_room(shards, target)
    num_bytes, is_over = 0, threading.Event()
    with _open_bar(shards) as bar, concurrent.futures.ThreadPoolExecutor(_NUM_COPIED) as pool:
        try:
            left = {pool.submit(_obtain, shard, folder, target, is_over): shard for shard in shards}
            while left:
                done, _ = concurrent.futures.wait(left, _LOOK_S, concurrent.futures.FIRST_COMPLETED)
                for copy in done:
                    num_bytes += copy.result()
                    bar.update(left.pop(copy).num_bytes)
                _end_if_told(should_stop)
        finally:
            is_over.set()
            pool.shutdown(cancel_futures=True)
    manifest.save(data, target)
    return num_bytes


def _check_room(shards: Sequence[ShardInfo], target: Path) -> None:
    missing = sum(shard.num_bytes for shard in shards if not _has_size(target / shard.file, shard.num_bytes))
    free = shutil.disk_usage(target).free
    if missing > free:
        raise StorageError(
            f"copying the records to {target} takes {missing / 1e6:,.1f} MB, but {free / 1e6:,.1f} MB are free there "
            "(data.stage). Make room, give a folder on a larger disk, or leave data.stage out."
        )


def _has_size(path: Path, num_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == num_bytes


def _open_bar(shards: Sequence[ShardInfo]) -> "tqdm[NoReturn]":
    return tqdm(
        total=sum(shard.num_bytes for shard in shards),
        desc="copying records",
        unit="B",
        unit_scale=True,
        leave=False,
        delay=2,
        disable=None if log.isEnabledFor(logging.INFO) else True,
    )


def _obtain(shard: ShardInfo, folder: Folder, target: Path, is_over: threading.Event) -> int:
    """Makes sure that one shard is there; returns the bytes that were copied."""
    path = target / shard.file
    if is_over.is_set() or (_has_size(path, shard.num_bytes) and files.digest_file(path) == shard.sha256):
        return 0
    digest = hashlib.sha256()
    with (folder / shard.file).open("rb") as source, files.open_new(path) as copy:
        while block := source.read(_BLOCK_BYTES):
            if is_over.is_set():
                raise concurrent.futures.CancelledError
            digest.update(block)
            copy.write(block)
        if digest.hexdigest() != shard.sha256:
            raise manifest.explain_digest(folder / shard.file)
    return shard.num_bytes
