"""What it costs to train on a picture: the compiled step beside Keras' fit, on the same network and pictures.

    python benchmarks/train_step.py                             batches of 16 and 64, float32 and mixed_bfloat16
    python benchmarks/train_step.py --batch_sizes 16 --repeats 5
    python benchmarks/train_step.py --size 32 --pictures 16384

Each run is a process of its own on the CPU, all in turn; compare ratios, not machines. The default network learns made
uint8 pictures from memory by Adam, without augmentation; all ways count loss and right answers. Training takes several
steps in one call, "one a call" by themselves. The peak is that of large matrix products, in the same process once the
steps are done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BATCHES = 4  # different ones, which come again and again
PRECISIONS = ("float32", "mixed_bfloat16")


def main() -> None:
    """Parses the flags, and runs all ways or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[16, 64], metavar="N")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, metavar="PRECISION")
    parser.add_argument("--size", type=int, default=256, help="height and width of the pictures")
    parser.add_argument("--pictures", type=int, default=1024, help="measured in each run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, whose median is shown")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS], metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--way", choices=[*WAYS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        (batch_size,), (precision,) = arguments.batch_sizes, arguments.precisions
        print(json.dumps(measure(arguments.way, batch_size, precision, arguments)))
        return
    os.environ.update(_environment())
    size = arguments.size
    operations = f"{count_operations(size) / 1e6:.0f} million operations each"
    print(f"{len(os.sched_getaffinity(0))} cores, pictures of {size}x{size}, {operations}")
    print(f"{'way':<12}{'precision':<16}{'batch':>6}{'CPU ms each':>13}{'images/s':>10}{'of the peak':>13}")
    for precision in arguments.precisions:
        for batch_size in arguments.batch_sizes:
            compare(arguments.ways, batch_size, precision, arguments)


def compare(names: list[str], batch_size: int, precision: str, arguments: argparse.Namespace) -> None:
    """Runs every way in turn, several times, and prints the medians."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for _ in range(arguments.repeats):
        for name, found in runs.items():
            command = [sys.executable, __file__, "--way", name, "--batch_sizes", batch_size]
            command += ["--precisions", precision, "--pictures", arguments.pictures, "--size", arguments.size]
            done = subprocess.run(
                [str(part) for part in command], check=False, cwd=ROOT, env=_environment(), capture_output=True
            )
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr.decode()}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
    for name, found in runs.items():
        cpu_ms, rate, share = (statistics.median(values) for values in zip(*found))
        print(f"{name:<12}{precision:<16}{batch_size:>6}{cpu_ms:>13.2f}{rate:>10.0f}{share:>13.0%}", flush=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def count_operations(size: int) -> int:
    """Returns the floating-point operations a picture takes in a step."""
    from harness.config.training_sections import ModelConfig
    from harness.models.network import build_model, count_flops

    return count_flops(build_model(ModelConfig(), num_classes=2, image_size=size, seed=0))[1]


def measure(name: str, batch_size: int, precision: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Returns CPU ms a picture, pictures a second, and the share of the peak that they make."""
    import tensorflow as tf

    from harness.diagnostics import throughput
    from harness.distribute.devices import Devices

    random, size = np.random.default_rng(0), arguments.size
    pictures = random.integers(0, 256, (BATCHES * batch_size, size, size, 3), np.uint8)
    labels = random.integers(0, 2, BATCHES * batch_size).astype(np.int32)
    devices = Devices(tf.distribute.get_strategy(), ("/cpu:0",), precision)
    num_steps = -(-arguments.pictures // batch_size)
    cpu_s, wall_s = WAYS[name](pictures, labels, batch_size, num_steps, devices)
    num = num_steps * batch_size
    return (
        1000 * cpu_s / num,
        num / wall_s,
        count_operations(size) * num / wall_s / throughput.measure_peak_flops(devices),
    )


def fit(pictures: np.ndarray, labels: np.ndarray, batch_size: int, num_steps: int, devices) -> tuple[float, float]:
    """Keras' own loop."""
    import keras
    import tensorflow as tf

    from harness.config.training_sections import ModelConfig
    from harness.models.network import build_model

    started = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            started.append((time.process_time(), time.perf_counter()))

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            started.append((time.process_time(), time.perf_counter()))

    size = pictures.shape[1]
    model = build_model(ModelConfig(), num_classes=2, image_size=size, seed=0, precision=devices.precision)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(), metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices((pictures, labels[:, None])).repeat().batch(batch_size, True)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    model.fit(batches, epochs=2, steps_per_epoch=num_steps, verbose=0, callbacks=[Clock()])
    (cpu_start, start), (cpu_end, end) = started[-2:]
    return cpu_end - cpu_start, end - start


def ours(pictures: np.ndarray, labels: np.ndarray, batch_size: int, num_steps: int, devices) -> tuple[float, float]:
    """The steps of a training run."""
    import tensorflow as tf

    from harness.training import step_metrics

    trainee, batches = _make_trainee(pictures, labels, batch_size, devices)

    def take(num: int) -> None:
        totals = tf.zeros(step_metrics.NUM_SUMS, tf.float64)
        for _ in range(num // BATCHES):
            totals = trainee.train_steps(batches, {}, 0, BATCHES, totals)
        totals.numpy()

    return _time(take, -(-num_steps // BATCHES) * BATCHES)


def ours_one_by_one(
    pictures: np.ndarray, labels: np.ndarray, batch_size: int, num_steps: int, devices
) -> tuple[float, float]:
    """The same steps, each in a call of its own."""
    trainee, batches = _make_trainee(pictures, labels, batch_size, devices)

    def take(num: int) -> None:
        sums = trainee.train_step(next(batches), 0)
        for step in range(1, num):
            sums += trainee.train_step(next(batches), step % BATCHES)
        sums.numpy()

    return _time(take, num_steps)


def _make_trainee(pictures: np.ndarray, labels: np.ndarray, batch_size: int, devices):
    import tensorflow as tf

    from harness.config.schema import Config
    from harness.config.training_sections import TrainConfig
    from harness.dataset.records.manifest import Manifest, SplitInfo
    from harness.training import steps

    split = SplitInfo(len(labels), len(labels), {"no": 0, "yes": 0}, ())
    data = Manifest(("no", "yes"), pictures.shape[1], "raw", {"train": split}, {}, "", "", "", "", {})
    trainee = steps.make_trainee(Config(train=TrainConfig(batch_size=batch_size)), devices, data)
    examples = {"image": pictures, "label": labels, "weight": np.full(len(labels), 1 / batch_size, np.float32)}
    batches = tf.data.Dataset.from_tensor_slices(examples).repeat().batch(batch_size, True)
    return trainee, iter(batches.prefetch(tf.data.AUTOTUNE))


def _time(take: Callable[[int], None], num_steps: int) -> tuple[float, float]:
    take(BATCHES)
    cpu_start, start = time.process_time(), time.perf_counter()
    take(num_steps)
    return time.process_time() - cpu_start, time.perf_counter() - start


WAYS: dict[str, Callable[..., tuple[float, float]]] = {
    "Keras fit": fit,
    "harness": ours,
    "one a call": ours_one_by_one,
}

if __name__ == "__main__":
    main()
