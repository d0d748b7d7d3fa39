"""What was asked for beside what is in force."""

import pytest

from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, RuntimeConfig, TrainConfig
from harness.runs import effective_settings
from harness.runs.effective_settings import Row

ONE_CPU = {
    "devices": ("/cpu:0",),
    "strategy": "none",
    "workers": 1,
    "precision": "float32",
    "cache": "memory",
    "engine": "host",
}
TWO_GPUS = ONE_CPU | {
    "devices": ("/gpu:0", "/gpu:1"),
    "strategy": "MirroredStrategy",
    "precision": "mixed_bfloat16",
    "cache": "device",
    "engine": "device",
}


def rows_by_name(config, found, reasons=None):
    return {row.name: row for row in effective_settings.list_rows(config, found, reasons or {})}


def test_the_settings_line_up():
    reasons = {"devices": "no GPU found", "precision": "it is exact", "cache": "it fits", "engine": "it is fast"}
    assert effective_settings.format_rows(effective_settings.list_rows(Config(), ONE_CPU, reasons)).splitlines() == [
        "setting         asked     in force  reason",
        "devices         gpus all  /cpu:0    no GPU found",
        "strategy        -         none      one device needs none",
        "precision       auto      float32   it is exact",
        "XLA             off       off       measured to be 4 to 16 times slower on a CPU",
        "cache           auto      memory    it fits",
        "augment engine  auto      host      it is fast",
        "global batch    16        16",
        "workers         -         1         no tasks of TF_CONFIG or SLURM's step",
    ]


def test_several_devices_share_the_batch_under_a_strategy():
    rows = rows_by_name(Config(train=TrainConfig(batch_size=64)), TWO_GPUS)
    assert rows["devices"] == Row("devices", "gpus all", "/gpu:0 /gpu:1")
    assert rows["strategy"] == Row("strategy", "-", "MirroredStrategy", "2 devices of one process")
    assert rows["XLA"] == Row("XLA", "off", "off", "never under a tf.distribute strategy")
    assert rows["global batch"] == Row("global batch", "64", "64, 32 a replica", "2 replicas")


def test_a_batch_for_each_replica_grows_with_them():
    config = Config(train=TrainConfig(batch_size=64, batch_per="replica"))
    row = rows_by_name(config, TWO_GPUS)["global batch"]
    assert row == Row("global batch", "64 a replica", "128, 64 a replica", "2 replicas")
    assert rows_by_name(config, ONE_CPU)["global batch"] == Row("global batch", "64 a replica", "64")


def test_several_workers_share_it_too():
    found = TWO_GPUS | {"strategy": "MultiWorkerMirroredStrategy", "workers": 4}
    rows = rows_by_name(Config(train=TrainConfig(batch_size=64)), found)
    assert rows["strategy"] == Row("strategy", "-", "MultiWorkerMirroredStrategy", "4 processes")
    assert rows["global batch"] == Row("global batch", "64", "64, 8 a replica", "8 replicas")
    assert rows["workers"] == Row("workers", "-", "4", "tasks of TF_CONFIG or SLURM's step")


def test_a_cpu_that_is_divided_says_so():
    config = Config(runtime=RuntimeConfig(gpus="none", logical_cpus=2))
    found = ONE_CPU | {"devices": ("/cpu:0", "/cpu:1"), "strategy": "MirroredStrategy"}
    assert rows_by_name(config, found)["devices"] == Row("devices", "gpus none, logical_cpus 2", "/cpu:0 /cpu:1")
    assert rows_by_name(config, TWO_GPUS)["devices"].reason == "logical_cpus divides a CPU, and there are GPUs"


def test_whether_xla_helps_on_a_gpu_is_not_claimed():
    found = TWO_GPUS | {"devices": ("/gpu:0",), "strategy": "none"}
    assert rows_by_name(Config(), found)["XLA"] == Row(
        "XLA", "off", "off", "python -m harness.bench tries whether it helps"
    )
    assert rows_by_name(Config(runtime=RuntimeConfig(xla=True)), found)["XLA"] == Row("XLA", "on", "on")


@pytest.mark.parametrize("engine", ["auto", "host"])
def test_without_augmentation_there_is_no_engine(engine):
    config = Config(augment=AugmentConfig(enabled=False, engine=engine))
    row = rows_by_name(config, ONE_CPU, {"engine": "it is fast"})["augment engine"]
    assert row == Row("augment engine", engine, "off", "augment.enabled is false")
