"""How fast a run goes, in windows of steps: pictures a second, the share of waiting for input, and memory."""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator

WINDOW = 100  # steps


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
