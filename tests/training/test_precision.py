"""The precision of a run: what a CPU is told to have, what tried steps speak for, and that nothing else changes."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMOKE, command_environment, name_tasks, run_command
from hypothesis import given
from hypothesis import strategies as st

from harness.config import settings
from harness.config.schema import Config
from harness.config.settings import Setting
from harness.config.training_sections import ModelConfig, RuntimeConfig, TrainConfig
from harness.dataset.records import manifest
from harness.distribute.devices import Devices
from harness.models.network import build_model
from harness.runs import identity
from harness.runs.workdir import Workdir
from harness.training import precision
from harness.training.precision import Timing

WITH_BOTH = "processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n"
WITH_ONE = "processor\t: 0\nflags\t\t: fpu avx512_bf16\nbugs\t\t: spectre_v1\n"
WITHOUT = "processor\t: 0\nflags\t\t: fpu avx512f\n"


def timings(*pairs):
    return [Timing(wall_ms / 1000, cpu_ms / 1000) for wall_ms, cpu_ms in pairs]


def test_steps_that_are_clearly_faster_speak_for_bfloat16():
    exact, short = timings((44, 80), (45, 82), (43, 79)), timings((31, 60), (33, 62), (32, 61))
    assert precision.compare(exact, short, "AVX-512-BF16") == (
        "mixed_bfloat16",
        "this CPU has AVX-512-BF16; tried here, a step takes 32.0 ms in bfloat16, 44.0 in float32",
    )


def test_a_gain_within_noise_does_not():
    exact, short = timings((44, 80), (44, 80), (44, 80)), timings((41, 75), (42, 74), (41, 73))
    assert precision.compare(exact, short, "AMX-BF16") == (
        "float32",
        "AMX-BF16 gains less than 10%: tried here, a step takes 41.0 ms in bfloat16, 44.0 in float32",
    )


@pytest.mark.parametrize("disturbed", [(200, 80), (44, 300)])
def test_one_disturbed_step_decides_nothing(disturbed):
    calm = [(44, 80)] * 4
    assert precision.compare(timings(disturbed, *calm), timings(*[(43, 79)] * 5), "AMX-BF16")[0] == "float32"
    assert precision.compare(timings(*calm, calm[0]), timings(disturbed, *[(30, 55)] * 4), "AMX-BF16")[0] != "float32"


milliseconds = st.integers(10, 200)


@given(st.lists(st.tuples(milliseconds, milliseconds), min_size=3, max_size=5))
def test_the_times_that_are_told_say_what_is_chosen(walls):
    exact, short = (timings(*((wall, 50 - 20 * side) for wall in found)) for side, found in enumerate(zip(*walls)))
    chosen, reason = precision.compare(exact, short, "AMX-BF16")
    after_ms, before_ms = map(float, re.search(r"takes ([\d.]+) ms in bfloat16, ([\d.]+) in", reason).groups())
    assert chosen == "float32" or before_ms > 1.09 * after_ms


@pytest.mark.parametrize("short", [(30, 79), (43, 55)])
def test_the_clock_and_the_cpu_time_have_to_agree(short):
    assert precision.compare(timings((44, 80)), timings(short), "AMX-BF16")[0] == "float32"


@pytest.fixture
def one_cpu():
    return Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32", {"devices": "no GPU found"})


@pytest.fixture
def cpu_like(tmp_path):
    """Returns a function of a text to a file that says it of the processors."""

    def write(text):
        (tmp_path / "cpuinfo").write_text(text)
        return tmp_path / "cpuinfo"

    return write


def test_a_cpu_without_bfloat16_stays_exact(face_records, one_cpu, cpu_like, tmp_path):
    data, expected = manifest.load(face_records), "this CPU has neither AVX-512-BF16 nor AMX-BF16"
    for cpuinfo in (cpu_like(WITHOUT), tmp_path / "missing"):
        settled = precision.settle(Config(), data, one_cpu, cpuinfo=cpuinfo)
        assert settled.precision == "float32"
        assert settled.reasons == {"devices": "no GPU found", "precision": expected}


def test_what_is_asked_for_is_not_tried(face_records, one_cpu, cpu_like):
    asked, data = Config(train=TrainConfig(precision="mixed_bfloat16")), manifest.load(face_records)
    settled = precision.settle(asked, data, one_cpu, cpuinfo=cpu_like(WITHOUT))
    assert settled == replace(one_cpu, precision="mixed_bfloat16")


@pytest.mark.parametrize("asked", ["auto", "mixed_bfloat16"])
def test_no_measured_time_decides_where_runs_shall_be_alike(face_records, one_cpu, cpu_like, asked):
    config = Config(train=TrainConfig(precision=asked), runtime=RuntimeConfig(deterministic=True))
    settled = precision.settle(config, manifest.load(face_records), one_cpu, cpuinfo=cpu_like(WITH_BOTH))
    assert (settled.precision, settled.reasons.get("precision")) == {
        "auto": ("float32", "AMX-BF16 is not tried: with runtime.deterministic no measured time decides"),
        "mixed_bfloat16": ("mixed_bfloat16", None),
    }[asked]


def test_a_network_of_keras_is_not_tried(face_records, one_cpu, cpu_like):
    asked = Config(model=ModelConfig(name="MobileNetV3Small"))
    settled = precision.settle(asked, manifest.load(face_records), one_cpu, cpuinfo=cpu_like(WITH_ONE))
    assert settled.precision == "float32" and settled.reasons["precision"].startswith("MobileNetV3Small is not tried")


def test_a_gpu_keeps_what_its_kind_is_fast_in(face_records, cpu_like):
    reasons = {"precision": "compute capability 7.5"}
    gpu = Devices(tf.distribute.get_strategy(), ("/gpu:0",), "mixed_float16", reasons)
    assert precision.settle(Config(), manifest.load(face_records), gpu, cpuinfo=cpu_like(WITH_ONE)) == gpu


@pytest.mark.parametrize("name", ["emotion_cnn", "residual_cnn"])
def test_a_step_is_tried_and_leaves_nothing_behind(face_records, one_cpu, cpu_like, name):
    def build():
        model = build_model(config.model, num_classes=2, image_size=32, seed=3)
        return [layer.name for layer in model.layers], model.get_weights(), random.random(), np.random.random()

    def settle_seeds():
        keras.backend.clear_session()
        random.seed(1)
        np.random.seed(1)

    config = Config(model=ModelConfig(name=name, widths=(4, 8), dense_units=16), train=TrainConfig(batch_size=4))
    settle_seeds()
    before = build()
    settle_seeds()
    settled = precision.settle(config, manifest.load(face_records), one_cpu, cpuinfo=cpu_like(WITH_ONE))
    after = build()
    assert settled.precision in ("float32", "mixed_bfloat16")
    assert "AVX-512-BF16" in settled.reasons["precision"] and "a step takes " in settled.reasons["precision"]
    assert (after[0], after[2:]) == (before[0], before[2:])
    assert all(np.array_equal(one, other) for one, other in zip(before[1], after[1], strict=True))
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("recorded", ["float32", "mixed_bfloat16"])
def test_a_run_that_goes_on_keeps_its_precision(face_records, tmp_path, recorded):
    stated = {"data.records": Setting(str(face_records), "test"), "train.run": Setting(str(tmp_path / "run"), "test")}
    config, workdir = settings.make_config({**settings.read_file(SMOKE), **stated}), Workdir(tmp_path / "run")
    identity.claim(workdir, config, manifest.load(face_records), effective={"precision": recorded})
    flags = ("--config", SMOKE, "--records", face_records, "--run", workdir.root, "--train.precision", "auto")
    done = run_command("train", *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(workdir.environment.read_text())
    row = {"name": "precision", "asked": "auto", "in_force": recorded, "reason": "as when the run was started"}
    assert found["in_force"]["precision"] == recorded and row in found["settings"]


DISAGREEING = """
import os, sys
from pathlib import Path
from harness.distribute import cluster
from harness.distribute.peers import open_peers
from harness.dataset.records import manifest
from harness.training import precision
from harness.distribute import strategy
from harness.config.schema import Config
from harness.config.training_sections import TrainConfig

tasks = cluster.find_cluster(os.environ)
data, config = manifest.load(Path(sys.argv[1])), Config(train=TrainConfig(batch_size=4))
earlier = {"precision": "mixed_bfloat16"} if tasks.is_chief else None
with open_peers(tasks) as peers:
    devices = precision.settle(
        config, data, strategy.make_devices(config, peers), earlier=earlier, cpuinfo=Path("missing")
    )
    devices.peers.part(None)
print(devices.precision, devices.reasons["precision"], sep="; ")
"""


@pytest.mark.slow
def test_workers_take_what_all_can(face_records):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DISAGREEING, str(face_records)],
            env=command_environment() | task,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for task in name_tasks()
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert said == [
        "float32; worker 1 takes it, and all must take the same\n",
        "float32; this CPU has neither AVX-512-BF16 nor AMX-BF16\n",
    ]
