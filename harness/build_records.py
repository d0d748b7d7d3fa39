"""python -m harness.build_records: class folders of pictures -> cleaned, split, sharded TFRecords with a manifest.

The sources are only read. The records appear complete, under their final name, or not at all; what a killed build had
finished is used by the next.
"""

import json
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.base import app
from harness.base.errors import ConfigError, DataError, ExitCode
from harness.base.storage import Folder, RemotePath
from harness.config import flags
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.dataset.build import builder, existing_records, process_pool
from harness.dataset.build.step import Task
from harness.dataset.curation import quarantine
from harness.dataset.records import manifest
from harness.dataset.report import corrected_labels

log = logging.getLogger("harness")
_VERIFIED = "{records}: {num_shards} shards with {num_examples} records, {num_bytes} bytes: every byte as written"
_MEMORY_ADVICE = "Use fewer processes, --runtime.workers 1, or refuse the largest pictures by --clean.max_pixels."
DESCRIPTION = """\
Turns class folders of pictures (data/happy, data/sad) into cleaned, split, sharded TFRecords.

  python -m harness.build_records                                  the sample set -> tfrecords/sample
  python -m harness.build_records --images data/flowers            your folders   -> tfrecords/flowers
  python -m harness.build_records --verify tfrecords/flowers       is every byte as it was written?
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser(
        "build_records", DESCRIPTION, sections=("data", "clean", "split", "records", "runtime"), seed="split.seed"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace records that were built from other pictures or settings"
    )
    parser.add_argument(
        "--verify", type=flags.folder, metavar="NAME", help="check a records folder against its manifest, and stop"
    )
    parser.add_argument(
        "--move-rejects", type=Path, metavar="DIR", help="move rejected files to DIR; undo.sh moves them back"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--task-index", type=int, metavar="I", help="do share I, from 0, of a build divided over tasks")
    parser.add_argument("--num-tasks", type=int, metavar="N", help="how many tasks the build is divided over")
    arguments = parser.parse_args(argv)
    flags.refuse_beside(parser, arguments, "--verify", "--overwrite", "--move-rejects", "--task-index", "--num-tasks")
    flags.refuse_beside(parser, arguments, "--task-index", "--move-rejects", "--json")
    task = _read_task(arguments.task_index, arguments.num_tasks)
    config, _ = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    if arguments.move_rejects and isinstance(config.data.images, RemotePath):
        raise ConfigError(f"--move-rejects moves files of a local folder; {config.data.images} is only read.")
    if arguments.verify:
        if other := next((name for name in flags.read_given(arguments) if name != "runtime.workers"), None):
            raise ConfigError(f"--{other} does nothing beside --verify. Leave one of them out.")
        verified = _verify(arguments.verify, config.runtime.workers)
        app.show(json.dumps(verified) if arguments.json else _VERIFIED.format(**verified))
        return ExitCode.DONE
    _check_sample(config.data.images)
    command = shlex.join(["python", "-m", "harness.build_records", *argv])
    text = builder.build(
        config,
        overwrite=arguments.overwrite,
        task=task,
        command=command,
        should_stop=app.catch_stop_signals(),
    )
    app.show(json.dumps(_summarise(config)) if arguments.json else text)
    if arguments.move_rejects:
        folder = config.data.records_folder
        found = existing_records.read_findings(folder, manifest.load(folder))
        num_moved = quarantine.move_rejects(found, config.data.images, arguments.move_rejects)
        log.info("%d rejected files moved; back: sh %s", num_moved, arguments.move_rejects / quarantine.UNDO_NAME)
    return ExitCode.DONE


def _check_sample(images: Folder) -> None:
    """Says what to give where the default pictures are missing: an installed package comes without them."""
    if images == DataConfig().images and not images.is_dir():
        raise DataError(
            f"the sample pictures are part of the source checkout, and there is no {images} here: give your own with "
            "--images FOLDER, where FOLDER has one sub-folder of pictures for each class."
        )


def _read_task(index: int | None, num_tasks: int | None) -> Task | None:
    if index is None and num_tasks is None:
        return None
    if index is None or num_tasks is None or not 0 <= index < num_tasks:
        raise ConfigError(
            f"--task-index is {index} and --num-tasks is {num_tasks}: give both, with an index from 0 to the number "
            "less 1."
        )
    return Task(index, num_tasks)


def _verify(folder: Folder, num_workers: int) -> dict[str, object]:
    found = manifest.load(folder)
    tasks = [(shard, folder) for info in found.splits.values() for shard in info.shards]
    with process_pool.open_pool(num_workers) as pool:
        counts = process_pool.run_all(
            pool, manifest.verify_shard, tasks, sizes=[shard.num_examples for shard, _ in tasks], title="verifying"
        )
    num_bytes = sum(shard.num_bytes for shard, _ in tasks)
    return {"records": str(folder), "num_shards": len(tasks), "num_examples": sum(counts), "num_bytes": num_bytes}


def _summarise(config: Config) -> dict[str, object]:
    folder = config.data.records_folder
    found = manifest.load(folder)
    splits = {
        name: {
            "num_examples": info.num_examples,
            "num_groups": info.num_groups,
            "num_shards": len(info.shards),
            "class_counts": dict(info.class_counts),
        }
        for name, info in found.splits.items()
    }
    summary = {"records": str(folder), "splits": splits, "rejected": dict(found.rejected), "digest": found.digest}
    if config.clean.labels:
        counts = corrected_labels.gather(existing_records.read_findings(folder, found)).count()
        return {**summary, "labels": counts}
    return summary


if __name__ == "__main__":
    raise SystemExit(app.run(main, memory_advice=_MEMORY_ADVICE, continues=True))
