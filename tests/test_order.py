"""Which example comes when: every one once, the same for any number of replicas, and no share without its batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import order
from harness.order import Share

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def shards_of(counts):
    return [(f"shard{index}", count) for index, count in enumerate(counts)]


def records_of(shards, stream):
    """The records a stream reads, as (file, position in the file)."""
    held = dict(shards)
    listed = [(file, position) for file in stream.files for position in range(held[file])]
    return listed[stream.skip : stream.skip + stream.num_examples]


def test_seven_examples_in_batches_of_three():
    indices, weights = order.lay_out(np.array([4, 2, 0, 6, 1, 3, 5]), 3)
    assert indices.tolist() == [[4, 2, 0], [6, 1, 3], [5, 4, 2]]
    assert weights.tolist() == [[np.float32(1 / 3)] * 3, [np.float32(1 / 3)] * 3, [1.0, 0.0, 0.0]]


def test_one_example_fills_a_batch_of_four_and_counts_once():
    indices, weights = order.lay_out(np.array([0]), 4)
    assert indices.tolist() == [[0, 0, 0, 0]] and weights.tolist() == [[1.0, 0.0, 0.0, 0.0]]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 3))
def test_every_example_counts_once(num_examples, batch_size, epoch):
    drawn = order.draw_permutation(num_examples, seed=5, epoch=epoch)
    indices, weights = order.lay_out(drawn, batch_size)
    assert sorted(indices[weights > 0].tolist()) == list(range(num_examples))
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert weights.shape == (order.count_steps(num_examples, batch_size), batch_size)


def test_an_epoch_has_an_order_of_its_own():
    first, again = (order.draw_permutation(50, seed=1, epoch=0).tolist() for _ in range(2))
    assert first == again
    assert first != order.draw_permutation(50, seed=1, epoch=1).tolist()
    assert first != order.draw_permutation(50, seed=2, epoch=0).tolist()


def test_replicas_have_neighbouring_parts_of_each_batch():
    table = np.arange(12).reshape(2, 6)
    assert Share().take(table).tolist() == table.tolist()
    assert Share(0, 2, 2).take(table).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert Share(1, 1, 3).take(table).tolist() == [[2, 3], [8, 9]]


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_the_shares_of_all_workers_are_the_global_batch(num_examples, each, num_local, num_workers):
    total = num_local * num_workers
    indices, _ = order.lay_out(order.draw_permutation(num_examples, seed=0, epoch=0), each * total)
    parts = [Share(worker * num_local, num_local, total).take(indices) for worker in range(num_workers)]
    for step, batch in enumerate(indices):
        rows = np.concatenate([part[step * num_local : (step + 1) * num_local] for part in parts])
        assert rows.ravel().tolist() == batch.tolist()


@settings(max_examples=200)
@given(COUNTS, st.integers(1, 40), st.integers(0, 5))
def test_streams_read_every_record_once(counts, batch_size, epoch):
    shards = shards_of(counts)
    streams, weights = order.draw_streams(shards, batch_size, seed=3, epoch=epoch)
    read = [record for stream in streams for record in records_of(shards, stream)]
    assert len(read) == len(set(read)) == sum(counts)
    assert batch_size % len(streams) == 0
    assert int((weights > 0).sum()) == sum(counts) and np.allclose(weights.sum(axis=1), 1.0)
    assert len(weights) == order.count_steps(sum(counts), batch_size)


@given(COUNTS, st.integers(1, 40))
def test_no_stream_is_longer_than_another_by_more_than_one(counts, batch_size):
    streams, _ = order.draw_streams(shards_of(counts), batch_size, seed=0, epoch=0)
    lengths = [stream.num_examples for stream in streams]
    assert max(lengths) - min(lengths) <= 1


def test_eight_equal_shards_are_eight_streams():
    shards = shards_of([10] * 8)
    streams, weights = order.draw_streams(shards, 16, seed=0, epoch=0)
    assert [(len(stream.files), stream.skip, stream.num_examples) for stream in streams] == [(1, 0, 10)] * 8
    assert sorted(stream.files[0] for stream in streams) == [f"shard{index}" for index in range(8)]
    assert weights.shape == (5, 16)


def test_workers_read_streams_of_their_own_where_those_divide():
    assert [order.streams_of(Share(worker, 1, 2), 8, 16) for worker in range(2)] == [(0, 4), (4, 8)]
    assert [order.streams_of(Share(worker, 2, 8), 8, 16) for worker in (0, 2, 4, 6)] == [(0, 2), (2, 4), (4, 6), (6, 8)]


def test_a_stream_between_two_workers_is_read_by_both():
    assert [order.streams_of(Share(worker, 1, 2), 3, 6) for worker in range(2)] == [(0, 2), (1, 3)]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))
def test_the_streams_of_a_share_cover_its_part_of_the_batch_and_no_more(num_streams, width, num_workers):
    batch_size = num_streams * width * num_workers
    each = batch_size // num_streams
    for worker in range(num_workers):
        start, stop = Share(worker, 1, num_workers).bounds(batch_size)
        first, last = order.streams_of(Share(worker, 1, num_workers), num_streams, batch_size)
        assert first * each <= start < (first + 1) * each and (last - 1) * each < stop <= last * each
