"""python -m harness.export RUN: the exported model of a run in further formats, each run before it counts."""

import argparse
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from harness.base import app, tf_import
from harness.base.errors import CheckpointError, DataError, ExitCode
from harness.base.text import format_table
from harness.config import flags
from harness.config.values import ExportFormat
from harness.dataset.records import manifest
from harness.locks import lock
from harness.results.export import exported, requirements
from harness.results.export.exported import Exports
from harness.runs import identity, metrics_file, versions
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
FORMATS = (*get_args(ExportFormat), "tflite_int8")
_DEFAULT = ("saved_model", "tflite", "tflite_float16")  # which need no further package
DESCRIPTION = """\
Writes the exported model of a run in further formats. Each is run on validation pictures in a process of its own, and
left behind if it gives the same answers.

  python -m harness.export runs/emotion_cnn                              a SavedModel; TensorFlow Lite in 32 and 16 bits
  python -m harness.export runs/emotion_cnn --formats onnx tflite_int8   these two
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 5 if a format was left out."""
    parser = flags.make_parser("export", DESCRIPTION, sections=())
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, such as runs/emotion_cnn")
    parser.add_argument(
        "--formats",
        nargs="+",
        type=_parse_formats,
        default=[_DEFAULT],
        metavar="FORMAT",
        help=f"any of {', '.join(FORMATS)} (default: {' '.join(_DEFAULT)})",
    )
    parser.add_argument("--records", type=flags.folder, metavar="DIR", help="records folder (default: the run's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    app.start_logging(quiet=arguments.quiet)
    formats = tuple(dict.fromkeys(itertools.chain(*arguments.formats)))
    workdir = Workdir(arguments.run)
    with versions.naming(workdir):
        config = identity.load_config(workdir)
    requirements.check_installed(formats)
    metrics_file.check_complete(workdir)
    records = arguments.records or config.data.records_folder
    data = manifest.load(records, config.data.images)
    if data.digest != identity.read_environment(workdir).records_sha256:
        raise DataError(
            f"{records} holds other pictures than {workdir.root} was trained on, and exported files are compared on "
            "those. Give the records of the run: --records DIR"
        )
    tf_import.import_tensorflow()
    from harness.results.export import run_export

    with lock.hold_folder(workdir.root):
        identity.remove_unfinished(workdir)
        exports = run_export.export(workdir, config, data, records, formats)
    app.show(json.dumps(exports.as_json()) if arguments.json else describe(exports))
    if exports.left_out:
        raise CheckpointError("; ".join(f"{item.format} was left out: {item.reason}" for item in exports.left_out))
    return ExitCode.DONE


def _parse_formats(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names or any(name not in FORMATS for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} should be one or more of {', '.join(FORMATS)}")
    return names


def describe(exports: Exports) -> str:
    """Returns the figures of the files as a table for a person."""
    rows = [(item.format, item.file, *item.list_figures()) for item in exports.files]
    return format_table([("format", "file", *exported.FIGURES), *rows], num_left=2)


if __name__ == "__main__":
    raise SystemExit(app.run(main))
