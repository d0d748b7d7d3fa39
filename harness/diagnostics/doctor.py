"""Examines this machine for a training: which checks there are, in which order, each with its limit.

What needs no TensorFlow comes first and takes less than two seconds. What does is tried in processes that are forked
from one that has imported it.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.base.machine import nvidia_smi
from harness.config.schema import Config
from harness.diagnostics import isolation
from harness.diagnostics.checks import (
    cluster,
    devices,
    gpus,
    machine,
    memory,
    packages,
    records,
    storage,
    training,
)
from harness.diagnostics.checks.finding import Finding
from harness.diagnostics.isolation import Check
from harness.distribute.cluster import find_cluster

_FILES_S = 20.0  # a cold network file system takes its time
_DEVICES_S, _SUM_S, _TRAINING_S = 300.0, 120.0, 300.0  # a new kind of GPU compiles for minutes
_ALL_S = 60 + max(_DEVICES_S, _SUM_S, _TRAINING_S)  # each of them is given up before the process it is forked from
_SMI_S = 4 * nvidia_smi.TIMEOUT_S  # it is asked up to three times
_VERIFY_S = 6 * 3600.0
_SILENT_DISK = (
    "Its file system hangs: see whether its server answers, and use another folder until then. What begins with "
    f"{storage.PREFIX} there may be removed."
)
_SILENT_GPU = "The driver hangs: see dmesg, use another node. --gpus none trains on the CPU."
_SILENT_NAMES = "Looking up the names of nodes hangs: see /etc/resolv.conf, or give addresses in TF_CONFIG."
_SILENT_STEP = "A GPU, the network between nodes or a file system hangs: the checks above may say which."


@dataclass(frozen=True)
class Request:
    """The training that is about to be started, and what else was asked for.

    Attributes:
      config: the resolved config with its run folder.
      environment: the variables it would be started with.
      names_records: whether the records were named, so that they should be there.
      verify: whether every byte of the records is read.
      sums_with_others: whether all tasks of SLURM's step are examined at the same time, and can sum up together.
    """

    config: Config
    environment: Mapping[str, str]
    names_records: bool = False
    verify: bool = False
    sums_with_others: bool = False


def examine_quickly(request: Request) -> Iterator[tuple[Finding, ...]]:
    """Yields what is found without TensorFlow, check by check. Must be called where no other thread runs."""
    yield from isolation.run(list_quick_checks(request))


def list_quick_checks(request: Request) -> tuple[Check, ...]:
    """Returns the checks that need no TensorFlow, in the order they are shown."""
    config, environment = request.config, request.environment
    run, folder, asked = config.train.run, config.data.records_folder, config.runtime.gpus
    look_at_folder = partial(storage.check_folder, "records", folder, beside=run)
    look_at_records = partial(records.check_records, folder, config.data.images, is_asked=request.names_records)
    stage = config.data.stage
    look_at_stage = partial(records.check_stage, stage, environment)
    return (
        Check(packages.GROUP, "packages", packages.check_packages, _FILES_S, _SILENT_DISK),
        Check(machine.GROUP, "system", partial(machine.check_system, time.time())),
        Check(machine.GROUP, "processor", partial(machine.check_processors, environment)),
        Check(memory.GROUP, "memory", partial(memory.check_memory, environment)),
        Check(memory.GROUP, "shared memory", memory.check_shared_memory),
        Check(memory.GROUP, "limits", memory.check_limits),
        Check(gpus.GROUP, "driver", partial(gpus.check_gpus, asked, environment), _SMI_S, _SILENT_GPU),
        Check(gpus.GROUP, "libraries", partial(gpus.check_libraries, environment), _FILES_S, _SILENT_DISK),
        Check(storage.GROUP, "run", partial(storage.check_folder, "run", run), _FILES_S, _SILENT_DISK),
        Check(storage.GROUP, "records", look_at_folder, _FILES_S, _SILENT_DISK),
        *([Check(storage.GROUP, "stage", look_at_stage, _FILES_S, _SILENT_DISK)] if stage is not None else []),
        Check(cluster.GROUP, "tasks", partial(cluster.check_cluster, environment), _FILES_S, _SILENT_NAMES),
        Check(records.GROUP, "manifest", look_at_records, 60.0, _SILENT_DISK),
    )


def examine_thoroughly(request: Request) -> Iterator[tuple[Finding, ...]]:
    """Yields what is found with TensorFlow, and of the records' bytes. Must be called where no other thread runs."""
    yield from isolation.run([Check(devices.GROUP, "import", partial(_try_all, request), _ALL_S, _SILENT_DISK)])
    if request.verify and isinstance(request.config.data.records_folder, Path):
        look = partial(records.check_bytes, request.config.data.records_folder)
        yield from isolation.run([Check(records.GROUP, "every byte", look, _VERIFY_S, _SILENT_DISK)])


def _try_all(request: Request) -> Iterator[Finding]:
    """Imports TensorFlow, and then has each check done in a process that is forked off, one after the other."""
    imported = list(devices.check_import())
    yield from imported
    if any(finding.status == "problem" for finding in imported):
        return
    config = request.config
    tasks = find_cluster(request.environment) if request.sums_with_others else None
    look_at_training = partial(training.check_training, config, num_tasks=tasks.num_tasks if tasks else 1)
    for check in (
        Check(devices.GROUP, "devices", partial(devices.check_devices, config), _DEVICES_S, _SILENT_GPU),
        Check(devices.GROUP, "all-reduce", partial(devices.check_sum, config, tasks), _SUM_S, _SILENT_STEP),
        Check(training.GROUP, "step", look_at_training, _TRAINING_S, _SILENT_STEP),
    ):
        for found in isolation.run([check], is_nested=True):
            yield from found
