"""Shortcuts planted in features made here are found; features that say nothing raise no alarm."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dataset.report import shortcuts


def pictures(num_happy: int, num_sad: int) -> tuple[list[str], list[str]]:
    """Labels and groups of pictures that are each a group of their own."""
    labels = ["happy"] * num_happy + ["sad"] * num_sad
    return labels, [f"picture-{i}" for i in range(len(labels))]


def random_features(rng: np.random.Generator, num_groups: int) -> dict[str, np.ndarray]:
    return {
        "file size": np.exp(rng.normal(9, 1, (num_groups, 1))),
        "file format": rng.choice(["jpeg", "png", "webp"], p=[0.5, 0.4, 0.1], size=num_groups),
        "width and height": rng.choice([48.0, 100.0, 224.0, 640.0], size=(num_groups, 2)),
        "mean colour": rng.random((num_groups, 3)),
        "EXIF presence": rng.choice(["no", "yes"], p=[0.7, 0.3], size=num_groups),
    }


def warnings_of(features, labels, groups) -> list[str]:
    return [found.feature for found in shortcuts.probe(features, labels, groups) if found.is_warning]


def test_a_class_that_is_all_png_is_found():
    labels, groups = pictures(20, 20)
    found = shortcuts.probe({"file format": np.array(["jpeg"] * 20 + ["png"] * 20)}, labels, groups)
    assert [(one.feature, one.balanced_accuracy, one.chance) for one in found] == [("file format", 1.0, 0.5)]
    assert found[0].is_warning
    assert 0.7 < found[0].interval[0] < 0.8 and found[0].interval[1] == 1.0


def test_larger_files_with_an_overlap_are_found_among_features_that_say_nothing():
    rng = np.random.default_rng(0)
    labels, groups = pictures(100, 100)
    features = random_features(rng, 200)
    features["file size"][100:] *= np.exp(2)  # two standard deviations: the best that can be had is 0.84
    found = shortcuts.probe(features, labels, groups)
    assert [one.feature for one in found if one.is_warning] == ["file size"]
    assert found[0].balanced_accuracy == pytest.approx(0.84, abs=0.06)
    assert found[0].interval[0] < found[0].balanced_accuracy < found[0].interval[1]


def test_a_class_in_the_middle_of_the_range_is_found():
    rng = np.random.default_rng(0)
    labels, groups = pictures(100, 100)
    widths = np.concatenate([rng.uniform(100, 900, 100), rng.uniform(450, 550, 100)])
    assert warnings_of({"width": widths[:, np.newaxis]}, labels, groups) == ["width"]


def test_one_width_shared_by_a_whole_class_is_found_among_its_neighbours():
    rng = np.random.default_rng(0)
    labels, groups = pictures(50, 50)
    widths = np.concatenate([rng.integers(40, 56, 50), np.full(50, 48)]).astype(np.float64)
    assert warnings_of({"width": widths[:, np.newaxis]}, labels, groups) == ["width"]


def test_columns_that_only_together_say_enough_are_found():
    rng = np.random.default_rng(0)
    labels, groups = pictures(60, 60)
    colours = rng.normal(0, 1, (120, 3))
    colours[60:] += 0.8  # each column alone reaches 0.66, all three 0.76
    assert warnings_of({"mean colour": colours}, labels, groups) == ["mean colour"]


def test_one_class_of_seven_that_has_its_own_format_is_found():
    rng = np.random.default_rng(0)
    labels = [f"emotion-{i % 7}" for i in range(210)]
    formats = np.array(["png" if label == "emotion-3" else "jpeg" for label in labels])
    groups = [f"picture-{i}" for i in range(210)]
    found = shortcuts.probe({**random_features(rng, 210), "file format": formats}, labels, groups)
    assert [one.feature for one in found if one.is_warning] == ["file format"]
    assert found[1].balanced_accuracy == pytest.approx(2 / 7, abs=0.02)


def test_a_missing_value_can_give_a_class_away():
    labels, groups = pictures(20, 20)
    exposure = np.concatenate([np.full(20, np.nan), np.linspace(0.001, 0.1, 20)])
    found = shortcuts.probe({"exposure": exposure[:, np.newaxis]}, labels, groups)
    assert found[0].is_warning and found[0].balanced_accuracy > 0.95


def test_a_shortcut_of_a_rare_class_is_found():
    rng = np.random.default_rng(0)
    labels, groups = pictures(1000, 20)
    features = random_features(rng, 1020)
    features["file size"][1000:] *= np.exp(4)
    assert warnings_of(features, labels, groups) == ["file size"]


@pytest.mark.parametrize(
    ("groups_per_class", "pictures_per_group"),
    [((10, 10), 1), ((20, 20), 1), ((100, 100), 1), ((10, 500), 1), ((10,) * 10, 1), ((12, 12), 20)],
)
def test_random_features_rarely_raise_an_alarm(groups_per_class, pictures_per_group):
    rng = np.random.default_rng(7)
    labels = np.repeat([f"class-{i}" for i in range(len(groups_per_class))], groups_per_class)
    alarms = 0
    for trial in range(100):
        of_group = random_features(rng, len(labels))
        features = {name: np.repeat(values, pictures_per_group, axis=0) for name, values in of_group.items()}
        groups = np.repeat([f"{trial}-{i}" for i in range(len(labels))], pictures_per_group)
        alarms += bool(warnings_of(features, np.repeat(labels, pictures_per_group).tolist(), groups.tolist()))
    assert alarms <= 2  # 0.5 expected at most


def test_a_camera_that_took_few_groups_is_no_evidence_however_many_its_pictures():
    labels = ["happy"] * 5000 + ["sad"] * 5000
    groups = [f"{label}-{i % 12}" for i, label in enumerate(labels)]
    is_large = np.array([group in {f"sad-{i}" for i in range(5)} for group in groups])
    found = shortcuts.probe({"file size": np.where(is_large, 9.0, 1.0)[:, np.newaxis]}, labels, groups)
    assert found[0].balanced_accuracy == pytest.approx(0.5 + 5 / 24) and not found[0].is_warning
    assert found[0].interval[0] < 0.5 < 0.8 < found[0].interval[1]


@pytest.mark.parametrize("kind", ["string", "number"])
def test_a_feature_that_names_the_group_and_not_the_class_raises_no_alarm(kind):
    labels = [("happy", "sad")[i // 10 % 2] for i in range(600)]
    numbers = np.random.default_rng(1).permutation(60)[np.arange(600) // 10]
    values = np.array([f"camera {i}" for i in numbers]) if kind == "string" else numbers[:, np.newaxis] * 1.0
    groups = [f"person-{i}" for i in numbers]
    found = shortcuts.probe({"camera": values}, labels, groups)
    assert not found[0].is_warning
    leaked = shortcuts.probe({"camera": values}, labels, [f"picture-{i}" for i in range(600)])
    assert leaked[0].is_warning  # the same values with a group for each picture


def test_a_feature_that_every_group_shows_in_both_classes_is_judged_by_groups():
    labels = ["happy", "sad"] * 40
    groups = [f"person-{i // 2}" for i in range(80)]
    assert warnings_of({"file format": np.array(["jpeg", "png"] * 40)}, labels, groups) == ["file format"]
    of_person = np.repeat(np.random.default_rng(0).random(40), 2)
    found = shortcuts.probe({"file size": of_person[:, np.newaxis]}, labels, groups)
    assert found[0].balanced_accuracy == 0.5 and not found[0].is_warning


def test_a_constant_feature_scores_exactly_chance():
    labels, groups = pictures(11, 500)
    constant = {
        "file format": np.full(511, "png"),
        "file size": np.ones((511, 1)),
        "exposure": np.full((511, 2), np.nan),
    }
    for found in shortcuts.probe(constant, labels, groups):
        assert found.balanced_accuracy == found.chance == 0.5 and not found.is_warning
        assert found.interval[0] < 0.5 < found.interval[1]


@pytest.mark.parametrize("num_pictures", [0, 1, 2, 9])
def test_too_few_groups_give_no_verdict(num_pictures):
    labels, groups = pictures(num_pictures, num_pictures)
    formats = np.array(["jpeg"] * num_pictures + ["png"] * num_pictures)
    assert shortcuts.probe({"file format": formats}, labels, groups) == ()
    many = [f"{label}-{i % 9}" for i, label in enumerate(labels * 50)]
    assert shortcuts.probe({"file format": np.tile(formats, 50)}, labels * 50, many) == ()


def test_one_class_or_no_feature_gives_no_verdict():
    labels, groups = pictures(30, 0)
    assert shortcuts.probe({"file format": np.full(30, "png")}, labels, groups) == ()
    assert shortcuts.probe({}, *pictures(30, 30)) == ()


def test_a_class_of_few_groups_is_left_out_of_chance_and_figures():
    labels, groups = pictures(20, 20)
    features = {"file format": np.array(["jpeg"] * 20 + ["png"] * 20)}
    without = shortcuts.probe(features, labels, groups)
    more = {"file format": np.append(features["file format"], ["gif"] * 3)}
    assert shortcuts.probe(more, [*labels, *["angry"] * 3], [*groups, "a", "b", "c"]) == without


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_pictures_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["angry", "happy", "sad"], size=120)
    groups = np.array([f"group-{i}" for i in rng.integers(0, 80, 120)])
    features = random_features(rng, 120)
    order = rng.permutation(120)
    expected = shortcuts.probe(features, labels.tolist(), groups.tolist())
    shuffled = {name: values[order] for name, values in features.items()}
    found = shortcuts.probe(shuffled, labels[order].tolist(), groups[order].tolist())
    assert [one.is_warning for one in found] == [one.is_warning for one in expected]
    for one, other in zip(found, expected):
        figures = (one.balanced_accuracy, *one.interval)
        assert figures == pytest.approx((other.balanced_accuracy, *other.interval), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_figures_are_finite_and_the_interval_holds_the_accuracy(data):
    num_pictures = data.draw(st.integers(20, 80))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = rng.choice(["a", "b", "c"], p=[0.6, 0.2, 0.2], size=num_pictures).tolist()
    groups = [f"group-{i}" for i in rng.integers(0, data.draw(st.integers(1, 80)), num_pictures)]
    value = st.sampled_from([0.0, -1.0, 1e300, np.inf, -np.inf, np.nan])
    numbers = np.array(data.draw(st.lists(value, min_size=num_pictures, max_size=num_pictures)))
    of_label = np.array([f"format of {label}" for label in labels])
    for found in shortcuts.probe({"size": numbers[:, np.newaxis], "format": of_label}, labels, groups):
        assert 0.0 <= found.interval[0] <= found.balanced_accuracy <= found.interval[1] <= 1.0
        assert found.interval[0] < found.interval[1]


def test_a_length_that_does_not_fit_is_refused():
    labels, groups = pictures(20, 20)
    with pytest.raises(ValueError, match="file size has 39 values for 40 pictures"):
        shortcuts.probe({"file size": np.ones((39, 1))}, labels, groups)


def test_a_warning_is_described_in_a_sentence():
    found = (
        shortcuts.Shortcut("file size", 0.934, 0.5, (0.9, 0.96), is_warning=True),
        shortcuts.Shortcut("file format", 0.52, 0.5, (0.45, 0.6), is_warning=False),
    )
    assert shortcuts.describe(found) == [
        "the file size alone tells the classes apart: balanced accuracy 0.93 in 5-fold cross-validation, chance 0.50. "
        "A network may learn it instead of the pictures."
    ]


def test_a_hundred_thousand_pictures_take_seconds():
    labels, groups = pictures(50_000, 50_000)
    features = random_features(np.random.default_rng(0), 100_000)
    start = time.process_time()
    shortcuts.probe(features, labels, groups)
    assert time.process_time() - start < 10  # 1 to 2 on one core
