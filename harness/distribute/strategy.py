"""Which devices a run uses: `--gpus` and the cluster -> a tf.distribute strategy and a precision, and why.

And what the workers of a run say to one another beside gradients. Each worker is a process with devices of its own.
"""

import contextlib
import faulthandler
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from harness.base.errors import ClusterError, ConfigError
from harness.config.schema import Config
from harness.distribute import gpus, rendezvous
from harness.distribute.cluster import Cluster

log = logging.getLogger("harness")
_EXCHANGED_BYTES = 256
_JOIN_S = 600  # tasks of one job start together, but a cold file system takes minutes to read TensorFlow


@dataclass(frozen=True)
class Devices:
    """What is in force: the strategy, its devices in words, and the precision.

    `names` are the devices of this worker; every worker has as many. `reasons` say of "devices" and "precision" why
    they are as they are, where that is not what was asked for. `num_local` workers share this node's memory.
    """

    strategy: tf.distribute.Strategy
    names: tuple[str, ...]
    precision: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    worker_index: int = 0
    num_workers: int = 1
    num_local: int = 1

    @property
    def num_replicas(self) -> int:
        """Replicas that share each global batch, over all workers."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes what is kept."""
        return self.worker_index == 0

    @property
    def is_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return self.names[0].startswith("/gpu")

    @property
    def _strategy_name(self) -> str:
        if self.num_workers > 1:
            return "MultiWorkerMirroredStrategy"  # its class has another name
        return type(self.strategy).__name__ if self.num_replicas > 1 else "none"

    def free_bytes(self) -> int | None:
        """Returns the free memory of the GPU that has least, in bytes; None on CPUs, and where it cannot be told."""
        return gpus.ask_free_bytes() if self.is_gpu else None

    def describe(self) -> dict[str, object]:
        """Returns what is in force as plain values."""
        return {
            "devices": self.names,
            "strategy": self._strategy_name,
            "workers": self.num_workers,
            "precision": self.precision,
        }


def make_devices(config: Config, cluster: Cluster | None = None) -> Devices:
    """Chooses devices; must be called before TensorFlow has used any.

    One device gets no wrapper, since XLA is off under any strategy; several get a MirroredStrategy; those of several
    processes a MultiWorkerMirroredStrategy, for which TF_CONFIG is set. It waits until all tasks are there. A CPU's
    precision is float32 unless another is asked for; `precision.settle` then looks whether fewer bits are faster.

    Args:
      config: its sections `runtime`, `train` and `augment` are used.
      cluster: the tasks that train together; None for this process alone.

    Raises:
      ClusterError: the tasks of a node cannot share its GPUs evenly, or not all tasks come.
      ConfigError: GPUs are asked for by number that the machine does not have, or the batch does not divide,
        or not into pairs where mixup asks for them; or XLA is asked for on several devices.
    """
    reasons: dict[str, str] = {}
    chosen = gpus.choose(config.runtime.gpus, reasons)
    if cluster is not None:
        chosen = gpus.share_out(chosen, *cluster.gpu_share)
    tf.config.set_visible_devices(chosen, "GPU")
    for gpu in chosen:
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    if chosen:
        names = [f"/gpu:{index}" for index in range(len(chosen))]
    else:
        names = _split_cpu(config.runtime.logical_cpus)
    num_workers = 1 if cluster is None else cluster.num_tasks
    if num_workers > 1 and not chosen and len(names) > 1:
        raise ConfigError(
            f"runtime.logical_cpus is {len(names)}, but a CPU is one device where {num_workers} processes train "
            "together. Use --runtime.logical_cpus 0."
        )
    config = with_whole_batch(config, num_workers * len(names))
    _check_batch(config, num_workers * len(names))
    if config.runtime.xla and num_workers * len(names) > 1:
        raise ConfigError(
            f"runtime.xla is true, but {num_workers * len(names)} devices train under a tf.distribute strategy, which "
            "goes without. Use one device, such as --gpus 1, or --runtime.xla false."
        )
    precision = gpus.choose_precision(config.train.precision, chosen, reasons)
    if cluster is None:
        several = len(names) > 1
        strategy = tf.distribute.MirroredStrategy(names) if several else tf.distribute.get_strategy()
        return Devices(strategy, tuple(names), precision, reasons)
    strategy, names = _join(cluster), tuple(names)
    devices = Devices(strategy, names, precision, reasons, cluster.task, num_workers, cluster.num_local)
    facts = f"{len(names)} {'GPUs' if chosen else 'CPU'}, {precision}, batch {config.train.batch_size}"
    check_alike(devices, facts)
    return devices


def with_whole_batch(config: Config, num_replicas: int) -> Config:
    """Returns the config with the batch of all replicas together, as everything that follows counts it."""
    whole = {"batch_size": config.train.count_batch(num_replicas), "batch_per": "step"}
    return config.model_copy(update={"train": config.train.model_copy(update=whole)})


def _check_batch(config: Config, num_devices: int) -> None:
    if config.train.batch_size % num_devices:
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, which {num_devices} devices cannot share evenly. "
            f"Use a multiple of {num_devices}."
        )
    if config.augment.enabled and config.augment.mixup and config.train.batch_size % (2 * num_devices):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but augment.mixup mixes pairs on each of {num_devices} "
            f"devices. Use a multiple of {2 * num_devices}, or augment.mixup 0."
        )


def _join(cluster: Cluster) -> tf.distribute.Strategy:
    os.environ["TF_CONFIG"] = cluster.as_tf_config()
    log.info("waiting for %d tasks at %s", cluster.num_tasks, " ".join(cluster.addresses))
    rendezvous.meet(cluster, timeout_s=_JOIN_S)
    # TensorFlow holds Python's lock while it waits for one that has died since: only this ends it, with code 1.
    faulthandler.dump_traceback_later(_JOIN_S, exit=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise ClusterError(
            f"task {cluster.task} of {cluster.num_tasks} could not join the others at {' '.join(cluster.addresses)}: "
            f"{_first_line(error)}. See whether all tasks started and reach one another."
        ) from None
    finally:
        faulthandler.cancel_dump_traceback_later()
        # TensorFlow takes SIGTERM for a notice of preemption that nobody reads here.
        if handler := signal.getsignal(signal.SIGTERM):
            signal.signal(signal.SIGTERM, handler)


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
            f"worker {devices.worker_index} of {devices.num_workers} lost another: {_first_line(error)}. Its own "
            "lines say why. The same command on all workers goes on from the last checkpoint."
        ) from None


def _first_line(error: tf.errors.OpError) -> str:
    return error.message.splitlines()[0][:300].rstrip(".")


def _split_cpu(num_devices: int) -> list[str]:
    if num_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices)
    return [f"/cpu:{index}" for index in range(max(1, num_devices))]
