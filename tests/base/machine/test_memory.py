"""How much memory there is and is free, of a machine and within cgroups."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.machine.memory import Memory, measure_free, measure_total

NO_LIMIT_V1 = 9223372036854771712
GB = 1_000_000_000
RANK = {"none": 0, "memory": 1, "device": 2}


@pytest.fixture
def proc(tmp_path) -> Path:
    """A machine with 16,000,000 kB available, and a process in no cgroup."""
    write(tmp_path / "proc" / "meminfo", "MemTotal: 32000000 kB\nMemFree: 900 kB\nMemAvailable: 16000000 kB\n")
    return tmp_path / "proc"


@pytest.fixture
def cgroups(tmp_path) -> Path:
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def write_v2(folder: Path, *, limit: object, high: object = "max", used: int = 0, inactive: int = 0) -> None:
    write(folder / "memory.max", limit)
    write(folder / "memory.high", high)
    write(folder / "memory.current", used)
    write(folder / "memory.stat", f"anon 5\nfile 7\ninactive_file {inactive}\nactive_file 3")


def write_v1(folder: Path, *, limit: int, used: int = 0, inactive: int = 0) -> None:
    write(folder / "memory.limit_in_bytes", limit)
    write(folder / "memory.usage_in_bytes", used)
    write(folder / "memory.stat", f"inactive_file 1\nhierarchical_memory_limit {limit}\ntotal_inactive_file {inactive}")


def test_without_cgroups_the_available_memory_is_free(proc, cgroups):
    assert measure_free(proc, cgroups) == Memory(16_384_000_000)
    assert measure_free(proc, cgroups).num_bytes == 16_384_000_000


def test_a_cgroup_leaves_its_limit_less_what_is_used_and_not_reclaimable(proc, cgroups):
    write(proc / "self" / "cgroup", "0::/slurm/job_5")
    write_v2(cgroups / "slurm" / "job_5", limit=4 * GB, used=1 * GB, inactive=300_000_000)
    assert measure_free(proc, cgroups) == Memory(3_300_000_000, "cgroup /slurm/job_5")


def test_the_tightest_parent_decides(proc, cgroups):
    write(proc / "self" / "cgroup", "0::/slurm/job_5/step_0")
    write_v2(cgroups / "slurm", limit=9 * GB, used=7 * GB)
    write_v2(cgroups / "slurm" / "job_5", limit=8 * GB, used=1 * GB)
    write_v2(cgroups / "slurm" / "job_5" / "step_0", limit="max", used=1 * GB)
    assert measure_free(proc, cgroups) == Memory(2 * GB, "cgroup /slurm")


def test_the_limit_from_which_a_cgroup_is_slowed_down_counts(proc, cgroups):
    write(proc / "self" / "cgroup", "0::/user")
    write_v2(cgroups / "user", limit=8 * GB, high=3 * GB, used=1 * GB)
    assert measure_free(proc, cgroups) == Memory(2 * GB, "cgroup /user")


def test_what_there_is_does_not_depend_on_what_is_in_use(proc, cgroups):
    assert measure_total(proc, cgroups) == Memory(32_768_000_000)
    write(proc / "self" / "cgroup", "0::/slurm/job_5")
    write_v2(cgroups / "slurm", limit=9 * GB, high=5 * GB, used=7 * GB)
    for used in (0, 4 * GB):
        write_v2(cgroups / "slurm" / "job_5", limit=4 * GB, used=used)
        assert measure_total(proc, cgroups) == Memory(4 * GB, "cgroup /slurm/job_5")
    write_v2(cgroups / "slurm" / "job_5", limit="max")
    assert measure_total(proc, cgroups) == Memory(5 * GB, "cgroup /slurm")


@pytest.mark.parametrize("limit", ["max", 64 * GB])
def test_a_limit_above_what_the_machine_has_is_none(proc, cgroups, limit):
    write(proc / "self" / "cgroup", "0::/user")
    write_v2(cgroups / "user", limit=limit, used=1 * GB)
    assert measure_free(proc, cgroups) == Memory(16_384_000_000)


def test_a_cgroup_over_its_limit_leaves_nothing(proc, cgroups):
    write(proc / "self" / "cgroup", "0::/user")
    write_v2(cgroups / "user", limit=1 * GB, used=2 * GB)
    assert measure_free(proc, cgroups) == Memory(0, "cgroup /user")


@pytest.mark.parametrize(
    "path", ["/", "/..", "/docker/4f1c", "/../../kubepods/pod7", "/system.slice/docker-4f1c.scope"]
)
def test_in_a_container_without_the_hosts_path_the_root_of_the_mount_counts(proc, cgroups, path):
    write(proc / "self" / "cgroup", f"0::{path}")
    write_v2(cgroups, limit=2 * GB, used=500_000_000)
    write_v2(cgroups / "system.slice", limit=1_000)  # the container's own of this name, where the process is not
    write_v2(cgroups.parent, limit=1_000)  # outside of the mount
    assert measure_free(proc, cgroups) == Memory(1_500_000_000, "this container")


def test_version_1_counts_the_cache_of_its_children_too(proc, cgroups):
    write(proc / "self" / "cgroup", "9:name=systemd:/\n4:memory:/slurm/uid_1000/job_5\n0::/")
    write_v1(cgroups / "memory", limit=NO_LIMIT_V1, used=20 * GB)
    write_v1(cgroups / "memory" / "slurm" / "uid_1000", limit=NO_LIMIT_V1, used=5 * GB)
    write_v1(cgroups / "memory" / "slurm" / "uid_1000" / "job_5", limit=6 * GB, used=5 * GB, inactive=2 * GB)
    assert measure_free(proc, cgroups) == Memory(3 * GB, "cgroup /slurm/uid_1000/job_5")


def test_version_1_in_a_container_counts_the_root_of_its_mount(proc, cgroups):
    write(proc / "self" / "cgroup", "4:memory:/docker/4f1c")
    write_v1(cgroups / "memory", limit=2 * GB, used=1 * GB)
    assert measure_free(proc, cgroups) == Memory(1 * GB, "this container")


def test_version_1_without_limits_leaves_what_the_machine_has(proc, cgroups):
    write(proc / "self" / "cgroup", "4:memory:/user")
    write_v1(cgroups / "memory" / "user", limit=NO_LIMIT_V1, used=5 * GB)
    assert measure_free(proc, cgroups) == Memory(16_384_000_000)


def test_version_2_beside_version_1_is_looked_at(proc, cgroups):
    write(proc / "self" / "cgroup", "3:cpu,cpuacct:/\n0::/user")
    write_v2(cgroups / "unified" / "user", limit=3 * GB, used=1 * GB)
    assert measure_free(proc, cgroups) == Memory(2 * GB, "cgroup /user")


def test_a_cgroup_that_does_not_tell_its_use_leaves_its_limit(proc, cgroups):
    write(proc / "self" / "cgroup", "0::/user")
    write(cgroups / "user" / "memory.max", 3 * GB)
    assert measure_free(proc, cgroups) == Memory(3 * GB, "cgroup /user")


@given(st.binary(max_size=60))
def test_files_of_any_content_raise_nothing(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("any")
    for name in ("meminfo", "self/cgroup", "memory.max", "memory.current", "memory.stat"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "self" / "cgroup").write_bytes(b"0::/" + content)
    assert measure_free(root, root).num_bytes >= 0


def test_a_system_without_proc_tells_its_free_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 1_000_000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert measure_free(tmp_path / "no", tmp_path / "no") == Memory(4_096_000_000)


@pytest.mark.parametrize("known", [{}, {"SC_AVPHYS_PAGES": -1}])
def test_a_system_that_tells_only_all_its_pages_is_thought_half_free(tmp_path, monkeypatch, known):
    def sysconf(name: str) -> int:
        values = {"SC_PHYS_PAGES": 1_000_000, "SC_PAGE_SIZE": 16_384, **known}
        if name not in values:
            raise ValueError("unrecognized configuration name")
        return values[name]

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert measure_free(tmp_path / "no", tmp_path / "no") == Memory(8_192_000_000)


def test_a_system_that_tells_nothing_has_nothing_free(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert measure_free(tmp_path / "no", tmp_path / "no") == Memory(0)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this system has no /proc/meminfo to compare with")
def test_this_machine_has_free_memory_and_no_more_than_it_has_at_all():
    total_kb = next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")
    )
    assert 0 < measure_free().num_bytes <= total_kb * 1024
