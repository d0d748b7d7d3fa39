"""The machine, its processors, memory and limits, on trees of files as various machines have them."""

import time
from pathlib import Path

import pytest
from conftest import run_python
from hypothesis import given
from hypothesis import strategies as st

from harness.base.machine.processors import Quota
from harness.diagnostics.checks import machine, memory

DAY_S = 86400
AMD = "processor\t: 0\nmodel name\t: AMD EPYC 9V74\nflags\t\t: fpu avx avx2 avx512f avx512_bf16\n"


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_a_date_before_the_package_was_there_is_a_warning(tmp_path):
    package = tmp_path / "__init__.py"
    package.touch()
    system, date = machine.check_system(1000.0, package)
    assert system.status == "ok" and system.values["host"]
    assert date.status == "warning" and date.found.startswith("1970-01-01 ") and "NTP" in date.fix
    assert list(machine.check_system(time.time(), package))[1].status == "ok"


def kind_of(tmp_path, cpuinfo):
    write(tmp_path / "cpuinfo", cpuinfo)
    return next(iter(machine.check_processors({}, tmp_path, tmp_path)))


def test_what_processors_can_do_is_named(tmp_path):
    found = kind_of(tmp_path, AMD)
    assert (found.status, found.found) == ("ok", "AMD EPYC 9V74: AVX-512, bfloat16 by AVX-512-BF16")
    assert found.values["instructions"] == ["AVX", "AVX2", "AVX-512", "AVX-512-BF16"]
    assert kind_of(tmp_path, "model name: Old\nflags: fpu avx\n").found == (
        "Old: AVX, no bfloat16 (neither AVX-512-BF16 nor AMX-BF16)"
    )


def test_processors_without_avx_are_a_problem(tmp_path):
    assert kind_of(tmp_path, "model name: Older\nflags: fpu sse2\n").status == "problem"


@pytest.mark.parametrize("cpuinfo", ["", "Features\t: fp asimd bf16\n"])
def test_processors_that_do_not_tell_are_unknown(tmp_path, cpuinfo):
    assert kind_of(tmp_path, cpuinfo).status == "unknown"


@pytest.mark.parametrize(
    ("usable", "there", "quota", "environment", "status", "word"),
    [
        (8, 8, None, {}, "ok", "8 of 8 processors may be used"),
        (1, 1, None, {}, "ok", "1 of 1 processor may be used"),
        (4, 8, None, {"SLURM_CPUS_PER_TASK": "4"}, "ok", "as SLURM lent a task 4"),
        (8, 8, Quota(2.0, "this container"), {}, "warning", "this container allows the time of 2"),
        (2, 8, Quota(2.0, "this container"), {}, "ok", "2 of 8"),
        (64, 64, None, {"SLURM_CPUS_PER_TASK": "16"}, "warning", "SLURM lent 16 a task"),
        (1, 64, None, {"SLURM_CPUS_PER_TASK": "16"}, "warning", "SLURM_CPUS_PER_TASK says 16"),
        (1, 64, None, {"SLURM_CPUS_ON_NODE": "32"}, "warning", "SLURM lent 32 of this node"),
        (8, 8, None, {"SLURM_CPUS_PER_TASK": "many"}, "ok", "8 of 8"),
    ],
)
def test_cores_are_compared_with_what_was_lent(usable, there, quota, environment, status, word):
    found = machine.check_cores(usable, there, quota, environment)
    assert found.status == status and word in found.found and bool(found.fix) == (status == "warning")


def memory_of(tmp_path, available_kb, environment=(), **files):
    write(tmp_path / "proc/meminfo", f"MemTotal: 32000000 kB\nMemAvailable: {available_kb} kB\nSwapTotal: 0 kB")
    for name, text in files.items():
        write(tmp_path / name.replace("__", "/").replace("_dot_", "."), text)
    (found,) = memory.check_memory(dict(environment), tmp_path / "proc", tmp_path / "cgroup")
    return found


def test_free_memory_is_told_with_what_limits_it(tmp_path):
    found = memory_of(tmp_path, 16_000_000)
    assert (found.status, found.found) == ("ok", "16 GB free of 33 GB; no swap")
    write(tmp_path / "cgroup/job/memory.max", 4_000_000_000)
    found = memory_of(tmp_path, 16_000_000, proc__self__cgroup="0::/job")
    assert (found.status, found.found) == ("ok", "4.0 GB free of 33 GB, limited by cgroup /job; no swap")
    assert found.values["cgroup_bytes"] == 4_000_000_000


@pytest.mark.parametrize(("kilobytes", "status"), [(3_000_000, "ok"), (1_500_000, "warning"), (500_000, "problem")])
def test_little_memory_is_told(tmp_path, kilobytes, status):
    assert memory_of(tmp_path, kilobytes).status == status


def test_memory_that_slurm_lent_and_nothing_holds_is_a_warning(tmp_path):
    found = memory_of(tmp_path, 16_000_000, {"SLURM_MEM_PER_NODE": "8000"})
    assert found.status == "warning" and "SLURM lent 8.4 GB and no cgroup" in found.found and "--mem" in found.fix


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "4000"}, 4000 << 20),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_ON_NODE": "4"}, 8000 << 20),
        ({"SLURM_MEM_PER_CPU": "2000"}, None),
        ({"SLURM_MEM_PER_NODE": "4G"}, None),
        ({}, None),
    ],
)
def test_slurms_memory_is_read(environment, expected):
    assert memory.find_slurm_bytes(environment) == expected


def test_a_machine_that_tells_nothing_raises_nothing(tmp_path):
    nowhere = tmp_path / "nothing"
    assert next(machine.check_processors({}, nowhere, nowhere)).status == "unknown"
    assert len(list(memory.check_memory({}, nowhere, nowhere))) == 1
    assert [one.name for one in memory.check_limits(nowhere, nowhere)] == ["open files", "processes"]


@given(st.binary(max_size=80), st.text(max_size=20))
def test_files_and_variables_of_any_content_raise_nothing(tmp_path_factory, content, value):
    root = tmp_path_factory.mktemp("any")
    for name in ("cpuinfo", "meminfo", "self/cgroup", "cpu.max", "memory.max", "pids.max"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "self" / "cgroup").write_bytes(b"0::/\n" + content)
    names = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU")
    environment = dict.fromkeys(names, value)
    for look in (machine.check_processors, memory.check_memory):
        assert list(look(environment, root, root))
    assert list(memory.check_limits(root, root))


def test_shared_memory_is_looked_at_where_it_is(tmp_path, small_disk):
    (found,) = memory.check_shared_memory(small_disk)
    assert found.status == "warning" and "free of 2.1 MB" in found.found and "--shm-size" in found.fix
    (found,) = memory.check_shared_memory(tmp_path / "missing")
    assert found.status == "warning" and "No such file" in found.found


def test_few_open_files_are_a_warning():
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))\n"
        "from harness.diagnostics.checks import memory\n"
        "found = next(memory.check_limits()); print(found.status, found.found, found.fix)"
    )
    assert run_python(program).stdout == "warning 200 open files (at most 300) ulimit -n 300\n"


def test_processes_are_counted_within_their_cgroup(tmp_path):
    write(tmp_path / "self/cgroup", "0::/job")
    write(tmp_path / "job/pids.max", 600)
    write(tmp_path / "job/pids.current", 500)
    found = list(memory.check_limits(tmp_path, tmp_path))[1]
    assert (found.status, found.found) == ("warning", "100 processes and threads")
