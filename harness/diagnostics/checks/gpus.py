"""NVIDIA's driver and GPUs, what occupies them, and the CUDA libraries that TensorFlow loads. It imports none."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from harness.base.machine import nvidia_smi
from harness.base.machine.cgroups import read
from harness.base.machine.nvidia_smi import Gpu, GpuProcess, SmiError
from harness.base.text import count, format_bytes
from harness.diagnostics.checks.finding import Finding
from harness.distribute import slurm

GROUP = "gpus"
DRIVER_FILE = Path("/proc/driver/nvidia/version")
_ON_CPU = "--gpus none trains on the CPU."


def check_gpus(
    asked: str, environment: Mapping[str, str], driver_file: Path = DRIVER_FILE, smi_s: float = nvidia_smi.TIMEOUT_S
) -> Iterator[Finding]:
    """Yields the driver, each GPU with what occupies it, and whether CUDA_VISIBLE_DEVICES shows what is there.

    Args:
      asked: the setting runtime.gpus.
      environment: the variables of CUDA and SLURM.
      driver_file: where the driver tells its version, once it is loaded.
      smi_s: seconds for an answer of nvidia-smi.
    """
    try:
        found = nvidia_smi.list_gpus(smi_s)
    except SmiError as error:
        yield _tell_no_answer(str(error), asked, environment, is_loaded=bool(read(driver_file)))
        return
    if not found:
        yield _tell_none(asked, environment, "the driver shows no GPU")
        return
    values = {"version": found[0].driver, "num_gpus": len(found)}
    yield Finding(GROUP, "driver", "ok", f"{found[0].driver}, {count(len(found), 'GPU')}", values=values)
    yield from _check_visible(found, asked, environment)
    try:
        processes: Sequence[GpuProcess] = nvidia_smi.list_processes(smi_s)
    except SmiError as error:
        processes = ()
        yield Finding(GROUP, "processes", "unknown", f"what occupies the GPUs: {error}")
    for gpu in found:
        yield describe_gpu(gpu, [process for process in processes if process.gpu_uuid == gpu.uuid])


def _tell_no_answer(error: str, asked: str, environment: Mapping[str, str], *, is_loaded: bool) -> Finding:
    if error == "there is no nvidia-smi" and not is_loaded:
        return _tell_none(asked, environment, "there is no NVIDIA driver")
    if error == "there is no nvidia-smi":
        fix = "Install the driver's programs; in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility."
        return Finding(GROUP, "driver", "warning", "the driver is loaded, but there is no nvidia-smi to ask", fix)
    fix = f"Have the driver mended (its messages: dmesg), or use another node. {_ON_CPU}"
    return Finding(GROUP, "driver", "warning" if asked in ("none", "0") else "problem", error, fix)


def _tell_none(asked: str, environment: Mapping[str, str], found: str) -> Finding:
    lent = slurm.find_lent_gpus(environment)
    values = {"version": "", "num_gpus": 0}
    if asked in ("none", "0"):
        return Finding(GROUP, "driver", "ok", f"{found}, and none is asked for", values=values)
    if lent:
        fix = f"Use another node, and tell the site: SLURM gave GPUs that are not there. {_ON_CPU}"
        return Finding(GROUP, "driver", "problem", f"{found}, but {'='.join(lent)}", fix, values)
    if asked != "all":
        return Finding(GROUP, "driver", "problem", f"{found}, but --gpus is {asked}", _ON_CPU, values)
    return Finding(GROUP, "driver", "ok", f"{found}: training on the CPU", values=values)


def _check_visible(found: Sequence[Gpu], asked: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return
    shown = nvidia_smi.select_visible(found, named)
    words, values = f"CUDA_VISIBLE_DEVICES={named!r}", {"value": named}
    if shown is None:
        others = "slices of GPUs (MIG)" if "MIG" in named else "what the driver does not show"
        yield Finding(
            GROUP, "visible", "unknown", f"{words} names {others}: TensorFlow shows what they are", values=values
        )
    elif not shown and asked not in ("none", "0"):
        words += f" hides all {len(found)}"
        yield Finding(GROUP, "visible", "warning", words, "unset CUDA_VISIBLE_DEVICES, or say --gpus none.", values)
    else:
        yield Finding(GROUP, "visible", "ok", f"{words} shows {len(shown)} of {len(found)}", values=values)


def describe_gpu(gpu: Gpu, processes: Sequence[GpuProcess]) -> Finding:
    """Returns what a GPU is, and whether others occupy it.

    Args:
      gpu: as the driver shows it.
      processes: those that compute on it.
    """
    name, words = f"gpu {gpu.index}", gpu.name
    words += f", capability {gpu.capability}" if gpu.capability else ""
    words += ", in slices (MIG)" if gpu.is_sliced else ""
    values = {"name": gpu.name, "capability": gpu.capability, "total_bytes": gpu.total_bytes}
    values |= {"free_bytes": gpu.free_bytes, "processes": [process.pid for process in processes]}
    if gpu.total_bytes is None or gpu.free_bytes is None:
        return Finding(GROUP, name, "unknown", f"{words}; the driver does not tell its memory", values=values)
    words += f", {format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
    if processes:
        listed = ", ".join(map(_describe_process, processes[:3]))
        others = f" and {len(processes) - 3} more" if len(processes) > 3 else ""
        fix = "Let them end, or take another GPU with --gpus."
        return Finding(GROUP, name, "warning", f"{words}, in use by {listed}{others}", fix, values)
    if gpu.free_bytes < gpu.total_bytes / 2:
        fix = "See what holds it (nvidia-smi; a container does not see the others' processes), or take another GPU."
        return Finding(GROUP, name, "warning", f"{words}: others hold the rest", fix, values)
    return Finding(GROUP, name, "ok", words, values=values)


def _describe_process(process: GpuProcess) -> str:
    taken = f", {format_bytes(process.used_bytes)}" if process.used_bytes is not None else ""
    return f"{Path(process.name).name} (process {process.pid}{taken})"


def check_libraries(environment: Mapping[str, str], driver_file: Path = DRIVER_FILE) -> Iterator[Finding]:
    """Yields whether the CUDA libraries are there that the installed TensorFlow asks for, from pip or the system.

    Args:
      environment: the variables, for where else libraries are looked for.
      driver_file: where the driver tells its version; without a driver no library is needed.
    """
    from packaging.requirements import Requirement

    try:
        texts = metadata.requires("tensorflow") or []
    except metadata.PackageNotFoundError:
        return
    parsed = [Requirement(text) for text in texts if "and-cuda" in text]
    wanted = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": "and-cuda"})]
    missing = [one.name for one in wanted if not _fits(one)]
    values = {"missing": missing}
    if wanted and not missing:
        yield Finding(
            GROUP, "libraries", "ok", f"all {len(wanted)} of tensorflow[and-cuda] are installed", values=values
        )
    elif not read(driver_file):
        yield Finding(GROUP, "libraries", "ok", "CUDA's are not needed without a driver", values=values)
    else:
        in_system = _find_in_system(environment)
        short = ", ".join(name.removeprefix("nvidia-") for name in missing[:4])
        others = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        words = f"not from pip: {short}{others}; in the system: {', '.join(in_system) or 'none'}"
        fix = "pip install -e '.[gpu]', unless TensorFlow sees the GPUs below."
        yield Finding(GROUP, "libraries", "warning", words, fix, values | {"system": in_system})


def _fits(requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _find_in_system(environment: Mapping[str, str]) -> list[str]:
    """The main CUDA libraries in the folders where the system's loader looks first."""
    named = [folder for folder in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    folders = [*named, "/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]
    found = [
        path.name
        for folder in folders
        for stem in ("libcudart", "libcudnn", "libcublas", "libnccl")
        for path in sorted(Path(folder).glob(f"{stem}.so.*"))[:1]
    ]
    return list(dict.fromkeys(found))
