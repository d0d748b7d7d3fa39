"""GPUs: which of them a task takes, what is free on them, and the precision that suits them."""

import pytest

from harness.base.errors import ClusterError
from harness.distribute import gpus


@pytest.mark.parametrize(
    ("index", "count", "expected"), [(0, 1, [0, 1, 2, 3]), (0, 2, [0, 1]), (1, 2, [2, 3]), (3, 4, [3])]
)
def test_tasks_of_a_node_share_its_gpus_evenly(index, count, expected):
    assert gpus.share_out([0, 1, 2, 3], index, count) == expected
    assert gpus.share_out([], index, count) == []


def test_gpus_that_do_not_divide_are_an_error():
    with pytest.raises(ClusterError, match=r"^2 tasks of this node share 1 GPU, which does not divide evenly\. Start"):
        gpus.share_out([0], 0, 2)
    with pytest.raises(ClusterError, match=r"^2 tasks of this node share 3 GPUs, which"):
        gpus.share_out([0, 1, 2], 1, 2)


@pytest.mark.parametrize(
    ("lent", "said"),
    [
        ({"SLURM_JOB_GPUS": "0"}, r"SLURM gave this job GPUs \(SLURM_JOB_GPUS is 0\), but TensorFlow sees none\. See"),
        ({"SLURM_STEP_GPUS": "2,3", "SLURM_GPUS_ON_NODE": "4"}, r"\(SLURM_STEP_GPUS is 2,3\)"),
        ({"SLURM_GPUS_ON_NODE": "8", "SLURMD_NODENAME": "n7"}, r"\(SLURM_GPUS_ON_NODE is 8\).* sees none on n7\. See"),
    ],
)
def test_a_job_that_holds_gpus_does_not_train_on_the_cpu(monkeypatch, lent, said):
    monkeypatch.setattr(gpus.tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ClusterError, match=said) as caught:
        gpus.choose("all", {}, lent)
    assert str(caught.value).endswith("To train on the CPU nevertheless, say so: --gpus none")
    assert gpus.choose("none", {}, lent) == []


@pytest.mark.parametrize("lent", [{}, {"SLURM_JOB_ID": "1"}, {"SLURM_GPUS_ON_NODE": "0"}, {"SLURM_JOB_GPUS": ""}])
def test_without_gpus_a_job_trains_on_the_cpu_and_says_so(monkeypatch, lent):
    monkeypatch.setattr(gpus.tf.config, "list_physical_devices", lambda kind: [])
    reasons = {}
    assert gpus.choose("all", reasons, lent) == []
    assert reasons == {"devices": "no GPU found: training on the CPU"}


@pytest.mark.parametrize(
    ("capabilities", "expected", "reason"),
    [
        ([(9, 0)], "mixed_bfloat16", "compute capability 9.0"),
        ([(8, 0), (9, 0)], "mixed_bfloat16", "compute capability 8.0"),
        ([(7, 5), (8, 6)], "mixed_float16", "compute capability 7.5"),
        ([(6, 1), (8, 0)], "float32", "compute capability 6.1"),
        ([None], "float32", "compute capability 0.0"),
        ([], "float32", None),
    ],
)
def test_precision_follows_the_oldest_gpu(monkeypatch, capabilities, expected, reason):
    def details(capability):
        return {} if capability is None else {"compute_capability": capability}

    monkeypatch.setattr(gpus.tf.config.experimental, "get_device_details", details)
    reasons = {}
    assert gpus.choose_precision("auto", capabilities, reasons) == expected
    assert reasons.get("precision") == reason
    assert gpus.choose_precision("float32", capabilities, {}) == "float32"
