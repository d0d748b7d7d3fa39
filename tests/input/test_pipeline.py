"""Batches: every example once, the same order every time, from any step on."""

import gc
import itertools
import os
import tempfile
import time
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import draw_face, run_command, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError, MemoryLimitError
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, TrainConfig
from harness.dataset.records import manifest, tfrecord
from harness.input import augment_host, decoding, loaded_split, pipeline, placement
from harness.input.augmentation import draw_transforms
from harness.input.expected import Expected
from harness.input.loaded_split import Split
from harness.input.pipeline import Batches
from harness.input.sampler import Share

# While tests are collected nothing has used TensorFlow yet; afterwards the CPU can no longer be divided.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

TINY = Expected(2, "raw", ("even", "odd"))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Records of 37 plain pictures whose grey value tells which one it is."""
    folder = tmp_path_factory.mktemp("numbered")
    for index in range(37):
        pixels = np.full((32, 32, 3), 6 * index, np.uint8)
        write_picture(folder / "images" / ("even" if index % 2 == 0 else "odd") / f"{index}.png", pixels)
    flags = ("--records.image_size", 32, "--records.min_shards", 3, "--split.validation", 0.3)
    done = run_command("build_records", "--images", folder / "images", "--records", folder / "records", *flags)
    assert done.returncode == 0, done.stderr
    return folder / "records"


def open_split(records, split, cache, devices=None) -> Split:
    return loaded_split.open_split(manifest.load(records), records, split, cache=cache, devices=devices)


def config(batch_size=8, seed=0, **strengths) -> Config:
    augment = AugmentConfig(**strengths) if strengths else AugmentConfig(enabled=False)
    return Config(train=TrainConfig(batch_size=batch_size, seed=seed), augment=augment)


def train_batches(split, config, *, epoch=0, first_step=0, share=None, num_epochs=1, engine="host") -> list[dict]:
    """The batches to the end of an epoch, or of several."""
    share = share or Share()
    made = pipeline.train_batches(split, config, engine=engine, epoch=epoch, first_step=first_step, share=share)
    num_steps = num_epochs * split.num_batches(config.train.batch_size) - first_step
    return read(made.take(num_steps * share.count))


def eval_batches(split, batch_size, share=None) -> list[dict]:
    share = share or Share()
    made = pipeline.eval_batches(split, batch_size, share=share)
    return read(made.take(split.num_batches(batch_size) * share.count))


def read(dataset) -> list[dict]:
    return list(dataset.as_numpy_iterator())


def identities(batch) -> list[int]:
    counted = batch["weight"] > 0
    return [round(float(value) / 6) for value in batch["image"][counted][:, 16, 16, 0]]


def all_identities(batches) -> list[int]:
    return [identity for batch in batches for identity in identities(batch)]


def assert_equal_batches(ours, theirs) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        assert set(one) == set(other)
        assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("batch_size", [1, 7, 8, 64])
def test_every_example_comes_once_an_epoch_in_full_batches(numbered, cache, batch_size):
    for split in ("train", "validation"):
        opened = open_split(numbered, split, cache)
        for batches in (
            train_batches(opened, config(batch_size)),
            eval_batches(opened, batch_size),
        ):
            assert len(batches) == opened.num_batches(batch_size) == -(-opened.num_examples // batch_size)
            seen = all_identities(batches)
            assert len(seen) == opened.num_examples == len(set(seen))
            for batch in batches:
                assert batch["image"].shape == (batch_size, 32, 32, 3) and batch["image"].dtype == np.uint8
                assert batch["label"].dtype == np.int32
                assert batch["weight"].sum() == pytest.approx(1.0)
                counted = batch["weight"] > 0
                assert [identity % 2 for identity in identities(batch)] == batch["label"][counted].tolist()


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("engine, keys", [("host", {"mix"}), ("device", {"warp", "colour", "erase", "mix"})])
def test_an_epoch_can_start_at_any_step(numbered, cache, engine, keys):
    split, settings = open_split(numbered, "train", cache), config(erasing=0.5, mixup=0.4)
    whole = train_batches(split, settings, epoch=3, engine=engine)
    assert set(whole[0]) == {"image", "label", "weight", *keys}
    for step in range(len(whole)):
        assert_equal_batches(train_batches(split, settings, epoch=3, engine=engine, first_step=step), whole[step:])


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_epochs_follow_each_other_in_one_dataset(numbered, cache):
    split, settings = open_split(numbered, "train", cache), config(rotation=20.0)
    apart = train_batches(split, settings, epoch=4, first_step=2) + train_batches(split, settings, epoch=5)
    assert_equal_batches(train_batches(split, settings, epoch=4, first_step=2, num_epochs=2), apart)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_the_order_follows_seed_and_epoch(numbered, cache):
    split = open_split(numbered, "train", cache)

    def order(seed, epoch):
        return all_identities(train_batches(split, config(seed=seed), epoch=epoch))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("num_workers, num_local", [(1, 2), (2, 1), (4, 2), (8, 1), (3, 1)])
def test_all_shares_together_are_the_global_batches(numbered, cache, num_workers, num_local):
    """Whatever the number of workers and of replicas on each."""
    split, total = open_split(numbered, "train", cache), num_workers * num_local
    settings = config(batch_size=24, rotation=30.0)
    whole = train_batches(split, settings, epoch=1)
    shares = [Share(worker * num_local, num_local, total) for worker in range(num_workers)]
    parts = [train_batches(split, settings, epoch=1, share=share) for share in shares]
    assert {len(part) for part in parts} == {len(whole) * num_local}
    for step, batch in enumerate(whole):
        rows = [row for part in parts for row in part[step * num_local : (step + 1) * num_local]]
        joined = {key: np.concatenate([row[key] for row in rows]) for key in batch}
        assert_equal_batches([joined], [batch])


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_shares_of_an_evaluation_are_the_batches_in_the_order_of_the_records(numbered, cache):
    split = open_split(numbered, "validation", cache)
    whole = eval_batches(split, 6)
    parts = [eval_batches(split, 6, Share(worker, 1, 2)) for worker in range(2)]
    for batch, *rows in zip(whole, *parts):
        assert_equal_batches([{key: np.concatenate([row[key] for row in rows]) for key in batch}], [batch])


def test_evaluation_has_the_order_of_the_records_in_both_modes(numbered):
    orders = []
    for cache in ("memory", "none"):
        split = open_split(numbered, "train", cache)
        orders.append(all_identities(eval_batches(split, 8)))
    assert orders[0] == orders[1]
    stored = read_jpegs(split, [0, 5])
    assert [stored[i][0].split("/")[1] for i in (0, 5)] == [f"{orders[0][0]}.png", f"{orders[0][5]}.png"]


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_pictures_on_the_devices_are_those_of_memory_in_the_same_order(numbered, num_replicas, logical_cpus):
    devices = logical_cpus(num_replicas)
    settings = config(batch_size=8)
    at_hand, placed = (open_split(numbered, "train", cache, devices) for cache in ("memory", "device"))
    assert placed.images is None
    expected = train_batches(at_hand, settings, epoch=2, engine="device")
    make = partial(pipeline.train_batches, placed, settings, engine="device", epoch=2)
    for batch, wanted in zip(Batches(placed, devices.strategy, make).take(len(expected)), expected, strict=True):
        local = {key: devices.strategy.experimental_local_results(value) for key, value in batch.items()}
        assert len(local["index"]) == num_replicas
        pictures = [tf.gather(*pair).numpy() for pair in zip(local["pixels"], local["index"])]
        assert np.array_equal(np.concatenate(pictures), wanted["image"])
        for key in ("label", "weight"):
            assert np.array_equal(np.concatenate([part.numpy() for part in local[key]]), wanted[key])


def test_the_hosts_engine_gives_what_opencv_makes_of_the_drawn_transforms(face_records):
    settings, seed = config(batch_size=4, seed=7), [7, 5, 1]
    settings = settings.model_copy(update={"augment": AugmentConfig()})
    memory, streamed = (open_split(face_records, "train", cache) for cache in ("memory", "none"))
    plain = train_batches(memory, config(batch_size=4, seed=7), epoch=5)
    num = len(plain) * 4
    drawn = draw_transforms(settings.augment, np.random.default_rng(seed), num=num, size=32)
    expected = augment_host.augment_batch(np.concatenate([batch["image"] for batch in plain]), range(num), drawn)
    found = train_batches(memory, settings, epoch=5)
    assert np.array_equal(np.concatenate([batch["image"] for batch in found]), expected)
    assert len(train_batches(streamed, settings, epoch=5)) == len(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 23), st.integers(1, 9), st.integers(0, 3))
def test_any_size_of_set_and_batch_counts_every_example_once(num_examples, batch_size, epoch):
    images = np.arange(num_examples, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    split = Split(num_examples, (), TINY, images, np.zeros(num_examples, np.int32))
    batches = train_batches(split, config(batch_size), epoch=epoch)
    counted = np.concatenate([batch["image"][batch["weight"] > 0][:, 0, 0, 0] for batch in batches])
    assert sorted(counted.tolist()) == list(range(num_examples))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 2))
def test_any_division_into_shards_counts_every_example_once(counts, batch_size, first_step):
    with tempfile.TemporaryDirectory() as folder:
        shards = write_raw_shards(Path(folder), counts)
        split = Split(sum(counts), shards, TINY)
        batches = train_batches(split, config(batch_size), epoch=1)
        counted = np.concatenate([batch["image"][batch["weight"] > 0][:, 0, 0, 0] for batch in batches])
        assert sorted(counted.tolist()) == list(range(sum(counts)))
        first_step = min(first_step, len(batches))
        rest = train_batches(split, config(batch_size), epoch=1, first_step=first_step)
        assert_equal_batches(rest, batches[first_step:])


def write_raw_shards(folder, counts, damaged=()) -> tuple[tuple[str, int], ...]:
    """Shards of so many pictures of 2x2 pixels, whose value counts them; damaged ones lack most of their bytes."""
    values, shards = itertools.count(), []
    for index, count in enumerate(counts):
        path = folder / f"{index}.tfrecord"
        numbers = list(itertools.islice(values, count))
        pictures = [bytes([number]) * (1 if number in damaged else 12) for number in numbers]
        fields = [{tfrecord.IMAGE: picture, tfrecord.LABEL: 0} for picture in pictures]
        tfrecord.write_shard(path, [tfrecord.encode_example(field) for field in fields])
        shards.append((str(path), count))
    return tuple(shards)


def test_streaming_mixes_what_lies_together(tmp_path):
    """Pictures of one shard, in one order there, come far from each other and in another order in every epoch."""
    split = Split(160, write_raw_shards(tmp_path, [20] * 8), TINY)
    first, second = (
        np.concatenate([batch["image"][:, 0, 0, 0] for batch in train_batches(split, config(16), epoch=epoch)])
        for epoch in (0, 1)
    )
    for order in (first, second):
        assert len(set(order[:16] // 20)) == 8
        assert np.abs(np.diff(order.astype(int)) == 1).mean() < 0.1
    assert np.abs(first.astype(int) - second).mean() > 20


def test_a_plan_says_where_pictures_are_kept_and_why(numbered, logical_cpus):
    devices, data = logical_cpus(1), manifest.load(numbered)
    chosen = placement.plan_inputs(config(), data, devices)
    assert (chosen.cache, chosen.engine) == ("memory", "host")
    assert chosen.reasons["cache"].startswith("pictures kept in memory: 0.1 MB decoded, ")
    asked = config().model_copy(update={"data": DataConfig(cache="device")})
    assert placement.plan_inputs(asked, data, devices).engine == "device"


def test_the_hosts_engine_is_refused_for_pictures_on_the_device(numbered, logical_cpus):
    asked = Config(data=DataConfig(cache="device"), augment=AugmentConfig(engine="host"))
    with pytest.raises(ConfigError, match=r"augment\.engine is host, but data.cache is device"):
        placement.plan_inputs(asked, manifest.load(numbered), logical_cpus(1))


def test_a_run_that_goes_on_keeps_its_pictures_where_they_were(numbered, logical_cpus):
    devices, data = logical_cpus(1), manifest.load(numbered)
    chosen = placement.plan_inputs(config(), data, devices, earlier={"cache": "none", "engine": "device"})
    assert (chosen.cache, chosen.engine) == ("none", "device")
    too_large = replace(data, image_size=10_000_000)
    chosen = placement.plan_inputs(config(), too_large, devices, earlier={"cache": "memory", "engine": "host"})
    assert chosen.cache == "none" and "the run goes on, but not to the same bits: " in chosen.reasons["cache"]


def test_pictures_that_do_not_fit_are_refused_with_the_numbers(numbered, logical_cpus):
    asked = Config(data=DataConfig(cache="memory"))
    with pytest.raises(MemoryLimitError, match=r"take 11100000\.0 GB in memory, with .* free"):
        placement.plan_inputs(asked, replace(manifest.load(numbered), image_size=10_000_000), logical_cpus(1))


def test_nothing_is_decoded_of_the_steps_that_are_left_out(tmp_path):
    counts = [10, 10]
    split = Split(20, write_raw_shards(tmp_path, counts), TINY)
    whole = train_batches(split, config(4), epoch=2)
    left_out = {int(value) for batch in whole[:3] for value in batch["image"][:, 0, 0, 0]}
    write_raw_shards(tmp_path, counts, damaged=left_out)
    assert_equal_batches(train_batches(split, config(4), epoch=2, first_step=3), whole[3:])
    with pytest.raises(tf.errors.OpError):
        train_batches(split, config(4), epoch=2)


def read_jpegs(split, positions):
    return decoding.read_jpegs(split.shards, split.expected, positions)


def test_pictures_reach_the_batch_as_they_were_drawn(face_records):
    split = open_split(face_records, "validation", "memory")
    stored = read_jpegs(split, range(split.num_examples))
    for index, (name, _) in stored.items():
        number, happy = int(name[-6:-4]), name.startswith("happy")
        drawn = draw_face(number + (0 if happy else 1000), happy=happy)
        small = drawn.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
        assert np.abs(split.images[index] - small).mean() < 6
        assert split.labels[index] == (0 if happy else 1)


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_lossless_records_reach_the_batch_to_the_pixel(faces, tmp_path, encoding, cache):
    flags = ("--records.image_size", 64, "--records.encoding", encoding)
    done = run_command("build_records", "--images", faces, "--records", tmp_path / "records", *flags)
    assert done.returncode == 0, done.stderr
    split = open_split(tmp_path / "records", "validation", cache)
    named = read_jpegs(split, range(split.num_examples))
    for index, batch in enumerate(eval_batches(split, 1)):
        name, jpeg = named[index]
        label, number = name.split("/")[0], int(name[-6:-4])
        drawn = draw_face(1000 * (label == "sad") + number, happy=label == "happy")
        assert np.array_equal(batch["image"][0], drawn)
        assert jpeg[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_pictures_and_open_shards_do_not_outlive_their_batches(numbered, cache):
    """TensorFlow's own graph does, and holds what it was given to call."""
    split = open_split(numbered, "train", cache)
    batches = iter(pipeline.train_batches(split, config(flip=0.5), engine="host", epoch=0))
    for _ in range(7):
        next(batches)
    held = [weakref.ref(value) for value in (split, split.images) if value is not None]
    del split, batches
    for _ in range(100):
        gc.collect()
        opened = {os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()}
        if not any(str(numbered) in path for path in opened) and all(reference() is None for reference in held):
            return
        time.sleep(0.05)
    pytest.fail(f"{[reference() is None for reference in held]}, {opened}")
