"""Augmentation: what each strength does on either engine, and that it depends on seed, step and position alone."""

import threading

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import draw_face
from hypothesis import given
from hypothesis import strategies as st

from harness.config.training_sections import AugmentConfig
from harness.input import augment_device, augment_host
from harness.input.augmentation import draw_transforms

GEOMETRY = ("flip", "rotation", "zoom", "shift", "shear")
COLOUR = ("brightness", "contrast", "saturation", "hue", "grayscale")
STILL = dict.fromkeys(GEOMETRY + COLOUR, 0.0)
SIZE = 65  # odd: the centre is a pixel
LUMA = np.array([0.299, 0.587, 0.114])
ROUNDING = 1.0  # the host keeps whole numbers after the warp and after the colours


class Strongest:
    """A generator whose every draw is the upper end: each strength is reached exactly, and nothing rare happens."""

    def random(self, shape):
        return np.ones(shape)

    def spawn(self, num):
        return [self] * num


def draw(num, *, seed=0, size=SIZE, **strengths):
    return draw_transforms(AugmentConfig(**{**STILL, **strengths}), np.random.default_rng(seed), num=num, size=size)


def draw_strongest(num, **strengths):
    return draw_transforms(AugmentConfig(**{**STILL, **strengths}), Strongest(), num=num, size=SIZE)


def on_device(pictures, transforms):
    return augment_device.augment_batch(tf.constant(pictures), transforms).numpy()


def on_host(pictures, transforms):
    return augment_host.augment_batch(pictures, range(len(pictures)), transforms).astype(np.float32)


@pytest.fixture(params=[on_device, on_host])
def augment(request):
    return request.param


@pytest.fixture
def faces():
    return np.stack([draw_face(index, happy=index % 2 == 0, size=SIZE) for index in range(16)])


def smooth_pictures(num, size):
    noise = np.random.default_rng(0).integers(0, 256, (num, size, size, 3)).astype(np.uint8)
    return np.stack(
        [cv2.normalize(cv2.GaussianBlur(picture, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX) for picture in noise]
    )


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_no_strength_changes_nothing(augment, faces):
    assert np.array_equal(augment(faces, draw(16)), faces)


def test_a_certain_flip_mirrors_every_picture(augment, faces):
    assert_close(augment(faces, draw(16, flip=1.0)), faces[:, :, ::-1])


def test_a_flip_of_one_half_mirrors_some(augment, faces):
    mirrored = np.abs(augment(faces, draw(16, flip=0.5)) - faces).reshape(16, -1).max(axis=1) > 1
    assert 2 < mirrored.sum() < 14


def test_a_rotation_by_a_right_angle_is_exact(augment, faces):
    expected = np.rot90(faces, axes=(1, 2))
    assert_close(augment(faces, draw_strongest(16, rotation=90.0)), expected)


def test_a_shift_repeats_the_edge_it_uncovers(augment, faces):
    read = np.minimum(np.arange(SIZE) + 13, 64)
    assert_close(augment(faces, draw_strongest(16, shift=0.2)), faces[:, read][:, :, read])


def test_a_shear_moves_each_row_by_its_distance_from_the_centre(augment, faces):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    expected = faces[:, rows, np.clip(columns + rows - 32, 0, 64)]
    assert_close(augment(faces, draw_strongest(16, shear=45.0)), expected)


def test_a_zoom_reads_between_pixels(augment, faces):
    read = np.clip(1.5 * np.arange(SIZE) - 16, 0, 64)
    low, high = np.floor(read).astype(int), np.ceil(read).astype(int)
    shrunk = (faces[:, low] / 2 + faces[:, high] / 2)[:, :, low] / 2
    shrunk += (faces[:, low] / 2 + faces[:, high] / 2)[:, :, high] / 2
    assert_close(augment(faces, draw_strongest(16, zoom=0.5)), shrunk)


def test_brightness_adds_its_fraction_of_white(augment, faces):
    assert_close(augment(faces, draw_strongest(16, brightness=0.2)), np.minimum(faces + 51.0, 255))


def test_contrast_turns_about_mid_grey(augment, faces):
    expected = np.clip((faces - 127.5) * 1.5 + 127.5, 0, 255)
    assert_close(augment(faces, draw_strongest(16, contrast=0.5)), expected)


def test_saturation_moves_away_from_the_luma(augment, faces):
    luma = (faces @ LUMA)[..., None]
    expected = np.clip(luma + 1.8 * (faces - luma), 0, 255)
    assert_close(augment(faces, draw_strongest(16, saturation=0.8)), expected)


def test_certain_grayscale_leaves_the_luma(augment, faces):
    assert_close(augment(faces, draw(16, grayscale=1.0)), np.tile((faces @ LUMA)[..., None], 3))


def test_a_third_of_the_hue_circle_swaps_the_channels(augment, faces):
    assert_close(augment(faces, draw_strongest(16, hue=120.0)), faces[..., [2, 0, 1]])


def test_hue_keeps_grey_grey(augment):
    grey = np.full((8, SIZE, SIZE, 3), 90, np.uint8)
    assert_close(augment(grey, draw(8, hue=180.0)), grey)


def test_the_colour_is_changed_after_the_warp(augment, faces):
    expected = np.minimum(faces[:, :, ::-1] + 51.0, 255)
    both = {"warp": draw(16, flip=1.0)["warp"], "colour": draw_strongest(16, brightness=0.2)["colour"]}
    assert_close(augment(faces, both), expected)


def test_erasing_paints_the_rectangle_grey_after_the_colour(augment, faces):
    drawn = draw_strongest(2, brightness=0.2)
    expected = np.minimum(faces[:2] + 51.0, 255)
    expected[0, 10:20, 30:65] = 127
    drawn["erase"] = np.array([[10, 30, 20, 65], [0, 0, 0, 0]], np.int32)
    assert_close(augment(faces[:2], drawn), expected)


def test_mixup_mixes_each_picture_with_the_other_of_its_pair(augment, faces):
    drawn = {**draw(4), "mix": np.array([0.75, 1.0, 0.5, 0.0], np.float32)}
    one, two, three, four = faces[:4].astype(np.float64)
    assert_close(augment(faces[:4], drawn), [0.75 * one + 0.25 * two, two, 0.5 * three + 0.5 * four, three])


def test_mixup_comes_after_erasing(augment):
    pictures = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    erase = np.array([[0, 0, 65, 65], [0, 0, 0, 0]], np.int32)
    found = augment(pictures, {**draw(2), "erase": erase, "mix": np.array([0.5, 0.9], np.float32)})
    assert_close(found, np.stack([np.full_like(pictures[0], 63.5, float), np.full_like(pictures[0], 12.7, float)]))


def test_an_odd_batch_cannot_be_mixed(augment, faces):
    with pytest.raises(ValueError, match="a batch of 3 cannot be mixed in pairs"):
        augment(faces[:3], draw(3, mixup=0.2))


def test_swapping_pairs_gives_the_label_of_the_other():
    assert augment_device.swap_pairs(tf.constant([7, 8, 9, 10])).numpy().tolist() == [8, 7, 10, 9]


def test_the_engines_agree_on_what_was_drawn():
    pictures = smooth_pictures(32, 128)
    drawn = draw_transforms(AugmentConfig(erasing=0.5, mixup=0.4), np.random.default_rng(0), num=32, size=128)
    difference = np.abs(on_device(pictures, drawn) - on_host(pictures, drawn))
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.999) < 2


