"""The arithmetic of a run: the setting, the devices, and on CPUs a step that is tried -> float32 or fewer bits.

With `runtime.deterministic` no step is tried: what is measured differs from run to run.

Nothing is left of what is tried: the run's weights, seeds and names are as if it had not been.
"""

import random as python_random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from harness.base import progress
from harness.base.machine import processors
from harness.base.machine.cgroups import read
from harness.config import networks
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.distribute.collectives import exchange
from harness.distribute.devices import Devices
from harness.models import cpu_forward
from harness.models.network import build_model, logits_of

_LEAST_GAIN = 1.1  # what is below may be noise, and fewer bits are not for nothing
_MOST_PIXELS = 8 * 256 * 256  # of a step that is tried
_MOST_PAIRS, _LEAST_PAIRS = 5, 3
_MOST_S = 0.5
_BY_BITS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Timing:
    """What one step took: seconds by the clock, and CPU seconds of all threads."""

    wall_s: float
    cpu_s: float


def settle(
    config: Config,
    data: Manifest,
    devices: Devices,
    *,
    earlier: Mapping[str, object] | None = None,
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Devices:
    """Returns the devices with the precision of the run, the same on all workers, and its reason.

    With `train.precision` auto GPUs keep what `make_devices` chose by their kind. A CPU that multiplies bfloat16 takes
    it if a step of the network is clearly faster so, which takes about a second to find out; with
    `runtime.deterministic` it takes float32.

    Args:
      config: its sections `model`, `train` and `runtime` are used.
      data: the records, for the sizes of a step.
      devices: where to train.
      earlier: what is recorded as in force when the run was started, if it goes on: auto stays with that.
      cpuinfo: what Linux says of the processors.

    Raises:
      ClusterError: another worker is gone.
    """
    asked = config.train.precision
    if asked != "auto":
        return _with_precision(devices, asked, "")
    if earlier and "precision" in earlier:
        chosen, reason = str(earlier["precision"]), "as when the run was started"
    elif devices.is_gpu:
        chosen, reason = devices.precision, devices.reasons.get("precision", "")
    else:
        chosen, reason = _choose_on_cpu(config, data, devices, processors.find_instructions(read(cpuinfo)))
    told = exchange(devices, chosen)
    agreed = min(told, key=_BY_BITS.index)
    if agreed != chosen:
        reason = f"worker {told.index(agreed)} takes it, and all must take the same"
    return _with_precision(devices, agreed, reason)


def _with_precision(devices: Devices, precision: str, reason: str) -> Devices:
    others = {name: text for name, text in devices.reasons.items() if name != "precision"}
    return replace(devices, precision=precision, reasons=others | ({"precision": reason} if reason else {}))


def _choose_on_cpu(config: Config, data: Manifest, devices: Devices, instructions: str) -> tuple[str, str]:
    if not instructions:
        return "float32", "this CPU has neither AVX-512-BF16 nor AMX-BF16"
    if config.runtime.deterministic:
        return "float32", f"{instructions} is not tried: with runtime.deterministic no measured time decides"
    if config.model.name in networks.APPLICATIONS:  # seconds to build, twice
        return "float32", f"{config.model.name} is not tried in bfloat16 at the start; python -m harness.bench does so"
    with progress.tell_waiting("trying bfloat16"):
        exact, short = _time_steps(config, data, devices)
    return compare(exact, short, instructions)


def compare(exact: Sequence[Timing], short: Sequence[Timing], instructions: str) -> tuple[str, str]:
    """Returns the precision that steps in turn speak for, and why.

    The gain is the median over pairs, of the clock's or the CPU time's the lesser: other work on the machine disturbs
    the clock, and threads that wait count as CPU time. The times that are told have to say the same.

    Args:
      exact: steps in float32.
      short: steps in bfloat16, each taken right after the one of the same place in `exact`.
      instructions: what multiplies bfloat16.
    """
    by_clock = statistics.median(one.wall_s / other.wall_s for one, other in zip(exact, short, strict=True))
    by_cpu = statistics.median(one.cpu_s / other.cpu_s for one, other in zip(exact, short, strict=True))
    before_ms, after_ms = (1000 * statistics.median(step.wall_s for step in steps) for steps in (exact, short))
    gain = min(by_clock, by_cpu, before_ms / after_ms)
    times = f"tried here, a step takes {after_ms:.1f} ms in bfloat16, {before_ms:.1f} in float32"
    if gain >= _LEAST_GAIN:
        return "mixed_bfloat16", f"this CPU has {instructions}; {times}"
    return "float32", f"{instructions} gains less than {_LEAST_GAIN - 1:.0%}: {times}"


def _time_steps(config: Config, data: Manifest, devices: Devices) -> tuple[list[Timing], list[Timing]]:
    """Times forward and backward passes of two networks of their own, one after the other by turns."""
    size, state = data.image_size, python_random.getstate()
    num_pictures = max(1, min(config.train.batch_size // devices.num_replicas, _MOST_PIXELS // size**2))
    pixels = np.random.default_rng(0).integers(0, 256, (num_pictures, size, size, 3)).astype(np.float32)
    try:
        with tf.device(devices.names[0]):
            images = tf.constant(pixels)
            exact, short = (_make_step(config, data, name, images) for name in ("float32", "mixed_bfloat16"))
            return _take_turns(exact, short)
    finally:
        keras.backend.clear_session()  # or the layers of the run would count on from these in their names
        python_random.setstate(state)  # Keras draws from it the seeds that a layer is not given


def _make_step(config: Config, data: Manifest, precision: str, images: tf.Tensor) -> Callable[[], object]:
    """Returns a compiled step without the optimizer, whose work is in float32 either way."""
    model = build_model(
        config.model,
        num_classes=len(data.class_names),
        image_size=data.image_size,
        seed=config.train.seed,
        precision=precision,
    )
    forward_pass = cpu_forward.make_forward(logits_of(model))

    @tf.function(autograph=False)
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(forward_pass(images))
        return tape.gradient(total, model.trainable_variables)

    step()  # traced
    return step


def _take_turns(first: Callable[[], object], second: Callable[[], object]) -> tuple[list[Timing], list[Timing]]:
    timings, started = ([], []), time.perf_counter()
    for index in range(_MOST_PAIRS):
        if index >= _LEAST_PAIRS and time.perf_counter() - started > _MOST_S:
            break
        for step, found in zip((first, second), timings):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            step()  # on a CPU it returns when all is done
            found.append(Timing(time.perf_counter() - wall_start, time.process_time() - cpu_start))
    return timings
