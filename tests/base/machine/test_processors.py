"""What a machine's processors can do, and how many of them a process may use."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.machine import processors
from harness.base.machine.processors import Quota

WITH_BOTH = "processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n"
WITH_ONE = "processor\t: 0\nflags\t\t: fpu avx512_bf16\nbugs\t\t: spectre_v1\n"
WITHOUT = "processor\t: 0\nflags\t\t: fpu avx512f\n"


@pytest.mark.parametrize(
    ("cpuinfo", "instructions"),
    [
        (WITH_ONE, "AVX-512-BF16"),
        (WITH_BOTH, "AMX-BF16"),
        (WITH_BOTH + WITH_ONE, "AVX-512-BF16"),
        (WITHOUT, ""),
        (WITH_ONE + WITHOUT, ""),
        ("flags\t: avx512_bf16x\n", ""),
        ("Features\t: fp asimd bf16\n", ""),
        ("vmx flags\t: avx512_bf16\n", ""),
        ("", ""),
    ],
)
def test_instructions_are_those_that_all_processors_have(cpuinfo, instructions):
    assert processors.find_instructions(cpuinfo) == instructions


def test_the_model_is_that_of_the_first_processor():
    assert processors.find_model("processor : 0\nmodel name : AMD  EPYC 9V74\nmodel name : other\n") == "AMD EPYC 9V74"
    assert processors.find_model("CPU architecture: 8\n") == ""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_tightest_quota_of_version_2_counts(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/job/step\n")
    write(tmp_path / "cgroup/cpu.max", "max 100000\n")
    write(tmp_path / "cgroup/job/cpu.max", "250000 100000\n")
    write(tmp_path / "cgroup/job/step/cpu.max", "800000 100000\n")
    assert processors.find_quota(tmp_path / "proc", tmp_path / "cgroup") == Quota(2.5, "cgroup /job")


def test_the_quota_of_version_1_is_that_of_its_container(tmp_path):
    write(tmp_path / "proc/self/cgroup", "2:cpuacct:/\n1:cpu:/docker/4f1c\n")
    write(tmp_path / "cgroup/cpu/cpu.cfs_quota_us", "150000\n")
    write(tmp_path / "cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert processors.find_quota(tmp_path / "proc", tmp_path / "cgroup") == Quota(1.5, "this container")


@pytest.mark.parametrize("quota", ["-1\n", "", "many\n"])
def test_no_quota_is_none(tmp_path, quota):
    write(tmp_path / "proc/self/cgroup", "1:cpu:/\n")
    write(tmp_path / "cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path / "cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert processors.find_quota(tmp_path / "proc", tmp_path / "cgroup") is None
    assert processors.find_quota(tmp_path / "missing", tmp_path / "missing") is None


@given(st.binary(max_size=60))
def test_files_of_any_content_raise_nothing(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("any")
    for name in ("self/cgroup", "cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "self" / "cgroup").write_bytes(b"0::/" + content + b"\n1:cpu:/")
    found = processors.find_quota(root, root)
    assert found is None or found.processors > 0
    processors.find_instructions(content.decode(errors="replace"))