@pytest.mark.parametrize("name", GEOMETRY + COLOUR)
def test_the_engines_agree_on_every_strength_alone(name):
    pictures = smooth_pictures(16, 64)
    drawn = draw(16, size=64, **{name: 0.5 if name in ("flip", "grayscale") else 0.7})
    difference = np.abs(on_device(pictures, drawn) - on_host(pictures, drawn))
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.999) < 2


def test_brightness_goes_both_ways_and_not_further():
    shifts = draw(64, brightness=0.2)["colour"][:, 0, 3] / 255
    assert np.abs(shifts).max() <= 0.2
    assert shifts.max() > 0.15 and shifts.min() < -0.15


def test_contrast_goes_both_ways_and_not_further():
    gains = draw(64, contrast=0.5)["colour"][:, 0, 0]
    assert 0.5 <= gains.min() < 0.6 and 1.4 < gains.max() <= 1.5


def test_a_shift_moves_at_most_its_fraction_of_the_side(augment):
    dot = np.zeros((64, SIZE, SIZE, 3), np.uint8)
    dot[:, 32, 32] = 255
    found = augment(dot, draw(64, shift=0.1))[..., 0]
    centres = np.array([np.unravel_index(picture.argmax(), picture.shape) for picture in found]) - 32
    assert np.abs(centres).max() <= 7
    assert np.abs(centres).max() >= 4


def test_zoom_changes_the_size_to_either_side(augment):
    square = np.zeros((64, SIZE, SIZE, 3), np.uint8)
    square[:, 22:43, 22:43] = 255
    areas = (augment(square, draw(64, zoom=0.3))[..., 0] > 128).sum(axis=(1, 2)) / 441
    assert 0.55 < areas.min() < 0.8 and 1.3 < areas.max() < 1.75


def test_erasing_of_one_quarter_erases_some():
    is_erased = draw(400, erasing=0.25)["erase"].any(axis=1)
    assert 70 < is_erased.sum() < 130


