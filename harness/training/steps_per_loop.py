"""How many steps the next call of the compiled training takes.

Each call costs the host its time, half a millisecond and more, and within a call nothing is heard of a signal.
"""

from collections.abc import Sequence

MOST_STEPS = 64  # of a call
_CALL_S = 0.25  # so long a user may wait for Ctrl-C, and so often the progress bar moves
_STEPS_TOGETHER = 8  # of several workers, which must take as many steps in a call as the others


class StepsPerLoop:
    """Finds the number of steps that take a quarter of a second, or keeps to the number that is asked for.

    Several workers cannot go by the time, which is another for each. They meet after every eighth step.
    """

    def __init__(self, asked: int, *, num_workers: int = 1, ends: Sequence[int] = ()) -> None:
        """Begins with single steps.

        Args:
          asked: steps of a call at most; 0 for as many as fit the time.
          num_workers: of the run.
          ends: steps of the run with which a call shall end, such as where a trace of it begins.
        """
        self._limit = min(asked or _STEPS_TOGETHER, _STEPS_TOGETHER) if num_workers > 1 else asked or 1
        self._is_timed = not asked and num_workers == 1
        self._together = _STEPS_TOGETHER if num_workers > 1 else 0
        self._ends = ends

    def choose(self, step: int, *, most: int) -> int:
        """Returns the number of steps, from 1 to `most`, of the call that follows the first `step` of the run."""
        distances = [end - step for end in self._ends if end > step]
        if self._together:
            distances.append(self._together - step % self._together)
        return min(most, self._limit, *distances)

    def learn(self, num_steps: int, seconds: float) -> None:
        """Takes notice of the time that a call of so many steps took."""
        if self._is_timed:  # twice as many at most, since a GPU may have begun them only
            fitting = int(_CALL_S * num_steps / max(seconds, 1e-9))
            self._limit = max(1, min(fitting, 2 * num_steps, MOST_STEPS))

    def is_meeting(self, step: int) -> bool:
        """Whether all workers end a call with this step."""
        return not self._together or step % self._together == 0
