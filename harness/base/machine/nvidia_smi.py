"""What the NVIDIA driver tells of its GPUs, read from nvidia-smi, which comes with it. It needs no TensorFlow."""

import csv
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TIMEOUT_S = 20  # it can hang on a broken driver, and takes seconds to wake many GPUs
_FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free", "mig.mode.current", "compute_cap")
_PROCESS_FIELDS = ("gpu_uuid", "pid", "process_name", "used_memory")
_MIB = 1 << 20


class SmiError(Exception):
    """nvidia-smi is not there, fails or does not answer; its text says so, as a part of a sentence."""


@dataclass(frozen=True)
class Gpu:
    """A GPU in the driver's words; None and "" where it does not tell."""

    index: int
    uuid: str
    name: str
    driver: str
    total_bytes: int | None
    free_bytes: int | None
    is_sliced: bool  # into several of MIG, each a device of its own
    capability: str


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU, as far as the driver shows it: in a container its number may be another's."""

    gpu_uuid: str
    pid: int
    name: str
    used_bytes: int | None


def list_gpus(timeout_s: float = TIMEOUT_S) -> tuple[Gpu, ...]:
    """Returns all GPUs of the machine, whether CUDA_VISIBLE_DEVICES shows them or not.

    Raises:
      SmiError: nvidia-smi is not there, fails, does not answer in time, or prints something else.
    """
    try:
        return parse_gpus(_ask("gpu", _FIELDS, timeout_s))
    except SmiError as error:
        if "not a valid field" not in str(error):
            raise
    return parse_gpus(_ask("gpu", _FIELDS[:-1], timeout_s))  # drivers before 510 do not know the last


def list_processes(timeout_s: float = TIMEOUT_S) -> tuple[GpuProcess, ...]:
    """Returns the processes that compute on any GPU.

    Raises:
      SmiError: as `list_gpus` does.
    """
    return parse_processes(_ask("compute-apps", _PROCESS_FIELDS, timeout_s))


def _ask(what: str, fields: Sequence[str], timeout_s: float) -> str:
    command = ["nvidia-smi", f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise SmiError("there is no nvidia-smi") from None
    except OSError as error:
        raise SmiError(f"nvidia-smi cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SmiError(f"nvidia-smi did not answer within {timeout_s:g} s") from None
    if done.returncode:
        told = " ".join((done.stdout + done.stderr).split())
        raise SmiError(f"nvidia-smi fails with {done.returncode}: {told[:200]}".rstrip(": "))
    return done.stdout


def parse_gpus(told: str) -> tuple[Gpu, ...]:
    """Returns the GPUs of the lines that a query of `index, uuid, name, …` prints.

    Raises:
      SmiError: it prints something else.
    """
    found = []
    for row in _rows(told, len(_FIELDS) - 1):
        index, uuid, name, driver, total, free, mig, *capability = row
        if not index.isdecimal():
            raise SmiError(f"nvidia-smi prints {', '.join(row)[:200]!r} in place of a GPU")
        shown = capability[0] if capability and capability[0].replace(".", "", 1).isdecimal() else ""
        found.append(Gpu(int(index), uuid, name, driver, _bytes(total), _bytes(free), mig == "Enabled", shown))
    return tuple(found)


def parse_processes(told: str) -> tuple[GpuProcess, ...]:
    """Returns the processes of the lines that a query of `gpu_uuid, pid, process_name, used_memory` prints.

    Raises:
      SmiError: it prints something else.
    """
    rows = _rows(told, len(_PROCESS_FIELDS))
    return tuple(GpuProcess(row[0], int(row[1]), row[2], _bytes(row[3])) for row in rows if row[1].isdecimal())


def _rows(told: str, least: int) -> list[list[str]]:
    lines = [line for line in told.splitlines() if line.strip()]
    if lines and lines[0].startswith("No devices were found"):
        return []
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    except csv.Error as error:  # a zero byte, in Python 3.10
        raise SmiError(f"nvidia-smi prints no table: {error}") from None
    if wrong := [row for row in rows if not least <= len(row) <= least + 1]:
        raise SmiError(f"nvidia-smi prints {', '.join(wrong[0])[:200]!r} in place of {least} values")
    return rows


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * _MIB if mebibytes.isdecimal() else None


def select_visible(gpus: Sequence[Gpu], visible: str | None) -> tuple[Gpu, ...] | None:
    """Returns the GPUs that CUDA shows; None where it names something else, such as slices of a GPU (MIG).

    Args:
      gpus: all of the machine.
      visible: CUDA_VISIBLE_DEVICES, indices or beginnings of UUIDs; None for all.
    """
    if visible is None:
        return tuple(gpus)
    parts = [part.strip() for part in visible.split(",") if part.strip()]
    if parts and parts[0] == "-1":
        return ()
    found = [next((gpu for gpu in gpus if _is_named(part, gpu)), None) for part in parts]
    known = tuple(gpu for gpu in found if gpu is not None)
    return known if len(known) == len(found) else None


def _is_named(part: str, gpu: Gpu) -> bool:
    return part == str(gpu.index) if part.isdecimal() else gpu.uuid.startswith(part)


def find_least(gpus: Sequence[Gpu], visible: str | None, kind: Literal["free", "total"]) -> int | None:
    """Returns the memory in bytes of the visible GPU that has least; None where there is none, or one does not tell.

    Args:
      gpus: all of the machine.
      visible: CUDA_VISIBLE_DEVICES.
      kind: which memory.
    """
    found = [gpu.free_bytes if kind == "free" else gpu.total_bytes for gpu in select_visible(gpus, visible) or ()]
    known = [num_bytes for num_bytes in found if num_bytes is not None]
    return min(known) if known and len(known) == len(found) else None
