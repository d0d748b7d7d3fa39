"""The examination of all files by worker processes: what costs much memory is put off, what ends a worker is found.

What is looked for in a file stands in curation/cleaner.py.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.machine import memory
from harness.config.preparation import describe_ends
from harness.config.schema import Config
from harness.dataset.build import process_pool
from harness.dataset.build.process_pool import Died, Pool, ShouldStop, Stopped, never
from harness.dataset.build.step import Step
from harness.dataset.curation import build_cache, cleaner
from harness.dataset.curation.cleaner import Postponed
from harness.dataset.curation.findings import Finding
from harness.dataset.images import sources
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.listing.listed import Listed

log = logging.getLogger("harness")

CHUNK = 128  # files a worker takes at a time: enough to hide the hand-over, few enough for an even end
_SHARE_OF_FREE = 0.8  # of the memory that is free when pictures that take much of it begin

Known = tuple[str, str]  # a file, and the sha256 it was examined with before or ""
Found = Finding | Postponed | None


def examine(step: Step, listed: Sequence[Listed], known: Mapping[str, Finding]) -> dict[str, Finding]:
    """Returns a finding for each file: from the build cache, from the records of the same bytes, or examined now.

    Raises:
      Stopped: the build was asked to stop.
    """
    if not listed:
        return {}
    folder, cached = step.config.data.images, build_cache.read(step.work.cache)
    results: dict[str, Finding] = {}
    waiting = []
    for position, (path, *_) in enumerate(listed):
        entry = cached.get(path)
        is_usable = entry and cleaner.is_scaled(entry[0], step.config.clean.range)
        if entry and is_usable and build_cache.is_unchanged(folder / path, *entry):
            results[path] = entry[0]
        elif step.has(position // CHUNK):
            waiting.append((path, known[path].sha256 if path in known else ""))
    if results:
        log.info("%d files were examined before", len(results))
    try:
        examined = Examiner(step.pool, step.config, step.work.cache, step.stop.once_saved()).examine(waiting)
    except Stopped as stopped:
        num_examined = len(results) + stopped.num_done
        where = f"after {num_examined} of {len(listed)} files were examined"
        raise Stopped(stopped.reason, num_examined, where) from None
    results |= {path: item or known[path] for path, item in examined.items()}
    return {item.path: cleaner.as_listed(results[item.path], item) for item in listed if item.path in results}


def scale_wide(
    step: Step, listed: Sequence[Listed], examined: Mapping[str, Finding]
) -> tuple[dict[str, Finding], Step]:
    """Has pictures of more than 8 bits encoded once all are known, where the range of their values has become another.

    Returns:
      The findings, without those that another task is to make; and the step, whose settings say the range now.
    """
    value_range = cleaner.find_range(examined.values(), step.config.clean)
    if value_range is None:
        return dict(examined), step
    clean = step.config.clean.model_copy(update={"range": value_range})
    step = replace(step, config=step.config.model_copy(update={"clean": clean}))
    old = {path for path, item in examined.items() if not cleaner.is_scaled(item, value_range)}
    # Tasks share all that are wide, or each would count others.
    wide = [item for item in listed if item.path in old or (step.task and examined[item.path].levels)]
    num_wide = sum(bool(item.levels) for item in examined.values())
    log.info("%d pictures of more than 8 bits: %s", num_wide, describe_ends(value_range))
    known = {item.path: examined[item.path] for item in wide if item.path not in old}
    done = examine(step, wide, known)
    return {path: item for path, item in examined.items() if path not in old} | done, step


@dataclass(frozen=True)
class Examiner:
    """Examines files of the images folder that `config` names, and keeps what it finds in the build cache."""

    pool: Pool
    config: Config
    cache: Path
    should_stop: ShouldStop = never

    def examine(self, known: Sequence[Known]) -> dict[str, Finding | None]:
        """Returns a finding for each file, or None for one that still has the sha256 it had.

        Pictures that take much memory come last, as many at a time as fit into what is free. A file that ends its
        worker process, and does so again while nothing else is decoded, is `unreadable`.

        Args:
          known: files below the images folder in POSIX form, each with the sha256 it was examined with before or "".

        Raises:
          Stopped: `should_stop` gave a reason; `num_done` counts the files.
        """
        results: dict[str, Finding | None] = {}
        try:
            results.update(self._examine_all(known))
        except Stopped as stopped:
            raise Stopped(stopped.reason, len(results) + stopped.num_done, stopped.where) from None
        return results

    def _examine_all(self, known: Sequence[Known]) -> Iterator[tuple[str, Finding | None]]:
        needs: dict[Known, int] = {}
        chunks = [known[start : start + CHUNK] for start in range(0, len(known), CHUNK)]
        for entry, found in self._examine_chunks(chunks, sources.share_memory(self.pool.num_workers)):
            if isinstance(found, Postponed):
                needs[entry] = found.num_bytes
            else:
                yield entry[0], found
        for entry, num_bytes in list(needs.items()):
            try:
                sources.check_memory(num_bytes)
            except Rejected as rejection:
                yield entry[0], cleaner.refuse(entry[0], rejection)
                del needs[entry]
        for entry, found in self._examine_chunks([[entry] for entry in needs], None, list(needs.values())):
            if not isinstance(found, Postponed):  # it is not, without a budget
                yield entry[0], found

    def _examine_chunks(
        self, chunks: Sequence[Sequence[Known]], budget: int | None, needs: Sequence[int] = ()
    ) -> Iterator[tuple[Known, Found]]:
        """Yields what is found about each file; chunks that ended a worker are halved until the file is known."""
        suspects: list[Sequence[Known]] = []
        for chunk, found in zip(chunks, self._run(chunks, budget, needs)):
            if isinstance(found, Died):
                suspects.append(chunk)
            else:
                yield from zip(chunk, found)
        while suspects:
            chunk = suspects.pop()
            [found] = self._run([chunk], budget)
            if not isinstance(found, Died):
                yield from zip(chunk, found)
            elif len(chunk) > 1:
                middle = len(chunk) // 2
                suspects += [chunk[middle:], chunk[:middle]]
            else:
                path = chunk[0][0]
                yield chunk[0], cleaner.refuse(path, _explain(found))

    def _run(
        self, chunks: Sequence[Sequence[Known]], budget: int | None, needs: Sequence[int] = ()
    ) -> list[list[Found] | Died]:
        return process_pool.try_all(
            self.pool,
            cleaner.examine,
            [(self.config.data.images, chunk, self.config, self.cache, budget) for chunk in chunks],
            sizes=[len(chunk) for chunk in chunks],
            title="cleaning",
            memory=needs,
            free_memory=int(_SHARE_OF_FREE * memory.measure_free().num_bytes),
            should_stop=self.should_stop,
        )


def _explain(died: Died) -> Rejected:
    return Rejected(
        Reason.UNREADABLE,
        f"its examination ends the worker process ({died})",
        "a file that can be decoded in the memory that is free",
    )
