"""The networks: sizes, heads, seeds, precision."""

import inspect
import random as python_random
import sys

import keras
import numpy as np
import pytest

from harness.base.errors import ConfigError
from harness.config import networks
from harness.config.training_sections import ModelConfig
from harness.models import cnn
from harness.models.applications import load_backbone
from harness.models.cnn import oriented_edges
from harness.models.network import build_model, count_flops, seed_states, still_frozen_dropout, walk_layers
from harness.results.export import keras_files


def build(num_classes=2, image_size=256, seed=0, precision="float32", **settings):
    return build_model(
        ModelConfig(**settings), num_classes=num_classes, image_size=image_size, seed=seed, precision=precision
    )


def test_the_default_cnn_has_3_696_625_parameters_in_these_layers():
    model = build()
    assert model.count_params() == 3_696_625
    shapes = [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in model.layers]
    assert shapes == [
        ("InputLayer", (256, 256, 3), 0),
        ("Rescaling", (256, 256, 3), 0),
        ("Conv2D", (254, 254, 16), 448),
        ("MaxPooling2D", (127, 127, 16), 0),
        ("Dropout", (127, 127, 16), 0),
        ("Conv2D", (125, 125, 32), 4_640),
        ("MaxPooling2D", (62, 62, 32), 0),
        ("Dropout", (62, 62, 32), 0),
        ("Conv2D", (60, 60, 16), 4_624),
        ("MaxPooling2D", (30, 30, 16), 0),
        ("Dropout", (30, 30, 16), 0),
        ("Flatten", (14_400,), 0),
        ("Dense", (256,), 3_686_656),
        ("Dropout", (256,), 0),
        ("Dense", (1,), 257),
        ("Activation", (1,), 0),
    ]


def test_a_sigmoid_is_refused_for_more_than_two_classes():
    with pytest.raises(ConfigError, match=r"model\.head is sigmoid, which knows two classes, and the records have 3\."):
        build(3, image_size=32, head="sigmoid")


@pytest.mark.parametrize(
    ("num_classes", "head", "num_outputs"),
    [(2, "auto", 1), (2, "sigmoid", 1), (2, "softmax", 2), (5, "auto", 5)],
)
def test_the_head_follows_the_classes(num_classes, head, num_outputs):
    model = build(num_classes, image_size=32, head=head)
    found = model(np.zeros((3, 32, 32, 3), np.float32)).numpy()
    assert found.shape == (3, num_outputs)
    if num_outputs > 1:
        assert found.sum(axis=1) == pytest.approx(1.0)


def test_a_seed_decides_all_weights():
    first, again, other = (build(image_size=32, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_and_answers_in_float32(precision):
    model = build(image_size=32, precision=precision)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("conv2").compute_dtype == precision.removeprefix("mixed_")
    assert model(np.zeros((1, 32, 32, 3), np.float32)).dtype == "float32"


def test_edge_kernels_see_edges_and_no_flat_colour():
    kernels = oriented_edges(16, np.random.default_rng(0))
    assert kernels.shape == (3, 3, 3, 16)
    flat = kernels.sum(axis=(0, 1, 2))
    assert np.abs(flat).max() < 0.5
    step = np.zeros((3, 3, 3))
    step[:, 2:] = 1.0  # dark to the left, light to the right
    answers = (kernels * step[..., None]).sum(axis=(0, 1, 2))
    assert answers[0] > 1.0 and answers[8] < -1.0  # the first looks that way, the ninth the other


def test_random_kernels_are_an_option():
    edges, random = (build(image_size=32, first_kernels=kind).get_layer("conv1").kernel for kind in ("edges", "random"))
    assert not np.allclose(edges, random)


def test_the_saved_model_holds_standard_layers_only(tmp_path):
    build(image_size=32).save(tmp_path / "model.keras")
    reread = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in reread.layers} == {"keras"}


def test_the_residual_network_sees_shape_and_no_colour(tmp_path):
    model = build(name="residual_cnn", widths=[16, 32, 64])
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (model.count_params(), trained) == (79_422, 78_513)
    random = np.random.default_rng(0)
    grey = np.repeat(random.integers(0, 200, (1, 64, 64, 1)), 3, axis=3).repeat(4, axis=1).repeat(4, axis=2)
    edges = keras.Model(model.input, model.get_layer("contrast").output)
    plain = edges(grey.astype(np.float32)).numpy()
    inverted = edges(200.0 - grey.astype(np.float32)).numpy()
    np.testing.assert_allclose(plain, inverted, atol=1e-4)
    model.save(tmp_path / "model.h5")
    reread = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_allclose(reread(grey), model(grey), atol=1e-6)


def test_the_arithmetic_of_the_cnn_is_counted():
    """By hand: 3x3x3x16 at 254x254, 3x3x16x32 at 125x125, 3x3x32x16 at 60x60, 14400x256, 256x1; two for each."""
    answer = 2 * (432 * 254**2 + 4608 * 125**2 + 4608 * 60**2 + 14400 * 256 + 256)
    first = 2 * 432 * 254**2  # has no gradient to hand down
    assert count_flops(build()) == (
        answer,
        3 * answer - first,
    )


def test_kernels_that_are_not_trained_are_counted_once():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, trainable=False), keras.layers.Dense(2)]
    )
    frozen, trained = 2 * 27 * 4 * 36, 2 * 4 * 2 * 36
    assert count_flops(model) == (frozen + trained, frozen + 2 * trained)


def test_average_pooling_is_an_option():
    model = build(image_size=32, pooling="average")
    assert [type(model.get_layer(f"pool{index}")).__name__ for index in (1, 2, 3)] == ["AveragePooling2D"] * 3


