"""Which example comes when: every one once, the same for any number of replicas, and no share without its batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.input import sampler
from harness.input.sampler import Share

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def shards_of(counts):
    return [(f"shard{index}", count) for index, count in enumerate(counts)]


def test_seven_examples_in_batches_of_three():
    indices, weights = sampler.lay_out(np.array([4, 2, 0, 6, 1, 3, 5]), 3)
    assert indices.tolist() == [[4, 2, 0], [6, 1, 3], [5, 4, 2]]
    assert weights.tolist() == [[np.float32(1 / 3)] * 3, [np.float32(1 / 3)] * 3, [1.0, 0.0, 0.0]]


def test_one_example_fills_a_batch_of_four_and_counts_once():
    indices, weights = sampler.lay_out(np.array([0]), 4)
    assert indices.tolist() == [[0, 0, 0, 0]] and weights.tolist() == [[1.0, 0.0, 0.0, 0.0]]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 3))
def test_every_example_counts_once(num_examples, batch_size, epoch):
    drawn = sampler.draw_permutation(num_examples, seed=5, epoch=epoch)
    indices, weights = sampler.lay_out(drawn, batch_size)
    assert sorted(indices[weights > 0].tolist()) == list(range(num_examples))
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert weights.shape == (sampler.count_steps(num_examples, batch_size), batch_size)


def test_an_epoch_has_an_order_of_its_own():
    first, again = (sampler.draw_permutation(50, seed=1, epoch=0).tolist() for _ in range(2))
    assert first == again
    assert first != sampler.draw_permutation(50, seed=1, epoch=1).tolist()
    assert first != sampler.draw_permutation(50, seed=2, epoch=0).tolist()


def test_replicas_have_neighbouring_parts_of_each_batch():
    table = np.arange(12).reshape(2, 6)
    assert Share().take(table).tolist() == table.tolist()
    assert Share(0, 2, 2).take(table).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert Share(1, 1, 3).take(table).tolist() == [[2, 3], [8, 9]]


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_the_shares_of_all_workers_are_the_global_batch(num_examples, each, num_local, num_workers):
    total = num_local * num_workers
    indices, _ = sampler.lay_out(sampler.draw_permutation(num_examples, seed=0, epoch=0), each * total)
    parts = [Share(worker * num_local, num_local, total).take(indices) for worker in range(num_workers)]
    for step, batch in enumerate(indices):
        rows = np.concatenate([part[step * num_local : (step + 1) * num_local] for part in parts])
        assert rows.ravel().tolist() == batch.tolist()


@settings(max_examples=200)
@given(COUNTS, st.integers(1, 40), st.integers(0, 5))
def test_streams_give_every_record_once(counts, batch_size, epoch):
    shards = shards_of(counts)
    streams, indices, weights = sampler.draw_streams(shards, batch_size, seed=3, epoch=epoch)
    assert sorted(streams.shards) == sorted(shards)
    assert sorted(indices[weights > 0].tolist()) == list(range(sum(counts)))
    assert set(indices.ravel().tolist()) == set(range(sum(counts)))
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert len(weights) == sampler.count_steps(sum(counts), batch_size)


@settings(max_examples=200)
@given(COUNTS, st.integers(1, 40))
def test_each_stream_gives_its_part_of_every_batch(counts, batch_size):
    streams, indices, _ = sampler.draw_streams(shards_of(counts), batch_size, seed=0, epoch=0)
    lengths = np.diff(streams.bounds)
    assert (streams.bounds[0], streams.bounds[-1]) == (0, sum(counts)) and max(lengths) - min(lengths) <= 1
    for part, start, length in zip(np.split(indices, len(lengths), axis=1), streams.bounds, lengths):
        assert ((part >= start) & (part < start + length)).all()


def test_eight_equal_shards_are_eight_streams():
    shards = shards_of([10] * 8)
    streams, _, weights = sampler.draw_streams(shards, 16, seed=0, epoch=0)
    assert streams.bounds == (0, 10, 20, 30, 40, 50, 60, 70, 80)
    assert sorted(streams.shards) == shards
    assert weights.shape == (5, 16)


def test_streams_are_shuffled_within_a_window():
    _, indices, _ = sampler.draw_streams([("shard", 20_000)], 1, seed=0, epoch=0)
    moved = indices[:, 0] - np.arange(20_000)
    assert 110 < np.abs(moved).max() <= 256
    assert 50 < np.abs(moved).mean() < 75
    assert (np.diff(indices[:, 0]) == 1).mean() < 0.02


def test_a_filled_up_batch_ends_with_the_last_examples_again():
    _, indices, weights = sampler.draw_streams([("shard", 10)], 4, seed=0, epoch=0)
    assert indices[2, 2:].tolist() == indices[2, 1::-1].tolist()
    assert weights[2].tolist() == [0.5, 0.5, 0.0, 0.0]
