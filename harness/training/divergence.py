"""Whether the figures and weights of a run are finite numbers still, and the way back if they are not.

It decides nothing by the size of a number: a loss that rises is no divergence.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import tensorflow as tf

from harness.base.errors import DivergedError
from harness.config.schema import Config
from harness.distribute.collectives import check_alike, exchange
from harness.distribute.devices import Devices
from harness.runs.checkpoint import Checkpoints, Progress
from harness.training.learning_rate import BACK_OFF_FACTOR
from harness.training.steps import Trainee

log = logging.getLogger("harness")
_MOST_BACK_OFFS = 3  # a thousandth of the rate that was asked for; what diverges then has another cause


@dataclass
class Guard:
    """Looks at a run where it waits for the steps anyway: at windows, before saves and at the end of epochs.

    All workers must make every call. They go by what any of them found, since one that went on alone would wait for
    ever.
    """

    config: Config
    devices: Devices
    trainee: Trainee
    checkpoints: Checkpoints
    checked_step: int = 0  # of the epoch, up to which everything was finite
    _is_finite: Callable[[], bool] = field(init=False)

    def __post_init__(self) -> None:
        self._is_finite = make_finite_check(self.trainee, self.devices)

    def begin_epoch(self, progress: Progress) -> None:
        """Notes where the run is, and saves the start of an epoch if it may have to go back there."""
        self.checked_step = progress.step_in_epoch
        if self.config.train.on_divergence == "back_off" and not progress.step_in_epoch:
            self.checkpoints.save_start(progress)

    def check(self, progress: Progress, figure: float) -> None:
        """Checks a figure of the run and all that a checkpoint holds. A step that float16 skips leaves both finite.

        Raises:
          DivergedError: one of them is no finite number.
        """
        is_finite = self._is_finite() and math.isfinite(figure)
        if any(exchange(self.devices, "" if is_finite else "diverged")):
            raise DivergedError(f"{self._describe(progress)} {self._advise(progress)}")
        self.checked_step = progress.step_in_epoch

    def back_off(self, progress: Progress, error: DivergedError) -> Progress:
        """Returns the start of the epoch, restored, with a smaller learning rate; raises the error if it may not.

        It is the epoch's start, not the latest save: saves within an epoch follow the clock and signals, and what a run
        learns must not.
        """
        if self.config.train.on_divergence == "stop" or progress.num_back_offs == _MOST_BACK_OFFS:
            raise error
        told, num_back_offs = self._describe(progress), progress.num_back_offs + 1
        progress = self.checkpoints.go_back(progress.step - progress.step_in_epoch, num_back_offs=num_back_offs)
        check_alike(self.devices, f"step {progress.step} after {num_back_offs} divergences")
        if self.devices.is_chief:
            log.warning(
                "%s Back to the start of epoch %d with %g times the learning rate (%d of at most %d times).",
                told, progress.epoch + 1, BACK_OFF_FACTOR, num_back_offs, _MOST_BACK_OFFS,
            )  # fmt: skip
        return progress

    def _describe(self, progress: Progress) -> str:
        first, last = self.checked_step, progress.step_in_epoch
        steps = f"between step {first} and step {last}" if first < last else f"after step {last}"
        return f"training diverged {steps} of epoch {progress.epoch + 1}: its loss or weights are no finite numbers."

    def _advise(self, progress: Progress) -> str:
        latest = self.checkpoints.find_latest()
        kept = f"The last good checkpoint is {latest}." if latest else "There is no checkpoint yet."
        rate = f"optim.learning_rate is {self.config.optim.learning_rate}"
        if progress.num_back_offs:
            lowest = BACK_OFF_FACTOR**progress.num_back_offs
            rate += f", and was multiplied by {lowest:g} after {progress.num_back_offs} divergences"
        advice = "try a tenth of it in another folder: --run runs/NEW"
        if self.config.train.on_divergence == "stop":
            advice += ", or --train.on_divergence back_off there"
        return f"{kept} {rate}; {advice}"


def make_finite_check(trainee: Trainee, devices: Devices) -> Callable[[], bool]:
    """Returns what tells whether all that a checkpoint holds are finite numbers, on every replica of this process."""
    model, average, optimizer = trainee.model, trainee.kept_model, trainee.optimizer
    variables = [*model.weights, *optimizer.variables, *(average.weights if average is not model else [])]
    variables = [variable.value for variable in variables]
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # which leaves out a sum that is not
        variables += trainee.updater.sums

    @tf.function(autograph=False)
    def check() -> tf.Tensor:
        copies = [copy for variable in variables for copy in devices.strategy.experimental_local_results(variable)]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(copy)) for copy in copies if copy.dtype.is_floating])

    return lambda: bool(check())
