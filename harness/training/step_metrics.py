"""What is known of a run's steps: sums, kept on the device until they are asked for, and rates in windows of steps.

A GPU is not waited for at each step. No figures of an epoch are computed here, and nothing is written.
"""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from harness.results.history import Sums

WINDOW = 100  # steps

# What is added up: loss, right answers, examples; norms of gradients that are finite, how many; seconds of waiting.
NUM_SUMS = 6


class StepMetrics:
    """The figures of the steps of one run.

    Attributes:
      totals: float64 [NUM_SUMS], to which the steps themselves add.
    """

    def __init__(self, batch_size: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.totals = tf.zeros(NUM_SUMS, tf.float64)
        self._batch_size, self._clock = batch_size, clock
        self._started, self._num_steps = clock(), 0
        self._paused_at = clock()
        self._read = np.zeros(3)  # of the totals of norms and waiting, up to the last reading

    def begin_epoch(self, sums: Sequence[float]) -> None:
        """Goes on from these sums of loss, right answers and examples; the others stay, as windows cross epochs."""
        self.totals = tf.concat([tf.constant(sums, tf.float64), self.totals[3:]], axis=0)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Steps are taken within; what lies between two such times does not count."""
        self._started += self._clock() - self._paused_at
        try:
            yield
        finally:
            self._paused_at = self._clock()

    def count(self, num_steps: int, totals: tf.Tensor) -> None:
        """Adds steps to the window; `totals` are those after them."""
        self._num_steps += num_steps
        self.totals = totals

    @property
    def num_left(self) -> int:
        """Steps until the window is full, from 1 on."""
        return WINDOW - self._num_steps % WINDOW

    @property
    def is_full(self) -> bool:
        """Whether a window of steps has passed since the last reading."""
        return self._num_steps >= WINDOW

    def read_sums(self) -> Sums:
        """Returns the sums of the epoch so far; waits for all steps."""
        loss_sum, num_correct, num_examples = self.totals[:3].numpy().tolist()
        return loss_sum, num_correct, num_examples

    def read_window(self) -> dict[str, float]:
        """Returns the figures since the last reading by TensorBoard tag, and begins anew; waits for all steps.

        The norm of the gradient is the mean over steps of the optimizer, and is missing if there was none.
        """
        totals = self.totals[3:].numpy()
        (norms, num_norms, waited_s), self._read = totals - self._read, totals
        seconds = max(self._clock() - self._started, 1e-9)
        figures = {
            "window/images_per_s": self._num_steps * self._batch_size / seconds,
            "window/input_wait": float(waited_s) / seconds,
            "window/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        }
        if num_norms:
            figures["window/gradient_norm"] = float(norms / num_norms)
        self._started, self._num_steps = self._clock(), 0
        return figures


class Pace:
    """How fast one process trains: pictures a second of an epoch, and what the next ones may be expected to reach.

    The first call of the steps compiles them, which takes seconds once in a process: it counts in the epoch, and not in
    what is expected of others. Nothing is waited for here.

    Attributes:
      compiled_images_per_s: pictures trained on a second in the epoch that has ended last, without the call that has
        compiled the steps.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.compiled_images_per_s = 0.0
        self._clock = clock
        self._is_compiled = False
        self._started, self._num_images = 0.0, 0
        self._compiled_at, self._num_before = 0.0, 0

    def begin_epoch(self, num_images: int) -> None:
        """Begins what is left of an epoch: so many pictures."""
        self._started, self._num_images = self._clock(), num_images
        self._compiled_at, self._num_before = self._started, 0

    def count(self, num_images: int) -> None:
        """Takes notice that a call of the steps has trained on so many pictures, the padding of a batch included."""
        if not self._is_compiled:
            self._is_compiled = True
            self._compiled_at, self._num_before = self._clock(), num_images

    def end_epoch(self) -> float:
        """Returns the pictures trained on per second, compilation included; all steps have been waited for."""
        ended = self._clock()
        images_per_s = self._num_images / max(ended - self._started, 1e-9)
        num_after = self._num_images - self._num_before
        is_known = num_after > 0 and ended > self._compiled_at
        self.compiled_images_per_s = num_after / (ended - self._compiled_at) if is_known else images_per_s
        return images_per_s
