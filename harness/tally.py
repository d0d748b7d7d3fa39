"""The sums of a run's steps, kept on the device until they are asked for: a GPU is not waited for at each step.

It computes no figures of an epoch and writes nothing.
"""

from collections.abc import Sequence

import tensorflow as tf

NUM_SUMS = 5  # of what each step returns: loss, right answers, examples, norms of gradients that are finite, how many
Sums = tuple[float, float, float]  # of loss and right answers, and the examples


class Tally:
    """Adds up what each step returns, float64 [NUM_SUMS]."""

    def __init__(self) -> None:
        self._totals = tf.zeros(NUM_SUMS, tf.float64)
        self._norms_read = (0.0, 0.0)

    def begin_epoch(self, sums: Sequence[float]) -> None:
        """Goes on from these sums of loss, right answers and examples; the norms stay, as windows cross epochs."""
        self._totals = tf.concat([tf.constant(sums, tf.float64), self._totals[3:]], axis=0)

    def add(self, figures: tf.Tensor) -> None:
        """Adds the figures of one step, and waits for nothing."""
        self._totals += figures

    def read_sums(self) -> Sums:
        """Returns the sums of the epoch so far; waits for all steps."""
        return tuple(self._totals[:3].numpy().tolist())

    def read_norms(self) -> dict[str, float]:
        """Returns the mean norm of the gradients since the last reading, by its tag; nothing if no step was taken."""
        total, num = self._totals[3:].numpy().tolist()
        (total_before, num_before), self._norms_read = self._norms_read, (total, num)
        if num == num_before:
            return {}
        return {"window/gradient_norm": (total - total_before) / (num - num_before)}
