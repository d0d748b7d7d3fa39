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
RED = (220, 40, 40)


def draw_patches(
    seed: int, num: int, labels: np.ndarray | None = None, others: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of grey noise: a red patch in the left half makes the second class, one in the right half nothing.

    Returns:
      The pictures; their labels; and row and column at which the patches begin, int [num, 2, 2], the left ones first.
    """
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 160, (num, SIZE, SIZE, 1), np.uint8).repeat(3, axis=3)
    labels = random.integers(0, 2, num) if labels is None else labels
    others = random.integers(0, 2, num) if others is None else others
    rows = random.integers(0, SIZE - PATCH, (num, 2))
    columns = random.integers([0, SIZE // 2], [SIZE // 2 - PATCH, SIZE - PATCH], (num, 2))
    places = np.stack([rows, columns], axis=2)
    for picture, reds, starts in zip(pixels, np.stack([labels, others], axis=1), places):
        for is_red, (row, column) in zip(reds, starts):
            if is_red:
                picture[row : row + PATCH, column : column + PATCH] = RED
    return pixels, labels, places


@pytest.fixture(scope="module")
def trained():
    """A network that knows where a red patch counts."""
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


@pytest.fixture(scope="module")
def two_red():
    """Pictures with two red patches, of which the left one makes them what they are."""
    return draw_patches(1, 100, labels=np.ones(100, int), others=np.ones(100, int))


def test_the_map_lights_what_decides_the_class_and_occlusion_agrees(trained, two_red):
    pixels, labels, places = two_red
    assert (trained.predict_on_batch(pixels.astype(np.float32))[:, -1] > 0.5).mean() > 0.95  # it has learnt to
    maps = explanation.make_explainer(trained)(pixels, labels)
    assert maps.shape == (100, 13, 13) and maps.dtype == np.float32 and (maps >= 0).all()
    by_map, by_occlusion = find_peaks(maps), find_peaks(occlude(trained, pixels, labels))
    # The patch is a sixteenth of a picture: a place drawn at random is so near to its centre in one of seven.
    centres = places[:, 0] + PATCH / 2
    assert (np.abs(by_map - centres).max(axis=1) <= PATCH * 0.75).mean() >= 0.9
    assert (np.abs(by_occlusion - centres).max(axis=1) <= PATCH * 0.75).mean() >= 0.9
    assert (np.abs(by_map - by_occlusion).max(axis=1) <= PATCH).mean() >= 0.9


def sum_patch(found: np.ndarray, place: np.ndarray) -> float:
    """What a map, float32 [h, w], has on a patch."""
    scale = found.shape[0] / SIZE
    return float(found[tuple(slice(int(at * scale), int((at + PATCH) * scale) + 1) for at in place)].sum())


def test_neither_the_same_patch_elsewhere_nor_the_other_class_is_lit(trained, two_red):
    pixels, labels, places = two_red
    explain = explanation.make_explainer(trained)
    found = zip(explain(pixels, labels), explain(pixels, 1 - labels), places)
    sums = np.array(
        [(sum_patch(own, left), sum_patch(own, right), sum_patch(other, left)) for own, other, (left, right) in found]
    )
    assert (sums[:, 0] > 3 * sums[:, 1]).mean() >= 0.8
    assert (sums[:, 0] > 3 * sums[:, 2]).mean() >= 0.8


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


def explain_both(model: keras.Model, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of noise, and what speaks for the first and for the second class in them."""
    size = model.input_shape[1]
    pixels = np.random.default_rng(0).integers(0, 256, (num, size, size, 3), np.uint8)
    explain = explanation.make_explainer(model)
    first, second = (explain(pixels, np.full(num, label)) for label in (0, 1))
    assert first.shape == second.shape and np.isfinite(first).all() and first.max() + second.max() > 0
    return pixels, first, second


@pytest.mark.parametrize("image_size", [64, 128])
def test_a_map_that_is_too_coarse_is_passed_over(image_size):
    model = build_model(ModelConfig(name="residual_cnn"), num_classes=2, image_size=image_size, seed=0)
    assert explain_both(model, 3)[1].shape == (3, 8, 8)  # the last ones have 4 and 2 places to a side


FROZEN = {"weights": Path("weights.h5"), "freeze_backbone": True}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV3Small", FROZEN),
        pytest.param("VGG16", {}, marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", {}, marks=pytest.mark.slow),
    ],
)
def test_what_speaks_for_and_against_adds_up_to_the_logit_of_a_network_that_averages(name, options):
    model = build_model(ModelConfig(name=name, **options), num_classes=2, image_size=224, seed=0)
    pixels, first, second = explain_both(model, 2)
    assert first.shape == (2, *((14, 14) if name == "VGG16" else (7, 7)))
    bias = model.get_layer(LOGITS).bias.numpy()
    logits = logits_of(model).predict_on_batch(pixels.astype(np.float32)) - bias
    np.testing.assert_allclose((second - first).sum(axis=(1, 2)), logits[:, 0], rtol=1e-3)


def test_a_model_without_a_map_is_refused():
    inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name=LOGITS)(flat))
    with pytest.raises(ValueError, match="has no convolutional map"):
        explanation.make_explainer(model)
