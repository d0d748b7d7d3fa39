"""python -m harness.predict RUN PATH...: the class of each picture, one line a file."""

import argparse
import functools
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from harness.base import app, progress, tf_import
from harness.base.errors import ConfigError, DataError, ExitCode, UnsavedRun
from harness.base.text import count, list_names
from harness.config import flags
from harness.dataset.images import rejection
from harness.dataset.images.rejection import Reason
from harness.prediction import answers, contact_sheet, lines, named_files, overlays
from harness.runs import versions
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
DESCRIPTION = """\
Says what is on pictures. Folders are walked; a file that cannot be read gets its line too and stops nothing.

  python -m harness.predict runs/emotion_cnn photo.jpg holiday/
  python -m harness.predict runs/emotion_cnn 'holiday/**/*.jpg' --csv      more files than a command line takes
  find . -print0 | python -m harness.predict runs/emotion_cnn - -0
  python -m harness.predict runs/emotion_cnn icons/ --clean.min_side 16      smaller ones than the run was trained on
  python -m harness.predict runs/emotion_cnn holiday/ --sheet sheet.png --explain why/      to look at: which, and why
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 3 if a file is not there or not one could be read, else 0."""
    arguments = _make_parser().parse_args(argv)
    app.start_logging(quiet=arguments.quiet)
    _check(arguments)
    workdir = Workdir(arguments.run)
    with versions.naming(workdir):
        config = flags.override(versions.load_reading(workdir), arguments)
    paths = named_files.list_files(
        arguments.paths,
        follow_links=config.data.follow_links,
        file=sys.stdin.buffer if sys.stdin else None,
        separator=b"\0" if arguments.null else b"\n",
    )
    tf_import.import_tensorflow()
    from harness.results import explanation
    from harness.results.export import loader

    with versions.naming(workdir):
        model, class_names, preparation = loader.load_model(workdir)
    write = lines.make_writer(class_names, arguments.form, is_explained=arguments.explain is not None)
    sheet = contact_sheet.ContactSheet(class_names) if arguments.sheet else None
    explainer = None
    if arguments.explain:
        explainer = overlays.Overlays(arguments.explain, explanation.make_explainer(model), class_names)
    batches = answers.answer_all(paths, functools.partial(loader.predict, model), config.clean, preparation)
    should_stop = app.catch_stop_signals()
    num_read, rejected, absent, reasons = 0, [], [], Counter[Reason]()
    with closing(batches), progress.open_bar(len(paths), "predicting", "pictures") as bar:
        for answered in batches:
            batch = explainer.write(answered) if explainer else answered
            if sheet:
                sheet.add(batch)
            bar.clear()
            for answer in batch:
                write(answer)
            sys.stdout.flush()  # a reader in a pipe sees each batch, and is missed at once when it has gone
            bar.update(len(batch))
            refused = [(answer.path, answer.rejected) for answer in batch if answer.rejected]
            reasons.update(why.reason for _, why in refused)
            absent += [path for path, _ in refused if not os.path.lexists(path)]
            num_read += len(batch) - len(refused)
            if not num_read:
                rejected += refused
            if reason := should_stop():
                raise UnsavedRun(f"stopped by {reason}; each line that was printed is complete.", reason)
    if not num_read:
        raise DataError(f"not one picture could be read: {rejection.summarise(rejected)}")
    if sheet:
        sheet.write(arguments.sheet)
        log.info("contact sheet: %s, with %s", arguments.sheet, _count(sheet.num, num_read))
    if explainer and explainer.num_silent:
        log.info("explained by all grey, as nothing speaks for their class: %d of %d", explainer.num_silent, num_read)
    if num_read < len(paths):
        why = rejection.count_reasons(dict(reasons.most_common()))
        log.info("could not be read: %d of %d files: %s", len(paths) - num_read, len(paths), why)
    _refuse_absent(absent)
    return ExitCode.DONE


def _check(arguments: argparse.Namespace) -> None:
    if arguments.null and "-" not in arguments.paths:
        raise ConfigError("-0 is about the list on the standard input: give - among the paths, or leave -0 out.")
    for target, check in ((arguments.sheet, contact_sheet.check_file), (arguments.explain, overlays.check_folder)):
        if target is not None:
            check(target)


def _refuse_absent(paths: Sequence[str]) -> None:
    if paths:
        are = "file that was named is" if len(paths) == 1 else "files that were named are"
        names = list_names(paths, separator=", ")
        raise DataError(f"{len(paths):,} {are} not there: {names}. The others are answered; correct the names.")


def _count(num: int, num_read: int) -> str:
    return count(num, "picture") if num == num_read else f"the first {num:,} of {num_read:,} pictures"


def _make_parser() -> argparse.ArgumentParser:
    parser = flags.make_parser("predict", DESCRIPTION, sections=(), of_run=flags.OF_READING)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, such as runs/emotion_cnn")
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="pictures, folders of pictures, patterns in quotes such as '*.jpg', or - for a list on the standard input",
    )
    parser.add_argument(
        "-0", "--null", action="store_true", help="the list has a NUL byte after each path, as find -print0 writes it"
    )
    form = parser.add_mutually_exclusive_group()
    for name, text in (("json", "print one JSON object a line"), ("csv", "print a table of comma-separated values")):
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name, default="text", help=text)
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help=f"a new PNG or JPEG: the first {contact_sheet.MOST} pictures, small, with their classes",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="a new folder: a file for each picture that shows which places speak for its class",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(app.run(main))
