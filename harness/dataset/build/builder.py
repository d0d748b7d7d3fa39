"""The build in its order: list, examine, plan, write, publish. Each step takes over what an earlier build has finished.

How a step does its work stands in curation/, report/ and the files beside this one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.base import files
from harness.base.errors import ConfigError, DataError
from harness.base.text import visible
from harness.config.dataset_sections import SplitConfig
from harness.config.schema import Config
from harness.dataset.build import build_folder, examination, existing_records, inputs, process_pool, shards, summary
from harness.dataset.build.existing_records import OWN_FILES, lacks_encoded_picture, read_known, refuse
from harness.dataset.build.inputs import Inputs
from harness.dataset.build.near_search import find_near_duplicates
from harness.dataset.build.process_pool import Died, Stopped
from harness.dataset.build.shards import Layout, Shard
from harness.dataset.build.step import Step, Task, divide
from harness.dataset.build.stop_request import StopRequest
from harness.dataset.corrections import corrected_listing
from harness.dataset.curation import cleaner, findings, plan
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.plan import Plan
from harness.dataset.images.rejection import Reason
from harness.dataset.listing import outputs, pictures
from harness.dataset.records import manifest, tfds_metadata
from harness.dataset.records.manifest import Manifest, ShardInfo
from harness.dataset.report import survey, thumbnails
from harness.dataset.report.shortcuts import Shortcut

log = logging.getLogger("harness")
_THUMBNAILS = 32  # that a worker draws at a time
_MOST_HELD_BACK = 0.95


def build(
    config: Config,
    *,
    overwrite: bool = False,
    task: Task | None = None,
    command: str = "",
    should_stop: Callable[[], str | None] = lambda: None,
) -> str:
    """Builds the records folder of `config`, or finds it up to date; returns what was done, as text for a person.

    Args:
      config: its sections `data`, `clean`, `split`, `records` and `runtime` are used.
      overwrite: whether to replace records of other pictures or settings.
      task: the share of the work to do; None does all that is left, and publishes.
      command: what the user typed, for the report.
      should_stop: asked from the first picture on, until the records are published; a reason ends the build.

    Raises:
      ConfigError: validation and test leave nothing to train on.
      DataError: the pictures cannot be used, or the folder holds other records and `overwrite` is false.
      InterruptedRun: it was asked to stop, and had saved something; the same call goes on from there.
      UnsavedRun: it was asked to stop, and had nothing to save.
    """
    _check_fractions(config.split)
    target = config.data.records_folder
    outputs.check_target(config.data.images, target)
    given = _list(config)
    outputs.check_target(config.data.images, target, given.listing.folders)
    with (
        build_folder.open_folder(target, cleaner.digest_rules(config), share=task.share if task else None) as work,
        process_pool.open_pool(config.runtime.workers) as pool,
    ):
        existing = existing_records.load(target, config, overwrite=overwrite)
        if existing is None or overwrite:
            build_folder.check_writable(target)
        work.prepare(is_shared=task is not None)
        stop = StopRequest(should_stop, work, work.list_saved())
        try:
            return _build(Step(config, work, pool, task, stop), given, existing, overwrite=overwrite, command=command)
        except Stopped as stopped:
            raise stop.explain(stopped) from None


def _list(config: Config) -> Inputs:
    """Returns what the records will follow from; says what there is."""
    lists = inputs.digest_lists(config)  # before they are read, so that a change is noticed at the end
    listing = pictures.list_pictures(config.data)
    if config.clean.labels:
        listing = corrected_listing.correct(listing, config.clean.labels, config.data)
    left_out = [cleaner.leave_out(item) for item in listing.left_out]
    num_files = len(listing.pictures) + sum(item.reason != Reason.MISSING for item in left_out)
    log.info("%d files in %s", num_files, config.data.images)
    for line in listing.lines:
        log.info("%s", line)
    doubts = plan.find_doubts(listing, config.split)
    for doubt in doubts:  # before hours go by
        log.warning("%s", doubt)
    return Inputs(listing, left_out, lists, doubts)


def _build(step: Step, given: Inputs, existing: Manifest | None, *, overwrite: bool, command: str) -> str:
    """Examines, plans, writes and publishes what is not there yet; returns what was done."""
    listed, task = given.listing.pictures, step.task
    known = read_known(existing, step.work, overwrite=overwrite) if task is None else {}
    examined = examination.examine(step, listed, known)
    if task is not None and len(examined) < len(listed):
        return _describe_share(task, f"{len(examined)} of {len(listed)} files are examined, other shares are not")
    if existing is not None and not overwrite:
        return _confirm(step, existing, given.digest(examined.values()))
    examined, scaling = examination.scale_wide(step, listed, examined)
    if task is not None and len(examined) < len(listed):
        return _describe_share(task, "pictures of more than 8 bits are not all scaled")
    whole = existing_records.find_whole_shards(step, existing) if existing is not None and known else {}
    stale = [path for path, item in examined.items() if item.is_kept and lacks_encoded_picture(item, whole)]
    examined |= examination.examine(replace(scaling, task=None), [given.listing.by_path[path] for path in stale], {})
    sources_sha256 = given.digest(examined.values())  # stale ones may have changed since
    found = sorted([*examined.values(), *given.left_out], key=lambda item: item.path)
    del examined, known
    made = plan.make_plan(found, given.listing, step.config, partial(find_near_duplicates, step))
    del found
    if inputs.digest_lists(step.config) != given.lists:
        raise DataError(
            "a table of groups, labels or corrections, or the split that is kept, changed during the build: start it "
            "again."
        )
    return _write(step, given, made, whole, sources_sha256=sources_sha256, command=command)


def _confirm(step: Step, existing: Manifest, sources_sha256: str) -> str:
    """Returns that the records are up to date.

    Raises:
      DataError: they were built from other pictures.
    """
    if existing.sources_sha256 != sources_sha256:
        raise refuse(step.work.target, existing, "pictures, or other tables of labels or groups")
    step.work.abandon()
    return f"{step.work.target} is up to date: {summary.count(existing)}"


def _write(
    step: Step, given: Inputs, made: Plan, whole: Mapping[str, ShardInfo], *, sources_sha256: str, command: str
) -> str:
    """Writes the shards of a plan and all that belongs to them, and publishes; a task only writes its shards."""
    config, work = step.config, step.work
    layout = shards.plan_shards(made, config.records, work.rules_sha256)
    written = _obtain_shards(step, layout, made.class_names, whole)
    if step.task is not None:
        return _describe_share(step.task, f"{len(written)} shards are written")
    result = summary.make_manifest(config, made, layout, written, sources_sha256)
    findings.write(work.root / findings.FILE_NAME, summary.locate_findings(made, layout, written))
    shortcuts = survey.probe(made.findings)
    result = replace(
        result,
        findings_sha256=files.digest_file(work.root / findings.FILE_NAME),
        warnings=tuple(map(visible, survey.list_warnings(config, made, result, shortcuts))),
    )
    tfds_metadata.write(result, work.root)
    _write_report(step, made, result, shortcuts, command)
    manifest.save(result, work.root)
    work.publish({*written, *tfds_metadata.FILE_NAMES, *OWN_FILES})
    for warning in result.warnings:
        if warning not in map(visible, given.doubts):
            log.warning("%s", warning)
    return summary.describe(result, work.target, made, config.clean)


def _check_fractions(fractions: SplitConfig) -> None:
    if fractions.validation + fractions.test > _MOST_HELD_BACK:
        raise ConfigError(
            f"split.validation is {fractions.validation} and split.test is {fractions.test}, which leaves too "
            f"little to train on: together they should be at most {_MOST_HELD_BACK}."
        )


def _obtain_shards(
    step: Step, layout: Layout, class_names: Sequence[str], whole: Mapping[str, ShardInfo]
) -> dict[str, Shard]:
    """Writes the shards that are not there yet; returns them by file name."""
    planned = [shard for listed in layout.values() for shard in listed]
    mine = [shard for position, shard in enumerate(planned) if step.has(position)]
    by_inputs = {info.inputs_sha256: info for info in whole.values()}
    work, config = step.work, step.config.records
    tasks = [(work, shard, class_names, config, by_inputs.get(shard.inputs_sha256)) for shard in mine]
    done = step.run(shards.obtain, tasks, [len(shard.items) for shard in mine], "writing", saves=True)
    return {shard.info.file: shard for shard in done}


def _write_report(step: Step, made: Plan, result: Manifest, found_shortcuts: Sequence[Shortcut], command: str) -> None:
    """Writes the data report."""
    from harness.dataset.report import page  # matplotlib, which worker processes do without

    work, config = step.work, step.config.records
    origins = thumbnails.Origins(step.config.data.images, work.cache, work.place)

    def draw(found: Sequence[Finding]) -> list[bytes | None]:
        """Draws rejected files each by itself: what ends the process leaves no other blank."""
        stored = [item for item in found if item.file]
        chunks = [*divide(stored, _THUMBNAILS), *([item] for item in found if thumbnails.is_visible_reject(item))]
        tasks = [(chunk, origins, config) for chunk in chunks]
        drawn = process_pool.try_all(
            step.pool,
            thumbnails.draw,
            tasks,
            sizes=[len(chunk) for chunk in chunks],
            title="report",
            should_stop=step.stop.at_once,
        )
        by_path: dict[str, bytes | None] = {}
        for chunk, jpegs in zip(chunks, drawn):
            if not isinstance(jpegs, Died):
                by_path.update(zip((item.path for item in chunk), jpegs))
        return [by_path.get(item.path) for item in found]

    facts = survey.make_facts(step.config, made, result, found_shortcuts=found_shortcuts, draw=draw, command=command)
    files.write_text(work.root / summary.REPORT_NAME, page.render(work.target.name, facts))


def _describe_share(task: Task, what: str) -> str:
    return (
        f"task {task.index} of {task.num_tasks}: {what}.\nWhen every task has ended, run the "
        "same tasks once more to have them write the shards, or the command without --task-index for all that is left."
    )
