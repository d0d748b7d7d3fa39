"""Trains and measures one run: steps under a tf.distribute strategy, epochs, early stopping, checkpoints, results.

It installs no signal handlers and parses nothing: whoever calls it says where, on what, and when to stop.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from harness import (
    distribute,
    files,
    input_pipeline,
    manifest,
    metrics,
    models,
    pictures,
    reader,
    results,
    settings,
    showing,
    steps,
    tracking,
    watchdog,
)
from harness.checkpoint import Checkpoints, Progress
from harness.config import Config, TrainConfig
from harness.distribute import Devices
from harness.errors import ConfigError, InterruptedRun
from harness.input_pipeline import Batches
from harness.manifest import Manifest
from harness.meter import Meter
from harness.metrics import Metrics
from harness.pictures import Inputs, Split
from harness.results import Finished
from harness.steps import Trainee
from harness.tracking import Profile, Tracker
from harness.workdir import Workdir

log = logging.getLogger("harness")
_NUM_SHOWN = 16  # training pictures shown before and after augmentation
_STEPS_BETWEEN_EXCHANGES = 8  # of several workers about whether to stop: an exchange waits for the step before
_SAVE = "save"
_LEAVE_LAST_S = 2  # TensorFlow of the other workers complains on their terminals where the chief's is gone


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
      should_stop: asked after every step; a reason ends the run after a save.

    Returns:
      The figures of the best weights on the validation split.

    Raises:
      InterruptedRun: it was asked to stop, and saved itself; the same call goes on from there.
      ConfigError: the loss is no longer a number.
      DataError: the records are missing or damaged.
    """
    folder = config.data.records_folder
    data = manifest.load(folder)
    with (
        watchdog.watch(config.runtime.stall_s, workdir.stacks(devices.worker_index)) as tell_progress,
        reader.damage_named(),
        distribute.losses_named(devices),
    ):
        train_split, validation_split = (
            pictures.open_split(data, folder, name, cache=inputs.cache, devices=devices)
            for name in pictures.KEPT_SPLITS
        )
        trainee = steps.make_trainee(config, devices, data)
        checkpoints = _open_checkpoints(workdir, trainee, is_chief=devices.is_chief)
        progress = checkpoints.restore()
        if progress is None and config.train.start_from is not None:
            checkpoints.start_from(Workdir(config.train.start_from))
        progress = progress or Progress()
        distribute.check_alike(devices, f"step {progress.step} in {workdir.root}")
        if progress.step:
            log.info("going on at epoch %d, step %d", progress.epoch + 1, progress.step_in_epoch)
        if devices.is_chief:
            workdir.interrupted.unlink(missing_ok=True)
        make_validation = partial(input_pipeline.eval_batches, validation_split, config.train.batch_size)
        make_training = partial(
            input_pipeline.train_batches,
            train_split,
            config,
            engine=inputs.engine,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
        )
        training = Batches(train_split, devices.strategy, make_training)
        validation = Batches(validation_split, devices.strategy, make_validation)
        with tracking.open_tracker(workdir) if devices.is_chief else contextlib.nullcontext() as tracker:
            if tracker and not progress.step:
                _track_start(tracker, train_split, config, inputs)
            run = _Run(
                config=config,
                workdir=workdir,
                devices=devices,
                data=data,
                trainee=trainee,
                checkpoints=checkpoints,
                training=training,
                validation=validation,
                meter=Meter(config.train.batch_size),
                tracker=tracker,
                profile=Profile(workdir, config.runtime.profile if devices.is_chief else None),
                should_stop=should_stop,
                tell_progress=tell_progress,
            )
            while progress.epoch < config.train.epochs and not _is_over(progress, config.train):
                images_per_s = run.train_epoch(train_split, progress)
                run.finish_epoch(progress, images_per_s)
            return run.finish(validation_split, progress)


def _open_checkpoints(workdir: Workdir, trainee: Trainee, *, is_chief: bool) -> Checkpoints:
    return Checkpoints(
        workdir,
        trainee.model,
        trainee.optimizer,
        models.seed_states(trainee.model),
        kept_model=trainee.kept_model,
        gradient_sums=trainee.updater.sums,
        is_chief=is_chief,
    )


