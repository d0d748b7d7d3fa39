"""The build in its order: list, examine, plan, write, publish. Each step takes over what an earlier build has finished.

How a step does its work stands in curation/, report/ and the files beside this one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter

from harness.base import files, json_files
from harness.base.errors import ConfigError, DataError
from harness.base.storage import Folder, RemotePath
from harness.config.schema import Config, SplitConfig
from harness.dataset.build import build_folder, examination, process_pool, shards, summary
from harness.dataset.build.build_folder import BuildFolder
from harness.dataset.build.examination import Examiner
from harness.dataset.build.process_pool import Died, Pool, Result
from harness.dataset.build.shards import Layout, Shard
from harness.dataset.curation import build_cache, cleaner, findings, near_duplicates, plan, similarity_search
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import group_file
from harness.dataset.curation.plan import Plan
from harness.dataset.images.preparation import describe_range
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import labels, outputs, pictures
from harness.dataset.listing.listed import Listed, Listing
from harness.dataset.records import manifest, tfds_metadata
from harness.dataset.records.manifest import Manifest, ShardInfo
from harness.dataset.report import survey, thumbnails

log = logging.getLogger("harness")
Item = TypeVar("Item")
_OWN_FILES = (summary.REPORT_NAME, findings.FILE_NAME, manifest.FILE_NAME)
_PAIRS = 32  # pairs a worker compares at a time
_MOST_HELD_BACK = 0.95


@dataclass(frozen=True)
class Task:
    """One of several processes, perhaps on several machines, that share the work of a build."""

    index: int
    num_tasks: int


def build(config: Config, *, overwrite: bool = False, task: Task | None = None, command: str = "") -> str:
    """Builds the records folder of `config`, or finds it up to date; returns what was done, as text for a person.

    Args:
      config: its sections `data`, `clean`, `split`, `records` and `runtime` are used.
      overwrite: whether to replace records of other pictures or settings.
      task: the share of the work to do; None does all that is left, and publishes.
      command: what the user typed, for the report.

    Raises:
      ConfigError: validation and test leave nothing to train on.
      DataError: the pictures cannot be used, or the folder holds other records and `overwrite` is false.
    """
    _check_fractions(config.split)
    target = config.data.records_folder
    outputs.check_target(config.data.images, target)
    lists = _digest_lists(config)  # before they are read, so that a change is noticed at the end
    listing = pictures.list_pictures(config.data)
    left_out = [cleaner.leave_out(item) for item in listing.left_out]
    num_files = len(listing.pictures) + sum(item.reason != Reason.MISSING for item in left_out)
    log.info("%d files in %s", num_files, config.data.images)
    for line in listing.lines:
        log.info("%s", line)
    outputs.check_target(config.data.images, target, listing.folders)
    with (
        build_folder.open_folder(target, cleaner.digest_rules(config), is_shared=task is not None) as work,
        process_pool.open_pool(config.runtime.workers) as pool,
    ):
        existing = _load_existing(target, config, overwrite=overwrite)
        if existing is None or overwrite:
            build_folder.check_writable(target)
        work.prepare(is_shared=task is not None)
        step = _Step(config, work, pool, task)
        known = _read_known(existing, work, overwrite=overwrite) if task is None else {}
        examined = _examine(step, listing.pictures, known)
        if task is not None and len(examined) < len(listing.pictures):
            counts = f"{len(examined)} of {len(listing.pictures)}"
            return _describe_share(task, f"{counts} files are examined, other shares are not")
        given = _list_given(listing)
        sources_sha256 = _digest_sources([*examined.values(), *left_out], [*lists, *given])
        if existing is not None and not overwrite:
            if existing.sources_sha256 != sources_sha256:
                raise _other(target, existing, "pictures")
            work.abandon()
            return f"{target} is up to date: {summary.count(existing)}"
        examined, scaling = _scale_wide(step, listing.pictures, examined)
        if task is not None and len(examined) < len(listing.pictures):
            return _describe_share(task, "pictures of more than 8 bits are not all scaled")
        whole = _find_whole_shards(step, existing) if existing is not None and known else {}
        stale = [path for path, item in examined.items() if item.is_kept and _lacks_encoded_picture(item, whole)]
        examined |= _examine(replace(scaling, task=None), [listing.by_path[path] for path in stale], {})
        # stale ones may have changed since
        sources_sha256 = _digest_sources([*examined.values(), *left_out], [*lists, *given])
        found = sorted([*examined.values(), *left_out], key=lambda item: item.path)
        del examined, known
        made = plan.make_plan(found, listing, config, partial(_find_near_duplicates, step))
        del found
        if _digest_lists(config) != lists:
            raise DataError(
                "a list of groups or labels, or the split that is kept, changed during the build: start it again."
            )
        layout = shards.plan_shards(made, config.records, work.rules_sha256)
        written = _obtain_shards(step, layout, made.class_names, whole)
        if task is not None:
            return _describe_share(task, f"{len(written)} shards are written")
        result = summary.make_manifest(config, made, layout, written, sources_sha256)
        findings.write(work.root / findings.FILE_NAME, summary.locate_findings(made, layout, written))
        tfds_metadata.write(result, work.root)
        warnings = _write_report(step, made, result, command)
        manifest.save(result, work.root)
        work.publish({*written, *tfds_metadata.FILE_NAMES, *_OWN_FILES})
    for warning in warnings:
        log.warning("%s", warning)
    return summary.describe(result, target, made, config.clean)


@dataclass(frozen=True)
class _Step:
    """What every step of a build has at hand."""

    config: Config
    work: BuildFolder
    pool: Pool
    task: Task | None

    def run(
        self,
        function: Callable[..., Result],
        tasks: Sequence[tuple[object, ...]],
        sizes: Sequence[int],
        title: str,
        *,
        unit: str = "pictures",
    ) -> list[Result]:
        """Runs a function of a module on many tasks in the worker processes."""
        return process_pool.run_all(self.pool, function, tasks, sizes=sizes, title=title, unit=unit)

    def has(self, position: int) -> bool:
        """Whether the chunk or shard at this position is to be done here."""
        return self.task is None or position % self.task.num_tasks == self.task.index


def read_findings(folder: Folder) -> list[Finding]:
    """Reads the findings of a records folder.

    Raises:
      DataError: they are missing or damaged.
    """
    path = folder / findings.FILE_NAME
    try:
        return findings.read(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Build the records again, with --overwrite.") from None


def _check_fractions(fractions: SplitConfig) -> None:
    if fractions.validation + fractions.test > _MOST_HELD_BACK:
        raise ConfigError(
            f"split.validation is {fractions.validation} and split.test is {fractions.test}, which leaves too "
            f"little to train on: together they should be at most {_MOST_HELD_BACK}."
        )


def _load_existing(target: Folder, config: Config, *, overwrite: bool) -> Manifest | None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / manifest.FILE_NAME).is_file():
        if build_folder.is_being_sent(target, {*tfds_metadata.FILE_NAMES, *_OWN_FILES}):
            return None
        raise DataError(f"{target} exists but holds no records. Give another folder: --records FOLDER")
    try:
        existing = manifest.load(target)
    except DataError:
        if overwrite:
            return None
        raise
    if not overwrite and existing.config_sha256 != summary.digest_config(config):
        raise _other(target, existing, "settings")
    return existing


def _other(target: Folder, existing: Manifest, what: str) -> DataError:
    return DataError(
        f"{target} was built from other {what} ({existing.images}). Replace it with --overwrite, or keep it and give "
        "another folder: --records FOLDER"
    )


def _read_known(existing: Manifest | None, work: BuildFolder, *, overwrite: bool) -> dict[str, Finding]:
    """The findings of the records at the target, as they were before copies were judged and splits assigned.

    None of records on s3://: fetching their encoded pictures takes longer than encoding them again. None either if they
    cannot be read and are to be replaced.
    """
    if existing is None or isinstance(work.target, RemotePath) or existing.rules_sha256 != work.rules_sha256:
        return {}

    def reset(item: Finding) -> Finding:
        if item.reason in findings.COPIES:
            item = item._replace(verdict=findings.KEPT, reason="", measured="", limit="")
        passing = (*findings.CONFLICT_NOTES, plan.LEAK, plan.MOVED)
        notes = " ".join(note for note in item.notes.split() if note not in passing)
        return item._replace(notes=notes, near_copy_of="")

    try:
        found = read_findings(work.target)
    except DataError as error:
        if not overwrite:
            raise
        log.warning("%s Every picture is examined anew.", error)
        return {}
    return {item.path: reset(item) for item in found if item.reason != Reason.BAD_NAME}


def _examine(step: _Step, listed: Sequence[Listed], known: Mapping[str, Finding]) -> dict[str, Finding]:
    """Returns a finding for each file: from the build cache, from the records of the same bytes, or examined now."""
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
        elif step.has(position // examination.CHUNK):
            waiting.append((path, known[path].sha256 if path in known else ""))
    if results:
        log.info("%d files were examined before", len(results))
    examined = Examiner(step.pool, step.config, step.work.cache).examine(waiting)
    results |= {path: item or known[path] for path, item in examined.items()}
    return {item.path: cleaner.as_listed(results[item.path], item) for item in listed if item.path in results}


def _scale_wide(
    step: _Step, listed: Sequence[Listed], examined: Mapping[str, Finding]
) -> tuple[dict[str, Finding], _Step]:
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
    log.info("%d pictures of more than 8 bits: %s is black and white", num_wide, describe_range(value_range))
    known = {item.path: examined[item.path] for item in wide if item.path not in old}
    done = _examine(step, wide, known)
    return {path: item for path, item in examined.items() if path not in old} | done, step


def _divide(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _find_whole_shards(step: _Step, existing: Manifest) -> dict[str, ShardInfo]:
    """The shards of the records at the target whose bytes are still those that were written, by file name."""
    listed = [shard for info in existing.splits.values() for shard in info.shards]
    tasks = [(step.work.target / shard.file,) for shard in listed]
    digests = step.run(files.digest_file, tasks, [shard.num_examples for shard in listed], "comparing")
    return {shard.file: shard for shard, digest in zip(listed, digests) if shard.sha256 == digest}


def _lacks_encoded_picture(item: Finding, whole: Mapping[str, ShardInfo]) -> bool:
    return not item.file or (build_cache.is_shard(item) and item.file not in whole)


def _digest_sources(found: Sequence[Finding], lists: Sequence[str]) -> str:
    """A digest of every file that the records follow from: the pictures, the groups, the split that is kept."""
    pictures = sorted((item.path, item.sha256 or f"{item.num_bytes} bytes") for item in found)
    return files.digest_json([pictures, lists])


def _list_given(listing: Listing) -> list[str]:
    """Classes, splits and groups that are not what the pictures' folders are called, as text, "" if all are."""
    given = [list(item) for item in listing.pictures if item[1:] != (item.path.partition("/")[0], "", "")]
    return [files.digest_json(sorted(given))] if given else []


