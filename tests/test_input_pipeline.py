"""Batches: every example once, the same order every time, from any step on."""

import numpy as np
import pytest
from conftest import draw_face, run_command, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import input_pipeline, manifest
from harness.config import AugmentConfig, Config, TrainConfig
from harness.input_pipeline import Split


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


def open_split(records, split, cache) -> Split:
    return input_pipeline.open_split(manifest.load(records), records, split, cache=cache)


def config(batch_size=8, seed=0, augmented=False) -> Config:
    return Config(train=TrainConfig(batch_size=batch_size, seed=seed), augment=AugmentConfig(enabled=augmented))


def identities(batch) -> list[int]:
    counted = batch["weight"] > 0
    return [round(float(value) / 6) for value in batch["image"][counted][:, 16, 16, 0]]


def read(dataset) -> list[dict]:
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_every_example_comes_once_an_epoch_in_full_batches(numbered, cache, batch_size):
    for split in ("train", "validation"):
        opened = open_split(numbered, split, cache)
        for batches in (
            read(input_pipeline.make_train_batches(opened, config(batch_size), epoch=0)),
            read(input_pipeline.make_eval_batches(opened, batch_size)),
        ):
            assert len(batches) == opened.num_batches(batch_size) == -(-opened.num_examples // batch_size)
            seen = [identity for batch in batches for identity in identities(batch)]
            assert len(seen) == opened.num_examples == len(set(seen))
            for batch in batches:
                assert batch["image"].shape == (batch_size, 32, 32, 3) and batch["image"].dtype == np.uint8
                assert batch["weight"].sum() == pytest.approx(1.0)
                counted = batch["weight"] > 0
                assert [identity % 2 for identity in identities(batch)] == batch["label"][counted].tolist()


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_an_epoch_can_start_at_any_step(numbered, cache):
    split = open_split(numbered, "train", cache)
    whole = read(input_pipeline.make_train_batches(split, config(augmented=True), epoch=3))
    for step in range(len(whole)):
        rest = read(input_pipeline.make_train_batches(split, config(augmented=True), epoch=3, first_step=step))
        assert len(rest) == len(whole) - step
        for ours, theirs in zip(rest, whole[step:]):
            assert set(ours) == set(theirs) == {"image", "label", "weight", "warp", "colour"}
            assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_the_order_follows_seed_and_epoch(numbered, cache):
    split = open_split(numbered, "train", cache)

    def order(seed, epoch):
        batches = read(input_pipeline.make_train_batches(split, config(seed=seed), epoch=epoch))
        return [identity for batch in batches for identity in identities(batch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)


def test_evaluation_has_the_order_of_the_records_in_both_modes(numbered):
    orders = []
    for cache in ("memory", "none"):
        split = open_split(numbered, "train", cache)
        batches = read(input_pipeline.make_eval_batches(split, 8))
        orders.append([identity for batch in batches for identity in identities(batch)])
    assert orders[0] == orders[1]
    stored = input_pipeline.read_jpegs(split, [0, 5])
    assert [stored[i][0].split("/")[1] for i in (0, 5)] == [f"{orders[0][0]}.png", f"{orders[0][5]}.png"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 23), st.integers(1, 9), st.integers(0, 3))
def test_any_size_of_set_and_batch_counts_every_example_once(num_examples, batch_size, epoch):
    images = np.arange(num_examples, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    split = Split(num_examples, 2, "jpeg", (), images, np.zeros(num_examples, np.int32))
    batches = read(input_pipeline.make_train_batches(split, config(batch_size), epoch=epoch))
    counted = np.concatenate([batch["image"][batch["weight"] > 0][:, 0, 0, 0] for batch in batches])
    assert sorted(counted.tolist()) == list(range(num_examples))


def test_pictures_reach_the_batch_as_they_were_drawn(face_records):
    split = open_split(face_records, "validation", "memory")
    stored = input_pipeline.read_jpegs(split, range(split.num_examples))
    for index, (name, _) in stored.items():
        number, happy = int(name[-6:-4]), name.startswith("happy")
        drawn = draw_face(number + (0 if happy else 1000), happy=happy)
        small = drawn.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
        assert np.abs(split.images.numpy()[index] - small).mean() < 6
        assert split.labels.numpy()[index] == (0 if happy else 1)


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_lossless_records_reach_the_batch_to_the_pixel(faces, tmp_path, encoding, cache):
    flags = ("--records.image_size", 64, "--records.encoding", encoding)
    done = run_command("build_records", "--images", faces, "--records", tmp_path / "records", *flags)
    assert done.returncode == 0, done.stderr
    split = open_split(tmp_path / "records", "validation", cache)
    named = input_pipeline.read_jpegs(split, range(split.num_examples))
    for index, batch in enumerate(read(input_pipeline.make_eval_batches(split, 1))):
        name, jpeg = named[index]
        label, number = name.split("/")[0], int(name[-6:-4])
        drawn = draw_face(1000 * (label == "sad") + number, happy=label == "happy")
        assert np.array_equal(batch["image"][0], drawn)
        assert jpeg[:3] == b"\xff\xd8\xff"
