"""Batches shared by replicas of several workers, accumulated and mixed: every picture exactly once, or a refusal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig, TrainConfig
from harness.distribute.strategy import with_whole_batch
from harness.input import sampler
from harness.input.sampler import Share
from harness.training.gradients import find_turn

NUM_PICTURES = st.integers(1, 90)
BATCH_SIZE = st.integers(1, 24)
FEW = st.integers(1, 4)


@settings(max_examples=300)
@given(
    *(NUM_PICTURES, BATCH_SIZE, FEW, FEW, FEW),
    *(st.sampled_from(["step", "replica"]), st.sampled_from([0.0, 0.2]), st.data()),
)
def test_every_picture_is_learnt_from_exactly_once_or_the_batch_is_refused(
    num_pictures, batch_size, num_local, num_workers, accumulate_steps, batch_per, mixup, data
):
    total = num_local * num_workers
    train = TrainConfig(batch_size=batch_size, batch_per=batch_per)
    asked = Config(train=train, augment=AugmentConfig(mixup=mixup))
    whole = train.count_batch(total)
    is_even = whole % total == 0 and (not mixup or whole // total % 2 == 0)
    if not is_even:
        with pytest.raises(ConfigError, match=rf"train.batch_size is {batch_size}, .* multiple of "):
            with_whole_batch(asked, total)
        return
    assert with_whole_batch(asked, total).train.batch_size == whole
    if data.draw(st.booleans()):
        shards = [("a", num_pictures // 3), ("b", num_pictures - num_pictures // 3)]
        shards = [shard for shard in shards if shard[1]]
        _, indices, weights = sampler.draw_streams(shards, whole, seed=0, epoch=0)
    else:
        indices, weights = sampler.lay_out(sampler.draw_permutation(num_pictures, seed=0, epoch=0), whole)
    shares = [Share.of_process(index, num_processes=num_workers, num_replicas=total) for index in range(num_workers)]
    parts = [(share.take(indices), share.take(weights)) for share in shares]
    counted = np.concatenate([index[weight > 0] for index, weight in parts])
    assert sorted(counted.tolist()) == list(range(num_pictures))
    assert {index.shape[1] for index, _ in parts} == {whole // total}
    weight_of = np.zeros(num_pictures)  # in the gradient of the step of the optimizer
    steps_of = np.full(num_pictures, -1)
    number = 0
    for step in range(len(indices)):
        turn = find_turn(step, num_examples=num_pictures, batch_size=whole, accumulate_steps=accumulate_steps)
        for index, weight in parts:
            rows = slice(step * num_local, (step + 1) * num_local)
            is_counted = weight[rows] > 0
            weight_of[index[rows][is_counted]] = turn.share * weight[rows][is_counted]
            steps_of[index[rows][is_counted]] = number
        number += turn.is_last
    assert number == -(-len(indices) // accumulate_steps) and (steps_of >= 0).all()
    num_of_step = np.bincount(steps_of)
    np.testing.assert_allclose(weight_of, 1 / num_of_step[steps_of], rtol=1e-5)


@given(BATCH_SIZE, st.integers(1, 6))
def test_a_share_that_would_lose_pictures_is_never_cut(batch_size, total):
    table = np.arange(2 * batch_size).reshape(2, batch_size)
    if batch_size % total == 0:
        rows = Share(0, total, total).take(table)
        assert rows.shape == (2 * total, batch_size // total) and rows.ravel().tolist() == table.ravel().tolist()
        return
    for cut in (lambda: Share(0, 1, total).take(table), lambda: Share(0, 1, total).bounds(batch_size)):
        with pytest.raises(ValueError, match=f"{batch_size} pictures of a batch cannot be shared evenly by {total} re"):
            cut()


def test_processes_have_as_many_replicas_each():
    assert Share.of_process(1, num_processes=2, num_replicas=6) == Share(3, 3, 6)
    with pytest.raises(ValueError, match="5 replicas cannot be shared evenly by 2 processes"):
        Share.of_process(0, num_processes=2, num_replicas=5)
    for first, count in ((-1, 1), (0, 0), (2, 2)):
        with pytest.raises(ValueError, match="are no share of 3"):
            Share(first, count, 3)
