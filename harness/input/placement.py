"""Where the pictures of a run are kept, and which engine augments them: data.cache and augment.engine.

Nothing is read or moved here, and no GPU is asked: what is free comes in as numbers, where the pictures are to be goes
out as a Placement. The shares count them once, so whoever reads them must not hold them twice meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2

from harness.base.errors import ConfigError, MemoryLimitError
from harness.base.machine import memory
from harness.config.schema import Config
from harness.config.training_sections import RuntimeConfig
from harness.dataset.records.manifest import Manifest
from harness.distribute.collectives import exchange
from harness.distribute.devices import Devices

KEPT_SPLITS = ("train", "validation")

# What `auto` takes at most. Beside the pictures, memory holds the network, prefetched batches and the file cache, and
# what is free now is shared with other processes.
MEMORY_SHARE = 0.5
# A GPU's memory is for activations and gradients first, which grow with the batch and are not known beforehand.
DEVICE_SHARE = 0.3
# What is taken when asked for. The last tenth is gone with the first batches: above, a run would be killed, not slow.
MOST_SHARE = 0.9
Mode = Literal["device", "memory", "none"]


@dataclass(frozen=True)
class Placement:
    """Where the decoded pictures go, and a line for the log that says so with the numbers that decided."""

    mode: Mode
    reason: str


def place(
    asked: Literal["auto", "device", "memory", "none"],
    *,
    need_bytes: int,
    free_bytes: int,
    device_free_bytes: int | None,
    has_gpu: bool,
    num_replicas: int = 1,
    num_sharing: int = 1,
    limit: str = "",
    words: Literal["free", "in all"] = "free",
) -> Placement:
    """Decides where the decoded pictures go; `asked` is data.cache.

    `need_bytes` is of all splits together, `free_bytes` and `limit` as in Memory, `device_free_bytes` of the GPU that
    has least, None if unknown. `words` say whether the two are what is free or what there is. Every replica holds a
    copy on its device; in memory there is one for all of this process, and `num_sharing` processes have what is free
    in equal parts.

    `auto` takes the GPU up to DEVICE_SHARE of it, else memory up to MEMORY_SHARE, else streams. Without a GPU it never
    takes `device`, which would be the same memory once a replica.

    Raises:
      MemoryLimitError: `device` or `memory` is asked for and would take more than MOST_SHARE of what is free.
    """
    gpus, fullest = ("the GPU",) * 2 if num_replicas == 1 else (f"each of {num_replicas} GPUs", "the fullest GPU")
    device = _Room(device_free_bytes, f"{words} on {fullest}")
    here = f"{words} in {limit}" if limit else words
    if num_sharing > 1:
        here += f" for each of {num_sharing} processes"
    memory = _Room(free_bytes // num_sharing, here, " Or give the job more memory." if limit else "")
    decoded = f"{_format_bytes(need_bytes)} decoded"
    if asked == "none":
        return Placement("none", f"pictures streamed from the records, as data.cache asks: {decoded}, {memory.tell()}")
    if asked == "memory":
        return _place_as_asked("memory", "in memory", need_bytes, memory)
    if asked == "device" and has_gpu:
        return _place_as_asked("device", f"on {gpus}", need_bytes, device)
    if asked == "device":
        where = "on the CPU" if num_replicas == 1 else f"on {num_replicas} devices of the CPU, a copy each"
        return _place_as_asked("device", where, need_bytes * num_replicas, memory)
    if has_gpu and device.holds(need_bytes, DEVICE_SHARE):
        return Placement("device", f"pictures kept on {gpus}: {decoded}, {device.tell()}")
    beside = f"; {device.tell_too_small(DEVICE_SHARE)}" if has_gpu else ""
    if memory.holds(need_bytes, MEMORY_SHARE):
        return Placement("memory", f"pictures kept in memory: {decoded}, {memory.tell()}{beside}")
    return Placement(
        "none", f"pictures streamed from the records: {decoded}, {memory.tell_too_small(MEMORY_SHARE)}{beside}"
    )


@dataclass(frozen=True)
class _Room:
    """What is free somewhere, None if unknown; `words` continue the number, `remedy` ends an error."""

    num_bytes: int | None
    words: str
    remedy: str = ""

    def holds(self, need_bytes: int, share: float) -> bool:
        return self.num_bytes is not None and need_bytes <= share * self.num_bytes

    def tell(self) -> str:
        if self.num_bytes is None:
            return f"unknown how much is {self.words}"
        return f"{_format_bytes(self.num_bytes)} {self.words}"

    def tell_too_small(self, share: float) -> str:
        return self.tell() if self.num_bytes is None else f"over {share * 100:.0f} % of the {self.tell()}"


def _place_as_asked(mode: Mode, where: str, taken_bytes: int, room: _Room) -> Placement:
    taken = _format_bytes(taken_bytes)
    if room.num_bytes is not None and not room.holds(taken_bytes, MOST_SHARE):
        raise MemoryLimitError(
            f"data.cache is {mode}, but the decoded pictures take {taken} {where}, with {room.tell()}: at most "
            f"{MOST_SHARE * 100:.0f} % of that, {_format_bytes(int(MOST_SHARE * room.num_bytes))}, can be theirs. "
            "--data.cache none streams them from the records, auto takes what fits; records built with a smaller "
            f"--records.image_size take less.{room.remedy}"
        )
    return Placement(mode, f"pictures kept {where}, as data.cache asks: {taken} decoded, {room.tell()}")


def _format_bytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


@dataclass(frozen=True)
class Inputs:
    """How pictures reach the devices: where they are kept, and which engine augments them.

    `reasons` say of "cache" and "engine" why they are so.
    """

    cache: Mode
    engine: str  # "host" or "device"
    reasons: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, object]:
        """Returns what is in force as plain values."""
        return {"cache": self.cache, "engine": self.engine}


def plan_inputs(
    config: Config, data: Manifest, devices: Devices, *, earlier: Mapping[str, object] | None = None
) -> Inputs:
    """Decides from measured sizes and free memory where pictures are kept, and which engine augments them.

    Args:
      config: its sections `data` and `augment` are used. With `runtime.deterministic` "auto" goes by the memory there
        is instead of what is free, since streamed pictures come in another order.
      data: the records; the training and the validation split are kept together.
      devices: where to train.
      earlier: what `describe` returned when the run was started, if it goes on: where that was decided here, it is
        decided alike, since streamed pictures come in another order, and another engine rounds otherwise.

    Raises:
      ConfigError: the host's engine is asked for with pictures that never leave the device.
      MemoryLimitError: the pictures shall be kept where they do not fit.
    """
    earlier = earlier or {}
    cache, engine = config.data.cache, config.augment.engine
    if engine == "host" and cache == "device":
        raise ConfigError(
            "augment.engine is host, but data.cache is device: pictures that are kept on the device are augmented "
            "there. Use --data.cache memory, or --augment.engine auto."
        )
    if cache == "auto" and "cache" in earlier:
        placement = _place_as_before(str(earlier["cache"]), data, devices, config.runtime)
    else:
        placement = _place_measured(cache, data, devices, config.runtime)
    mode, reasons = placement.mode, {"cache": placement.reason}
    if engine == "auto":
        engine, reasons["engine"] = _choose_engine(str(earlier.get("engine", "")), mode, devices)
    if engine == "host" and mode == "device":
        mode, reasons["cache"] = "memory", "augment.engine host cannot reach pictures on the device"
    cv2.setNumThreads(1)  # several pictures at a time leave no core to OpenCV's own threads
    return _agree(Inputs(mode, engine, reasons), devices)


def _place_as_before(before: str, data: Manifest, devices: Devices, runtime: RuntimeConfig) -> Placement:
    runtime = runtime.model_copy(update={"deterministic": False})  # what was chosen then must fit into what is free
    try:
        placement = _place_measured(before, data, devices, runtime)
    except MemoryLimitError as error:
        placement = _place_measured("auto", data, devices, runtime)
        reason = f"{placement.reason}; the run goes on, but not to the same bits: {error}"
        return replace(placement, reason=reason)
    return replace(placement, reason=placement.reason.replace("as data.cache asks", "as they were before"))


def _choose_engine(before: str, mode: Mode, devices: Devices) -> tuple[str, str]:
    """Returns the engine and why."""
    if before:
        return before, "as when the run was started"
    if devices.is_gpu:
        return "device", "it takes a GPU hardly any time"
    if mode == "device":
        return "device", "pictures are kept on the device"
    return "host", "OpenCV takes a sixth of the CPU time"


def _agree(inputs: Inputs, devices: Devices) -> Inputs:
    """What all workers can afford: pictures that are kept elsewhere come in another order."""
    told = [text.split() for text in exchange(devices, f"{inputs.cache} {inputs.engine}")]
    mode = min((cache for cache, _ in told), key=("none", "memory", "device").index)
    if mode == inputs.cache:
        return replace(inputs, engine=told[0][1])
    reason = f"another worker can keep pictures in {mode} only" if mode == "memory" else "another worker has to stream"
    return Inputs(mode, told[0][1], inputs.reasons | {"cache": reason})


def _place_measured(asked: str, data: Manifest, devices: Devices, runtime: RuntimeConfig) -> Placement:
    def place_in(asked: str, room: memory.Memory, device_bytes: int | None, words: str) -> Placement:
        """Decides for so much memory, which `words` describe; `device_bytes` are free on each device, None on CPUs."""
        return place(
            asked,
            need_bytes=sum(data.splits[name].num_examples for name in KEPT_SPLITS) * data.image_size**2 * 3,
            free_bytes=room.num_bytes,
            device_free_bytes=device_bytes,
            has_gpu=devices.is_gpu,
            num_replicas=len(devices.names),
            num_sharing=devices.num_local * runtime.runs_per_node,
            limit=room.limit,
            words=words,
        )

    if asked != "auto" or not runtime.deterministic:
        return place_in(asked, memory.measure_free(), devices.free_bytes(), "free")
    placement = place_in(asked, memory.measure_total(), devices.total_bytes(), "in all")
    try:
        place_in(placement.mode, memory.measure_free(), devices.free_bytes(), "free")
    except MemoryLimitError as error:
        raise MemoryLimitError(
            f"with runtime.deterministic data.cache auto goes by the memory there is, not by what is free. {error}"
        ) from None
    return placement