def test_what_is_erased_has_areas_up_to_the_limit_and_either_aspect():
    top, left, bottom, right = draw(400, size=256, erasing=1.0, erasing_area=0.3)["erase"].T
    areas, aspects = (bottom - top) * (right - left) / 256**2, (bottom - top) / (right - left)
    assert 0.015 < areas.min() < 0.03 and 0.28 < areas.max() <= 0.3
    assert 0.28 < aspects.min() < 0.33 and 3.0 < aspects.max() < 3.6


@given(st.integers(0, 1000), st.integers(16, 300), st.floats(0.02, 1.0))
def test_what_is_erased_lies_within_the_picture_and_the_limit(seed, size, area):
    top, left, bottom, right = draw(20, seed=seed, size=size, erasing=1.0, erasing_area=area)["erase"].T
    assert (top >= 0).all() and (left >= 0).all() and (bottom <= size).all() and (right <= size).all()
    assert (bottom > top).all() and (right > left).all()
    assert ((bottom - top) * (right - left)).max() <= area * size**2


@given(st.integers(0, 1000), st.floats(1e-3, 100.0))
def test_the_shares_of_mixup_lie_between_none_and_all(seed, alpha):
    mix = draw(50, seed=seed, mixup=alpha)["mix"]
    assert mix.dtype == np.float32 and mix.min() >= 0 and mix.max() <= 1


def test_a_small_alpha_leaves_most_pictures_of_a_pair_alone():
    shares = draw(400, mixup=0.1)["mix"]
    assert (np.minimum(shares, 1 - shares) < 0.05).mean() > 0.6
    assert 0.4 < shares.mean() < 0.6


@pytest.mark.parametrize("added", [{"erasing": 0.5}, {"mixup": 0.2}, {"erasing": 0.5, "mixup": 0.2}])
def test_erasing_and_mixup_leave_the_other_draws_as_they_are(added):
    fewer, all_of_them = draw(8, hue=90.0, **added), draw(8, hue=90.0, erasing=0.5, mixup=0.2)
    plain = draw(8, hue=90.0)
    assert set(plain) == {"warp", "colour"}
    assert all(np.array_equal(plain[name], fewer[name]) for name in plain)
    assert all(np.array_equal(fewer[name], all_of_them[name]) for name in fewer)


def test_the_same_seed_gives_the_same_pictures(augment, faces):
    strong = {"flip": 0.5, "rotation": 20.0, "zoom": 0.2, "hue": 90.0, "erasing": 0.5, "mixup": 0.4}
    first = augment(faces, draw(16, seed=[3, 7], **strong))
    assert np.array_equal(first, augment(faces, draw(16, seed=[3, 7], **strong)))
    assert not np.array_equal(first, augment(faces, draw(16, seed=[3, 8], **strong)))
    assert not np.array_equal(first, augment(faces, draw(16, seed=[4, 7], **strong)))


def test_the_first_draws_are_the_same_whatever_their_number():
    config = AugmentConfig(erasing=0.5, mixup=0.4)
    few = draw_transforms(config, np.random.default_rng(5), num=6, size=64)
    many = draw_transforms(config, np.random.default_rng(5), num=10, size=64)
    assert set(few) == set(many) == {"warp", "colour", "erase", "mix"}
    assert all(np.array_equal(few[name], many[name][:6]) for name in few)


def test_the_host_takes_pictures_by_index_and_leaves_them_as_they_were(faces):
    before, out = faces.copy(), np.zeros((3, SIZE, SIZE, 3), np.uint8)
    found = augment_host.augment_batch(faces, [5, 0, 5], draw(3, flip=1.0, grayscale=1.0), out=out)
    assert found is out
    assert np.array_equal(out, on_host(faces[[5, 0, 5]], draw(3, flip=1.0, grayscale=1.0)))
    assert np.array_equal(faces, before)


def test_the_host_reads_pictures_that_cannot_be_written(faces):
    faces.flags.writeable = False
    assert_close(on_host(faces, draw(16, flip=1.0)), faces[:, :, ::-1])


@pytest.mark.parametrize("out", [np.zeros((16, 65, 65, 3), np.float32), np.zeros((15, 65, 65, 3), np.uint8)])
def test_the_host_refuses_to_write_to_another_form(faces, out):
    with pytest.raises(ValueError, match="should be uint8"):
        augment_host.augment_batch(faces, range(16), draw(16), out=out)


def test_threads_write_the_halves_of_one_batch(faces):
    drawn = draw_transforms(AugmentConfig(), np.random.default_rng(0), num=16, size=SIZE)
    out = np.zeros_like(faces)

    def augment_half(half):
        transforms = {name: values[half] for name, values in drawn.items()}
        augment_host.augment_batch(faces, range(16)[half], transforms, out=out[half])

    threads = [threading.Thread(target=augment_half, args=[half]) for half in (slice(0, 8), slice(8, 16))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert np.array_equal(out, on_host(faces, drawn))
