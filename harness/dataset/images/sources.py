"""Picture files: their bytes, and many of them decoded in order. Which there are is decided in dataset/listing."""

import contextlib
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import cv2

from harness.base.machine import memory, processors
from harness.base.storage import Folder, RemotePath, Status
from harness.base.text import shorten
from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation, describe_range
from harness.dataset.images.arrays import Array
from harness.dataset.images.costs import Costly
from harness.dataset.images.decoder import Picture, check_num_bytes, decode
from harness.dataset.images.fitting import prepare
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.images.wide_pixels import CLIPPED, FEW_LEVELS

log = logging.getLogger("harness")
_MB = 1_000_000
# What decoding a picture may take while others are decoded beside it: half of what is free, shared, but so many bytes.
_LEAST_SHARE, _MOST_SHARE = 16 * _MB, 256 * _MB
_MOST_AHEAD = 256 * _MB  # of pixels that wait to be asked for


def read(path: Folder, limits: CleanConfig, *, least_side: int | None = None, budget: int | None = None) -> Picture:
    """Reads and decodes one file, as `decode` does.

    Raises:
      Rejected: as `decode` does, or the file cannot be read.
      Costly: as `decode` does.
    """
    return decode(read_bytes(path, limits), limits, least_side=least_side, budget=budget)


def find_status(path: Folder) -> tuple[os.stat_result | Status | None, bool]:
    """Returns the status of a file, of what it leads to if it is a link, or None; and whether it is a link."""
    is_link = False
    try:
        status = path.lstat()
        is_link = stat.S_ISLNK(status.st_mode)
        return (path.stat() if is_link else status), is_link
    except OSError:
        return None, is_link


def read_bytes(path: Folder, limits: CleanConfig, status: os.stat_result | Status | None = None) -> bytes:
    """Reads one file, if it is one and not too large; no more than the size that it is stated to have.

    Files of /proc and /sys are empty by what they state. Some of them never end.

    Args:
      path: the file.
      limits: `clean.max_bytes` is used.
      status: what `find_status` returned, if that was asked for.

    Raises:
      Rejected: the file cannot be read, is no regular file or is larger than `clean.max_bytes`.
    """
    try:
        status = status or path.stat()
        _check_kind(status.st_mode)  # to open a pipe would wait for ever
        if isinstance(path, RemotePath):
            check_num_bytes(status.st_size, limits)
            return path.read_bytes()
        return _read_local(path, limits)
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, _explain(path, error), "a readable file") from None


def _explain(path: Folder, error: OSError) -> str:
    """Why a file cannot be read; of a link that leads nowhere, where it leads."""
    if isinstance(error, FileNotFoundError) and isinstance(path, Path):
        with contextlib.suppress(OSError):
            return f"a link to {shorten(path.readlink())}, where nothing is"
    return error.strerror or str(error)


def _read_local(path: Path, limits: CleanConfig) -> bytes:
    """Opens the file before it judges its size: what cannot be read is unreadable, however large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)  # it may be another file by now
        _check_kind(status.st_mode)
        check_num_bytes(status.st_size, limits)
        parts, left = [], status.st_size
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _check_kind(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise Rejected(Reason.UNREADABLE, _kind_of(mode), "a regular file or a link to one")


def _kind_of(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def share_memory(num_readers: int) -> int:
    """Returns how many bytes of memory decoding a picture may take while as many readers do the same.

    Pictures that take more are put off until no others are decoded.
    """
    free = memory.measure_free().num_bytes
    return max(_LEAST_SHARE, min(_MOST_SHARE, free // 2 // num_readers)) if free else _MOST_SHARE


def check_memory(num_bytes: int) -> None:
    """Refuses a picture whose decoding takes more memory than is free.

    Raises:
      Rejected: it does. Like all that is unreadable, the file is looked at again next time.
    """
    free = memory.measure_free().num_bytes
    if 0 < free < num_bytes:
        taken = f"its decoding takes {num_bytes / _MB:,.0f} MB of memory"
        raise Rejected(Reason.UNREADABLE, taken, f"at most the {free / _MB:,.0f} MB that are free")


def read_all(
    paths: Iterable[Folder], limits: CleanConfig, preparation: Preparation, *, num_ahead: int = 0
) -> Generator[tuple[Folder, Array | Rejected], None, None]:
    """Yields for every path, in order, its prepared pixels `uint8 [size, size, 3]` or why there are none.

    Pixels of more than 8 bits are scaled by the range that is prepared for; the full one if there is none. At the end
    it is told how many had values outside of that.

    Files are decoded by a thread for each core; those that take much memory one at a time. Threads suffice: decoders
    do not hold the interpreter's lock.

    Args:
      paths: the files.
      limits: what is refused.
      preparation: how pixels are prepared.
      num_ahead: how many to decode before they are asked for, such as the next batches; at least four a core, and no
        more than fit in 256 MB.
    """
    cv2.setNumThreads(1)  # several pictures at a time leave no core to OpenCV's own threads
    turn, counting = threading.Lock(), threading.Lock()
    num_threads = processors.count_usable()
    budget = share_memory(num_threads)
    size = preparation.image_size
    num_ahead = max(num_threads, min(max(num_ahead, 4 * num_threads), _MOST_AHEAD // (3 * size**2)))
    limits = limits.model_copy(update={"range": preparation.range or "full"})
    num_wide, num_clipped, num_few = 0, 0, 0

    def use(picture: Picture) -> Array:
        """Counts a picture that was decoded by a thread, and prepares it."""
        nonlocal num_wide, num_clipped, num_few
        with counting:
            num_wide += picture.levels is not None
            num_clipped += CLIPPED in picture.notes
            num_few += FEW_LEVELS in picture.notes
        return prepare(picture.pixels, preparation)

    def read_one(path: Folder) -> Array | Rejected:
        """Reads one file; one that takes much memory waits for its turn."""
        try:
            try:
                return use(read(path, limits, least_side=size, budget=budget))
            except Costly as costly:
                with turn:
                    check_memory(costly.num_bytes)
                    return use(read(path, limits, least_side=size))
        except Rejected as rejection:
            return rejection

    with ThreadPoolExecutor(num_threads) as pool:
        started = ((path, pool.submit(read_one, path)) for path in paths)
        ahead = deque(islice(started, num_ahead))
        try:
            while ahead:
                path, future = ahead.popleft()
                yield path, future.result()
                ahead.extend(islice(started, 1))
        finally:  # nobody asks for the others
            pool.shutdown(cancel_futures=True)
    for line in _describe_wide(num_wide, num_clipped, num_few, preparation):
        log.warning("%s", line)


def _describe_wide(num_wide: int, num_clipped: int, num_few: int, preparation: Preparation) -> Iterator[str]:
    if num_wide and preparation.range is None:
        yield (
            f"{num_wide} pictures have more than 8 bits, for which the records have no range: they were scaled by all "
            "that their kind can have. Pictures that use a part of it come out dark; give them in 8 bits."
        )
    elif num_clipped:
        yield (
            f"{num_clipped} of {num_wide} pictures of more than 8 bits have values outside the range of the records, "
            f"{describe_range(preparation.range or 'full')}: these are black or white."
        )
    if num_few and preparation.range is not None:
        yield (
            f"{num_few} of {num_wide} pictures of more than 8 bits keep fewer than 32 levels by the range of the "
            f"records, {describe_range(preparation.range)}: they use a small part of it, and little is seen of them."
        )
