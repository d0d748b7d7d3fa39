"""Devices: what nvidia-smi says of their memory."""

import pytest

from harness.distribute import parse_free_bytes

TWO = "0, GPU-aaa1, 81000\n1, GPU-bbb2, 40000\n"


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
        ("0, GPU-aaa1, [N/A]\n", None, None),
        ("", None, None),
        ("NVIDIA-SMI has failed\n", None, None),
    ],
)
def test_the_visible_gpu_with_the_least_free_memory_counts(told, visible, mebibytes):
    assert parse_free_bytes(told, visible) == (None if mebibytes is None else mebibytes * 1024 * 1024)
