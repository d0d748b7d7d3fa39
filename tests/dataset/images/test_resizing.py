"""Pictures at another size: averages over areas where they shrink, without aliasing, and cubic where they grow."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.dataset.images.resizing import resize

SIDES = st.integers(1, 5).flatmap(lambda most: st.tuples(*[st.integers(32, 32 * 2**most)] * 2))


def draw_noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_three_rows_become_two():
    rows = np.repeat(np.array([[0], [90], [180]], np.uint8), 2, axis=1)[:, :, None].repeat(3, axis=2)
    assert resize(rows, 2).tolist() == [[[30] * 3] * 2, [[150] * 3] * 2]  # (0 + 90 / 2) / 1.5, (90 / 2 + 180) / 1.5


def test_three_columns_become_two():
    columns = np.repeat(np.array([[0, 90, 180]], np.uint8), 3, axis=0)[:, :, None].repeat(3, axis=2)
    assert resize(columns, 2).tolist() == [[[30] * 3, [150] * 3]] * 2


@given(SIDES, st.integers(0, 9))
@example((64, 128), 0)  # whole multiples
@example((32, 100), 0)  # no rows to average
@example((33, 32), 0)
@example((48, 64), 0)  # many halves
@example((40, 140_000), 0)  # wide
@example((1500, 2000), 0)
def test_shrinking_is_opencvs_average_over_areas(sides, seed):
    pixels = draw_noise(*sides, seed)
    expected = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(resize(pixels, 32) - expected).max() <= 1  # a half may be rounded the other way


@given(st.integers(33, 700))
@example(48)
def test_an_average_is_off_by_no_more_than_rounding(height):
    pixels = draw_noise(height, 32, seed=height)
    edges = np.arange(33) * height / 32
    sums = np.concatenate([np.zeros((1, 32, 3)), np.cumsum(pixels.astype(float), axis=0)])
    below = np.minimum(edges.astype(int), height - 1)
    at_edges = sums[below] + (edges - below)[:, None, None] * pixels[below]
    exact = np.diff(at_edges, axis=0) * 32 / height
    assert np.abs(resize(pixels, 32) - exact).max() < 0.52


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("side", [33, 100, 399, 1001])
def test_one_colour_stays_that_colour(value, side):
    assert (resize(np.full((side, side + 7, 3), value, np.uint8), 32) == value).all()


def test_fine_stripes_become_grey():
    stripes = np.zeros((500, 500, 3), np.uint8)
    stripes[::2] = 255
    assert np.abs(resize(stripes, 250).astype(int) - 128).max() <= 1
    assert np.abs(resize(stripes[:499], 125).astype(int) - 128).max() <= 1


def test_each_axis_is_by_itself():
    tall = np.zeros((512, 64, 3), np.uint8)
    tall[256:] = 200
    small = resize(tall, 128)
    assert small.shape == (128, 128, 3) and small.dtype == np.uint8
    assert small[10].max() == 0 and small[120].min() == 200


def test_a_view_in_another_order_resizes_as_its_copy():
    turned = draw_noise(90, 120).transpose(1, 0, 2)[::-1]
    assert np.array_equal(resize(turned, 64), resize(np.ascontiguousarray(turned), 64))
