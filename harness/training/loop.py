"""One run: epoch after epoch of steps, windows of figures, early stopping, saves and stops, and the results.

Every worker of a run has one, and all take the same steps. What it is made of is put together in trainer.py.
"""

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np
from tqdm import tqdm

from harness.base import files
from harness.base.errors import DivergedError, InterruptedRun
from harness.config.training_sections import TrainConfig
from harness.distribute.collectives import exchange, part
from harness.input import pipeline, preview
from harness.input.loaded_split import Split
from harness.input.pipeline import Batches
from harness.results import history, metrics
from harness.results.metrics import Scores
from harness.results.report import artifacts
from harness.results.report.artifacts import Finished
from harness.runs import tensorboard
from harness.runs.checkpoint import Checkpoints, Progress
from harness.runs.tensorboard import Profile, Tracker
from harness.runs.workdir import Workdir
from harness.training.divergence import Guard
from harness.training.setup import Setup
from harness.training.step_metrics import Pace, StepMetrics
from harness.training.steps import Trainee
from harness.training.steps_per_loop import StepsPerLoop

log = logging.getLogger("harness")
_SAVE = "save"
_NUM_SHOWN = 16  # training pictures shown before and after augmentation


class Loop:
    """What one run does; where it stands is its Progress.

    `tracker` is the chief's alone; `should_stop` is asked after every call of the steps, and `tell_progress` told.
    """

    def __init__(
        self,
        setup: Setup,
        workdir: Workdir,
        trainee: Trainee,
        checkpoints: Checkpoints,
        splits: Mapping[str, Split],
        *,
        tracker: Tracker | None,
        should_stop: Callable[[], str | None],
        tell_progress: Callable[[], None],
    ) -> None:
        config, devices = setup.config, setup.devices
        self.setup, self.config, self.devices, self.workdir = setup, config, devices, workdir
        self.trainee, self.checkpoints, self.splits = trainee, checkpoints, splits
        self.tracker, self.should_stop, self.tell_progress = tracker, should_stop, tell_progress
        self.guard = Guard(config, devices, trainee, checkpoints)
        self.step_metrics = StepMetrics(config.train.batch_size)
        steps_of_trace = tensorboard.parse_profile(config.runtime.profile)
        self.profile = Profile(workdir, config.runtime.profile if devices.is_chief else None)
        self.pace = Pace()
        self.steps_per_loop = StepsPerLoop(
            config.runtime.steps_per_loop, num_workers=devices.num_workers, ends=steps_of_trace
        )
        self.validation = pipeline.open_validation(splits["validation"], config, devices.strategy)

    def train(self, progress: Progress) -> Progress:
        """Trains to the last epoch or early stopping; returns where the run stands then."""
        if _is_over(progress, self.config.train):
            log.info("nothing is left to train: the results are written again")
            return progress
        if progress.step:
            log.info("going on at epoch %d, step %d", progress.epoch + 1, progress.step_in_epoch)
        training = self._open_training(progress)
        while not _is_over(progress, self.config.train):
            self.guard.begin_epoch(progress)
            try:
                images_per_s = self._train_epoch(training, progress)
                self._finish_epoch(progress, images_per_s)
            except DivergedError as error:
                progress = self.guard.back_off(progress, error)
                training = self._open_training(progress)
        if progress.epoch < self.config.train.num_epochs:
            log.info(
                "stopped: no better %s since epoch %d (train.patience %d)",
                history.name_monitor(self.config.train.monitor), progress.best_epoch, self.config.train.patience,
            )  # fmt: skip
        return progress

    def _open_training(self, progress: Progress) -> Batches:
        return pipeline.open_training(
            self.splits["train"],
            self.config,
            self.devices.strategy,
            engine=self.setup.inputs.engine,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
        )

    def _train_epoch(self, training: Batches, progress: Progress) -> float:
        """Trains the rest of the current epoch; returns the pictures trained on per second."""
        split = self.splits["train"]
        costs = [history.cost(row, self.config.train.monitor) for row in progress.history]
        if self.trainee.learning_rate.follow(costs, num_back_offs=progress.num_back_offs):
            log.info("learning rate %.3g", self.trainee.learning_rate.of_step(self.trainee.num_updates))
        batch_size, num_steps = self.config.train.batch_size, split.num_batches(self.config.train.batch_size)
        self.pace.begin_epoch(split.num_examples - progress.step_in_epoch * batch_size)
        self.step_metrics.begin_epoch(progress.sums)
        self.profile.follow(progress.step)
        with self._bar(progress) as bar, self.step_metrics.running():
            while (num_left := num_steps - progress.step_in_epoch) > 0:
                num_taken = self._take_steps(training, progress, most=min(num_left, self.step_metrics.num_left))
                self.pace.count(num_taken * batch_size)
                bar.update(min(num_taken * batch_size, split.num_examples - bar.n))
                self.profile.follow(progress.step)
                if self.step_metrics.is_full:
                    self._finish_window(progress)
                if progress.step_in_epoch < num_steps and (request := self._find_request(progress)):
                    progress.sums = self.step_metrics.read_sums()
                    self.guard.check(progress, progress.sums[0])
                    if request != _SAVE:
                        self._interrupt(progress, request)
                    self.checkpoints.save(progress)
        progress.sums = self.step_metrics.read_sums()
        return self.pace.end_epoch()

    def _take_steps(self, training: Batches, progress: Progress, *, most: int) -> int:
        """Takes some steps in one call, and says how many."""
        num_steps = self.steps_per_loop.choose(progress.step, most=most)
        started = time.perf_counter()
        first, totals = progress.step_in_epoch, self.step_metrics.totals
        totals = self.trainee.train_steps(training.iterator, training.resident, first, num_steps, totals)
        self.steps_per_loop.learn(num_steps, time.perf_counter() - started)
        self.step_metrics.count(num_steps, totals)
        self.tell_progress()
        progress.step += num_steps
        progress.step_in_epoch += num_steps
        return num_steps

    def _finish_window(self, progress: Progress) -> None:
        """Reads the figures of a window of steps, which waits for them."""
        figures = self.step_metrics.read_window()
        if self.tracker:
            self.tracker.write("train", progress.step, figures)
        self.guard.check(progress, self.step_metrics.read_sums()[0])

    def _is_save_due(self) -> bool:
        minutes = self.config.train.checkpoint_minutes
        return bool(minutes) and self.checkpoints.seconds_since_save() >= 60 * minutes

    def _bar(self, progress: Progress) -> tqdm:
        split = self.splits["train"]
        return tqdm(
            total=split.num_examples,
            initial=min(split.num_examples, progress.step_in_epoch * self.config.train.batch_size),
            desc=f"epoch {progress.epoch + 1}/{self.config.train.num_epochs}",
            unit=" images",
            leave=False,
            disable=None if log.isEnabledFor(logging.INFO) else True,
        )

    def _find_request(self, progress: Progress) -> str | None:
        """Why the run shall stop here, between two calls of the steps, or that it shall save; the same for all workers.

        If they disagreed, one would wait for ever for the next step of another.
        """
        if not self.steps_per_loop.is_meeting(progress.step) and progress.step_in_epoch:
            return None
        requests = exchange(self.devices, self.should_stop() or (_SAVE if self._is_save_due() else ""))
        reasons = [request for request in requests if request not in ("", _SAVE)]
        return reasons[0] if reasons else _SAVE if _SAVE in requests else None

    def _interrupt(self, progress: Progress, reason: str) -> None:
        self.checkpoints.save(progress)
        place = self._name_place(progress)
        if self.devices.is_chief:
            files.write_text(self.workdir.interrupted, f"{reason} at {place}\n")
        part(self.devices, kept=self)  # only then may the first end
        raise InterruptedRun(
            f"stopped by {reason} after {place}; everything is saved in {self.workdir.root}. The same command goes on "
            "from there."
        )

    def _name_place(self, progress: Progress) -> str:
        """Names the step that was taken last, counted within its epoch."""
        if progress.step_in_epoch:
            return f"step {progress.step_in_epoch} of epoch {progress.epoch + 1}"
        return f"step {self.splits['train'].num_batches(self.config.train.batch_size)} of epoch {progress.epoch}"

    def _finish_epoch(self, progress: Progress, images_per_s: float) -> None:
        """Measures, records and saves the epoch that has just ended."""
        labels, chances = self._predict()
        self.guard.check(progress, progress.sums[0] + float(chances.sum()))
        found = metrics.score(labels, chances)
        progress.epoch += 1
        learning_rate = self.trainee.learning_rate.of_step(max(0, self.trainee.num_updates - 1))
        row = history.make_row(
            progress.epoch, progress.sums, found, learning_rate=learning_rate, images_per_s=images_per_s
        )
        num_left = (self.config.train.num_epochs - progress.epoch) * progress.sums[2]
        seconds_left = num_left / self.pace.compiled_images_per_s
        progress.history.append(row)
        progress.step_in_epoch, progress.sums = 0, (0.0, 0.0, 0.0)
        is_judged = progress.epoch >= self.config.train.first_judged_epoch
        if is_judged and self._is_best(row, progress):
            progress.best_epoch = progress.epoch
            self.checkpoints.save_best(progress)
        if self.tracker:
            history.track(row, self.tracker)
            history.write(self.workdir.metrics_csv, progress.history)
            if progress.epoch == 1 and self.config.augment.enabled:  # not before the first step: it takes a second
                drawn = preview.draw_augmentation(self.splits["train"], self.config, self.setup.inputs, _NUM_SHOWN)
                self.tracker.write_picture("train", 0, "augmented inputs", drawn)
        self.checkpoints.save(progress)
        is_best = progress.best_epoch == progress.epoch and self.config.train.keep == "best"
        epochs = self.config.train.num_epochs
        monitor = self.config.train.monitor
        log.info(
            "%s", history.describe(row, monitor=monitor, epochs=epochs, seconds_left=seconds_left, is_best=is_best)
        )
        request = self._find_request(progress)
        if request not in (None, _SAVE) and progress.epoch < epochs:
            self._interrupt(progress, request)

    def _is_best(self, row: history.Row, progress: Progress) -> bool:
        """Whether an epoch is better than the one whose weights are kept, if there is one."""
        if not progress.best_epoch or self.config.train.keep == "last":
            return True
        return history.is_better(row, progress.history[progress.best_epoch - 1], self.config.train.monitor)

    def finish(self, progress: Progress) -> Scores:
        """Measures the best weights, and has the chief write all results."""
        self.profile.finish(progress.step)
        self.checkpoints.restore_best(progress)
        labels, chances = self._predict()
        if self.tracker:
            finished = Finished(
                config=self.config,
                workdir=self.workdir,
                data=self.setup.data,
                model=self.trainee.kept_model,
                precision=self.devices.precision,
                splits=self.splits,
                inputs=self.setup.inputs,
                progress=progress,
            )
            artifacts.write_results(finished, labels, chances, self.tracker)
            self.checkpoints.slim(progress)
        part(self.devices, kept=self)  # one that ends earlier may end the chief
        return metrics.score(labels, chances)

    def _predict(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels int [n] and probabilities float32 [n, num_classes] of all validation examples."""
        num_batches = self.splits["validation"].num_batches(self.config.train.batch_size)
        parts = []
        for batch in self.validation.take(num_batches):
            parts.append(self.trainee.predict_step(batch).numpy())
            self.tell_progress()
        rows = np.concatenate(parts)
        rows = rows[rows[:, -1] > 0]
        return rows[:, -2].astype(int), rows[:, :-2]


def _is_over(progress: Progress, train: TrainConfig) -> bool:
    may_stall = bool(train.patience and progress.best_epoch) and train.keep == "best"
    has_stalled = may_stall and progress.epoch - progress.best_epoch >= train.patience
    return progress.epoch >= train.num_epochs or has_stalled
