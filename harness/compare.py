"""python -m harness.compare RUN RUN...: which of several runs is better, and whether chance alone may say so."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base import app, files, storage, tf_import
from harness.base.errors import ConfigError, DataError, ExitCode
from harness.base.storage import Folder
from harness.base.text import as_word, count, list_names
from harness.comparison import comparison, page, plain_values, tables
from harness.comparison.comparison import Comparison
from harness.comparison.finished_run import FinishedRun
from harness.config import flags
from harness.dataset.records import manifest
from harness.input import evaluation_set

DESCRIPTION = """\
Compares finished runs on the same pictures: figures, paired differences, settings, answers that differ. The others are
compared with the first.

  python -m harness.compare runs/a runs/b                     on their validation pictures
  python -m harness.compare runs/a runs/b --split test        on another split of their records
  python -m harness.compare runs/a runs/b --images data/new   on class folders of pictures
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser("compare", DESCRIPTION, sections=(), of_run=(*flags.OF_READING, "data.labels"))
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder, such as runs/emotion_cnn")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--split", metavar="NAME", help="measure anew on this split of the records")
    source.add_argument("--images", type=flags.folder, metavar="DIR", help="measure on class folders of pictures")
    parser.add_argument("--records", type=flags.folder, metavar="DIR", help="records of --split (default: the runs')")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    app.start_logging(quiet=arguments.quiet)
    given = flags.read_given(arguments)
    if given and not arguments.images:
        raise ConfigError(f"--{next(iter(given))} is about picture files: give it with --images DIR.")
    if arguments.records and not arguments.split:
        raise ConfigError("--records is about a split: give it with --split NAME.")
    if arguments.html is not None:
        page.check_file(arguments.html)
    runs = comparison.load_runs(arguments.runs)
    if arguments.images:
        found = _compare_on_folder(runs, arguments)
    elif arguments.split:
        found = _compare_on_split(runs, arguments.split, arguments.records)
    else:
        found = comparison.compare("validation", comparison.read_answers(runs))
    if arguments.html is not None:
        files.write_text(arguments.html, page.render(found))
    app.show(json.dumps(plain_values.make(found)) if arguments.json else tables.describe(found))
    return ExitCode.DONE


def _compare_on_split(runs: Sequence[FinishedRun], split: str, given: Folder | None) -> Comparison:
    folder = given or runs[0].config.data.records_folder
    data = manifest.load(folder, runs[0].config.data.images)
    data.shard_paths(folder, split)
    if given is None:
        comparison.check_records(runs)
    others = [run.name for run in runs if run.started.records_sha256 != data.digest]
    if others and given is None:
        raise DataError(
            f"{folder} does not hold the records any more that {others[0]} was trained on: its {split} pictures may be "
            f"others. Give those records, or these all the same: --records {as_word(folder)}"
        )
    tf_import.import_tensorflow()
    from harness.comparison import measuring

    learnt = [f"{list_names(others)} learnt from other records, which may hold some of these pictures."]
    return comparison.compare(split, measuring.measure_split(runs, data, folder, split), learnt if others else ())


def _compare_on_folder(runs: Sequence[FinishedRun], arguments: argparse.Namespace) -> Comparison:
    folder, config = arguments.images, flags.override(runs[0].config, arguments)
    comparison.check_classes(runs)
    # The table of the run speaks of its own pictures.
    changes = {"images": folder} | ({} if "data.labels" in flags.read_given(arguments) else {"labels": None})
    paths = evaluation_set.list_paths(config.data.model_copy(update=changes), config.data.records_folder)
    tf_import.import_tensorflow()
    from harness.comparison import measuring

    measured, num_skipped = measuring.measure_folder(runs, folder, paths, config.clean)
    notes = ["What these pictures have in common is not known: each counts as a group of its own."]
    if num_skipped:
        notes.append(f"{count(num_skipped, 'file')} could not be read: no figure counts them.")
    return comparison.compare(f"{folder}/", measured, [*notes, *_tell_learnt(runs, paths, folder)])


def _tell_learnt(runs: Sequence[FinishedRun], paths: Mapping[str, Sequence[Folder]], folder: Folder) -> list[str]:
    """Says which runs were trained on how many of the files."""
    told: dict[str, list[str]] = {}
    num_files = sum(map(len, paths.values()))
    for run in runs:
        learnt = evaluation_set.find_learnt(paths, run.config.data.records_folder, run.started.records_sha256)
        if learnt:
            note = f"learnt {len(learnt):,} of these {num_files:,} pictures, which says nothing of others."
        elif learnt is None and storage.is_same(run.config.data.images, folder):
            note = "learnt from pictures of this folder, and maybe from these: that says nothing of others."
        else:
            continue
        told.setdefault(note, []).append(run.name)
    return [f"{list_names(names)} {note}" for note, names in told.items()]


if __name__ == "__main__":
    raise SystemExit(app.run(main))
