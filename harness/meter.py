"""How fast a run goes, in windows of steps: pictures a second, the share of waiting for input, and memory."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
WINDOW = 100  # steps


class Meter:
    """Counts steps and times what they wait for; time comes from outside."""

    def __init__(self, batch_size: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._batch_size, self._clock = batch_size, clock
        self._started, self._waited_s, self._num_steps = clock(), 0.0, 0
        self._left_at = clock()

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """Yields the batches, and adds up the time until each is there; what lies between two calls does not count."""
        remaining = iter(batches)
        self._started += self._clock() - self._left_at
        try:
            while True:
                asked = self._clock()
                try:
                    batch = next(remaining)
                except StopIteration:
                    return
                self._waited_s += self._clock() - asked
                self._num_steps += 1
                yield batch
        finally:
            self._left_at = self._clock()

    @property
    def is_full(self) -> bool:
        """Whether a window of steps has passed since the last reading."""
        return self._num_steps >= WINDOW

    def read(self) -> dict[str, float]:
        """Returns the figures since the last reading, and begins anew."""
        seconds = max(self._clock() - self._started, 1e-9)
        figures = {
            "window/images_per_s": self._num_steps * self._batch_size / seconds,
            "window/input_wait": self._waited_s / seconds,
            "window/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        }
        self._started, self._waited_s, self._num_steps = self._clock(), 0.0, 0
        return figures
