"""The sums of a run's steps, kept on the device until they are asked for: a GPU is not waited for at each step.

It computes no figures of an epoch and writes nothing.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# What is added up: loss, right answers, examples; norms of gradients that are finite, how many; seconds of waiting.
NUM_SUMS = 6
Sums = tuple[float, float, float]  # of loss and right answers, and the examples


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
