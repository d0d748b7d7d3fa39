"""GPUs as the doctor tells them. There is none here: programs stand in for nvidia-smi and print what it was seen to."""

import os

import pytest

from harness.base.machine.nvidia_smi import Gpu, GpuProcess
from harness.diagnostics.checks import gpus

H100 = "NVIDIA H100 80GB HBM3, 550.54.15, 81559"
TWO = f"0, GPU-aaa1, {H100}, 81000, Disabled, 9.0\n1, GPU-bbb2, {H100}, 20000, Disabled, 9.0"
GB = 1_000_000_000


@pytest.fixture
def look(tmp_path, monkeypatch):
    """A function that looks at a machine whose nvidia-smi is a shell script; None for no such program."""
    driver_file = tmp_path / "version"

    def look_with(script, asked="all", environment=(), *, is_loaded=False, smi_s=20.0):
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin" if script else str(tmp_path))
        if script:
            (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "nvidia-smi").chmod(0o755)
        if is_loaded:
            driver_file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15\n")
        found = gpus.check_gpus(asked, dict(environment), driver_file, smi_s)
        return {finding.name: finding for finding in found}

    return look_with


def print_of(listed: str, processes: str = "") -> str:
    return f'case "$1" in *query-gpu*) echo "{listed}";; *) echo "{processes}";; esac'


def test_gpus_are_told_with_what_occupies_them(look):
    found = look(print_of(TWO, "GPU-bbb2, 4242, /usr/bin/python3, 60000"))
    assert list(found) == ["driver", "gpu 0", "gpu 1"]
    assert (found["driver"].status, found["driver"].found) == ("ok", "550.54.15, 2 GPUs")
    assert (found["gpu 0"].status, found["gpu 0"].found) == (
        "ok",
        "NVIDIA H100 80GB HBM3, capability 9.0, 85 GB free of 86 GB",
    )
    assert (found["gpu 1"].status, found["gpu 1"].found) == (
        "warning",
        "NVIDIA H100 80GB HBM3, capability 9.0, 21 GB free of 86 GB, in use by python3 (process 4242, 63 GB)",
    )


def test_memory_that_nobody_seems_to_hold_is_told():
    gpu = Gpu(0, "GPU-a", "Tesla T4", "535.1", 16 * GB, 5 * GB, False, "7.5")
    found = gpus.describe_gpu(gpu, [])
    assert found.status == "warning" and found.found.endswith("5.0 GB free of 16 GB: others hold the rest")


def test_many_processes_are_cut_short():
    gpu = Gpu(0, "GPU-a", "Tesla T4", "535.1", 16 * GB, 15 * GB, False, "")
    found = gpus.describe_gpu(gpu, [GpuProcess("GPU-a", pid, "[Not Found]", None) for pid in range(5)])
    assert found.found.endswith("(process 2) and 2 more") and found.values["processes"] == [0, 1, 2, 3, 4]


def test_a_gpu_without_figures_is_unknown():
    found = gpus.describe_gpu(Gpu(0, "GPU-a", "Orin", "540.3", None, None, False, ""), [])
    assert (found.status, found.found) == ("unknown", "Orin; the driver does not tell its memory")
    sliced = gpus.describe_gpu(Gpu(0, "GPU-a", "A100", "535.1", 40 * GB, 40 * GB, True, "8.0"), [])
    assert "in slices (MIG)" in sliced.found


@pytest.mark.parametrize(
    ("asked", "environment", "status", "word"),
    [
        ("all", {}, "ok", "training on the CPU"),
        ("none", {}, "ok", "none is asked for"),
        ("2", {}, "problem", "but --gpus is 2"),
        ("0,1", {}, "problem", "but --gpus is 0,1"),
        ("all", {"SLURM_JOB_GPUS": "0,1"}, "problem", "but SLURM_JOB_GPUS=0,1"),
        ("all", {"SLURM_JOB_GPUS": "0"}, "problem", "but SLURM_JOB_GPUS=0"),
        ("none", {"SLURM_JOB_GPUS": "0,1"}, "ok", "none is asked for"),
        ("all", {"SLURM_GPUS_ON_NODE": "0"}, "ok", "training on the CPU"),
    ],
)
def test_no_gpu_matters_if_one_is_asked_for(look, asked, environment, status, word):
    for script, what in ((None, "there is no NVIDIA driver"), ("echo 'No devices were found'", "the driver shows no")):
        found = look(script, asked, environment)
        assert list(found) == ["driver"] and found["driver"].status == status
        assert found["driver"].found.startswith(what) and word in found["driver"].found


def test_a_driver_without_its_programs_is_a_warning(look):
    found = look(None, is_loaded=True)["driver"]
    assert found.status == "warning" and "NVIDIA_DRIVER_CAPABILITIES" in found.fix


@pytest.mark.parametrize(("asked", "status"), [("all", "problem"), ("none", "warning")])
def test_a_driver_that_fails_or_hangs_is_told(look, asked, status):
    broken = "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"
    found = look(broken, asked)["driver"]
    assert found.status == status and found.found.endswith(
        "18: Failed to initialize NVML: Driver/library version mismatch"
    )
    found = look("exec sleep 60", asked, smi_s=0.2)["driver"]
    assert (found.status, found.found) == (status, "nvidia-smi did not answer within 0.2 s")


@pytest.mark.parametrize(
    ("visible", "asked", "status", "word"),
    [
        ("-1", "all", "warning", "hides all 2"),
        ("", "1", "warning", "hides all 2"),
        ("-1", "none", "ok", "shows 0 of 2"),
        ("1", "all", "ok", "shows 1 of 2"),
        ("MIG-7f", "all", "unknown", "slices of GPUs (MIG)"),
        ("5", "all", "unknown", "what the driver does not show"),
    ],
)
def test_what_cuda_is_told_to_see_is_compared(look, visible, asked, status, word):
    found = look(print_of(TWO), asked, {"CUDA_VISIBLE_DEVICES": visible})["visible"]
    assert found.status == status and word in found.found


def test_processes_that_cannot_be_asked_for_are_unknown(look):
    found = look(f'case "$1" in *query-gpu*) echo "{TWO}";; *) exit 3;; esac')
    assert found["processes"].status == "unknown" and found["gpu 0"].status == "ok"


def test_libraries_matter_with_a_driver_only(tmp_path):
    (found,) = gpus.check_libraries({}, tmp_path / "missing")
    assert found.status == "ok"
    (tmp_path / "version").write_text("NVRM version: 550\n")
    (tmp_path / "libcudnn.so.9").touch()
    (found,) = gpus.check_libraries({"LD_LIBRARY_PATH": str(tmp_path)}, tmp_path / "version")
    if found.status == "ok":
        pytest.skip("the packages of tensorflow[and-cuda] are installed here")
    assert found.status == "warning" and "libcudnn.so.9" in found.found and ".[gpu]" in found.fix
    assert "nvidia-cudnn-cu12" in found.values["missing"]
