"""A card is a page for people and a header for programs, whatever the classes are called and however many there are."""

import dataclasses

import pytest
import yaml

from harness.config.schema import Config
from harness.config.training_sections import ModelConfig
from harness.dataset.records.manifest import Manifest, SplitInfo
from harness.results.export import model_card
from harness.results.export.exported import ExportedFile, Exports
from harness.results.export.model_card import Figures, Judgement, RunFigures
from harness.runs.workdir import Workdir

FIGURES = RunFigures("validation", 30, 30, 0.9, (0.75, 0.97), 0.25)
FILE = ExportedFile("tflite", "model.tflite", 1_500_000, 32, 2.5e-7, 1e-3, 1, 0.9, 4.25)


def write(folder, names, images, exports, figures=FIGURES, head="auto") -> tuple[dict, str]:
    """The front matter and the page of a run called `a "run": [1]`."""
    counts = {name: 3 + 20 * index for index, name in enumerate(names)}
    splits = {
        split: SplitInfo(sum(counts.values()), len(names), counts, ()) for split in ("train", "validation", "test")
    }
    data = Manifest(names, 64, "jpeg", splits, {}, str(images), "", "", "", {})
    workdir = Workdir(folder / 'a "run": [1]')
    model_card.write(workdir, Config(model=ModelConfig(head=head)), data, figures, exports, num_weights=1234)
    _, front, page = workdir.model_card.read_text().split("---\n", 2)
    return yaml.safe_load(front), page


def test_a_card_names_its_run_figures_files_and_licences(tmp_path):
    images = tmp_path / "flowers"
    images.mkdir()
    for name in ("LICENSE.txt", "Copying", "readme.md"):
        (images / name).touch()
    matter, page = write(tmp_path, ("rose", "tulip"), images, Exports((FILE,)))
    (model,) = matter["model-index"]
    assert model["name"] == 'a "run": [1]' and matter["license"] == "unknown"
    assert model["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.9}, {"type": "loss", "value": 0.25}]
    assert model["results"][0]["dataset"] == {"type": "imagefolder", "name": "flowers", "split": "validation"}
    for words in (
        "emotion_cnn with 1,234 weights",
        "| accuracy | 0.900 | 0.750 to 0.970 |",
        "| area under the ROC curve | not defined |  |",
        "| figure | validation split | 95 % interval |",
        "| log loss [nats] | 0.2500 | unknown |",
        "On 30 validation pictures.",
        "say little: rose (3).",
        "`Copying`, `LICENSE.txt`",
        "| `model.tflite` | 1.50 | 2.5e-07 | 1 of 32 | 4.25 |",
        "float32 [n, 64, 64, 3]",
    ):
        assert words in page, words


@pytest.mark.parametrize(
    ("formats", "names", "head", "told"),
    [
        ((), ("a", "b"), "auto", (False, False, True)),
        (("saved_model",), ("a", "b", "c"), "auto", (True, False, False)),
        (("tflite_int8",), ("a", "b"), "softmax", (False, True, False)),
    ],
)
def test_a_card_tells_how_the_files_are_used_that_are_there(tmp_path, formats, names, head, told):
    files = tuple(dataclasses.replace(FILE, format=name) for name in formats)
    _, page = write(tmp_path, names, tmp_path, Exports(files), head=head)
    said = ("tf.saved_model.load(", "that of 8 bits takes and gives uint8", "Files of Keras give the probability of b ")
    assert tuple(words in page for words in said) == told


def test_names_cannot_break_the_page(tmp_path):
    matter, page = write(tmp_path, ("a|b", "c\n# d", "*e*"), tmp_path / "gone", Exports())
    assert "| a\\|b | 3 | 3 | 3 |" in page and "\n# d" not in page and "\\*e\\*" in page
    assert next(tmp_path.glob("*/export/labels.txt")).read_text() == "a|b\nc\\n# d\n*e*\n"
    assert "No file there says their licences." in page and matter["pipeline_tag"] == "image-classification"


def test_groups_are_told_where_pictures_belong_together(tmp_path):
    _, page = write(tmp_path, ("a", "b"), tmp_path, Exports(), dataclasses.replace(FIGURES, num_groups=1))
    assert "On 30 validation pictures in 1 group." in page


def test_a_card_speaks_of_the_split_that_was_judged(tmp_path):
    test = Figures("test", 20, 20, 0.8, (0.6, 0.91), 0.4, (0.3, 0.5), 0.95, None)
    judged = Judgement(("test accuracy 0.800", "Good: it is better than both.", "What fails: [a] taken for b: 1 of 2."))
    figures = dataclasses.replace(FIGURES, test=test, verdict=judged)
    matter, page = write(tmp_path, ("[a]", "b"), tmp_path, Exports(), figures)
    (result,) = matter["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test" and result["metrics"][0] == {"type": "accuracy", "value": 0.8}
    for words in (
        "| figure | test split | 95 % interval |",
        "| log loss [nats] | 0.4000 | 0.3000 to 0.5000 |",
        "| area under the ROC curve | 0.950 | unknown |",
        "\n\nTest accuracy 0.800\n\nGood: it is better than both.\n\nWhat fails: \\[a\\] taken for b: 1 of 2.",
        "fewer than 20 test pictures, which say little: \\[a\\] (3).",
    ):
        assert words in page, words


def test_of_many_classes_a_part_is_listed(tmp_path):
    _, page = write(tmp_path, tuple(f"class {index}" for index in range(300)), "s3://bucket/pictures", Exports())
    assert "300 classes" in page and "… and 280 more" in page and "class 250 " not in page
    assert len(page) < 8000
