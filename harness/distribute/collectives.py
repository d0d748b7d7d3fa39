"""What the workers of a run say to one another beside gradients: each a process with devices of its own.

All of them must make every call at the same place, or one waits for ever for the others.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from harness.base.errors import ClusterError
from harness.distribute.devices import Devices

_EXCHANGED_BYTES = 256


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
    except tf.errors.OpError as error:
        is_loss = isinstance(error, tf.errors.UnavailableError) or "Collective ops is aborted" in str(error)
        if devices.num_workers == 1 or not is_loss:
            raise
        raise ClusterError(
            f"worker {devices.worker_index} of {devices.num_workers} lost another: {first_line(error)}. Its own "
            "lines say why. The same command on all workers goes on from the last checkpoint."
        ) from None


def first_line(error: tf.errors.OpError) -> str:
    """Returns the first line of TensorFlow's error, to end a sentence with."""
    return error.message.splitlines()[0][:300].rstrip(".")
