"""report.html of a run, from runs made by hand: what it says, that names cannot act, that it stays small."""

import dataclasses
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.schema import Config
from harness.config.training_sections import TrainConfig
from harness.dataset.curation.findings import Finding
from harness.results import evaluation, verdict
from harness.results.evaluation import Answers
from harness.results.export.exported import ExportedFile, Exports, LeftOut
from harness.results.predictions import Prediction
from harness.results.report import progress, subsets
from harness.results.report.facts import DataReport, Picture, Pictures, RunFacts
from harness.results.report.page import render
from harness.results.statistics import calibration
from harness.runs.effective_settings import Row
from harness.runs.identity import Environment

VOID = {"br", "img", "meta", "wbr", "use", "path", "rect"}


class Page(HTMLParser):
    """Text, links and ids of a page; notes tags that do not match, scripts, and whatever reaches outside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words, self.titles, self.ids, self.links, self.faults = "", [], [], [], []
        self.cases: list[str] = []
        self.num_scripts = 0
        self.feed(page)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.titles.append(values.get("title") or "")
        self.ids += [values["id"]] if "id" in values else []
        self.cases += [values["data-pair"]] if "data-pair" in values else []
        self.num_scripts += tag == "script"
        if tag in ("link", "iframe") or any(name.startswith("on") for name in values):
            self.faults.append(f"{tag} {attributes}")
        if not values.get("src", "data:image/").startswith("data:image/"):
            self.faults.append(f"{tag} reaches for {values['src']}")
        self.links += [values["href"]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass  # of an SVG

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words += data


def read(facts: RunFacts) -> Page:
    page = Page(render(facts))
    assert page.faults == [] and page.num_scripts == 1
    return page


def make_jpeg(side: int = 16) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()


def make_history(losses, val_losses):
    return [
        {
            "epoch": number,
            "loss": loss,
            "accuracy": 0.5,
            "val_loss": val_loss,
            "val_accuracy": 0.6,
            "val_balanced_accuracy": 0.6,
            "val_f1": 0.5,
            "val_auc": 0.7,
            "lr": 0.001,
            "images_per_s": 50.0,
        }
        for number, (loss, val_loss) in enumerate(zip(losses, val_losses), start=1)
    ]


def answer(pairs, num_classes, probability=0.8, groups=None):
    """Answers by pairs of label and prediction, each as sure."""
    labels, predicted = np.array(pairs).T
    rest = (1 - probability) / (num_classes - 1)
    chances = np.full((len(pairs), num_classes), rest, np.float32)
    chances[np.arange(len(pairs)), predicted] = probability
    return Answers(labels, chances, groups)


def make_facts(names=("happy", "sad"), pairs=None, *, config=None, paths=None, **changes) -> RunFacts:
    """A run whose five validation pictures of each of two classes have one mistake: a sad one taken for happy."""
    pairs = pairs or [(0, 0)] * 5 + [(1, 1)] * 4 + [(1, 0)]
    groups = [f"group {number // 2}" for number in range(len(pairs))]
    answers = answer(pairs, len(names), groups=groups)
    found = evaluation.evaluate(
        "validation", answers, names, choices=calibration.choose(answers.labels, answers.chances)
    )
    rows = tuple(
        Prediction(
            paths[place] if paths else f"{names[label]}/studio/{place}.png",
            groups[place],
            names[label],
            names[predicted],
            0.8,
            0.8 if label == predicted else 0.2,
        )
        for place, (label, predicted) in enumerate(pairs)
    )
    facts = RunFacts(
        name="runs/faces",
        verdict=verdict.judge(found, chose_weights=True),
        validation=found,
        answers=answers,
        predictions=rows,
        history=make_history([0.7, 0.5, 0.4, 0.3], [0.6, 0.4, 0.5, 0.6]),
        best_epoch=3,
        num_train=100,
        num_parameters=1234,
        config=config or Config(train=TrainConfig(epochs=6, keep="best", min_epochs=3)),
        environment=Environment.model_validate(
            {
                "records_sha256": "ab" * 32,
                "in_force": {},
                "command": "python -m harness.train --epochs 6",
                "started": "2026-01-02 03:04 UTC",
                "commit": "0123abc",
                "settings": [dataclasses.asdict(Row("cache", "auto", "memory", "it fits"))],
            }
        ),
        run="runs/faces",
        finished="2026-01-02 03:14 UTC",
    )
    return dataclasses.replace(facts, **changes)


def make_picture(label, predicted, jpeg=None, **changes):
    shown = Picture(f"of {label}.png", label, predicted, 0.8, 0.2, jpeg or make_jpeg())
    return dataclasses.replace(shown, **changes)


def test_what_the_heading_says_is_not_said_again():
    pairs = [(0, 0), (0, 1), (1, 1), (1, 1)]
    judged = verdict.judge(make_facts(pairs=pairs).validation)
    assert judged.sentences[1].startswith("Not shown to be good: chance alone")
    page = read(make_facts(pairs=pairs, verdict=judged))
    assert page.words.count("Not shown to be good") == 1
    assert "Chance alone may put a model that always gives one class so high." in page.words


def test_the_verdict_its_figures_and_what_to_do_stand_before_all_else():
    page = read(make_facts())
    top = page.words[: page.words.index("Figuresfigure")]
    assert "Validation accuracy 0.900" in top and "What fails: sad taken for happy: 1 of 5." in top
    assert "What to do next" in top and "always answering happy" in top and "50.0%" in top


def test_a_flag_of_what_to_do_is_never_broken_at_its_dashes():
    said = verdict.Verdict("bad", (), ("build with more (--split.test 0.1), and --learning-curve in a-b--c",))
    page = render(make_facts(verdict=said))
    assert re.findall('<span class="flag">(.*?)</span>', page) == ["--split.test", "--learning-curve"]


def test_a_test_split_is_what_the_top_speaks_of():
    answers = answer([(0, 0)] * 6 + [(1, 0)] * 2, 2)
    test = evaluation.evaluate("test", answers, ("happy", "sad"), choices=calibration.NOT_CHOSEN)
    page = read(make_facts(test=test, verdict=verdict.judge(test)))
    assert "Test accuracy 0.750" in page.words and "figuretest95 % intervalvalidation95 % interval" in page.words
    assert "a test split whose mistakes one studies is no test any more" in page.words


def test_the_kept_epoch_the_lowest_loss_and_overfitting_are_told_with_their_figures():
    sentences = " ".join(progress.explain(make_facts()))
    assert "Epoch 3 of 4 is kept: its val_loss of 0.5000 is the lowest of epochs 3 to 4." in sentences
    assert (
        "The lowest validation loss is 0.4000, at epoch 2. That epoch may not be kept: train.min_epochs is 3"
        in sentences
    )
    assert "from epoch 2 to 4 the validation loss rose by 50%, from 0.4000 to 0.6000" in sentences
    assert "while the training loss fell from 0.5000 to 0.3000" in sentences
    assert "It ended before epoch 6: 10 epochs (train.patience) had not been better." in sentences
    assert "The learning rate was 0.001 throughout. An epoch trains on 100 pictures in 2 s (median)" in sentences


def test_a_run_that_goes_on_learning_is_said_not_to_overfit_and_to_want_more_epochs():
    facts = make_facts(
        history=make_history([0.7, 0.5, 0.4], [0.6, 0.5, 0.4]),
        best_epoch=3,
        config=Config(train=TrainConfig(epochs=3, keep="best")),
    )
    sentences = " ".join(progress.explain(facts))
    assert "No overfitting shows" in sentences and "more of them (--epochs) may give a better one" in sentences


def test_a_run_that_goes_by_another_figure_says_so_and_draws_it():
    config = Config(train=TrainConfig(epochs=4, keep="best", min_epochs=1, monitor="val_auc"))
    page = read(make_facts(config=config))
    assert "its val_auc of 0.7000 is the highest" in page.words
    assert "The epoch is chosen by train.monitor, which is val_auc" in page.words
    assert "val_auc, by which the epoch was chosen" in page.words


def test_numbers_of_the_matrix_and_of_pairs_show_the_mistakes_of_their_pair():
    text = render(make_facts(pictures=Pictures((make_picture(1, 0),), num_mistakes=1)))
    assert Page(text).cases == ["1-0"]
    assert text.count('<a href="#mistakes" data-show="1-0">1</a>') == 2
    assert '<td class="right" style="background:rgba(68,119,170,0.65)">5<small>100%</small></td>' in text


def test_a_number_whose_mistakes_are_not_shown_is_no_link():
    """The page shows 36 mistakes at most: of many pairs, none of some."""
    text = render(make_facts(pictures=Pictures(num_mistakes=1)))
    assert "data-show=" not in text.split("<script>")[0] and ">1<small>" in text


def test_a_mistake_stands_beside_the_nearest_training_picture_and_its_overlay():
    shown = make_picture(1, 0, nearest=make_jpeg(), nearest_path="happy/near.png", overlay=make_jpeg())
    page = read(make_facts(pictures=Pictures(mistakes=(shown,), num_mistakes=3)))
    assert "1 of 3 mistakes, the surest first" in page.words
    assert "is sad (20%), taken for happy (80%)of 1.png" in page.words
    assert "nearest in training: happyhappy/near.png" in page.words and "what the answer goes by" in page.words


def test_classes_without_a_picture_are_named_and_the_figures_are_dashes():
    page = read(make_facts(names=("happy", "sad", "rare")))
    assert "Without a picture, so that no figure says anything of them: rare." in page.words
    assert "No picture of rare is among them" in page.words


def test_one_class_alone_has_no_scores_to_draw_and_says_so():
    page = read(make_facts(pairs=[(0, 0)] * 4))
    assert "All pictures are of one class: no score parts it from another." in page.words
    assert "There is no mistake on the validation split." in page.words


def test_a_class_that_is_never_answered_has_no_dot_on_the_curves():
    names = ("happy", "sad", "calm")
    never, always = (make_facts(names, [(0, 0)] * 4 + [(1, 1)] * 4 + [(2, answer)] * 2) for answer in (0, 2))
    assert "No dot: calm, which no picture is taken for." in read(never).words
    assert "No dot" not in read(always).words
    dot_of_the_third = "fill: #228833; stroke: #228833"
    assert [render(facts).count(dot_of_the_third) for facts in (never, always)] == [0, 2]


def test_exports_are_shown_only_where_they_are_given():
    assert "largest difference" not in read(make_facts()).words
    files = (
        make_file("model.keras", num_bytes=14_840_000, difference=0.0, ms_a_picture=5.2),
        make_file("model.tflite", num_bytes=3_700_000, difference=0.00046, flips=1, ms_a_picture=4.25),
    )
    page = read(make_facts(exports=Exports(files, (LeftOut("h5", "HDF5 cannot hold EfficientNetV2B0"),))))
    assert "run on 32 validation pictures in a process of its own" in page.words
    assert "model.keras14.8400 of 325.20" in page.words and "model.tflite3.700.000461 of 324.25" in page.words
    assert "h5 was left out: HDF5 cannot hold EfficientNetV2B0" in page.words


def make_file(name, *, num_bytes=1, difference=0.0, flips=0, ms_a_picture=1.0):
    return ExportedFile("tflite", name, num_bytes, 32, difference, 1e-3, flips, 0.9, ms_a_picture)


def test_settings_that_differ_the_reasons_and_the_origin_are_told():
    page = read(make_facts(data_report=DataReport("../tfrecords/faces/report.html", ("groups are few",))))
    assert "train.min_epochs315first epoch that may be kept" in page.words
    assert "cacheautomemoryit fits" in page.words
    assert "python -m harness.train --epochs 6" in page.words and "commit0123abc" in page.words
    assert "groups are few" in page.words and "../tfrecords/faces/report.html" in page.links


def find_ways(facts):
    return dict(subsets.list_ways(facts))


def test_pictures_are_parted_by_group_folder_name_and_what_the_build_found():
    paths = [
        f"{'happy' if i < 5 else 'sad'}/{'studio' if i % 2 else 'street'}/{'noto' if i % 3 else 'twemoji'}_{i}.png"
        for i in range(10)
    ]
    found = {
        path: Finding(
            path, width=100 + i, height=300, red=10.0 * i, green=10.0 * i, blue=10.0 * i, blurry=0.5, format="png"
        )
        for i, path in enumerate(paths)
    }
    ways = find_ways(make_facts(paths=paths, findings=found))
    assert ways["By group"][:3] == ["group 0", "group 0", "group 1"]
    assert ways["By folder within the classes"][:2] == ["street", "studio"]
    assert ways["By beginning of the name"][:2] == ["twemoji", "noto"]
    assert sorted(set(ways["By size of the source"])) == ["100 to 102 pixels", "103 to 105 pixels", "106 to 109 pixels"]
    assert ways["By brightness"][0] == "0 to 20 of 255" and set(ways["By sharpness"]) == {"0.50"}


def test_subsets_have_their_counts_and_those_with_most_mistakes_come_first():
    found = subsets.split(["a", "b", "a", "b", "b"], np.array([True, False, True, True, False]), np.arange(5))
    assert [(item.name, item.num_examples, item.num_wrong) for item in found] == [("b", 3, 2), ("a", 2, 0)]
    assert found[0].accuracy == pytest.approx(1 / 3)


def test_without_the_findings_of_the_build_the_page_says_what_is_not_known():
    assert "sizes and brightness are unknown" in read(make_facts()).words


EVIL = "<script>alert(1)</script>\"'&\n\x1b\udcff‮gnp.exe"


def test_names_cannot_act_wherever_they_stand():
    shown = make_picture(1, 0, path=EVIL, nearest=make_jpeg(), nearest_path=EVIL, nearest_label=1)
    facts = make_facts(
        names=("happy" + EVIL, EVIL),
        name=EVIL,
        run=EVIL,
        finished=EVIL,
        pictures=Pictures((shown,), (shown,), (shown,), ((make_jpeg(), make_jpeg()),), 1),
        data_report=DataReport("../x/report.html", (EVIL,)),
        exports=Exports((make_file(EVIL),), (LeftOut(EVIL, EVIL),)),
    )
    page = read(facts)
    assert r"""<script>alert(1)</script>"'&\n\x1b\udcff\u202egnp.exe""" in page.titles
    assert "\x1b" not in page.words and "‮" not in page.words


