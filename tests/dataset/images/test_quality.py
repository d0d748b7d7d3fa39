"""Measures of pictures whose answers are known."""

import cv2
import numpy as np
import pytest

from harness.dataset.images import quality


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((256, 256, 3), (red, green, blue), np.uint8)


def measure(pixels: np.ndarray) -> quality.Measures:
    return quality.measure(quality.shrink(pixels))


def checkers(side: int) -> np.ndarray:
    rows, columns = np.indices((256, 256)) // side
    return np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def test_a_plain_colour_has_its_mean_no_edge_and_no_information():
    found = measure(plain(200, 100, 50))
    assert (found.red, found.green, found.blue) == (200.0, 100.0, 50.0)
    assert found.blurry == 0.0 and found.information == 0.0
    # the square root of 0.241 * 200**2 + 0.691 * 100**2 + 0.068 * 50**2, over 255
    assert found.dark == pytest.approx(0.507, abs=0.001) and found.light == pytest.approx(0.493, abs=0.001)


def test_a_chessboard_has_one_bit_and_sharp_edges():
    found = measure(checkers(32))
    assert found.information == pytest.approx(0.1)  # one bit over ten
    assert found.blurry == 1.0 and found.dark == 1.0 and found.light == 1.0


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (plain(10, 10, 10), ("dark", "blurry", "low_information")),
        (plain(255, 255, 255), ("light", "blurry", "low_information")),
        (np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8), ()),
    ],
    ids=["night", "snow", "noise"],
)
def test_what_misses_a_limit_is_named(pixels, expected):
    assert quality.flags(measure(pixels), 256, 256) == expected


def test_a_blurred_picture_scores_lower_than_a_sharp_one():
    sharp = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    scores = [measure(cv2.GaussianBlur(sharp, (0, 0), sigma)).blurry for sigma in (2, 8, 24)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.9 > 0.29 > scores[-1]


def test_a_long_thin_picture_is_of_odd_aspect():
    found = measure(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    assert quality.flags(found, 1000, 349) == ("odd_aspect",)
    assert quality.flags(found, 1000, 351) == ()


@pytest.mark.parametrize("size", [32, 64, 100, 256, 250])
def test_any_size_shrinks_to_the_same_square(size):
    assert quality.shrink(np.zeros((size, size, 3), np.uint8)).shape == (64, 64, 3)