def _track_start(tracker: Tracker, split: Split, config: Config, inputs: Inputs) -> None:
    tracker.write_text("train", 0, "config", settings.as_yaml(config, header="the settings of the run"))
    if config.augment.enabled:
        tiled = showing.tile_augmentation(split, config, inputs, _NUM_SHOWN)
        tracker.write_picture("train", 0, "augmented inputs", tiled)


def _is_over(progress: Progress, train: TrainConfig) -> bool:
    return bool(train.patience and progress.best_epoch) and progress.epoch - progress.best_epoch >= train.patience


@dataclass(frozen=True)
class _Run:
    """What stays the same through one run."""

    config: Config
    workdir: Workdir
    devices: Devices
    data: Manifest
    trainee: Trainee
    checkpoints: Checkpoints
    training: Batches
    validation: Batches
    meter: Meter
    tracker: Tracker | None  # the chief's
    profile: Profile
    should_stop: Callable[[], str | None]
    tell_progress: Callable[[], None]

    def train_epoch(self, split: Split, progress: Progress) -> float:
        """Trains the rest of the current epoch; returns the pictures trained on per second."""
        if self.trainee.learning_rate.follow([row["val_loss"] for row in progress.history]):
            log.info("learning rate %.3g", self.trainee.learning_rate.last_of(progress.epoch + 1))
        batch_size, num_steps = self.config.train.batch_size, split.num_batches(self.config.train.batch_size)
        started, num_left = time.perf_counter(), split.num_examples - progress.step_in_epoch * batch_size
        sums = tf.constant(progress.sums, tf.float64)  # read back once an epoch: a GPU is not waited for
        with self._bar(split, progress) as bar:
            for batch in self.meter.watch(self.training.take(num_steps - progress.step_in_epoch)):
                sums += self.trainee.train_step(batch, progress.step_in_epoch)
                self.tell_progress()
                progress.step += 1
                progress.step_in_epoch += 1
                bar.update(min(batch_size, split.num_examples - bar.n))
                self.profile.follow(progress.step)
                if self.meter.is_full and self.tracker:
                    self.tracker.write("train", progress.step, self.meter.read())
                if progress.step_in_epoch < num_steps and (request := self._find_request(progress)):
                    progress.sums = tuple(sums.numpy().tolist())
                    self._check_finite(progress.sums[0], progress.epoch + 1)
                    if request != _SAVE:
                        self._interrupt(progress, request)
                    self.checkpoints.save(progress)
        progress.sums = tuple(sums.numpy().tolist())
        return num_left / (time.perf_counter() - started)

    def _is_save_due(self) -> bool:
        minutes = self.config.train.checkpoint_minutes
        return bool(minutes) and self.checkpoints.seconds_since_save() >= 60 * minutes

    def _bar(self, split: Split, progress: Progress) -> tqdm:
        return tqdm(
            total=split.num_examples,
            initial=min(split.num_examples, progress.step_in_epoch * self.config.train.batch_size),
            desc=f"epoch {progress.epoch + 1}/{self.config.train.epochs}",
            unit=" images",
            leave=False,
            disable=None if log.isEnabledFor(logging.INFO) else True,
        )

    def _find_request(self, progress: Progress) -> str | None:
        """Why the run shall stop after this step, or that it shall save; the same for all workers.

        If they disagreed, one would wait for ever for the next step of another.
        """
        if self.devices.num_workers > 1 and progress.step % _STEPS_BETWEEN_EXCHANGES and progress.step_in_epoch:
            return None
        requests = distribute.exchange(self.devices, self.should_stop() or (_SAVE if self._is_save_due() else ""))
        reasons = [request for request in requests if request not in ("", _SAVE)]
        return reasons[0] if reasons else _SAVE if _SAVE in requests else None

    def _interrupt(self, progress: Progress, reason: str) -> None:
        self.checkpoints.save(progress)
        if self.devices.is_chief:
            files.write_text(self.workdir.interrupted, f"{reason} at step {progress.step}\n")
        distribute.exchange(self.devices, "saved")  # the first task that ends may end the others
        raise InterruptedRun(
            f"stopped by {reason} after step {progress.step} of epoch {progress.epoch + 1}; everything is saved in "
            f"{self.workdir.root}. The same command goes on from there."
        )

    def finish_epoch(self, progress: Progress, images_per_s: float) -> None:
        """Measures, records and saves the epoch that has just ended."""
        loss_sum, correct, num_examples = progress.sums
        labels, chances = self.predict()
        self._check_finite(loss_sum + float(chances.sum()), progress.epoch + 1)
        found = metrics.measure(labels, chances, self.data.class_names)
        progress.epoch += 1
        row = {
            "epoch": progress.epoch,
            "loss": loss_sum / num_examples,
            "accuracy": correct / num_examples,
            "val_loss": found.loss,
            "val_accuracy": found.accuracy,
            "lr": self.trainee.learning_rate.last_of(progress.epoch),
            "images_per_s": images_per_s,
        }
        progress.history.append(row)
        progress.step_in_epoch, progress.sums = 0, (0.0, 0.0, 0.0)
        is_judged = progress.epoch >= self.config.train.first_judged_epoch
        if is_judged and (progress.best_loss is None or found.loss < progress.best_loss):
            progress.best_loss, progress.best_epoch = found.loss, progress.epoch
            self.checkpoints.save_best(progress)
        if self.tracker:
            self._track(row, found.auc, self.tracker)
            self._write_history(progress)
        self.checkpoints.save(progress)
        self._log_epoch(row, progress, num_examples / images_per_s)
        request = self._find_request(progress)
        if request not in (None, _SAVE) and progress.epoch < self.config.train.epochs:
            self._interrupt(progress, request)

    @staticmethod
    def _track(row: dict[str, float], auc: float | None, tracker: Tracker) -> None:
        epoch = row["epoch"]
        tracker.write("train", epoch, {tag: row[tag] for tag in ("loss", "accuracy", "lr", "images_per_s")})
        validation = {"loss": row["val_loss"], "accuracy": row["val_accuracy"]}
        tracker.write("validation", epoch, validation if auc is None else {**validation, "auc": auc})

    def _check_finite(self, figure: float, epoch: int) -> None:
        if not math.isfinite(figure):
            raise ConfigError(
                f"training diverged in epoch {epoch}: its figures are no finite numbers. The checkpoints in "
                f"{self.workdir.checkpoints} end with the epoch before. optim.learning_rate is "
                f"{self.config.optim.learning_rate}; try a tenth of it in another folder: --run runs/NEW"
            )

    def _log_epoch(self, row: dict[str, float], progress: Progress, seconds: float) -> None:
        left = (self.config.train.epochs - progress.epoch) * seconds
        log.info(
            "epoch %*d/%d  loss %.4f  accuracy %.3f  val loss %.4f  val accuracy %.3f  %5.0f images/s  ETA %d:%02d%s",
            len(str(self.config.train.epochs)), progress.epoch, self.config.train.epochs,
            row["loss"], row["accuracy"], row["val_loss"], row["val_accuracy"], row["images_per_s"],
            left // 60, left % 60, "  best" if progress.best_epoch == progress.epoch else "",
        )  # fmt: skip

    def _write_history(self, progress: Progress) -> None:
        lines = [
            ",".join(progress.history[0]),
            *(",".join(str(value) for value in row.values()) for row in progress.history),
        ]
        files.write_text(self.workdir.metrics_csv, "\n".join(lines) + "\n")

    def finish(self, split: Split, progress: Progress) -> Metrics:
        """Measures the best weights, and has the chief write all results."""
        self.profile.stop()
        self.checkpoints.restore_best()
        labels, chances = self.predict()
        if self.tracker:
            model, precision = self.trainee.kept_model, self.devices.precision
            finished = Finished(self.config, self.workdir, self.data, model, precision, split, progress)
            results.write_results(finished, labels, chances, self.tracker)
        distribute.exchange(self.devices, "done")  # a task that ends earlier may end the chief
        if self.devices.num_workers > 1 and self.devices.is_chief:
            time.sleep(_LEAVE_LAST_S)
        return metrics.measure(labels, chances, self.data.class_names)

    def predict(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels int [n] and probabilities float32 [n, num_classes] of all validation examples."""
        num_batches = -(-self.data.splits["validation"].num_examples // self.config.train.batch_size)
        parts = []
        for batch in self.validation.take(num_batches):
            parts.append(self.trainee.predict_step(batch).numpy())
            self.tell_progress()
        rows = np.concatenate(parts)
        rows = rows[rows[:, -1] > 0]
        return rows[:, -2].astype(int), rows[:, :-2]
