"""Training as one call: a run is put together where it stands, and trained to its end.

It installs no signal handlers and parses nothing: whoever calls it says where, on what, and when to stop. What a run
does from step to step is in loop.py.
"""

import contextlib
from collections.abc import Callable
from functools import partial

from harness.config import settings
from harness.config.schema import Config
from harness.dataset.records import manifest
from harness.distribute import watchdog
from harness.distribute.collectives import check_alike, losses_named
from harness.distribute.devices import Devices
from harness.input import decoding, loaded_split, pipeline, placement, preview
from harness.input.loaded_split import Split
from harness.input.pipeline import Batches
from harness.input.placement import Inputs
from harness.models.network import seed_states
from harness.results.metrics import Metrics
from harness.runs import tensorboard
from harness.runs.checkpoint import Checkpoints, Progress
from harness.runs.tensorboard import Profile, Tracker
from harness.runs.workdir import Workdir
from harness.training import steps
from harness.training.divergence import Guard
from harness.training.loop import Run
from harness.training.step_metrics import Meter, Tally
from harness.training.steps import Trainee
from harness.training.steps_per_loop import Pace

_NUM_SHOWN = 16  # training pictures shown before and after augmentation


def train_and_evaluate(
    config: Config,
    workdir: Workdir,
    devices: Devices,
    inputs: Inputs,
    *,
    should_stop: Callable[[], str | None] = lambda: None,
) -> Metrics:
    """Trains from the latest checkpoint, or from scratch, to the last epoch or early stopping, and writes all results.

    Args:
      config: the resolved config.
      workdir: the run folder; the caller has checked that it belongs to this config and data.
      devices: where to train.
      inputs: where pictures are kept, and which engine augments them.
      should_stop: asked after every call of the steps; a reason ends the run after a save.

    Returns:
      The figures of the best weights on the validation split.

    Raises:
      InterruptedRun: it was asked to stop, and saved itself; the same call goes on from there.
      DivergedError: loss or weights are no finite numbers any more, and `train.on_divergence` is stop or of no use.
      DataError: the records are missing or damaged.
    """
    with (
        watchdog.watch(config.runtime.stall_s, workdir.stacks(devices.worker_index)) as tell_progress,
        decoding.damage_named(),
        losses_named(devices),
        tensorboard.open_tracker(workdir) if devices.is_chief else contextlib.nullcontext() as tracker,
    ):
        run, splits, progress = _open_run(
            config, workdir, devices, inputs, tracker=tracker, should_stop=should_stop, tell_progress=tell_progress
        )
        train_split, validation_split = splits
        if devices.is_chief:
            workdir.interrupted.unlink(missing_ok=True)
        if tracker and not progress.step:
            _track_start(tracker, train_split, config, inputs)
        return run.finish(validation_split, run.train(train_split, progress))


def _open_run(
    config: Config,
    workdir: Workdir,
    devices: Devices,
    inputs: Inputs,
    *,
    tracker: Tracker | None,
    should_stop: Callable[[], str | None],
    tell_progress: Callable[[], None],
) -> tuple[Run, tuple[Split, Split], Progress]:
    """The run with its pictures to train on and to validate, where it stands."""
    folder = config.data.records_folder
    data = manifest.load(folder)
    train_split, validation_split = (
        loaded_split.open_split(data, folder, name, cache=inputs.cache, devices=devices)
        for name in placement.KEPT_SPLITS
    )
    trainee = steps.make_trainee(config, devices, data)
    checkpoints = _open_checkpoints(workdir, trainee, is_chief=devices.is_chief)
    progress = _restore(checkpoints, config, devices, workdir)
    make_validation = partial(pipeline.eval_batches, validation_split, config.train.batch_size)
    steps_of_trace = tensorboard.parse_profile(config.runtime.profile)
    run = Run(
        config=config,
        workdir=workdir,
        devices=devices,
        data=data,
        trainee=trainee,
        checkpoints=checkpoints,
        guard=Guard(config, devices, trainee, checkpoints),
        open_training=partial(_open_training, train_split, config, devices, inputs),
        validation=Batches(validation_split, devices.strategy, make_validation),
        pace=Pace(config.runtime.steps_per_loop, num_workers=devices.num_workers, ends=steps_of_trace),
        meter=Meter(config.train.batch_size),
        tally=Tally(),
        tracker=tracker,
        profile=Profile(workdir, config.runtime.profile if devices.is_chief else None),
        should_stop=should_stop,
        tell_progress=tell_progress,
    )
    return run, (train_split, validation_split), progress


def _open_checkpoints(workdir: Workdir, trainee: Trainee, *, is_chief: bool) -> Checkpoints:
    return Checkpoints(
        workdir,
        trainee.model,
        trainee.optimizer,
        seed_states(trainee.model),
        kept_model=trainee.kept_model,
        gradient_sums=trainee.updater.sums,
        is_chief=is_chief,
    )


def _restore(checkpoints: Checkpoints, config: Config, devices: Devices, workdir: Workdir) -> Progress:
    """Where the run stands, with the weights that belong to it."""
    progress = checkpoints.restore()
    if progress is None and config.train.start_from is not None:
        checkpoints.start_from(Workdir(config.train.start_from))
    progress = progress or Progress()
    check_alike(devices, f"step {progress.step} in {workdir.root}")
    return progress


def _open_training(split: Split, config: Config, devices: Devices, inputs: Inputs, progress: Progress) -> Batches:
    make = partial(
        pipeline.train_batches,
        split,
        config,
        engine=inputs.engine,
        epoch=progress.epoch,
        first_step=progress.step_in_epoch,
    )
    return Batches(split, devices.strategy, make)


def _track_start(tracker: Tracker, split: Split, config: Config, inputs: Inputs) -> None:
    tracker.write_text("train", 0, "config", settings.as_yaml(config, header="the settings of the run"))
    if config.augment.enabled:
        tiled = preview.tile_augmentation(split, config, inputs, _NUM_SHOWN)
        tracker.write_picture("train", 0, "augmented inputs", tiled)
