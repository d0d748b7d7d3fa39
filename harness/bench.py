"""python -m harness.bench: how fast a training is on this machine, why, and what to change."""

import argparse
import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from harness.base import app, files, tf_import
from harness.base.errors import ExitCode
from harness.base.text import format_table
from harness.config import flags
from harness.config.schema import Config
from harness.dataset.records import manifest, staging
from harness.runs import effective_settings

log = logging.getLogger("harness")
DESCRIPTION = """\
Measures a training on this machine for half a minute: the input alone, the steps alone, both together. Says which of
the two is slow, and what a changed setting would gain, tried on the spot. Takes the flags of a training; writes nothing
but the files that are asked for.

  python -m harness.bench --config configs/emotion_cnn.yaml
  python -m harness.bench --data.cache none --plot bench.png       with a picture of the rates
  python -m harness.bench --show-augmentation augmented.png        what training pictures look like
"""
_SHOWN = 16  # pictures of --show-augmentation


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    sections = ("data", "augment", "model", "optim", "train", "runtime")
    parser = flags.make_parser("bench", DESCRIPTION, sections=sections, seed="train.seed")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the rates as bars, a PNG")
    parser.add_argument(
        "--show-augmentation", type=Path, metavar="FILE", help="write pictures before and after augmentation, a PNG"
    )
    parser.add_argument("--seconds", type=_seconds, default=3.0, help="least time for one measurement (default: 3)")
    arguments = parser.parse_args(argv)
    flags.refuse_beside(parser, arguments, "--show-augmentation", "--plot", "--json")
    config, _ = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    for path in (arguments.plot, arguments.show_augmentation):
        if path is not None:
            files.check_new(path)
    data = manifest.load(config.data.records_folder, config.data.images)
    data.shard_paths(config.data.records_folder, "train")
    folder = staging.find_records(config.data, data, os.environ)
    tf_import.import_tensorflow()
    from harness.diagnostics import throughput
    from harness.diagnostics.throughput import Subject
    from harness.input import decoding, loaded_split, preview
    from harness.training.setup import set_up

    setup = set_up(config, data, records=folder)
    app.log_lines(f"{effective_settings.format_rows(setup.rows)}\n")
    with decoding.damage_named():
        split = loaded_split.open_split(data, folder, "train", cache=setup.inputs.cache, devices=setup.devices)
        if arguments.show_augmentation:
            drawn = preview.draw_augmentation(split, setup.config, setup.inputs, _SHOWN)
            files.write_bytes(arguments.show_augmentation, drawn)
            app.show(f"{arguments.show_augmentation}: {_SHOWN} training pictures, as stored and as trained on")
            return ExitCode.DONE
        found = throughput.measure(
            Subject(setup.config, data, folder, setup.devices, split, setup.inputs, arguments.seconds)
        )
    if arguments.plot:
        from harness.diagnostics import rates

        files.write_bytes(arguments.plot, rates.draw_rates(found.rates, title=_title(setup.config, found)))
    app.show(json.dumps(dataclasses.asdict(found)) if arguments.json else describe(setup.config, found))
    return ExitCode.DONE


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} should be between 0 and 3600")
    return seconds


def _title(config: Config, found) -> str:
    return f"{config.model.name} on {' '.join(found.devices)}, {found.precision}, batch {config.train.batch_size}"


def describe(config: Config, found) -> str:
    """Returns the figures and the verdict as text for a person."""
    rates = found.rates
    rows = [["", "images/s", "CPU ms an image"]]
    for name, rate in (("input alone", rates.input), ("steps alone", rates.compute), ("both", rates.overlapped)):
        rows.append([name, f"{rate.images_per_s:,.0f}", f"{rate.cpu_ms:.2f}"])
    device = "" if found.peak_device_bytes is None else f", {found.peak_device_bytes / 1e9:.1f} GB on the GPU"
    reached = rates.overlapped.images_per_s * found.training_flops
    kept = {"device": "kept on the device", "memory": "kept in memory", "none": "streamed from the records"}[
        found.cache
    ]
    augmented = f", augmented on the {found.engine}" if config.augment.enabled else ""
    return "\n".join(
        [
            f"{_title(config, found)}; pictures {kept}{augmented}",
            "",
            format_table(rows),
            "",
            f"waiting for input: {rates.wait_share:.1%} of the time",
            f"memory: {found.peak_memory_bytes / 1e9:.1f} GB at most{device}",
            f"arithmetic: {found.training_flops / 1e6:,.0f} MFLOP an image; {reached / found.peak_flops:.0%} of the "
            f"{found.peak_flops / 1e9:,.0f} GFLOP/s that large matrix products reach here",
            "",
            *found.verdict,
        ]
    )


if __name__ == "__main__":
    raise SystemExit(app.run(main))
