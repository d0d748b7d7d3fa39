"""Which devices a run uses: `--gpus` and the cluster -> a tf.distribute strategy and a precision, and why."""

import os

import tensorflow as tf

from harness.base.errors import ConfigError
from harness.config.schema import Config
from harness.distribute import gpus
from harness.distribute.collectives import check_alike
from harness.distribute.devices import Devices
from harness.distribute.join import join
from harness.distribute.peers import Peers


def make_devices(config: Config, peers: Peers | None = None) -> Devices:
    """Chooses devices; must be called before TensorFlow has used any.

    One device gets no wrapper, since XLA is off under any strategy; several get a MirroredStrategy; those of several
    processes a MultiWorkerMirroredStrategy, for which TF_CONFIG is set. It waits until all tasks are there. A CPU's
    precision is float32 unless another is asked for; `precision.settle` then looks whether fewer bits are faster.

    Args:
      config: its sections `runtime`, `train` and `augment` are used.
      peers: the other tasks that train with this one; None for this process alone.

    Raises:
      ClusterError: the tasks of a node cannot share its GPUs evenly, not all tasks come, or SLURM gave GPUs that
        TensorFlow does not see.
      ConfigError: GPUs are asked for by number that the machine does not have, or the batch does not divide,
        or not into pairs where mixup asks for them; or XLA is asked for on several devices.
    """
    reasons: dict[str, str] = {}
    cluster = None if peers is None else peers.cluster
    chosen = gpus.choose(config.runtime.gpus, reasons, os.environ)
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
    if config.runtime.xla and num_workers * len(names) > 1:
        raise ConfigError(
            f"runtime.xla is true, but {num_workers * len(names)} devices train under a tf.distribute strategy, which "
            "goes without. Use one device, such as --gpus 1, or --runtime.xla false."
        )
    precision = gpus.choose_precision(config.train.precision, chosen, reasons)
    if peers is None:
        several = len(names) > 1
        strategy = tf.distribute.MirroredStrategy(names) if several else tf.distribute.get_strategy()
        return Devices(strategy, tuple(names), precision, reasons)
    strategy, names = join(peers), tuple(names)
    devices = Devices(strategy, names, precision, reasons, cluster.task, num_workers, cluster.num_local, peers)
    facts = f"{len(names)} {'GPUs' if chosen else 'CPU'}, {precision}, batch {config.train.batch_size}"
    check_alike(devices, facts)
    return devices


def with_whole_batch(config: Config, num_replicas: int) -> Config:
    """Returns the config with the batch of all replicas together, as everything that follows counts it.

    Raises:
      ConfigError: the replicas cannot share the batch evenly, or not in pairs where mixup asks for them.
    """
    batch_size = config.train.count_batch(num_replicas)
    if batch_size % num_replicas:
        raise ConfigError(
            f"train.batch_size is {batch_size}, which {num_replicas} devices cannot share evenly. "
            f"Use a multiple of {num_replicas}."
        )
    if config.augment.enabled and config.augment.mixup and batch_size % (2 * num_replicas):
        multiple = 2 if config.train.batch_per == "replica" else 2 * num_replicas
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but augment.mixup mixes pairs on each of {num_replicas} "
            f"devices. Use a multiple of {multiple}, or augment.mixup 0."
        )
    whole = {"batch_size": batch_size, "batch_per": "step"}
    return config.model_copy(update={"train": config.train.model_copy(update=whole)})


def _split_cpu(num_devices: int) -> list[str]:
    if num_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices)
    return [f"/cpu:{index}" for index in range(max(1, num_devices))]