@settings(max_examples=4)
@given(st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=4, unique=True))
def test_any_names_make_a_whole_page_that_is_the_same_again(names):
    facts = make_facts(names=tuple(names))
    text = render(facts)
    assert Page(text).faults == [] and render(facts) == text


@pytest.mark.slow
@pytest.mark.parametrize(("num_classes", "num_pictures"), [(1000, 4000), (2, 100_000)])
def test_the_page_stays_under_two_megabytes(num_classes, num_pictures):
    random = np.random.default_rng(0)
    pairs = random.integers(0, num_classes, (num_pictures, 2)).tolist()
    noise = random.integers(0, 256, (112, 112, 3), np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.0)  # more detail than photographs have
    photograph = cv2.imencode(".jpg", blurred, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()
    shown = make_picture(0, 1, photograph, nearest=photograph, overlay=photograph)
    pictures = Pictures((shown,) * 36, (shown,) * 12, (shown,) * 24, ((photograph, photograph),) * 8, 9999)
    names = [f"class {label} {'x' * 200}" for label in range(num_classes)]
    text = render(
        make_facts(names=names, pairs=pairs, pictures=pictures, history=make_history([0.5] * 500, [0.6] * 500))
    )
    assert len(text.encode()) < 2_000_000
    assert len(re.findall("<tr>", text)) < 900


def test_all_tables_of_many_classes_say_what_they_leave_out():
    pairs = [(label, (label + 1) % 50) for label in range(50)]
    page = read(make_facts(names=[f"class {label:02d}" for label in range(50)], pairs=pairs))
    assert "The 40 with the lowest F1 of 50 classes; metrics.json has all." in page.words
    assert "and 10 more pairs: confusion in metrics.json has all" in page.words
    assert "The 20 of 50 classes that are confused most." in page.words
    assert "Drawn: the 6 classes with the lowest average precision." in page.words
