"""python -m harness.build_records: class folders of pictures -> cleaned, split, sharded TFRecords with a manifest.

The sources are only read. The records appear complete, under their final name, or not at all.
"""

import fcntl
import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness import cleaner, cli, duplicates, files, grouping, images, manifest, shards, split, workers
from harness.cleaner import Examined, Finding
from harness.config import Config, SplitConfig
from harness.errors import ConfigError, DataError, ExitCode
from harness.images import Reason
from harness.manifest import Manifest, SplitInfo
from harness.tables import format_table

log = logging.getLogger("harness")
_CHUNK = 64  # pictures a worker takes at a time: enough to hide the hand-over, few enough for an even end
_MOST_HELD_BACK = 0.95
DESCRIPTION = """\
Turns class folders of pictures (data/happy, data/sad) into cleaned, split, sharded TFRecords.

  python -m harness.build_records                                  the sample set -> tfrecords/sample
  python -m harness.build_records --images data/flowers            your folders   -> tfrecords/flowers
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = cli.make_parser(
        "build_records", DESCRIPTION, sections=("data", "clean", "split", "records", "runtime"), seed="split.seed"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace records that were built from other pictures or settings"
    )
    arguments = parser.parse_args(argv)
    config, _ = cli.read_config(arguments)
    cli.start_logging(quiet=arguments.quiet)
    print(build(config, overwrite=arguments.overwrite))
    return ExitCode.DONE


def build(config: Config, *, overwrite: bool = False) -> str:
    """Builds the records folder of `config`, or finds it up to date; returns what was done, as text for a person.

    Raises:
      ConfigError: validation and test leave nothing to train on.
      DataError: the pictures cannot be used, or the folder holds other records and `overwrite` is false.
    """
    _check_fractions(config.split)
    images_folder, target = config.data.images, config.data.records_folder
    paths = _list_pictures(images_folder)
    log.info("%d files in %s", len(paths), images_folder)
    with _work_folder(target) as work, workers.open_pool(config.runtime.workers) as pool:
        existing = _existing(pool, config, paths, overwrite=overwrite)
        if existing is not None:
            return f"{target} is up to date: {_count(existing)}"
        examined = _examine(pool, config, paths, work)
        examined = _refuse_copies(examined)
        examined, rule = _split(examined, config)
        findings = [item.finding for item in examined]
        _check_usable(findings, images_folder)
        result = _write(pool, config, examined, work)
        cleaner.write_findings(work / "cleaning.csv", findings)
        manifest.save(result, work)
        shutil.rmtree(work / "spool")
        _publish(work, target)
    return f"{cleaner.summarise(findings)}\n\n{_describe(result, target, rule)}"


def _check_fractions(fractions: SplitConfig) -> None:
    if fractions.validation + fractions.test > _MOST_HELD_BACK:
        raise ConfigError(
            f"split.validation is {fractions.validation} and split.test is {fractions.test}, which leaves too "
            f"little to train on: together they should be at most {_MOST_HELD_BACK}."
        )


def _list_pictures(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"there is no images folder {folder}. Give one with a sub-folder for each class: --images FOLDER"
        )
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        found = ", ".join(path.name for path in classes) or "none"
        raise DataError(
            f"{folder} needs a sub-folder for each of two classes or more, such as happy/ and sad/; found {found}."
        )
    paths = [path.relative_to(folder).as_posix() for name in classes for path in images.walk_files(name)]
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise DataError(f"the name of {path!r} in {folder} is not valid UTF-8. Rename the file.") from None
    return paths


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target that only one build uses; what an earlier, killed build left in it is cleared."""
    work = target.parent / f".{target.name}.building"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = (target.parent / f".{target.name}.lock").open("w")
    except OSError as error:
        raise DataError(
            f"cannot write to {target.parent}: {error.strerror}. Give another folder: --records FOLDER"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"another build is writing {target} just now. Wait for it, or give another --records."
            ) from None
        shutil.rmtree(work, ignore_errors=True)
        (work / "spool").mkdir(parents=True)
        try:
            yield work
        except OSError as error:
            raise DataError(
                f"writing {target} failed: {error.strerror} ({error.filename}). Nothing was published."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _chunks(paths: Sequence[str]) -> list[Sequence[str]]:
    return [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]


def digest_files(folder: Path, paths: Sequence[str]) -> list[str]:
    """Returns the sha256 of each file below `folder`, and "" for one that cannot be read."""
    digests = []
    for path in paths:
        try:
            digests.append(files.digest_file(folder / path))
        except OSError:
            digests.append("")
    return digests


def _existing(pool: ProcessPoolExecutor, config: Config, paths: Sequence[str], *, overwrite: bool) -> Manifest | None:
    """The manifest at the target, if it is what this build would write."""
    target = config.data.records_folder
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / manifest.FILE_NAME).is_file():
        raise DataError(f"{target} exists but holds no records. Give another folder: --records FOLDER")
    if overwrite:
        return None
    found = manifest.load(target)
    tasks = [(config.data.images, chunk) for chunk in _chunks(paths)]
    digests = workers.run_all(pool, digest_files, tasks, sizes=[len(chunk) for _, chunk in tasks], title="comparing")
    same_pictures = found.sources_sha256 == _sources_digest(paths, [digest for chunk in digests for digest in chunk])
    if same_pictures and found.config_sha256 == _config_digest(config):
        return found
    raise DataError(
        f"{target} was built from other {'settings' if same_pictures else 'pictures'} ({found.images}). Replace it "
        "with --overwrite, or keep it and give another folder: --records FOLDER"
    )


