"""python -m harness.predict RUN PATH...: the class of each picture, one line a file."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from harness.base import app, csv_files, tf_import
from harness.base.errors import DataError, ExitCode
from harness.base.text import visible
from harness.config import flags
from harness.dataset.images import rejection, sources
from harness.dataset.images.rejection import Rejected
from harness.dataset.listing import junk
from harness.dataset.listing.walk import LinkedFolder, describe_linked, walk
from harness.runs import identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_BATCH = 32
DESCRIPTION = """\
Says what is on pictures. Folders are walked; a file that cannot be read gets its line too and stops nothing.

  python -m harness.predict runs/emotion_cnn photo.jpg holiday/
  python -m harness.predict runs/emotion_cnn icons/ --clean.min_side 16      smaller ones than the run was trained on
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 3 if not one picture could be read, else 0."""
    parser = flags.make_parser("predict", DESCRIPTION, sections=(), of_run=flags.OF_READING)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, such as runs/emotion_cnn")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="pictures, or folders of pictures")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a line")
    form.add_argument("--csv", action="store_true", help="print a table of comma-separated values")
    arguments = parser.parse_args(argv)
    app.start_logging(quiet=arguments.quiet)
    workdir = Workdir(arguments.run)
    config = flags.override(identity.load_config(workdir), arguments)
    files = _list_files(arguments.paths, follow_links=config.data.follow_links)
    tf_import.import_tensorflow()
    from harness.results.export import loader

    model, class_names, preparation = loader.load_model(workdir)
    write = _make_writer(class_names, as_json=arguments.json, as_csv=arguments.csv)
    num_read, rejected = 0, []
    pictures = sources.read_all(files, config.clean, preparation)
    while batch := list(islice(pictures, _BATCH)):
        readable = [picture for _, picture in batch if not isinstance(picture, Rejected)]
        chances = iter(loader.predict(model, np.stack(readable)) if readable else ())
        for path, picture in batch:
            write(path, picture if isinstance(picture, Rejected) else next(chances))
        num_read += len(readable)
        if not num_read:
            rejected += [(path, picture) for path, picture in batch if isinstance(picture, Rejected)]
    if not num_read:
        raise DataError(f"not one picture could be read: {rejection.summarise(rejected)}")
    return ExitCode.DONE


def _list_files(paths: Sequence[Path], *, follow_links: bool) -> Iterator[Path]:
    """Yields files that are named, and those in folders but for junk; says what was left out at the end."""
    num_junk = 0
    linked: list[LinkedFolder] = []
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for item in walk(path, follow_links=follow_links):
            if isinstance(item, LinkedFolder):
                linked.append(item)
            elif junk.find_junk(item.relative_to(path).parts):
                num_junk += 1
            else:
                yield item
    if num_junk:
        log.info("left out as junk by their names: %d files", num_junk)
    if linked:
        log.warning("%s", describe_linked([(item.path, item.what) for item in linked], is_followed=follow_links))


def _make_writer(
    class_names: Sequence[str], *, as_json: bool, as_csv: bool
) -> Callable[[Path, np.ndarray | Rejected], None]:
    """Returns a function that prints the line of one file from its probabilities or its rejection."""

    def add_row(*cells: object) -> None:
        csv_files.write_rows(sys.stdout, [cells])

    if as_csv:
        add_row("path", "label", "probability", *(f"p_{name}" for name in class_names), "error")

    width = max(len(visible(name)) for name in class_names)

    def write(path: Path, found: np.ndarray | Rejected) -> None:
        """Prints the line of one file: `found` is float32 [num_classes], or why there are no probabilities."""
        if isinstance(found, Rejected):
            if as_json:
                print(json.dumps({"path": str(path), "error": str(found)}))
            elif as_csv:
                add_row(str(path), "", "", *("" for _ in class_names), str(found))
            else:
                app.say(f"error: {visible(path)}: {visible(found)}\n")
            return
        best = int(found.argmax())
        chances = {name: round(float(chance), 6) for name, chance in zip(class_names, found)}
        label, chance = class_names[best], round(float(found[best]), 6)
        if as_json:
            print(json.dumps({"path": str(path), "label": label, "probability": chance, "probabilities": chances}))
        elif as_csv:
            add_row(str(path), label, chance, *chances.values(), "")
        else:
            print(f"{visible(label):<{width}}  {chance:.3f}  {visible(path)}")

    return write


if __name__ == "__main__":
    raise SystemExit(app.run(main))
