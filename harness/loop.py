"""Trains and measures one run: steps under a tf.distribute strategy, epochs, early stopping, checkpoints, results.

It installs no signal handlers and parses nothing: whoever calls it says where, on what, and when to stop.
"""

import contextlib
import dataclasses
import json
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
    export,
    files,
    input_pipeline,
    manifest,
    metrics,
    models,
    pictures,
    plots,
    reader,
    report,
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
from harness.metrics import Metrics
from harness.pictures import Inputs, Split
from harness.report import Mistake
from harness.steps import Trainee
from harness.workdir import Workdir

log = logging.getLogger("harness")
_NUM_MISTAKES = 12  # shown in the report
_NUM_SHOWN = 16  # training pictures shown before and after augmentation
_STEPS_BETWEEN_EXCHANGES = 8  # of several workers about whether to stop: an exchange waits for the step before
_PROBE_PICTURES = 32  # compared between the trained and each exported model


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
        reader.damage_named(data, folder),
        distribute.losses_named(devices),
    ):
        train_split, validation_split = (
            pictures.open_split(data, folder, name, cache=inputs.cache, devices=devices)
            for name in pictures.KEPT_SPLITS
        )
        trainee = steps.make_trainee(config, devices, data)
        seed_states = models.seed_states(trainee.model)
        checkpoints = Checkpoints(
            workdir,
            trainee.model,
            trainee.optimizer,
            seed_states,
            kept_model=trainee.kept_model,
            gradient_sums=trainee.updater.sums,
            is_chief=devices.is_chief,
        )
        progress = checkpoints.restore() or Progress()
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
        run = _Run(
            config, workdir, devices, data, trainee, checkpoints, training, validation, should_stop, tell_progress
        )
        with tracking.open_tracker(workdir) if devices.is_chief else contextlib.nullcontext() as tracker:
            if tracker and config.augment.enabled and not progress.step:
                tiled = showing.tile_augmentation(train_split, config, inputs, _NUM_SHOWN)
                tracker.write_picture("train", 0, "augmented inputs", tiled)
            while progress.epoch < config.train.epochs and not _is_over(progress, config.train):
                images_per_s = run.train_epoch(train_split, progress)
                run.finish_epoch(progress, tracker, images_per_s)
        checkpoints.restore_best()
        return run.write_results(validation_split, progress)


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
            for batch in self.training.take(num_steps - progress.step_in_epoch):
                sums += self.trainee.train_step(batch, progress.step_in_epoch)
                self.tell_progress()
                progress.step += 1
                progress.step_in_epoch += 1
                bar.update(min(batch_size, split.num_examples - bar.n))
                if (reason := self._find_stop(progress)) and progress.step_in_epoch < num_steps:
                    progress.sums = tuple(sums.numpy().tolist())
                    self._interrupt(progress, reason)
        progress.sums = tuple(sums.numpy().tolist())
        return num_left / (time.perf_counter() - started)

    def _bar(self, split: Split, progress: Progress) -> tqdm:
        return tqdm(
            total=split.num_examples,
            initial=min(split.num_examples, progress.step_in_epoch * self.config.train.batch_size),
            desc=f"epoch {progress.epoch + 1}/{self.config.train.epochs}",
            unit=" images",
            leave=False,
            disable=None if log.isEnabledFor(logging.INFO) else True,
        )

    def _find_stop(self, progress: Progress) -> str | None:
        """Why the run shall stop after this step, the same for all workers: or one would wait for ever for the next."""
        if self.devices.num_workers > 1 and progress.step % _STEPS_BETWEEN_EXCHANGES and progress.step_in_epoch:
            return None
        return next((reason for reason in distribute.exchange(self.devices, self.should_stop() or "") if reason), None)

    def _interrupt(self, progress: Progress, reason: str) -> None:
        self.checkpoints.save(progress)
        if self.devices.is_chief:
            files.write_text(self.workdir.interrupted, f"{reason} at step {progress.step}\n")
        distribute.exchange(self.devices, "saved")  # the first task that ends may end the others
        raise InterruptedRun(
            f"stopped by {reason} after step {progress.step} of epoch {progress.epoch + 1}; everything is saved in "
            f"{self.workdir.root}. The same command goes on from there."
        )

    def finish_epoch(self, progress: Progress, tracker: tracking.Tracker | None, images_per_s: float) -> None:
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
        if tracker:
            self._track(row, found.auc, tracker)
            self._write_history(progress)
        self.checkpoints.save(progress)
        self._log_epoch(row, progress, num_examples / images_per_s)
        if (reason := self._find_stop(progress)) and progress.epoch < self.config.train.epochs:
            self._interrupt(progress, reason)

    @staticmethod
    def _track(row: dict[str, float], auc: float | None, tracker: tracking.Tracker) -> None:
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

    def write_results(self, split: Split, progress: Progress) -> Metrics:
        """Writes export, plots, report and, last, metrics.json for the best weights, which are in the model."""
        labels, chances = self.predict()
        found = metrics.measure(labels, chances, self.data.class_names)
        if self.devices.is_chief:
            self._write_results(split, progress, labels, chances, found)
        distribute.exchange(self.devices, "done")  # a task that ends earlier may end the chief
        return found

    def _write_results(
        self, split: Split, progress: Progress, labels: np.ndarray, chances: np.ndarray, found: Metrics
    ) -> None:
        summary = {
            "split": "validation",
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "num_parameters": self.trainee.kept_model.count_params(),
            "images_per_s": float(np.median([row["images_per_s"] for row in progress.history])),
            "export_difference": self._export(split),
        }
        name = self.workdir.root.name
        curves = plots.draw_curves(progress.history, best_epoch=progress.best_epoch, title=f"{name}: learning curves")
        confusion = plots.draw_confusion(found, title=f"{name}: {found.num_examples} validation pictures")
        page = report.render(
            name,
            found,
            summary=summary,
            curves=curves,
            confusion=confusion,
            mistakes=self._list_mistakes(split, labels, chances),
            config=self.config,
            environment=json.loads(self.workdir.environment.read_text(encoding="utf-8")),
        )
        files.write_bytes(self.workdir.curves, curves)
        files.write_bytes(self.workdir.confusion, confusion)
        files.write_text(self.workdir.report, page)
        figures = {"val_loss": found.loss, "val_accuracy": found.accuracy}
        tracking.write_hparams(self.workdir, self.config, figures)
        files.write_json(self.workdir.metrics, {**dataclasses.asdict(found), **summary})

    def _export(self, split: Split) -> float:
        probe = reader.read_pictures(split.paths, split.encoding, split.image_size, _PROBE_PICTURES)
        difference = export.export_model(
            self.trainee.kept_model,
            self.config,
            self.workdir,
            class_names=self.data.class_names,
            image_size=self.data.image_size,
            precision=self.devices.precision,
            probe=probe,
        )
        log.info("exported %s; read back, its probabilities differ by %.1g at most", self.workdir.export, difference)
        return difference

    def _list_mistakes(self, split: Split, labels: np.ndarray, chances: np.ndarray) -> list[Mistake]:
        """The wrong answers the model was surest of."""
        predicted = chances.argmax(axis=1)
        wrong = np.flatnonzero(predicted != labels)
        worst = wrong[np.argsort(-chances[wrong].max(axis=1), kind="stable")][:_NUM_MISTAKES].tolist()
        stored = reader.read_jpegs(split.paths, split.encoding, split.image_size, worst)
        names = self.data.class_names
        return [
            Mistake(stored[i][0], names[labels[i]], names[predicted[i]], float(chances[i].max()), stored[i][1])
            for i in worst
        ]