def _sources_digest(paths: Sequence[str], digests: Sequence[str]) -> str:
    return files.digest_json(sorted(zip(paths, digests)))


def _config_digest(config: Config) -> str:
    return config.digest("clean", "split", "records")


def _examine(pool: ProcessPoolExecutor, config: Config, paths: Sequence[str], work: Path) -> list[Examined]:
    spool = work / "spool"
    tasks = [(config.data.images, chunk, config, spool / f"{i:06d}") for i, chunk in enumerate(_chunks(paths))]
    results = workers.run_all(pool, cleaner.examine, tasks, sizes=[len(task[1]) for task in tasks], title="cleaning")
    return [item for chunk in results for item in chunk]


def _refuse_copies(examined: Sequence[Examined]) -> list[Examined]:
    kept = [item for item in examined if item.finding.is_kept]
    copies = duplicates.find_exact_copies([(i.finding.path, i.finding.class_name, i.pixels_sha256) for i in kept])

    def judged(finding: Finding) -> Finding:
        if finding.path in copies.duplicates:
            return finding.rejected(Reason.DUPLICATE, f"equals {copies.duplicates[finding.path]}", "one copy")
        if finding.path in copies.label_conflicts:
            other = copies.label_conflicts[finding.path]
            return finding.rejected(Reason.LABEL_CONFLICT, f"equals {other}", "one class for one picture")
        return finding

    return [replace(item, finding=judged(item.finding)) for item in examined]


def _split(examined: Sequence[Examined], config: Config) -> tuple[list[Examined], str]:
    kept = [item.finding for item in examined if item.finding.is_kept]
    keys, rule = grouping.assign_groups([finding.path for finding in kept], config.data.images, config.split.group_by)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in kept:
        groups[keys[finding.path]][finding.class_name] += 1
    fractions = config.split
    sides = split.assign_splits(groups, validation=fractions.validation, test=fractions.test, seed=fractions.seed)

    def placed(item: Examined) -> Examined:
        if not item.finding.is_kept:
            return item
        key = keys[item.finding.path]
        return replace(item, finding=replace(item.finding, group=key, split=sides[key]))

    return [placed(item) for item in examined], rule


def _check_usable(findings: Sequence[Finding], folder: Path) -> None:
    kept = Counter(finding.class_name for finding in findings if finding.is_kept)
    class_folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in class_folders:
        if not kept[name]:
            reasons = Counter(finding.reason for finding in findings if finding.class_name == name)
            why = (
                ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.most_common())
                or "no files"
            )
            raise DataError(
                f"the class folder {folder / name} has no usable picture: {why}. Mend or remove the folder."
            )


def _write(pool: ProcessPoolExecutor, config: Config, examined: Sequence[Examined], work: Path) -> Manifest:
    kept = [item for item in examined if item.finding.is_kept]
    class_names = tuple(sorted({item.finding.class_name for item in kept}))
    tasks = []
    for name in split.SPLITS:
        planned = shards.plan_shards([item for item in kept if item.finding.split == name], name, config.records)
        tasks += [(work, file_name, items, class_names, config.records.image_size) for file_name, items in planned]
    sizes = [len(task[2]) for task in tasks]
    infos = workers.run_all(pool, shards.write_from_spool, tasks, sizes=sizes, title="writing")
    splits = {}
    for name in split.SPLITS:
        items = [item.finding for item in kept if item.finding.split == name]
        splits[name] = SplitInfo(
            num_examples=len(items),
            num_groups=len({finding.group for finding in items}),
            class_counts={label: sum(finding.class_name == label for finding in items) for label in class_names},
            shards=tuple(info for info in infos if info.file.startswith(f"{name}-")),
        )
    return Manifest(
        class_names=class_names,
        image_size=config.records.image_size,
        splits=splits,
        rejected=dict(sorted(Counter(i.finding.reason for i in examined if not i.finding.is_kept).items())),
        images=config.data.images.as_posix(),
        sources_sha256=_sources_digest([i.finding.path for i in examined], [i.finding.sha256 for i in examined]),
        config_sha256=_config_digest(config),
        config=config.sections("clean", "split", "records"),
    )


def _publish(work: Path, target: Path) -> None:
    """Moves the finished folder to its name; the one it replaces is removed only after that."""
    replaced = target.parent / f".{target.name}.replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    work.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def _count(result: Manifest) -> str:
    return ", ".join(f"{info.num_examples} {name}" for name, info in result.splits.items() if info.num_examples)


def _describe(result: Manifest, target: Path, rule: str) -> str:
    rows = [("split", "pictures", "groups", "shards", *result.class_names)]
    for name, info in result.splits.items():
        if info.num_examples:
            counts = [info.class_counts[label] for label in result.class_names]
            rows.append((name, info.num_examples, info.num_groups, len(info.shards), *counts))
    return f"{format_table(rows)}\n\ngroups: {rule}\nrecords: {target}   every verdict: {target / 'cleaning.csv'}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
