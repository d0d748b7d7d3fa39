"""What nvidia-smi prints, as it was seen on machines with GPUs, and as it fails."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.machine import nvidia_smi
from harness.base.machine.nvidia_smi import Gpu, GpuProcess, SmiError

TWO = """\
0, GPU-aaa1, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 81000, Disabled, 9.0
1, GPU-bbb2, NVIDIA H100 80GB HBM3, 550.54.15, 81559, 40000, Disabled, 9.0
"""
MIB = 1024 * 1024


def test_gpus_are_read_with_their_memory():
    assert nvidia_smi.parse_gpus(TWO)[1] == Gpu(
        1, "GPU-bbb2", "NVIDIA H100 80GB HBM3", "550.54.15", 81559 * MIB, 40000 * MIB, False, "9.0"
    )


def test_what_a_gpu_does_not_tell_is_none():
    jetson = "0, GPU-ccc3, Orin (nvgpu), 540.3.0, [N/A], [Not Supported], [N/A], [N/A]\n"
    assert nvidia_smi.parse_gpus(jetson) == (Gpu(0, "GPU-ccc3", "Orin (nvgpu)", "540.3.0", None, None, False, ""),)


def test_a_gpu_in_slices_is_said_to_be_one():
    sliced = "0, GPU-ddd4, NVIDIA A100-SXM4-40GB, 535.104.05, 40960, 40300, Enabled, 8.0\n"
    assert nvidia_smi.parse_gpus(sliced)[0].is_sliced


def test_an_old_driver_tells_no_capability():
    old = "0, GPU-eee5, Tesla V100-SXM2-16GB, 418.87.01, 16160, 16150, [N/A]\n"
    assert nvidia_smi.parse_gpus(old)[0].capability == ""


@pytest.mark.parametrize("told", ["", "\n", "No devices were found\n"])
def test_no_devices_are_none(told):
    assert nvidia_smi.parse_gpus(told) == nvidia_smi.parse_processes(told) == ()


@pytest.mark.parametrize(
    "told", ["NVIDIA-SMI has failed\n", "a, b, c, d, e, f, g, h\n", "Unable to determine the device handle: lost\n"]
)
def test_something_else_in_place_of_gpus_is_named(told):
    with pytest.raises(SmiError, match=f"^nvidia-smi prints '{told[:5]}"):
        nvidia_smi.parse_gpus(told)


@given(st.text(max_size=100))
def test_text_of_any_kind_is_read_or_refused(told):
    for parse in (nvidia_smi.parse_gpus, nvidia_smi.parse_processes):
        try:
            parse(told)
        except SmiError as error:
            assert str(error).startswith("nvidia-smi prints ")


def test_processes_are_read_with_what_they_take():
    told = "GPU-aaa1, 4242, /usr/bin/python3, 12034\nGPU-bbb2, 17, [Not Found], [N/A]\n"
    assert nvidia_smi.parse_processes(told) == (
        GpuProcess("GPU-aaa1", 4242, "/usr/bin/python3", 12034 * MIB),
        GpuProcess("GPU-bbb2", 17, "[Not Found]", None),
    )


@pytest.mark.parametrize(
    ("told", "visible", "mebibytes"),
    [
        (TWO, None, 40000),
        (TWO, "0", 81000),
        (TWO, "1", 40000),
        (TWO, "0,1", 40000),
        (TWO, "GPU-aaa1", 81000),
        (TWO, "GPU-bbb", 40000),
        (TWO, "7", None),
        (TWO, "MIG-1234", None),
        (TWO, "", None),
        (TWO, "-1", None),
        (TWO.replace("40000", "[N/A]"), None, None),
        ("", None, None),
    ],
)
def test_the_visible_gpu_with_the_least_free_memory_counts(told, visible, mebibytes):
    found = nvidia_smi.find_least(nvidia_smi.parse_gpus(told), visible, "free")
    assert found == (None if mebibytes is None else mebibytes * MIB)


def test_all_of_the_smallest_gpus_memory_counts_too():
    told = TWO.replace("81559, 40000", "40960, 40000")
    assert nvidia_smi.find_least(nvidia_smi.parse_gpus(told), None, "total") == 40960 * MIB


@pytest.mark.parametrize(
    ("visible", "indices"), [(None, [0, 1]), ("1,0", [1, 0]), ("-1", []), ("", []), ("GPU-b", [1]), ("MIG-7", None)]
)
def test_the_visible_gpus_are_those_that_cuda_names(visible, indices):
    found = nvidia_smi.select_visible(nvidia_smi.parse_gpus(TWO), visible)
    assert (None if found is None else [gpu.index for gpu in found]) == indices


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A function that puts a shell script in the place of nvidia-smi."""

    def put(script: str) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return put


def test_a_driver_that_fails_is_told_in_its_own_words(stand_in):
    stand_in("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    with pytest.raises(SmiError, match=r"^nvidia-smi fails with 18: Failed to initialize NVML: Driver/library version"):
        nvidia_smi.list_gpus()


def test_one_that_hangs_is_not_waited_for(stand_in):
    stand_in("exec sleep 60")
    with pytest.raises(SmiError, match=r"^nvidia-smi did not answer within 0\.2 s$"):
        nvidia_smi.list_gpus(timeout_s=0.2)


def test_a_driver_that_knows_no_capability_is_asked_again_without(stand_in):
    stand_in(
        'case "$1" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\'; exit 2;; esac\n'
        "echo '0, GPU-eee5, Tesla V100-SXM2-16GB, 418.87.01, 16160, 16150, [N/A]'"
    )
    assert [gpu.name for gpu in nvidia_smi.list_gpus()] == ["Tesla V100-SXM2-16GB"]


def test_a_machine_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SmiError, match=r"^there is no nvidia-smi$"):
        nvidia_smi.list_processes()
