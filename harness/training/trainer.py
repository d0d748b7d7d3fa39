"""Training as one call: a run is put together where it stands, and trained to its end.

It installs no signal handlers and parses nothing: whoever calls it says where, on what, and when to stop. What a run
does from step to step is in loop.py.
"""

import contextlib
from collections.abc import Callable

from harness.config import settings
from harness.distribute import watchdog
from harness.distribute.collectives import check_alike, losses_named
from harness.input import decoding, loaded_split, placement
from harness.input.loaded_split import Split
from harness.results.metrics import Scores
from harness.runs import tensorboard
from harness.runs.checkpoint import Checkpoints, Progress
from harness.runs.workdir import Workdir
from harness.training.loop import Loop
from harness.training.setup import Setup
from harness.training.steps import make_trainee


def train_and_evaluate(
    setup: Setup, workdir: Workdir, *, should_stop: Callable[[], str | None] = lambda: None
) -> Scores:
    """Trains from the latest checkpoint, or from scratch, to the last epoch or early stopping, and writes all results.

    Args:
      setup: what to train with.
      workdir: the run folder; the caller has checked that it belongs to this config and data.
      should_stop: asked after every call of the steps; a reason ends the run after a save.

    Returns:
      The figures of the best weights on the validation split.

    Raises:
      InterruptedRun: it was asked to stop, and saved itself; the same call goes on from there.
      DivergedError: loss or weights are no finite numbers any more, and `train.on_divergence` is stop or of no use.
      DataError: the records are missing or damaged.
    """
    config, devices = setup.config, setup.devices
    with (
        watchdog.watch(config.runtime.stall_s, workdir.stacks(devices.worker_index)) as tell_progress,
        decoding.damage_named(),
        losses_named(devices),
        tensorboard.open_tracker(workdir) if devices.is_chief else contextlib.nullcontext() as tracker,
    ):
        splits = {name: _open_split(name, setup, setup.inputs.cache) for name in placement.KEPT_SPLITS}
        if devices.is_chief and setup.data.has_split("test"):
            splits["test"] = _open_split("test", setup, "none")  # measured once, at the end
        trainee = make_trainee(config, devices, setup.data)
        checkpoints = Checkpoints(
            workdir,
            trainee.model,
            trainee.optimizer,
            kept_model=trainee.kept_model,
            gradient_sums=trainee.updater.sums,
            is_chief=devices.is_chief,
        )
        progress = _restore(checkpoints, setup, workdir)
        loop = Loop(
            setup,
            workdir,
            trainee,
            checkpoints,
            splits,
            tracker=tracker,
            should_stop=should_stop,
            tell_progress=tell_progress,
        )
        if devices.is_chief:
            workdir.interrupted.unlink(missing_ok=True)
        if tracker and not progress.step:
            tracker.write_text("train", 0, "config", settings.as_yaml(config, header="the settings of the run"))
        return loop.finish(loop.train(progress))


def _open_split(name: str, setup: Setup, cache: placement.Mode) -> Split:
    return loaded_split.open_split(setup.data, setup.records, name, cache=cache, devices=setup.devices)


def _restore(checkpoints: Checkpoints, setup: Setup, workdir: Workdir) -> Progress:
    """Returns where the run stands, with the weights that belong to it restored."""
    progress, origin = checkpoints.restore(), setup.config.train.start_from
    if progress is None and origin is not None:
        checkpoints.start_from(Workdir(origin))
    progress = progress or Progress()
    check_alike(setup.devices, f"step {progress.step} in {workdir.root}")
    return progress
