"""The training that is asked for, tried: what would be in force, whether it fits, and one step on real records."""

import math
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from harness.base.errors import DataError, HarnessError, explain
from harness.base.text import format_bytes
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest
from harness.diagnostics.checks import records
from harness.diagnostics.checks.finding import Finding, Status, from_error
from harness.locks import lock
from harness.locks.verdict import Verdict
from harness.runs import identity
from harness.runs.workdir import Workdir

GROUP = "training"
_FIX = "Change the settings that it names."
_ADVICE = "Use a smaller --batch-size or --data.cache none."


def check_training(config: Config, *, num_tasks: int = 1) -> Iterator[Finding]:
    """Yields what would be in force, the run folder's word, and what a step on the first batch of the records takes.

    Nothing is written, and no more than a few batches are read.

    Args:
      config: the resolved config with its run folder.
      num_tasks: processes that would train together; the step here is that of one alone.
    """
    try:
        data = _load(config)
    except DataError as error:
        if isinstance(config.data.records_folder, Path):  # is told above
            yield Finding(GROUP, "step", "unknown", "not tried: there are no records to train on")
        else:
            yield from_error(GROUP, "records", error, fix="Build them: python -m harness.build_records")
        return
    if not isinstance(config.data.records_folder, Path):
        yield records.describe(data, config.data.records_folder)
    workdir = Workdir(config.train.run)
    try:
        yield _check_run(config, data, workdir)
        yield from _try(config, data, workdir, num_tasks)
    except HarnessError as error:
        yield from_error(GROUP, "settings", error, fix=_FIX)
    except Exception as error:
        told = explain(error, memory_advice=_ADVICE)
        if told is None:
            raise
        yield from_error(GROUP, "step", told, fix=_FIX)


def _load(config: Config) -> Manifest:
    folder = config.data.records_folder
    data = manifest.load(folder, config.data.images)
    for split in ("train", "validation"):
        data.shard_paths(folder, split)
    return data


def _check_run(config: Config, data: Manifest, workdir: Workdir) -> Finding:
    """Says whether the run folder takes this run.

    Raises:
      HarnessError: it does not, as a training would say it.
    """
    classes = manifest.list_classes(data)
    if config.data.classes is None and classes is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"classes": classes})})
    identity.check(workdir, config, data)
    if workdir.metrics.is_file():
        words = f"{workdir.root} is complete: a training would only report it"
        return Finding(GROUP, "run", "warning", words, "To train anew, give another folder: --run runs/NEW")
    who, found = lock.look_for_owner(workdir.root)
    if found is not Verdict.GONE:
        words = f"{workdir.root} {'is' if found is Verdict.LIVES else 'may be'} in use by {who}"
        status: Status = "problem" if found is Verdict.LIVES else "warning"
        return Finding(GROUP, "run", status, words, "Wait for its end, or give another folder: --run runs/NEW")
    word = "goes on in" if workdir.config.is_file() else "starts in"
    return Finding(GROUP, "run", "ok", f"{word} {workdir.root}", values={"folder": str(workdir.root)})


def _try(config: Config, data: Manifest, workdir: Workdir, num_tasks: int) -> Iterator[Finding]:
    from harness.distribute.strategy import with_whole_batch
    from harness.training.setup import set_up

    setup = set_up(config, data, earlier=identity.read_effective(workdir))
    with_whole_batch(config, num_tasks * len(setup.devices.names))
    for row in setup.rows:
        words = row.in_force if not row.reason else f"{row.in_force} ({row.reason})"
        yield Finding(GROUP, row.name, "ok", words, values={"asked": row.asked, "in_force": row.in_force})
    started = time.perf_counter()
    loss = _take_step(setup)
    taken_s = time.perf_counter() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    values = {"seconds": round(taken_s, 2), "memory_bytes": peak_bytes, "loss": loss}
    if not math.isfinite(loss):
        words = f"the loss of the first batch is {loss}"
        fix = "--train.precision float32 and a lower --optim.learning_rate show whether numbers overflow."
        yield Finding(GROUP, "step", "problem", words, fix, values | {"loss": str(loss)})  # JSON has no such number
        return
    words = (
        f"loss {loss:.3f} on the first batch, {taken_s:.1f} s with compilation, {format_bytes(peak_bytes)} of memory"
    )
    if setup.devices.is_gpu:
        import tensorflow as tf

        values["gpu_bytes"] = tf.config.experimental.get_memory_info(setup.devices.names[0][1:].upper())["peak"]
        words += f", {format_bytes(values['gpu_bytes'])} of the first GPU's"
    yield Finding(GROUP, "step", "ok", words, values=values)


def _take_step(setup) -> float:
    """Trains one step on the first batch, streamed whatever the cache will be; returns its loss."""
    from harness.input import decoding, loaded_split, pipeline
    from harness.training import steps

    folder, devices = setup.config.data.records_folder, setup.devices
    engine = setup.inputs.engine
    with decoding.damage_named():
        split = loaded_split.open_split(setup.data, folder, "train", cache="none", devices=devices)
        batches = pipeline.open_training(split, setup.config, devices.strategy, engine=engine, epoch=0)
        trainee = steps.make_trainee(setup.config, devices, setup.data)
        figures = devices.strategy.experimental_local_results(trainee.train_step(next(batches), 0))[0].numpy()
    return float(figures[0] / figures[2])  # the sum over so many examples
