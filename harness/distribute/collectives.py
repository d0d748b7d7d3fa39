"""What the workers of a run say to one another beside gradients: each a process with devices of its own.

All of them must make every call at the same place, or one waits for ever for the others.
"""

import contextlib
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from harness.base.errors import ClusterError
from harness.distribute.devices import Devices

_EXCHANGED_BYTES = 256
_ABORTED = "Collective ops is aborted"
_SILENT = re.compile(r"stopped sending heartbeats\)[:.\s]*/job:worker/(?:replica:\d+/)?task:(\d+)")
_OF_A_LOSS = (  # and of other things too
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError),
    *(tf.errors.InternalError, tf.errors.UnknownError, tf.errors.FailedPreconditionError),
)


def exchange(devices: Devices, text: str) -> tuple[str, ...]:
    """Returns the texts that all workers gave, by worker; each waits for all. Text after 256 bytes is cut off.

    All workers must call it at the same place.

    Raises:
      ClusterError: another worker is gone.
    """
    if devices.num_workers == 1:
        return (text,)
    rows = np.zeros([devices.num_workers, _EXCHANGED_BYTES], np.float32)  # NCCL sums no bytes
    content = text.encode()[:_EXCHANGED_BYTES]
    rows[devices.worker_index, : len(content)] = list(content)

    def contribute(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        is_first = context.replica_id_in_sync_group % len(devices.names) == 0
        return tf.constant(rows if is_first else np.zeros_like(rows))

    with losses_named(devices):
        values = devices.strategy.experimental_distribute_values_from_function(contribute)
        total = devices.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()
    return tuple(row.astype(np.uint8).tobytes().rstrip(b"\0").decode(errors="replace") for row in total)


def part(devices: Devices, *, kept: object) -> None:
    """Returns once all workers have called it, after which they exchange nothing more: each may end without the others.

    Args:
      devices: the workers.
      kept: what trained, which `Peers.part` holds on to.

    Raises:
      ClusterError: another worker is gone.
    """
    if devices.peers is not None:
        devices.peers.part(kept)


def check_alike(devices: Devices, facts: str) -> None:
    """Compares what all workers have to have in common.

    Raises:
      ClusterError: a worker differs from the first.
    """
    told = exchange(devices, facts)
    for index, text in enumerate(told):
        if text != told[0]:
            raise ClusterError(
                f"worker {index} has {text}, but worker 0 has {told[0]}. Start all with the same command, records and "
                "run folder, on nodes that are alike."
            )


@contextlib.contextmanager
def losses_named(devices: Devices) -> Iterator[None]:
    """Turns TensorFlow's error about a worker that is gone into one sentence.

    Raises:
      ClusterError: another worker is gone.
    """
    try:
        yield
    except _OF_A_LOSS as error:
        if devices.peers is None:
            raise
        end = devices.peers.find_end()
        if end is None and not isinstance(error, tf.errors.UnavailableError) and _ABORTED not in str(error):
            raise
        raise devices.peers.make_loss(end or describe_loss(error)) from None


def describe_loss(error: tf.errors.OpError) -> str:
    """Returns what TensorFlow's error says of a task that is gone, to end a sentence with.

    An error of a step begins with the place in the program, and the cause comes at its end.
    """
    if silent := _SILENT.search(error.message):
        return f"task {silent[1]} has given no sign of life for too long"
    cause = error.message[max(0, error.message.find(_ABORTED)) :]
    return f"{cause.splitlines()[0][:300].rstrip('.:')}. TensorFlow's own lines say why"
