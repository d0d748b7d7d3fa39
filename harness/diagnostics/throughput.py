"""Measures how fast a training is and its parts are: input alone, steps alone, both, and what the device can do."""

import itertools
import logging
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import tensorflow as tf

from harness.base.errors import HarnessError
from harness.base.storage import Folder
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.diagnostics.rates import Attempt, Rate, Rates, judge
from harness.distribute.devices import Devices
from harness.input import loaded_split, pipeline, placement
from harness.input.loaded_split import Split
from harness.input.pipeline import Batches
from harness.input.placement import Inputs
from harness.models.network import count_flops
from harness.training import step_metrics, steps

log = logging.getLogger("harness")
_WARM_UP = 2  # batches and steps that are left out: the first are traced, and find empty buffers
_MIN_BLOCKS = 2
_BLOCK = 4  # steps between two looks at the clock; a GPU is not waited for after every one
_MATRIX_SIDE = 2048
_MATRIX_PRODUCTS = 4


@dataclass(frozen=True)
class Subject:
    """What is measured, and for how long at least."""

    config: Config
    data: Manifest
    records: Folder  # where they are read from
    devices: Devices
    split: Split
    inputs: Inputs
    seconds: float

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return self.split.num_batches(self.config.train.batch_size)

    def with_settings(self, **settings: object) -> "Subject":
        """Returns the subject with other settings of sections, such as train={"batch_size": 32}."""
        sections = {name: getattr(self.config, name).model_copy(update=values) for name, values in settings.items()}
        return replace(self, config=self.config.model_copy(update=sections))


@dataclass(frozen=True)
class Throughput:
    """All that was measured of a training, what it was measured with, and the verdict."""

    devices: tuple[str, ...]
    precision: str
    cache: str
    engine: str
    rates: Rates
    answer_flops: int
    training_flops: int
    peak_flops: float  # a second
    peak_memory_bytes: int
    peak_device_bytes: int | None
    input_trials: tuple[Attempt, ...]
    compute_trials: tuple[Attempt, ...]
    verdict: tuple[str, ...]


def measure(subject: Subject) -> Throughput:
    """Measures a training as it is set, and then what changed settings would gain where there is something to gain."""
    log.info("measuring the input")
    taken = measure_input(subject)
    log.info("measuring the steps")
    computed, trainee = measure_compute(subject)
    log.info("measuring both")
    overlapped, wait_share = measure_overlapped(subject, trainee)
    rates = Rates(taken, computed, overlapped, wait_share)
    peak_memory, peak_device = _peak_memory_bytes(), _peak_device_bytes(subject.devices)
    input_trials = tuple(_try_inputs(subject)) if rates.would_input_help else ()
    compute_trials = tuple(_try_computes(subject)) if rates.would_steps_help else ()
    answer_flops, training_flops = count_flops(trainee.model)
    return Throughput(
        devices=subject.devices.names,
        precision=subject.devices.precision,
        cache=subject.inputs.cache,
        engine=subject.inputs.engine,
        rates=rates,
        answer_flops=answer_flops,
        training_flops=training_flops,
        peak_flops=measure_peak_flops(subject.devices),
        peak_memory_bytes=peak_memory,
        peak_device_bytes=peak_device,
        input_trials=input_trials,
        compute_trials=compute_trials,
        verdict=judge(rates, inputs=input_trials, computes=compute_trials, cache=subject.inputs.cache),
    )


def measure_input(subject: Subject) -> Rate:
    """Returns the rate at which batches come when nothing uses them."""
    batches = _make_batches(subject)
    return _time(lambda num_steps: [next(batches)["weight"] for _ in range(num_steps)][-1], subject)


def measure_compute(subject: Subject) -> tuple[Rate, steps.Trainee]:
    """Returns the rate of steps that get the same batch again and again, and what was trained."""
    trainee = steps.make_trainee(subject.config, subject.devices, subject.data)
    batch = next(_make_batches(subject))
    turns = itertools.cycle(range(subject.num_batches))
    return _time(lambda num: [trainee.train_step(batch, next(turns)) for _ in range(num)][-1], subject), trainee


