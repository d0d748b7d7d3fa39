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


class Tally:
    """Keeps the sums, to which the steps themselves add.

    Attributes:
      totals: float64 [NUM_SUMS].
    """

    def __init__(self) -> None:
        self.totals = tf.zeros(NUM_SUMS, tf.float64)
        self._read = np.zeros(3)

    def begin_epoch(self, sums: Sequence[float]) -> None:
        """Goes on from these sums of loss, right answers and examples; the others stay, as windows cross epochs."""
        self.totals = tf.concat([tf.constant(sums, tf.float64), self.totals[3:]], axis=0)

    def read_sums(self) -> Sums:
        """Returns the sums of the epoch so far; waits for all steps."""
        return tuple(self.totals[:3].numpy().tolist())

    def read_window(self) -> tuple[float | None, float]:
        """Returns the mean norm of gradients since the last reading, None without a step, and the seconds waited."""
        totals = self.totals[3:].numpy()
        (norms, num, waited_s), self._read = totals - self._read, totals
        return (float(norms / num) if num else None), float(waited_s)


class Meter:
    """Counts steps and their time, which comes from outside."""

    def __init__(self, batch_size: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._batch_size, self._clock = batch_size, clock
        self._started, self._num_steps = clock(), 0
        self._left_at = clock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Steps are taken within; what lies between two such times does not count."""
        self._started += self._clock() - self._left_at
        try:
            yield
        finally:
            self._left_at = self._clock()

    def count(self, num_steps: int) -> None:
        """Adds steps to the window."""
        self._num_steps += num_steps

    @property
    def num_left(self) -> int:
        """Steps until the window is full, from 1 on."""
        return WINDOW - self._num_steps % WINDOW

    @property
    def is_full(self) -> bool:
        """Whether a window of steps has passed since the last reading."""
        return self._num_steps >= WINDOW

    def read(self, *, waited_s: float) -> dict[str, float]:
        """Returns the figures since the last reading, of which so many seconds were waiting, and begins anew."""
        seconds = max(self._clock() - self._started, 1e-9)
        figures = {
            "window/images_per_s": self._num_steps * self._batch_size / seconds,
            "window/input_wait": waited_s / seconds,
            "window/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        }
        self._started, self._num_steps = self._clock(), 0
        return figures