def _digest_lists(config: Config) -> list[str]:
    """The digests of the files beside the pictures that the records follow from."""
    listed = [group_file(config.data.images, config.split.group_by)]
    # A folder that keeps its own split follows from the pictures alone.
    if config.split.previous and config.split.previous.resolve() != config.data.records_folder.resolve():
        listed.append(plan.file_of_previous(config.split.previous))
    if config.data.labels:
        listed.append(labels.locate(config.data.labels, config.data.images)[0])
    try:
        return [files.digest_file(path) for path in listed if path and path.is_file()]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}. Make it readable.") from None


@dataclass(frozen=True)
class _Confirmed:
    """Pairs of near duplicates, and a digest of what they were found among."""

    inputs: str
    pairs: tuple[tuple[str, str], ...]


_CONFIRMED = TypeAdapter(_Confirmed)


def _find_near_duplicates(step: _Step, kept: Sequence[Finding]) -> list[tuple[str, str]]:
    """The confirmed pairs of near duplicates; found once for the same pictures, however often the build is started."""
    if len(kept) < 2:
        return []
    work, config = step.work, step.config.records
    inputs = files.digest_json([[item.path, item.pixels_sha256] for item in kept])
    try:
        cached = json_files.read(work.near_duplicates, _CONFIRMED)
        if cached.inputs == inputs:
            return list(cached.pairs)
    except json_files.WrongForm:
        pass
    fingerprints = np.frombuffer(b"".join(item.fingerprint for item in kept), np.uint8).reshape(len(kept), -1)

    def search(function: Callable[..., Result], tasks: Sequence[tuple[object, ...]]) -> list[Result]:
        return step.run(function, tasks, [1] * len(tasks), "searching", unit="parts")

    pairs = similarity_search.propose_pairs(fingerprints, search)
    proposed = [(kept[first], kept[second]) for first, second in pairs.tolist()]

    def place(item: Finding) -> near_duplicates.Place:
        return build_cache.locate(item, work.cache, work.place), item.offset, item.length

    chunks = _divide([(place(first), place(second)) for first, second in proposed], _PAIRS)
    tasks = [(chunk, config.encoding, config.image_size) for chunk in chunks]
    answers = step.run(
        near_duplicates.confirm_pairs, tasks, [len(chunk) for chunk in chunks], "comparing", unit="pairs"
    )
    confirmed = [
        (first.path, second.path)
        for (first, second), is_near in zip(proposed, (answer for chunk in answers for answer in chunk))
        if is_near
    ]
    files.write_json(work.near_duplicates, {"inputs": inputs, "pairs": confirmed})
    return confirmed