def measure_overlapped(subject: Subject, trainee: steps.Trainee) -> tuple[Rate, float]:
    """Returns the rate of training as it is, and the share of the time that it waited for batches."""
    batches, position, totals = _make_batches(subject), 0, [tf.zeros(step_metrics.NUM_SUMS, tf.float64)]

    def take(num_steps: int) -> tf.Tensor:
        """Trains on; epochs follow one another."""
        nonlocal position
        while num_steps:
            num_taken = min(num_steps, subject.num_batches - position)
            totals.append(trainee.train_steps(batches.iterator, batches.resident, position, num_taken, totals[-1]))
            position = (position + num_taken) % subject.num_batches
            num_steps -= num_taken
        return totals[-1]

    rate = _time(take, subject)
    num_images, waited_s = (totals[-1] - totals[_WARM_UP]).numpy()[[2, -1]]
    return rate, waited_s * rate.images_per_s / num_images


def _make_batches(subject: Subject) -> Batches:
    strategy, engine = subject.devices.strategy, subject.inputs.engine
    return pipeline.open_training(subject.split, subject.config, strategy, engine=engine, epoch=0)


def _time(take: Callable[[int], object], subject: Subject) -> Rate:
    """The rate of what takes so many steps, and hands out a tensor that is there once the last is done."""

    def finish(promise: object) -> None:
        for part in subject.devices.strategy.experimental_local_results(promise):
            part.numpy()

    for _ in range(_WARM_UP):
        finish(take(1))
    started, cpu_started, num_blocks = time.perf_counter(), time.process_time(), 0
    while num_blocks < _MIN_BLOCKS or time.perf_counter() - started < subject.seconds:
        finish(take(_BLOCK))
        num_blocks += 1
    num_images = num_blocks * _BLOCK * subject.config.train.batch_size
    return Rate(num_images / (time.perf_counter() - started), 1000 * (time.process_time() - cpu_started) / num_images)


def _try_inputs(subject: Subject) -> Iterator[Attempt]:
    """Keeps the pictures elsewhere, as far as they fit."""
    for cache in ("memory", "device"):
        if cache == subject.inputs.cache or (cache == "device" and not subject.devices.is_gpu):
            continue
        changed = subject.with_settings(data={"cache": cache})
        config, data, devices = changed.config, changed.data, changed.devices
        try:
            inputs = placement.plan_inputs(config, data, devices)
        except HarnessError as error:
            log.info("not tried: %s", error)
            continue
        log.info("trying --data.cache %s", cache)
        split = loaded_split.open_split(data, subject.records, "train", cache=cache, devices=devices)
        rate = measure_input(replace(changed, inputs=inputs, split=split))
        yield Attempt(f"--data.cache {cache}", rate.images_per_s)


def _try_computes(subject: Subject) -> Iterator[Attempt]:
    """Computes with fewer bits, by XLA, and with more pictures a step."""
    trials = {}
    if subject.devices.is_gpu and subject.devices.num_replicas == 1 and not subject.config.runtime.xla:
        trials["--runtime.xla true"] = subject.with_settings(runtime={"xla": True})
    if subject.devices.precision == "float32":
        devices = replace(subject.devices, precision="mixed_bfloat16")
        trials["--train.precision mixed_bfloat16"] = replace(subject, devices=devices)
    batch_size = 2 * subject.config.train.batch_size
    if batch_size <= subject.split.num_examples:
        per_step = " --train.batch_per step" if subject.devices.num_replicas > 1 else ""
        trials[f"--train.batch_size {batch_size}{per_step}"] = subject.with_settings(train={"batch_size": batch_size})
    for flag, changed in trials.items():
        log.info("trying %s", flag)
        yield Attempt(flag, measure_compute(changed)[0].images_per_s)


def measure_peak_flops(devices: Devices) -> float:
    """Returns the floating-point operations a second that large matrix products reach on all devices together."""
    dtype = {"float32": tf.float32, "mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}[devices.precision]
    with tf.device(devices.names[0]):
        matrix = tf.cast(tf.random.stateless_uniform([_MATRIX_SIDE, _MATRIX_SIDE], (0, 0)) / _MATRIX_SIDE, dtype)

        @tf.function(autograph=False)
        def multiply(product: tf.Tensor) -> tf.Tensor:
            for _ in range(_MATRIX_PRODUCTS):
                product = product @ matrix
            return product

        multiply(matrix).numpy()
        best_s = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            multiply(matrix).numpy()
            best_s = min(best_s, time.perf_counter() - started)
    num_devices = devices.num_replicas if devices.is_gpu else 1  # logical CPUs share the same cores
    return num_devices * _MATRIX_PRODUCTS * 2 * _MATRIX_SIDE**3 / best_s


def _peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak_device_bytes(devices: Devices) -> int | None:
    """The most memory TensorFlow has had at once on the first GPU; None on CPUs."""
    return tf.config.experimental.get_memory_info(devices.names[0][1:].upper())["peak"] if devices.is_gpu else None
