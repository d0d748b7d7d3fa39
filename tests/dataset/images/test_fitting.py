"""Pictures that are no squares become squares as settings say: stretched, cropped or padded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.dataset_sections import RecordsConfig
from harness.config.preparation import Preparation, find_preparation
from harness.dataset.images.fitting import find_inner, prepare
from harness.dataset.images.resizing import resize

GREEN = (0, 200, 0)


def stripes(height: int, width: int) -> np.ndarray:
    """White, with a red column at the left edge and a blue row at the upper one."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[:, :2] = (255, 0, 0)
    pixels[:2] = (0, 0, 255)
    return pixels


def test_a_wide_picture_is_stretched_by_default():
    pixels = stripes(20, 40)
    found = prepare(pixels, Preparation(20))
    assert np.array_equal(found, resize(pixels, 20)) and found[10, 0].tolist() == [255, 0, 0]


def test_a_cropped_picture_is_the_square_in_its_middle():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 45, 3), np.uint8)
    assert np.array_equal(prepare(pixels, Preparation(20, "crop")), pixels[:, 12:32])
    assert np.array_equal(
        prepare(pixels.transpose(1, 0, 2), Preparation(20, "crop")), pixels[:, 12:32].transpose(1, 0, 2)
    )


def test_a_padded_picture_keeps_its_proportions_between_bars():
    pixels = np.random.default_rng(0).integers(0, 256, (10, 40, 3), np.uint8)
    found = prepare(pixels, Preparation(40, "pad", GREEN))
    assert np.array_equal(found[15:25], pixels)
    assert (found[:15] == GREEN).all() and (found[25:] == GREEN).all()
    tall = prepare(pixels.transpose(1, 0, 2), Preparation(20, "pad", GREEN))
    assert (tall[:, :7] == GREEN).all() and (tall[:, 12:] == GREEN).all() and not (tall[:, 7:12] == GREEN).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("side", [16, 37, 300])
def test_a_square_is_the_same_whatever_the_fit(fit, side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    assert np.array_equal(prepare(pixels, Preparation(64, fit, GREEN)), resize(pixels, 64))


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.integers(16, 80),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
)
def test_every_picture_becomes_a_square_whose_inner_part_has_its_proportions(height, width, size, fit):
    preparation = Preparation(size, fit, GREEN)
    pixels = np.full((height, width, 3), 77, np.uint8)
    found, (rows, columns) = prepare(pixels, preparation), find_inner(height, width, preparation)
    assert found.shape == (size, size, 3) and (found[rows, columns] == 77).all()
    inner = (rows.stop - rows.start, columns.stop - columns.start)
    if fit == "pad":
        assert max(inner) == size
        assert abs(min(inner) - size * min(height, width) / max(height, width)) < 1
        assert (found == GREEN).all(axis=2).sum() == size**2 - inner[0] * inner[1]
    else:
        assert inner == (size, size)


def test_settings_say_how():
    config = RecordsConfig(image_size=32, fit="pad", pad_color=[1, 2, 3])
    assert find_preparation(config) == Preparation(32, "pad", (1, 2, 3))
    assert find_preparation(RecordsConfig()) == Preparation(256, "stretch", (0, 0, 0))
