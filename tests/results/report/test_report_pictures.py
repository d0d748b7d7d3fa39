"""Which pictures the report of a run shows, out of real records."""

import cv2
import numpy as np
import pytest
from conftest import list_recorded

from harness.dataset.records import manifest
from harness.input import loaded_split
from harness.results import evaluation, predictions
from harness.results.evaluation import Answers
from harness.results.report import artifacts, pictures
from harness.results.statistics import baselines


@pytest.fixture(scope="module")
def splits(face_records):
    data = manifest.load(face_records)
    return {name: loaded_split.open_split(data, face_records, name, cache="none") for name in ("train", "validation")}


@pytest.fixture(scope="module")
def classifier(splits):
    return baselines.train(splits["train"])


@pytest.fixture(scope="module")
def answers(splits):
    """Of the four validation pictures the first two are taken for the other class, the second of them more surely."""
    labels = np.concatenate([known for known, _ in evaluation.read_batches(splits["validation"])])
    of_label = np.array([0.4, 0.1, 0.6, 0.9])
    chances = np.stack([np.where(labels == label, of_label, 1 - of_label) for label in (0, 1)], axis=1)
    return Answers(labels, chances.astype(np.float32))


def decode(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_mistakes_are_the_surest_first_and_right_answers_the_least_sure(splits, classifier, answers, face_records):
    shown = pictures.collect(splits["validation"], splits["train"], answers, classifier)
    assert [round(item.probability, 3) for item in shown.mistakes] == [0.9, 0.6]
    assert [round(item.label_probability, 3) for item in shown.mistakes] == [0.1, 0.4]
    assert all(item.predicted == 1 - item.label for item in shown.mistakes) and shown.num_mistakes == 2
    assert [round(item.probability, 3) for item in shown.unsure] == [0.6, 0.9]
    assert {item.path for item in shown.right} == {item.path for item in shown.unsure}
    validation = {row.path for row in predictions.collect(splits["validation"], ("happy", "sad"), *_plain(answers))}
    nearest = {item.nearest_path for item in shown.mistakes}
    assert nearest <= list_recorded(face_records) - validation
    names = ("happy", "sad")
    assert all(item.nearest_path.startswith(f"{names[item.nearest_label]}/") for item in shown.mistakes)
    assert {decode(item.jpeg).shape for item in shown.mistakes} == {(32, 32, 3)}


def _plain(answers: Answers):
    return answers.labels, answers.chances


def test_the_nearest_training_picture_of_a_training_picture_is_itself(splits, classifier):
    labels = np.concatenate([known for known, _ in evaluation.read_batches(splits["train"])])
    wrong = np.eye(2, dtype=np.float32)[1 - labels]
    shown = pictures.collect(splits["train"], splits["train"], Answers(labels, wrong), classifier)
    assert len(shown.mistakes) == 20 == shown.num_mistakes and not shown.right
    assert [item.nearest_path for item in shown.mistakes] == [item.path for item in shown.mistakes]


def test_what_the_answers_of_mistakes_go_by_is_laid_over_them(splits, classifier, answers):
    asked = []

    def light_top(pixels, predicted):
        asked.append((pixels.shape, predicted.tolist()))
        maps = np.zeros((len(pixels), 4, 4), np.float32)
        maps[:, 0] = 1
        return maps

    shown = pictures.collect(splits["validation"], splits["train"], answers, classifier, explain=light_top)
    assert asked == [((2, 32, 32, 3), (1 - answers.labels[:2]).tolist())]
    for item in shown.mistakes:
        colors = decode(item.overlay).astype(int)
        strength = np.ptp(colors, axis=2).mean(axis=1)  # of colour, by row: grey has none
        assert strength[:10].mean() > 3 * strength[-30:].mean()
    assert all(item.overlay is None for item in (*shown.unsure, *shown.right))


def test_mistakes_of_rare_pairs_and_of_the_most_confused_ones_are_both_shown():
    labels = np.array([0] * 100 + [1] * 30)
    predicted = np.array([1] * 100 + [2] * 30)
    chances = np.full((130, 3), 0.05)
    chances[np.arange(130), predicted] = np.linspace(0.5, 0.9, 130)
    chosen = pictures.choose_mistakes(Answers(labels, chances))
    assert chosen == [*range(129, 105, -1), 99, 98]


def test_what_the_build_found_is_read_only_if_it_is_that_of_the_records(face_records, splits, answers, tmp_path):
    data = manifest.load(face_records)
    rows = predictions.collect(splits["validation"], ("happy", "sad"), *_plain(answers))
    found = artifacts.read_findings(face_records, data, rows)
    assert set(found) == {row.path for row in rows} and {item.width for item in found.values()} == {64}
    assert artifacts.read_findings(tmp_path, data, rows) == {}
    (tmp_path / "cleaning.csv").write_text("path,verdict\n")
    assert artifacts.read_findings(tmp_path, data, rows) == {}


def test_the_report_of_the_records_is_linked_from_the_run_folder(face_records, tmp_path):
    data = manifest.load(face_records)
    found = artifacts.find_data_report(face_records, data, tmp_path / "run")
    assert (tmp_path / "run" / found.link).resolve() == (face_records / "report.html").resolve()
    assert any("fewer than 10 pictures" in warning for warning in found.warnings)
    assert artifacts.find_data_report(tmp_path, data, tmp_path / "run").link == ""
