"""Where decoded pictures go, and why."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import MemoryLimitError
from harness.base.machine import memory
from harness.base.machine.memory import Memory
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.config.training_sections import RuntimeConfig
from harness.dataset.records import manifest
from harness.distribute.devices import Devices
from harness.input.placement import DEVICE_SHARE, MEMORY_SHARE, MOST_SHARE, Placement, place, plan_inputs

GB = 1_000_000_000
RANK = {"none": 0, "memory": 1, "device": 2}


def place_with(asked, **changed) -> Placement:
    """Places 1.2 GB with 18.3 GB free, without a GPU, where nothing else is said."""
    room = {"need_bytes": 1_200_000_000, "free_bytes": 18_300_000_000, "device_free_bytes": None, "has_gpu": False}
    return place(asked, **{**room, **changed})


ON_GPU = {"has_gpu": True, "device_free_bytes": 80 * GB}


@pytest.mark.parametrize(
    ("asked", "changed", "mode", "reason"),
    [
        ("auto", {}, "memory", "pictures kept in memory: 1.2 GB decoded, 18.3 GB free"),
        ("auto", {"need_bytes": 9_150_000_000}, "memory", "pictures kept in memory: 9.2 GB decoded, 18.3 GB free"),
        (
            "auto",
            {"need_bytes": 9_150_000_001},
            "none",
            "pictures streamed from the records: 9.2 GB decoded, over 50 % of the 18.3 GB free",
        ),
        (
            "auto",
            {"free_bytes": 2 * GB, "limit": "cgroup /slurm/job_5"},
            "none",
            "pictures streamed from the records: 1.2 GB decoded, over 50 % of the 2.0 GB free in cgroup /slurm/job_5",
        ),
        (
            "auto",
            {"num_sharing": 8},
            "none",
            "pictures streamed from the records: 1.2 GB decoded, over 50 % of the 2.3 GB free for each of 8 processes",
        ),
        (
            "auto",
            {"num_replicas": 4, "device_free_bytes": 80 * GB},
            "memory",
            "pictures kept in memory: 1.2 GB decoded, 18.3 GB free",
        ),
        ("auto", ON_GPU, "device", "pictures kept on the GPU: 1.2 GB decoded, 80.0 GB free on the GPU"),
        (
            "auto",
            {**ON_GPU, "num_replicas": 2, "need_bytes": 38_000_000},
            "device",
            "pictures kept on each of 2 GPUs: 38.0 MB decoded, 80.0 GB free on the fullest GPU",
        ),
        (
            "auto",
            {**ON_GPU, "need_bytes": 24 * GB, "free_bytes": 60 * GB},
            "device",
            "pictures kept on the GPU: 24.0 GB decoded, 80.0 GB free on the GPU",
        ),
        (
            "auto",
            {**ON_GPU, "need_bytes": 25 * GB, "free_bytes": 60 * GB},
            "memory",
            "pictures kept in memory: 25.0 GB decoded, 60.0 GB free; over 30 % of the 80.0 GB free on the GPU",
        ),
        (
            "auto",
            {**ON_GPU, "need_bytes": 25 * GB},
            "none",
            "pictures streamed from the records: 25.0 GB decoded, over 50 % of the 18.3 GB free; "
            "over 30 % of the 80.0 GB free on the GPU",
        ),
        (
            "auto",
            {"has_gpu": True},
            "memory",
            "pictures kept in memory: 1.2 GB decoded, 18.3 GB free; unknown how much is free on the GPU",
        ),
        (
            "none",
            ON_GPU,
            "none",
            "pictures streamed from the records, as data.cache asks: 1.2 GB decoded, 18.3 GB free",
        ),
        (
            "memory",
            {**ON_GPU, "limit": "this container"},
            "memory",
            "pictures kept in memory, as data.cache asks: 1.2 GB decoded, 18.3 GB free in this container",
        ),
        (
            "memory",
            {"need_bytes": 16_470_000_000},
            "memory",
            "pictures kept in memory, as data.cache asks: 16.5 GB decoded, 18.3 GB free",
        ),
        (
            "device",
            {**ON_GPU, "need_bytes": 72 * GB},
            "device",
            "pictures kept on the GPU, as data.cache asks: 72.0 GB decoded, 80.0 GB free on the GPU",
        ),
        (
            "device",
            {"has_gpu": True, "num_replicas": 8},
            "device",
            "pictures kept on each of 8 GPUs, as data.cache asks: 1.2 GB decoded, "
            "unknown how much is free on the fullest GPU",
        ),
        (
            "device",
            {},
            "device",
            "pictures kept on the CPU, as data.cache asks: 1.2 GB decoded, 18.3 GB free",
        ),
        (
            "device",
            {"num_replicas": 4},
            "device",
            "pictures kept on 4 devices of the CPU, a copy each, as data.cache asks: 4.8 GB decoded, 18.3 GB free",
        ),
    ],
)
def test_the_place_and_its_reason(asked, changed, mode, reason):
    assert place_with(asked, **changed) == Placement(mode, reason)


def plan_with(records, monkeypatch, *, free_bytes, deterministic, total_bytes=GB, cache="auto"):
    """Plans the 73,728 bytes of 24 pictures of 32 x 32 on a machine with so much memory."""
    monkeypatch.setattr(memory, "measure_free", lambda: Memory(free_bytes))
    monkeypatch.setattr(memory, "measure_total", lambda: Memory(total_bytes, "cgroup /job"))
    config = Config(data=DataConfig(cache=cache), runtime=RuntimeConfig(deterministic=deterministic))
    inputs = plan_inputs(config, manifest.load(records), Devices(tf.distribute.get_strategy(), ("/cpu:0",), "float32"))
    return inputs.cache, inputs.reasons["cache"]


def test_what_is_free_decides_nothing_where_runs_shall_be_alike(face_records, monkeypatch):
    for free_bytes in (83_000, 100_000, 150_000, 10 * GB):
        assert plan_with(face_records, monkeypatch, free_bytes=free_bytes, deterministic=True) == (
            "memory",
            "pictures kept in memory: 0.1 MB decoded, 1.0 GB in all in cgroup /job",
        )
    streamed = plan_with(face_records, monkeypatch, free_bytes=100_000, deterministic=False)
    assert streamed == ("none", "pictures streamed from the records: 0.1 MB decoded, over 50 % of the 0.1 MB free")
    small = plan_with(face_records, monkeypatch, free_bytes=10 * GB, deterministic=True, total_bytes=100_000)
    assert small[0] == "none"


def test_pictures_that_do_not_fit_into_what_is_free_are_refused_where_runs_shall_be_alike(face_records, monkeypatch):
    with pytest.raises(MemoryLimitError, match=r"with runtime.deterministic data.cache auto goes by .* take 0.1 MB"):
        plan_with(face_records, monkeypatch, free_bytes=80_000, deterministic=True)
    asked = plan_with(face_records, monkeypatch, free_bytes=80_000, deterministic=True, cache="none")
    assert asked[0] == "none"


REMEDY = (
    "--data.cache none streams them from the records, auto takes what fits; records built with a smaller "
    "--records.image_size take less."
)


@pytest.mark.parametrize(
    ("asked", "changed", "message"),
    [
        (
            "memory",
            {"need_bytes": 16_470_000_001},
            "data.cache is memory, but the decoded pictures take 16.5 GB in memory, with 18.3 GB free: at most 90 % of "
            f"that, 16.5 GB, can be theirs. {REMEDY}",
        ),
        (
            "memory",
            {"free_bytes": 800_000_000, "limit": "cgroup /slurm/job_5"},
            "data.cache is memory, but the decoded pictures take 1.2 GB in memory, with 800.0 MB free in cgroup "
            f"/slurm/job_5: at most 90 % of that, 720.0 MB, can be theirs. {REMEDY} Or give the job more memory.",
        ),
        (
            "memory",
            {"free_bytes": 8 * GB, "limit": "cgroup /slurm/job_5", "num_sharing": 8},
            "data.cache is memory, but the decoded pictures take 1.2 GB in memory, with 1.0 GB free in cgroup "
            "/slurm/job_5 for each of 8 processes: at most 90 % of that, 900.0 MB, can be theirs. "
            f"{REMEDY} Or give the job more memory.",
        ),
        (
            "device",
            {**ON_GPU, "num_replicas": 2, "need_bytes": 73 * GB, "free_bytes": 500 * GB},
            "data.cache is device, but the decoded pictures take 73.0 GB on each of 2 GPUs, with 80.0 GB free on the "
            f"fullest GPU: at most 90 % of that, 72.0 GB, can be theirs. {REMEDY}",
        ),
        (
            "device",
            {"num_replicas": 16},
            "data.cache is device, but the decoded pictures take 19.2 GB on 16 devices of the CPU, a copy each, with "
            f"18.3 GB free: at most 90 % of that, 16.5 GB, can be theirs. {REMEDY}",
        ),
    ],
)
def test_what_is_asked_for_and_does_not_fit_is_refused(asked, changed, message):
    with pytest.raises(MemoryLimitError) as caught:
        place_with(asked, **changed)
    assert str(caught.value) == message


sizes = st.integers(0, 1 << 44)
rooms = st.fixed_dictionaries(
    {
        "need_bytes": sizes,
        "free_bytes": sizes,
        "device_free_bytes": st.none() | sizes,
        "has_gpu": st.booleans(),
        "num_replicas": st.integers(1, 16),
        "num_sharing": st.integers(1, 8),
    }
)


@given(rooms)
def test_auto_takes_no_more_than_its_share_and_raises_nothing(room):
    placed = place("auto", **room)
    if placed.mode == "device":
        assert room["has_gpu"] and room["need_bytes"] <= DEVICE_SHARE * room["device_free_bytes"]
    elif placed.mode == "memory":
        assert room["need_bytes"] <= MEMORY_SHARE * (room["free_bytes"] // room["num_sharing"])
    else:
        assert room["need_bytes"] > MEMORY_SHARE * (room["free_bytes"] // room["num_sharing"])


@given(rooms, sizes, sizes, sizes)
def test_with_more_room_or_fewer_pictures_auto_places_no_worse(room, more_bytes, more_device_bytes, fewer_bytes):
    larger = {
        **room,
        "need_bytes": max(0, room["need_bytes"] - fewer_bytes),
        "free_bytes": room["free_bytes"] + more_bytes,
        "device_free_bytes": None
        if room["device_free_bytes"] is None
        else room["device_free_bytes"] + more_device_bytes,
    }
    assert RANK[place("auto", **larger).mode] >= RANK[place("auto", **room).mode]


@given(st.sampled_from(["device", "memory", "none"]), rooms)
def test_what_is_asked_for_is_done_or_refused_never_replaced(asked, room):
    try:
        placed = place(asked, **room)
    except MemoryLimitError:
        shared = room["free_bytes"] // room["num_sharing"]
        free = room["device_free_bytes"] if asked == "device" and room["has_gpu"] else shared
        copies = room["num_replicas"] if asked == "device" and not room["has_gpu"] else 1
        assert asked != "none" and room["need_bytes"] * copies > MOST_SHARE * free
    else:
        assert placed.mode == asked
