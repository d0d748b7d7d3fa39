"""The machine: its system and date, its processors, and how many of them cgroups and SLURM lend this process."""

import os
import platform
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.base.machine import cgroups as own_cgroups
from harness.base.machine import processors
from harness.base.machine.cgroups import read
from harness.base.machine.processors import Quota
from harness.base.text import count
from harness.diagnostics.checks.finding import Finding

GROUP = "machine"
_DAY_S = 86400
_SLURM_COUNT = re.compile(r"([0-9]{1,6})(?:\(x[0-9]+\))?(?:,.*)?")


def check_system(now: float, package: Path = Path(__file__)) -> Iterator[Finding]:
    """Yields what the system is, and whether its date can be true.

    Args:
      now: what its clock says, in seconds since 1970.
      package: a file that was there before now.
    """
    found = {"host": socket.gethostname(), "system": platform.system(), "kernel": platform.release()}
    found["architecture"] = platform.machine()
    yield Finding(GROUP, "system", "ok", f"{found['system']} {found['kernel']}, {found['architecture']}", values=found)
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    written = package.stat().st_mtime
    if now < written - _DAY_S:
        than = time.strftime("%Y-%m-%d", time.localtime(written))
        fix = "Set the clock, best by NTP (timedatectl set-ntp true): events and locks go by the time."
        yield Finding(GROUP, "date", "warning", f"{shown}, but harness' own files are of {than}", fix, {"time": now})
    else:
        yield Finding(GROUP, "date", "ok", shown, values={"time": now})


def check_processors(
    environment: Mapping[str, str], proc: Path = Path("/proc"), cgroups: Path = own_cgroups.ROOT
) -> Iterator[Finding]:
    """Yields the kind of the processors and how many this process may use.

    Args:
      environment: the variables, for SLURM's.
      proc: where the system tells of its processors.
      cgroups: where cgroups are mounted.
    """
    cpuinfo = read(proc / "cpuinfo")
    yield _check_kind(cpuinfo)
    usable, there = processors.count_usable(), os.cpu_count() or 1
    yield check_cores(usable, there, processors.find_quota(proc, cgroups), environment)


def _check_kind(cpuinfo: str) -> Finding:
    model = processors.find_model(cpuinfo) or platform.processor() or platform.machine()
    flags, short = processors.list_flags(cpuinfo), processors.find_instructions(cpuinfo)
    names = {"avx": "AVX", "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512-BF16", "amx_bf16": "AMX-BF16"}
    known = [name for flag, name in names.items() if flag in flags]
    values = {"model": model, "instructions": known}
    if not flags:
        return Finding(GROUP, "processor", "unknown", f"{model}; the system does not say what it can do", values=values)
    if "avx" not in flags:
        fix = "Use a newer machine, or a virtual one that passes AVX on: TensorFlow's packages are built with it."
        return Finding(GROUP, "processor", "problem", f"{model}, without AVX", fix, values)
    words = f"bfloat16 by {short}" if short else "no bfloat16 (neither AVX-512-BF16 nor AMX-BF16)"
    best = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "AVX"
    return Finding(GROUP, "processor", "ok", f"{model}: {best}, {words}", values=values)


def check_cores(usable: int, there: int, quota: Quota | None, environment: Mapping[str, str]) -> Finding:
    """Returns whether the processors that this process may run on are those that it was lent.

    TensorFlow starts a thread for each that it may run on, whatever its time on them.

    Args:
      usable: processors that this process may run on.
      there: those of the machine.
      quota: the CPU time that a cgroup allows.
      environment: the variables, for SLURM's.
    """
    per_task, on_node = (_slurm_number(environment, name) for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"))
    values = {"usable": usable, "there": there, "quota": quota and quota.processors}
    values |= {"slurm_cpus_per_task": per_task, "slurm_cpus_on_node": on_node}
    found = f"{usable} of {count(there, 'processor')} may be used"
    problem = fix = ""
    if quota and quota.processors < usable - 0.5:
        problem = f"{quota.limit} allows the time of {quota.processors:g}: their threads take turns"
        fix = f"Bind it to as many as it has time for: taskset -c 0-{max(1, round(quota.processors)) - 1} python …"
    elif per_task and usable > per_task:
        problem = f"SLURM lent {per_task} a task (SLURM_CPUS_PER_TASK) and binds none"
        fix = f"Keep to them, lest other jobs are slowed down: srun --cpu-bind=cores, or taskset -c 0-{per_task - 1}"
    elif per_task and usable < per_task:
        problem = f"SLURM_CPUS_PER_TASK says {per_task}"
        fix = "srun no longer inherits it: export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK before srun."
    elif on_node and not per_task and usable == 1 < on_node:
        problem = f"SLURM lent {on_node} of this node to the job"
        fix = f"Ask for them in each step: srun --cpus-per-task={on_node}"
    if problem:
        return Finding(GROUP, "cores", "warning", f"{found}, but {problem}", fix, values)
    lent = f", as SLURM lent a task {per_task}" if per_task else ""
    return Finding(GROUP, "cores", "ok", f"{found}{lent}", values=values)


def _slurm_number(environment: Mapping[str, str], name: str) -> int | None:
    match = _SLURM_COUNT.fullmatch(environment.get(name, ""))
    return int(match[1]) if match else None
