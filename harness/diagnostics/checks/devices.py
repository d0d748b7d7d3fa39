"""The devices as TensorFlow sees them: its import, a small step on each, and a sum over all. Each is tried for real."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.base import tf_import
from harness.base.errors import HarnessError
from harness.base.machine import nvidia_smi
from harness.base.machine.nvidia_smi import SmiError
from harness.base.text import count, format_bytes
from harness.config.schema import Config
from harness.diagnostics.checks.finding import Finding, from_error
from harness.distribute.cluster import Cluster

if TYPE_CHECKING:
    from harness.distribute.devices import Devices

GROUP = "tensorflow"
_SUMMED = 1 << 20  # numbers of 4 bytes each: about the gradient of the default network
_FIX_DEVICES = "Give devices that are there: --gpus all, or --gpus none for the CPU."
_FIX_BROKEN = "Use another node or GPU, and have this one looked at. --gpus none trains on the CPU."


def check_import() -> Iterator[Finding]:
    """Yields whether TensorFlow and Keras can be imported here, and imports them."""
    started = time.perf_counter()
    try:
        tf_import.import_tensorflow("keras")
    except Exception as error:  # of any kind: a version that does not fit, a library that is missing
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        fix = "pip install -e . puts the packages into their ranges again; see software above."
        yield Finding(GROUP, "import", "problem", words, fix)
        return
    import keras
    import tensorflow as tf

    taken_s = time.perf_counter() - started
    build = tf.sysconfig.get_build_info()
    cuda = f"CUDA {build.get('cuda_version', '?')}, cuDNN {build.get('cudnn_version', '?')}"
    built = f"built for {cuda}" if build.get("is_cuda_build") else "built without CUDA"
    words = f"TensorFlow {tf.__version__} ({built}), Keras {keras.__version__}, in {taken_s:.1f} s"
    values = {"tensorflow": tf.__version__, "keras": keras.__version__, "cuda": build.get("cuda_version", "")}
    yield Finding(GROUP, "import", "ok", words, values=values | {"seconds": round(taken_s, 2)})


def check_devices(config: Config) -> Iterator[Finding]:
    """Yields the devices that a training takes here, each after a small step on it.

    Args:
      config: its sections `runtime`, `train` and `augment` are used.
    """
    import tensorflow as tf

    from harness.distribute import strategy

    if not tf.config.list_physical_devices("GPU"):
        yield from _compare_with_driver(config)
    try:
        devices = strategy.make_devices(config)
    except HarnessError as error:
        yield from_error(GROUP, "devices", error, fix=_FIX_DEVICES)
        return
    words = " ".join(devices.names) + (f" ({devices.reasons['devices']})" if "devices" in devices.reasons else "")
    yield Finding(GROUP, "devices", "ok", words, values={"devices": devices.names})
    for name in devices.names:
        yield _check_step(name)


def _compare_with_driver(config: Config) -> Iterator[Finding]:
    """Says why TensorFlow sees no GPU where the driver shows some."""
    import tensorflow as tf

    try:
        found = nvidia_smi.list_gpus()
    except SmiError:  # is told above
        return
    if not found or config.runtime.gpus in ("none", "0"):
        return
    words = f"the driver shows {count(len(found), 'GPU')}, but TensorFlow sees none"
    if tf.sysconfig.get_build_info().get("is_cuda_build"):
        fix = "pip install -e '.[gpu]' brings CUDA's libraries; CUDA_VISIBLE_DEVICES must not hide the GPUs."
    else:
        fix = "This build of TensorFlow knows no CUDA: pip uninstall -y tensorflow-cpu && pip install -e '.[gpu]'"
    yield Finding(GROUP, "gpus seen", "problem", words, fix, {"num_driver": len(found), "num_seen": 0})


def _check_step(device: str) -> Finding:
    import tensorflow as tf

    started = time.perf_counter()
    try:
        is_right = try_step(device)
    except tf.errors.OpError as error:
        words = " ".join(str(error.message).split())[:300]
        return Finding(GROUP, f"step {device}", "problem", f"fails: {words}", _FIX_BROKEN)
    taken_s = time.perf_counter() - started
    values = {"seconds": round(taken_s, 3)}
    if not is_right:
        words = "a small step does not give what it should"
        return Finding(GROUP, f"step {device}", "problem", words, _FIX_BROKEN, values)
    words = f"a convolution, a product and their gradient are right, {taken_s:.2f} s with their compilation"
    return Finding(GROUP, f"step {device}", "ok", words, values=values)


def try_step(device: str) -> bool:
    """Whether a convolution, a matrix product and the gradient through both give on a device what they should.

    Args:
      device: such as "/gpu:0".
    """
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(kernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            features = tf.nn.conv2d(tf.ones([2, 16, 16, 3]), kernel, strides=1, padding="VALID")
            total = tf.reduce_sum(tf.reshape(features, [2, -1]) @ tf.ones([14 * 14 * 8, 4]))
        return total, tape.gradient(total, kernel)

    with tf.device(device):
        total, gradient = step(tf.ones([3, 3, 3, 8]))
    # 2 pictures, 14 x 14 places, 8 filters, 4 columns of 27 ones each; a weight is met at 2 x 14 x 14 x 4 of them
    is_close = abs(float(total) / (2 * 14 * 14 * 8 * 4 * 27) - 1) < 1e-2
    return is_close and bool(tf.reduce_all(tf.abs(gradient / (2 * 14 * 14 * 4) - 1) < 1e-2))


def check_sum(config: Config, tasks: Cluster | None = None) -> Iterator[Finding]:
    """Yields whether all devices together sum up what each has, as they do with gradients.

    Args:
      config: its sections `runtime`, `train` and `augment` are used.
      tasks: those that train together, each of which must call it; None for this process alone.
    """
    from harness.distribute import collectives, peers, strategy

    try:
        with peers.open_peers(tasks) if tasks is not None else contextlib.nullcontext() as others:
            devices = strategy.make_devices(config, others)
            finding = _look_at_sum(devices)
            collectives.part(devices, kept=devices)
    except HarnessError as error:
        finding = from_error(GROUP, "all-reduce", error, fix=_FIX_DEVICES)
    yield finding


def _look_at_sum(devices: "Devices") -> Finding:
    num_replicas = devices.num_replicas
    if num_replicas == 1:
        return Finding(GROUP, "all-reduce", "ok", "one device: there is nothing to sum up", values={"num_replicas": 1})
    found, taken_s = _sum_up(devices.strategy)
    values = {"num_replicas": num_replicas, "seconds": round(taken_s, 4)}
    expected = num_replicas * (num_replicas + 1) / 2
    if found != expected:
        words = f"{num_replicas} devices sum up to {found:g} where {expected:g} is right"
        return Finding(GROUP, "all-reduce", "problem", words, _FIX_BROKEN, values)
    words = f"{format_bytes(4 * _SUMMED)} summed up over {num_replicas} devices in {1000 * taken_s:.1f} ms"
    return Finding(GROUP, "all-reduce", "ok", words, values=values)


def _sum_up(strategy) -> tuple[float, float]:
    """Returns one of the numbers that all replicas got, NaN if they differ, and the seconds that it took."""
    import tensorflow as tf

    def add() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        own = tf.fill([_SUMMED], tf.cast(context.replica_id_in_sync_group, tf.float32) + 1.0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    @tf.function(autograph=False)
    def reduce() -> tf.Tensor:
        return strategy.run(add)

    def take() -> list:
        return [part.numpy() for part in strategy.experimental_local_results(reduce())]

    take()  # compiled, and connected
    started = time.perf_counter()
    sums = take()
    taken_s = time.perf_counter() - started
    numbers = {float(number) for part in sums for number in (part.min(), part.max())}
    return (numbers.pop() if len(numbers) == 1 else float("nan")), taken_s
