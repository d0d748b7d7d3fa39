"""Which example comes when: arithmetic of seed, epoch, batch size and share, without a pixel.

A global batch is the `batch_size` examples of one step, over all replicas of all workers. What is in it follows from
the seed, the epoch and the step, and not from how many share it: replica r of R has the r-th R-th of its positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_STREAMS = 8  # shards read at a time
_SHUFFLE_WINDOW = 256  # examples of a stream; half of them are held in memory, 200 MB of raw pixels in all


@dataclass(frozen=True)
class Share:
    """The replicas of a global batch that one process feeds: `count` of `total`, from replica `first` on.

    All parts are equal: whatever does not divide is a ValueError, never a picture that nobody gets.
    """

    first: int = 0
    count: int = 1
    total: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.first < self.first + self.count <= self.total):
            raise ValueError(f"replicas from {self.first} on, {self.count} of them, are no share of {self.total}")

    @classmethod
    def of_process(cls, index: int, *, num_processes: int, num_replicas: int) -> "Share":
        """Returns the share of one of several processes, each of which has as many replicas.

        Raises:
          ValueError: they cannot have as many.
        """
        count = _divide(num_replicas, num_processes, "replicas", "processes")
        return cls(index * count, count, num_replicas)

    def bounds(self, batch_size: int) -> tuple[int, int]:
        """Returns the first position of the share in a global batch, and the one after its last.

        Raises:
          ValueError: the replicas cannot have equal parts of the batch.
        """
        each = _divide(batch_size, self.total, "pictures of a batch", "replicas")
        return self.first * each, (self.first + self.count) * each

    def take(self, table: np.ndarray) -> np.ndarray:
        """Returns the share of a table [steps, batch_size, …], a row for each replica: [steps * count, each, …].

        Raises:
          ValueError: the replicas cannot have equal parts of the batch.
        """
        start, stop = self.bounds(table.shape[1])
        return table[:, start:stop].reshape(-1, table.shape[1] // self.total, *table.shape[2:])


def _divide(number: int, by: int, what: str, among: str) -> int:
    each, left = divmod(number, by)
    if left or not each:
        raise ValueError(f"{number} {what} cannot be shared evenly by {by} {among}")
    return each


def count_steps(num_examples: int, batch_size: int) -> int:
    """Steps an epoch has, the last one included whose batch is filled up."""
    return -(-num_examples // batch_size)


def draw_permutation(num_examples: int, *, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the examples in an epoch: int64 [num_examples], every one of all orders as likely."""
    return np.random.default_rng([seed, epoch]).permutation(num_examples)


def lay_out(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Deals an order into batches; the last one is filled up with the first examples again.

    Those weigh nothing in loss, gradient and figures. They pass through the network like all others, so the statistics
    of batch normalisation count them.

    Returns:
      indices: int64 [steps, batch_size], the examples.
      weights: float32 [steps, batch_size], 1/n for the n examples of a step that count, so that a sum is their mean.
    """
    num_steps = count_steps(len(order), batch_size)
    positions = np.arange(num_steps * batch_size).reshape(num_steps, batch_size)
    return order[positions % len(order)], _weigh(positions < len(order))


def _weigh(counts: np.ndarray) -> np.ndarray:
    return (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Streams:
    """Shards, each a file with its number of examples, and where to read them side by side.

    Their examples are numbered through; stream s has those from `bounds[s]` to `bounds[s + 1]`.
    """

    shards: tuple[tuple[str, int], ...]
    bounds: tuple[int, ...]


def count_streams(shards: Sequence[tuple[str, int]], batch_size: int) -> int:
    """Returns how many streams of shards are read at a time: the most that share each batch evenly."""
    most = min(_MOST_STREAMS, len(shards), sum(count for _, count in shards))
    return next(count for count in range(most, 0, -1) if batch_size % count == 0)


def draw_streams(
    shards: Sequence[tuple[str, int]], batch_size: int, *, seed: int, epoch: int
) -> tuple[Streams, np.ndarray, np.ndarray]:
    """Divides shards in a drawn order into streams, each of which gives the same number of examples to every batch.

    So a worker that feeds a part of each batch reads its streams and not those of others, and no stream ends before
    another, whatever the shards hold: the streams' lengths differ by one example at most. No example comes more than a
    window earlier or later in its stream than it lies there.

    Args:
      shards: files with the number of examples in each.
      batch_size: examples of a global batch. The number of streams divides it.
      seed: of the run.
      epoch: of the run.

    Returns:
      streams: stream s gives each batch its positions from s * batch_size / num_streams on.
      indices: int64 [steps, batch_size], the numbers of the examples. The last batch is filled up with the last ones
        again, which weigh as little as in `lay_out`: the first ones would have to be read a second time.
      weights: float32 [steps, batch_size], as of `lay_out`.
    """
    random = np.random.default_rng([seed, epoch])
    drawn = tuple(shards[index] for index in random.permutation(len(shards)))
    total = sum(count for _, count in drawn)
    num_streams = count_streams(shards, batch_size)
    bounds = tuple(total * index // num_streams for index in range(num_streams + 1))
    positions = np.arange(count_steps(total, batch_size) * (batch_size // num_streams))
    lengths = np.diff(bounds)
    parts = [start + _shuffle(num, random)[_turn_back(positions, num)] for start, num in zip(bounds, lengths)]
    counts = [positions < num for num in lengths]
    return Streams(drawn, bounds), _interleave(parts, batch_size), _weigh(_interleave(counts, batch_size))


def _shuffle(num: int, random: np.random.Generator) -> np.ndarray:
    """An order in which none of so many is a window away from its place."""
    return np.argsort(np.arange(num) + _SHUFFLE_WINDOW * random.random(num), kind="stable")


def _turn_back(positions: np.ndarray, num: int) -> np.ndarray:
    """Positions that go on backwards after the last of so many, and so again and again."""
    return np.where(positions < num, positions, num - 1 - (positions - num) % num)


def _interleave(parts: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """A table [steps, batch_size] of batches that take as many from each part."""
    return np.concatenate([part.reshape(-1, batch_size // len(parts)) for part in parts], axis=1)
