"""The records that are at the target before a build: whether they may be replaced, and what of them is of use.

What was left by a build that was cut short stands in build_folder.py and build_cache.py.
"""

import logging
from collections.abc import Mapping

from harness.base import files
from harness.base.errors import DataError
from harness.base.storage import Folder, RemotePath
from harness.base.text import shorten
from harness.config.schema import Config
from harness.dataset.build import build_folder, summary
from harness.dataset.build.build_folder import BuildFolder
from harness.dataset.build.step import Step
from harness.dataset.curation import build_cache, findings, plan
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason
from harness.dataset.records import manifest, tfds_metadata
from harness.dataset.records.manifest import Manifest, ShardInfo

log = logging.getLogger("harness")
# Files beside the shards and what TensorFlow Datasets reads.
OWN_FILES = (summary.REPORT_NAME, findings.FILE_NAME, manifest.FILE_NAME)


def load(target: Folder, config: Config, *, overwrite: bool) -> Manifest | None:
    """Returns the manifest of the records at the target; None if there are none, or none that count.

    Raises:
      DataError: the target is no records folder; or, without `overwrite`, its records are of other settings or damaged.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / manifest.FILE_NAME).is_file():
        if build_folder.is_being_sent(target, {*tfds_metadata.FILE_NAMES, *OWN_FILES}):
            return None
        raise DataError(f"{target} exists but holds no records. Give another folder: --records FOLDER")
    try:
        existing = manifest.load(target)
    except DataError:
        if overwrite:
            return None
        raise
    if not overwrite and existing.config_sha256 != summary.digest_config(config):
        raise refuse(target, existing, "settings", _describe_changes(existing, config))
    return existing


def _describe_changes(existing: Manifest, config: Config) -> str:
    """What of the settings is another now; the manifest may say anything of them."""
    changed, new = [], []
    for section in ("clean", "split", "records"):
        before = existing.config.get(section)
        if not isinstance(before, Mapping):
            continue
        for name, value in config.sections(section)[section].items():
            if name not in before:
                new.append(f"{section}.{name}")
            elif before[name] != value:
                changed.append(f"{section}.{name} was {_show(before[name])}, now {_show(value)}")
    data, classes = existing.config.get("data"), config.sections("data")["data"]["classes"]
    before_classes = data.get("classes") if isinstance(data, Mapping) else None  # the default is not written
    if before_classes != classes:
        changed.append(f"data.classes was {_show(before_classes)}, now {_show(classes)}")
    if new:
        changed.append(f"an earlier harness, which did not know {', '.join(new)}, built them")
    return f": {'; '.join(changed)}" if changed else ""


def _show(value: object) -> str:
    return "null" if value is None else shorten(value)


def refuse(target: Folder, existing: Manifest, what: str, changes: str = "") -> DataError:
    """Returns the error of records that are to stay as they are, for they were built from other `what`."""
    return DataError(
        f"{target} was built from other {what} ({existing.images}){changes}. Replace it with --overwrite, or keep it "
        "and give another folder: --records FOLDER"
    )


def read_findings(folder: Folder, existing: Manifest) -> list[Finding]:
    """Reads the findings of records.

    Raises:
      DataError: they are missing, damaged, or not those that the build wrote.
    """
    path = folder / findings.FILE_NAME
    try:
        if existing.findings_sha256 not in ("", files.digest_file(path)):
            raise ValueError("it was changed since the build wrote it")
        return findings.read(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Build the records again, with --overwrite.") from None


def read_known(existing: Manifest | None, work: BuildFolder, *, overwrite: bool) -> dict[str, Finding]:
    """Returns the findings of the records at the target, as they were before copies were judged and splits assigned.

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
        found = read_findings(work.target, existing)
    except DataError as error:
        if not overwrite:
            raise
        log.warning("%s Every picture is examined anew.", error)
        return {}
    return {item.path: reset(item) for item in found if item.reason != Reason.BAD_NAME}


def find_whole_shards(step: Step, existing: Manifest) -> dict[str, ShardInfo]:
    """Returns the shards of the records at the target whose bytes are still those that were written, by file name."""
    listed = [shard for info in existing.splits.values() for shard in info.shards]
    tasks = [(step.work.target / shard.file,) for shard in listed]
    digests = step.run(files.digest_file, tasks, [shard.num_examples for shard in listed], "comparing")
    return {shard.file: shard for shard, digest in zip(listed, digests) if shard.sha256 == digest}


def lacks_encoded_picture(item: Finding, whole: Mapping[str, ShardInfo]) -> bool:
    """Whether the encoded picture of a finding that was taken over is not there any more."""
    return not item.file or (build_cache.is_shard(item) and item.file not in whole)