def _obtain_shards(
    step: _Step, layout: Layout, class_names: Sequence[str], whole: Mapping[str, ShardInfo]
) -> dict[str, Shard]:
    """Writes the shards that are not there yet; returns them by file name."""
    planned = [shard for listed in layout.values() for shard in listed]
    mine = [shard for position, shard in enumerate(planned) if step.has(position)]
    by_inputs = {info.inputs_sha256: info for info in whole.values()}
    work, config = step.work, step.config.records
    tasks = [(work, shard, class_names, config, by_inputs.get(shard.inputs_sha256)) for shard in mine]
    done = step.run(shards.obtain, tasks, [len(shard.items) for shard in mine], "writing")
    return {shard.info.file: shard for shard in done}


def _write_report(step: _Step, made: Plan, result: Manifest, command: str) -> list[str]:
    """Writes the data report; returns its warnings."""
    from harness.dataset.report import page  # matplotlib, which worker processes do without

    work, config = step.work, step.config.records
    origins = thumbnails.Origins(step.config.data.images, work.cache, work.place)

    def draw(found: Sequence[Finding]) -> list[bytes | None]:
        """Draws rejected files each by itself: what ends the process leaves no other blank."""
        stored = [item for item in found if item.file]
        chunks = [*_divide(stored, _PAIRS), *([item] for item in found if thumbnails.is_visible_reject(item))]
        tasks = [(chunk, origins, config) for chunk in chunks]
        drawn = process_pool.try_all(
            step.pool, thumbnails.draw, tasks, sizes=[len(chunk) for chunk in chunks], title="report"
        )
        by_path: dict[str, bytes | None] = {}
        for chunk, jpegs in zip(chunks, drawn):
            if not isinstance(jpegs, Died):
                by_path.update(zip((item.path for item in chunk), jpegs))
        return [by_path.get(item.path) for item in found]

    shortcuts = survey.probe(made.findings)
    facts = survey.make_facts(step.config, made, result, found_shortcuts=shortcuts, draw=draw, command=command)
    files.write_text(work.root / summary.REPORT_NAME, page.render(work.target.name, facts))
    return list(facts.warnings)


def _describe_share(task: Task, what: str) -> str:
    return (
        f"task {task.index} of {task.num_tasks}: {what}.\nWhen every task has ended, run the "
        "same tasks once more to have them write the shards, or the command without --task-index for all that is left."
    )
