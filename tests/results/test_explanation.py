"""A class activation map lights the place that decides the class, which occlusion finds too."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness.config.training_sections import ModelConfig
from harness.models.network import LOGITS, build_model, logits_of
from harness.results import explanation

SIZE, PATCH = 32, 8
RED, BLUE = (220, 40, 40), (40, 40, 220)


def draw_patches(seed: int, num: int, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of grey noise, each with a blue patch, and those of the second class with a red one besides.

    Returns:
      The pictures; their labels; and the row and column at which the red patch begins, in another half than the blue.
    """
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 160, (num, SIZE, SIZE, 1), np.uint8).repeat(3, axis=3)
    labels = random.integers(0, 2, num) if labels is None else labels
    rows = random.integers(0, SIZE - PATCH, (num, 2))
    left, right = random.integers(0, SIZE // 2 - PATCH, num), random.integers(SIZE // 2, SIZE - PATCH, num)
    columns = np.where(random.random((num, 1)) < 0.5, np.stack([left, right], 1), np.stack([right, left], 1))
    for picture, label, row, column in zip(pixels, labels, rows, columns):
        for color, top, start in zip((RED, BLUE), row, column):
            if label or color == BLUE:
                picture[top : top + PATCH, start : start + PATCH] = color
    return pixels, labels, np.stack([rows[:, 0], columns[:, 0]], axis=1)


@pytest.fixture(scope="module")
def trained():
    """A network that knows the red patch."""
    config = ModelConfig(widths=(8, 8, 8), dense_units=16, dropout=0.0, dense_dropout=0.0)
    model = build_model(config, num_classes=2, image_size=SIZE, seed=1)
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    keras.utils.set_random_seed(1)
    pixels, labels, _ = draw_patches(0, 1000)
    model.fit(pixels.astype(np.float32), labels, batch_size=50, epochs=20, verbose=0)
    return model


def occlude(model: keras.Model, pixels: np.ndarray, labels: np.ndarray, window: int = PATCH) -> np.ndarray:
    """By how much the logit of the class falls when a window is made grey: float32 [n, SIZE, SIZE], at its centre."""
    logits = logits_of(model)

    def score(pictures: np.ndarray) -> np.ndarray:
        return logits.predict_on_batch(pictures.astype(np.float32))[:, 0] * (2 * labels - 1)

    falls = np.zeros((len(pixels), SIZE, SIZE), np.float32)
    before = score(pixels)
    for row in range(0, SIZE, 4):
        for column in range(0, SIZE, 4):
            covered = pixels.copy()
            rows, columns = (slice(max(0, at - window // 2), at + window // 2) for at in (row, column))
            covered[:, rows, columns] = 125
            falls[:, row, column] = before - score(covered)
    return falls


def find_peaks(maps: np.ndarray) -> np.ndarray:
    """Row and column of the greatest value of each map, in pixels of the pictures."""
    flat = maps.reshape(len(maps), -1).argmax(axis=1)
    return (np.stack(np.unravel_index(flat, maps.shape[1:]), axis=1) + 0.5) * SIZE / maps.shape[1]


def test_the_map_lights_what_decides_the_class_and_occlusion_agrees(trained):
    pixels, labels, places = draw_patches(1, 100, labels=np.ones(100, int))
    assert (trained.predict_on_batch(pixels.astype(np.float32))[:, -1] > 0.5).mean() > 0.95  # it has learnt to
    maps = explanation.make_explainer(trained)(pixels, labels)
    assert maps.shape == (100, 13, 13) and maps.dtype == np.float32 and (maps >= 0).all()
    by_map, by_occlusion = find_peaks(maps), find_peaks(occlude(trained, pixels, labels))
    # The patch is a sixteenth of a picture: a place drawn at random is so near to its centre in one of seven.
    centres = places + PATCH / 2
    assert (np.abs(by_map - centres).max(axis=1) <= PATCH * 0.75).mean() >= 0.9
    assert (np.abs(by_occlusion - centres).max(axis=1) <= PATCH * 0.75).mean() >= 0.9
    assert (np.abs(by_map - by_occlusion).max(axis=1) <= PATCH).mean() >= 0.9


def test_what_speaks_for_a_class_does_not_speak_for_the_other(trained):
    pixels, labels, places = draw_patches(2, 50, labels=np.ones(50, int))
    explain = explanation.make_explainer(trained)
    own, other = explain(pixels, labels), explain(pixels, 1 - labels)
    scale = own.shape[1] / SIZE
    for found, rival, (row, column) in zip(own, other, places):
        patch = tuple(slice(int(at * scale), int((at + PATCH) * scale) + 1) for at in (row, column))
        assert found[patch].sum() > 4 * rival[patch].sum()


def test_a_map_is_the_gradient_times_the_activation():
    model = build_model(ModelConfig(widths=(2, 2), dense_units=4), num_classes=3, image_size=16, seed=0)
    pixels, labels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8), np.array([0, 1, 2, 1, 0])
    found = explanation.make_explainer(model)(pixels, labels)
    before = keras.Model(model.inputs[0], model.get_layer("conv1").output)
    activation = tf.Variable(before(pixels.astype(np.float32)))
    with tf.GradientTape() as tape:
        x = activation
        for name in ("pool1", "dropout1", "conv2", "pool2", "dropout2", "flatten", "dense", "dense_dropout", LOGITS):
            x = model.get_layer(name)(x, training=False) if "dropout" in name else model.get_layer(name)(x)
        score = tf.gather(x, labels, batch_dims=1)
    expected = np.maximum((tape.gradient(score, activation) * activation).numpy().sum(axis=-1), 0)
    assert found.shape == (5, 14, 14)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


FROZEN = {"weights": Path("weights.h5"), "freeze_backbone": True}


@pytest.mark.parametrize(
    ("name", "options", "image_size", "side"),
    [
        ("residual_cnn", {}, 64, 8),
        ("residual_cnn", {}, 128, 8),
        ("MobileNetV3Small", {}, 64, 8),
        ("MobileNetV3Small", FROZEN, 64, 8),
        pytest.param("VGG16", {}, 64, 8, marks=pytest.mark.slow),
        pytest.param("ResNet50", FROZEN, 96, 12, marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", {}, 224, 7, marks=pytest.mark.slow),
    ],
)
def test_networks_of_all_kinds_are_explained_with_the_logits_they_give(name, options, image_size, side):
    model = build_model(ModelConfig(name=name, **options), num_classes=2, image_size=image_size, seed=0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, image_size, image_size, 3), np.uint8)
    maps = explanation.make_explainer(model)(pixels, np.array([0, 1, 1]))
    assert maps.shape == (3, side, side) and np.isfinite(maps).all() and maps.max() > 0
    assert (maps == explanation.make_explainer(model)(pixels[:], np.array([0, 1, 1]))).all()


def test_a_model_without_a_map_is_refused():
    inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name=LOGITS)(flat))
    with pytest.raises(ValueError, match="has no convolutional map"):
        explanation.make_explainer(model)
