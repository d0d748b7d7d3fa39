"""Augmentation: what each strength does, and that it depends on seed, step and position alone."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import draw_face

from harness import augment_device
from harness.config import AugmentConfig
from harness.transforms import draw_transforms

STILL = {name: 0.0 for name in AugmentConfig.model_fields if name != "enabled"}
SIZE = 64


def apply(pictures, *, seed=0, step=0, **strengths):
    config = AugmentConfig(**{**STILL, **strengths})
    random = np.random.default_rng([seed, step])
    drawn = draw_transforms(config, random, num=len(pictures), size=pictures.shape[1])
    return augment_device.augment_batch(tf.constant(pictures), drawn).numpy()


@pytest.fixture
def faces():
    return np.stack([draw_face(index, happy=index % 2 == 0, size=SIZE) for index in range(16)])


def test_no_strength_changes_nothing(faces):
    assert np.abs(apply(faces) - faces).max() < 1e-2


def test_a_certain_flip_mirrors_every_picture(faces):
    assert np.abs(apply(faces, flip=1.0) - faces[:, :, ::-1]).max() < 1e-2


def test_a_flip_of_one_half_mirrors_some(faces):
    mirrored = np.abs(apply(faces, flip=0.5) - faces).reshape(16, -1).max(axis=1) > 1
    assert 2 < mirrored.sum() < 14


def test_certain_grayscale_leaves_the_luma(faces):
    found = apply(faces, grayscale=1.0)
    luma = faces @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found - luma[..., None]).max() < 1e-2


def test_brightness_adds_at_most_its_fraction_of_white():
    grey = np.full((64, 8, 8, 3), 128, np.uint8)
    shifts = (apply(grey, brightness=0.2)[:, 0, 0, 0] - 128) / 255
    assert np.abs(shifts).max() <= 0.2
    assert shifts.max() > 0.1 and shifts.min() < -0.1


def test_contrast_turns_about_mid_grey():
    ends = np.zeros((64, 8, 8, 3), np.uint8)
    ends[:, :, 4:] = 200
    found = apply(ends, contrast=0.5)
    gain = (found[:, 0, 7, 0] - found[:, 0, 0, 0]) / 200
    assert 0.5 <= gain.min() < 0.8  # what would be below black is clipped, so a gain above one is not seen whole
    middle = np.full((64, 8, 8, 3), 128, np.uint8)
    assert np.abs(apply(middle, contrast=0.5) - 128).max() < 0.5


def test_hue_keeps_grey_grey_and_turns_colours():
    grey = np.full((8, 8, 8, 3), 90, np.uint8)
    assert np.abs(apply(grey, hue=180.0) - 90).max() < 1e-2
    orange = np.tile(np.array([200, 120, 40], np.uint8), (8, 8, 8, 1))
    assert np.abs(apply(orange, hue=180.0) - orange).max() > 20


def test_a_shift_moves_at_most_its_fraction_of_the_side(faces):
    dot = np.zeros((64, 65, 65, 3), np.uint8)
    dot[:, 32, 32] = 255
    found = apply(dot, shift=0.1)[..., 0]
    centres = np.array([np.unravel_index(picture.argmax(), picture.shape) for picture in found]) - 32
    assert np.abs(centres).max() <= 7
    assert np.abs(centres).max() >= 4


def test_a_rotation_turns_about_the_centre():
    bar = np.zeros((64, 65, 65, 3), np.uint8)
    bar[:, 32, 10:55] = 255
    found = apply(bar, rotation=90.0)[..., 0]
    assert (found[:, 32, 32] > 150).all()
    tops = (found > 100).any(axis=2).argmax(axis=1)
    assert tops.min() <= 14 and tops.max() >= 29  # some stand nearly upright, some lie nearly flat


def test_zoom_changes_the_size_to_either_side():
    square = np.zeros((64, 65, 65, 3), np.uint8)
    square[:, 22:43, 22:43] = 255
    areas = (apply(square, zoom=0.3)[..., 0] > 128).sum(axis=(1, 2)) / 441
    assert 0.55 < areas.min() < 0.8 and 1.3 < areas.max() < 1.75


def test_the_same_seed_and_step_give_the_same_pictures(faces):
    strong = {"flip": 0.5, "rotation": 20.0, "zoom": 0.2, "hue": 90.0}
    first = apply(faces, seed=3, step=7, **strong)
    assert np.array_equal(first, apply(faces, seed=3, step=7, **strong))
    assert not np.array_equal(first, apply(faces, seed=3, step=8, **strong))
    assert not np.array_equal(first, apply(faces, seed=4, step=7, **strong))