def test_every_network_of_our_own_has_a_name_and_a_function():
    assert set(networks.OWN_NETWORKS) == set(cnn.FEATURES)


def test_the_table_names_every_network_of_keras():
    assert set(networks.APPLICATIONS) == {
        name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)
    }


PIXEL = np.array([[[[0.0, 127.5, 255.0]]]], np.float32)  # RGB
EXPECTED = {
    "raw": [0.0, 127.5, 255.0],
    "signed": [-1.0, 0.0, 1.0],
    "normalised": [-2.1179039, 0.1964286, 2.64],
    "caffe": [151.061, 10.721, -123.68],
}


@pytest.mark.parametrize("name", sorted(networks.APPLICATIONS))
def test_the_table_agrees_with_the_preprocessing_of_keras(name):
    module = sys.modules[getattr(keras.applications, name).__module__]
    found = np.asarray(module.preprocess_input(PIXEL.copy())).ravel()
    assert found == pytest.approx(EXPECTED[networks.APPLICATIONS[name]], abs=1e-4)


def entering(model):
    """What a pixel is when it enters the network of keras.applications."""
    index = next(index for index, layer in enumerate(model.layers) if isinstance(layer, keras.Model))
    scaling = keras.Model(model.input, model.layers[index - 1].output)
    return scaling(np.broadcast_to(PIXEL, (1, 32, 32, 3)))[0, 0, 0].numpy()


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV2", "DenseNet121", "VGG16"])
def test_a_network_of_keras_gets_the_pixels_it_knows(name):
    assert entering(build(name=name, image_size=32)) == pytest.approx(EXPECTED[networks.APPLICATIONS[name]], abs=1e-4)


def test_efficientnet_with_imagenet_weights_divides_by_the_deviation():
    config = ModelConfig(name="EfficientNetB0", weights="imagenet.h5")
    model = build_model(config, num_classes=2, image_size=32, seed=0)
    normalised = (entering(model) / 255 - [0.485, 0.456, 0.406]) / np.sqrt([0.229, 0.224, 0.225])
    assert normalised == pytest.approx(EXPECTED["normalised"], abs=1e-4)


def test_a_seed_decides_all_weights_of_a_network_of_keras():
    before = python_random.getstate()
    first, again, other = (build(name="MobileNetV3Small", image_size=32, seed=seed) for seed in (1, 1, 2))
    assert python_random.getstate() == before and keras.config.dtype_policy().name == "float32"
    first, again, other = (model.get_weights() for model in (first, again, other))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


def test_dropout_inside_a_network_of_keras_has_its_seeds_saved():
    model = build(name="EfficientNetB0", image_size=32)
    assert len(seed_states(model)) == 9 + 1  # its blocks with a shortcut, and the one before the output


def test_a_frozen_network_answers_in_training_as_it_does_afterwards(tmp_path):
    frozen = {"name": "EfficientNetB0", "weights": tmp_path / "made.weights.h5", "freeze_backbone": True}
    model, pictures = build(image_size=32, **frozen), np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    before = [layer.rate for layer in walk_layers(model) if isinstance(layer, keras.layers.Dropout)]
    inner = keras.Model(model.input, model.get_layer("mean").output)
    expected = inner(pictures.astype(np.float32), training=False).numpy()
    assert not np.allclose(inner(pictures.astype(np.float32), training=True), expected, rtol=1e-3)
    still_frozen_dropout(model)
    assert np.array_equal(inner(pictures.astype(np.float32), training=True), expected)
    assert len(seed_states(model)) == len(before) == 10 and model.get_layer("dense_dropout").rate == 0.5
    untouched = build(name="EfficientNetB0", image_size=32)
    still_frozen_dropout(untouched)
    assert [layer.rate for layer in walk_layers(untouched) if isinstance(layer, keras.layers.Dropout)] == before


def test_mixed_precision_reaches_inside_a_network_of_keras():
    model = build(name="MobileNetV3Small", image_size=32, precision="mixed_float16")
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert network.layers[2].compute_dtype == "float16"
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_pictures_too_small_for_a_network_are_refused():
    with pytest.raises(ConfigError, match="InceptionV3, which does not take pictures of 32 pixels"):
        build(name="InceptionV3", image_size=32)


@pytest.fixture(scope="module")
def network():
    return keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(48, 48, 3))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
def test_weights_from_a_file_are_in_the_model(network, tmp_path, suffix):
    path = tmp_path / f"network{suffix}"
    (network.save_weights if suffix == ".weights.h5" else network.save)(path)
    config = ModelConfig(name="MobileNetV3Small", weights=path, freeze_backbone=True)
    model = build_model(config, num_classes=2, image_size=32, seed=0)
    load_backbone(model, path)
    inside = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert all(np.array_equal(a, b) for a, b in zip(inside.get_weights(), network.get_weights(), strict=True))
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]


def test_weights_of_another_network_or_of_none_are_refused(network, tmp_path):
    network.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    model = build(name="MobileNetV2", image_size=32)
    for name in ("other.weights.h5", "text.weights.h5", "missing.h5"):
        with pytest.raises(ConfigError, match=rf"{name} cannot be loaded into MobileNetV2.*include_top=False"):
            load_backbone(model, tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2", "DenseNet121", "MobileNetV3Small"])
def test_an_exported_network_of_keras_reads_back_safely(tmp_path, name):
    model = build(name=name, image_size=32)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    for path in (tmp_path / "model.keras", *([tmp_path / "model.h5"] if keras_files.fits_hdf5(name) else [])):
        model.save(path)
        reread = keras.models.load_model(path, compile=False, safe_mode=True)
        np.testing.assert_allclose(reread(pictures), model(pictures), atol=1e-6)
