"""The report of a search: its figures are those of the trials, its words hold for few, and nothing in it runs."""

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.config.ranges import Range
from harness.search.report import charts
from harness.search.report.facts import SearchFacts, list_ended
from harness.search.report.page import render
from harness.search.trials.trial import Trial

VOID = {"br", "img", "meta", "wbr"}
SPACE = {
    "optim.learning_rate": Range(min=1e-4, max=1e-2, sampling="log"),
    "optim.name": Range(values=("adam", "sgd")),
    "optim.momentum": Range(min=0.0, max=0.95),
    "augment.enabled": Range(values=(True, False)),
}
DEFAULTS = {"optim.learning_rate": 1e-3, "optim.name": "adam", "augment.enabled": True}
HOUR = 3600.0


class Page(HTMLParser):
    """Tables, links and text of a page; notes tags that do not match and whatever runs or reaches outside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words, self.links, self.faults, self.num_images = "", [], [], 0
        self.tables: list[list[list[str]]] = []
        self.feed(page)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.num_images += tag == "img"
        if tag in ("script", "link", "iframe", "b-evil") or any(name.startswith("on") for name in values):
            self.faults.append(f"{tag} {attributes}")
        if not values.get("src", "data:image/").startswith("data:image/"):
            self.faults.append(f"{tag} reaches for {values['src']}")
        self.links += [values["href"]] if "href" in values else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            return
        self.words += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def completed(name, score, *, values=DEFAULTS, **others):
    facts = {"num_epochs": 4, "num_epochs_trained": 4, "seconds": 0.5 * HOUR, "finished": "2026-03-01T10:00:00"}
    return Trial(name, Path("runs"), values, "completed", score=score, **(facts | others))


SGD = {"optim.learning_rate": 3e-3, "optim.name": "sgd", "optim.momentum": 0.9, "augment.enabled": False}
ADAM = {"optim.learning_rate": 2e-4, "optim.name": "adam", "augment.enabled": True}
TRIALS = (
    completed("0000", 0.5),
    Trial(
        "0001",
        Path("runs"),
        {**ADAM, "optim.learning_rate": 0.01},
        "failed",
        num_epochs=1,
        num_epochs_trained=1,
        seconds=0.25 * HOUR,
        finished="2026-03-01T11:00:00",
        reason="the loss became NaN in epoch 2",
        log_end=("epoch 1: loss 0.7", "epoch 2: loss nan"),
    ),
    completed("0002", 0.4, values=SGD, finished="2026-03-01T12:00:00", seconds=HOUR),
    completed("0003", 0.8, values=ADAM, finished="2026-03-01T12:30:00"),
    Trial("0004", Path("runs"), ADAM, "running", num_epochs=2, num_epochs_trained=2, seconds=0.25 * HOUR),
)


def make_facts(trials=TRIALS, **changes):
    facts = SearchFacts(
        name="runs/tune",
        objective="val_loss",
        algorithm="bayesian",
        trials=tuple(trials),
        space=SPACE,
        search_command="python -m harness.tune --config space.yaml",
        train_command="python -m harness.train --config runs/tune/best.yaml",
        best_config=Path("runs/tune/best.yaml"),
        default="0000",
    )
    return dataclasses.replace(facts, **changes)


def read(facts) -> Page:
    page = Page(render(facts))
    assert page.faults == []
    return page


def boxes_of(page: Page) -> str:
    return page.words[: page.words.index("Commands")]


def test_the_figures_on_top_are_those_of_the_trials():
    top = boxes_of(read(make_facts()))
    assert "0.4000val_loss [nats] of the best trial, 0002" in top
    assert "0.5000val_loss [nats] of the default settings, 0000" in top
    assert "3trials completed" in top and "1failed" in top and "1running or waiting" in top
    assert "2.50hours of a CPU slot" in top  # 0.5 + 0.25 + 1 + 0.5 + 0.25
    assert "lowered the loss by 0.1000 nats, or 20.0%." in top
    assert "the best of 3 looks better than it is" in top


def test_of_accuracy_the_highest_is_the_best():
    top = boxes_of(read(make_facts(objective="val_accuracy")))
    assert "80.00%val_accuracy of the best trial, 0003" in top
    assert "50.00%val_accuracy of the default settings, 0000" in top
    assert "raised the accuracy by 30.00 percentage points." in top


def test_gpus_of_a_trial_count_each():
    page = read(make_facts(gpus_per_trial=2, num_slots=4, comparison_seconds=900.0))
    assert "5.50GPU hours" in boxes_of(page)  # 2 * (2.5 + 0.25)
    assert "The trials took 5.00 GPU hours (2 GPUs a trial, 4 slots)." in page.words
    assert "Of all, 0.50 went into trials that failed. The comparison of the best took 0.50 more." in page.words
    assert "15 epochs were trained." in page.words  # 4 + 1 + 4 + 4 + 2


def test_the_table_has_the_best_first_and_links_each_report():
    page = read(make_facts())
    assert page.tables[0] == [
        ["trial", "", "val_loss", "epochs", "time [s]", *SPACE],
        ["0002", "", "0.4000", "4", "3,600", "0.003", "sgd", "0.9", "False"],
        ["0000", "default", "0.5000", "4", "1,800", "0.001", "adam", "off", "True"],
        ["0003", "", "0.8000", "4", "1,800", "0.0002", "adam", "off", "True"],
    ]
    links = [link for link in page.links if not link.startswith("#")]
    assert links == [f"trials/{name}/report.html" for name in ("0002", "0000", "0003")]
    assert "Running, or waiting to be gone on with: 0004." in page.words


def test_commands_stand_as_they_are_typed():
    words = read(make_facts()).words
    assert "python -m harness.train --config runs/tune/best.yaml" in words
    assert "python -m harness.tune --config space.yaml" in words
    assert "harness.train" not in read(make_facts(TRIALS[1:2])).words  # there is nothing to train yet


def test_a_failed_trial_has_its_reason_its_settings_and_its_log():
    page = render(make_facts())
    (shown,) = re.findall("<details>.*?</details>", page, re.DOTALL)
    assert "<b>0001</b>: the loss became NaN in epoch 2" in shown
    assert "optim.learning_rate 0.01, optim.name adam" in shown
    assert "epoch 1: loss 0.7\nepoch 2: loss nan" in shown
    assert "1 of 5 trials." in page


def test_the_verdict_and_its_table_stand_on_top():
    comparison = (("", "mean"), ("best", "0.41"), ("default", "0.43"))
    page = read(make_facts(verdict="Not shown to be better.", comparison=comparison))
    assert "Not shown to be better." in boxes_of(page)
    assert page.tables[0] == [["", "mean"], ["best", "0.41"], ["default", "0.43"]]
    assert "looks better than it is" not in page.words  # they were trained again


def test_promoted_trials_say_from_where_and_what_that_saved():
    promoted = completed("0005", 0.35, values=SGD, num_epochs=12, num_epochs_trained=8, started_from="0002")
    page = read(make_facts((*TRIALS, promoted), algorithm="hyperband"))
    assert page.tables[0][1][:4] == ["0005", "promoted from 0002", "0.3500", "12"]
    assert "23 epochs were trained and 27 count" in page.words and "which saved 4." in page.words
    assert "The best was trained for 12 epochs, the default settings for 4" in boxes_of(page)


def test_the_default_settings_are_found_where_they_were_promoted():
    promoted = completed("0005", 0.3, num_epochs=12, num_epochs_trained=8, started_from="0000")
    page = read(make_facts((*TRIALS, promoted), algorithm="hyperband"))
    assert "0.3000val_loss [nats] of the default settings, 0005" in boxes_of(page)
    assert "The search gained nothing" in boxes_of(page)
    assert page.tables[0][1][1] == "default, promoted from 0000"


@pytest.mark.parametrize(
    ("trials", "sentences"),
    [
        ((), ("No trial is completed, so there is nothing to compare.", "there is nothing to draw", "there are 0")),
        (TRIALS[1:2], ("No trial is completed", "None is completed.", "there is nothing to draw")),
        (TRIALS[:1], ("Only the default settings are tried to the end", "Only one trial is completed", "there are 1")),
        (TRIALS[2:], ("cannot be told: no trial of the default settings is completed", "there are 2")),
        ([completed(f"{i:04d}", 0.5) for i in range(6)], ("The search gained nothing", "have the same val_loss")),
        ([completed("0000", 0.0), completed("0001", 0.0)], ("The search gained nothing",)),
    ],
)
def test_little_is_said_of_few_trials(trials, sentences):
    words = read(make_facts(trials)).words
    assert [sentence for sentence in sentences if sentence not in words] == []


def test_a_score_that_is_no_number_is_a_failure():
    page = read(make_facts((*TRIALS, completed("0005", float("nan")), completed("0006", float("-inf")))))
    assert "3trials completed" in boxes_of(page) and "3failed" in boxes_of(page)
    assert "0005: its objective is no finite number" in page.words


def make_search(number, *, num_settings=4, seed=0):
    """Trials of which the first setting decides most, every tenth failed."""
    random = np.random.default_rng(seed)
    space = {f"optim.setting_{i}": Range(min=1e-4, max=1e-1, sampling="log") for i in range(num_settings // 2)}
    space |= {f"model.choice_{i}": Range(values=("a" * 30, "b", "c")) for i in range(num_settings - len(space))}
    trials = []
    for i in range(number):
        values = {
            name: str(random.choice(extent.values)) if extent.values else float(10 ** random.uniform(-4, -1))
            for name, extent in space.items()
        }
        if i % 10 == 9:
            trials.append(Trial(f"{i:04d}", Path("r"), values, "failed", reason="x" * 500, log_end=("y" * 2000,) * 99))
        else:
            score = 0.3 + abs(np.log10(values["optim.setting_0"]) + 2) * 0.2 + 0.02 * random.uniform()
            trials.append(completed(f"{i:04d}", score, values=values))
    return make_facts(trials, space=space)


def test_importance_is_told_with_its_warning():
    few = read(make_search(16))
    assert "These shares come from 15 completed trials. With fewer than 20 they are unreliable" in few.words
    many = read(make_search(40))
    assert "unreliable" not in many.words
    header, first, *_ = many.tables[-1]
    assert header[:3] == ["setting", "share", "forests differ"]
    assert first[0] == "optim.setting_0" and int(first[1].rstrip("%")) > 85


def test_a_setting_of_one_value_is_named():
    trials = [dataclasses.replace(trial, values={**trial.values, "augment.enabled": True}) for trial in TRIALS * 3]
    named = [dataclasses.replace(trial, name=f"{i:04d}") for i, trial in enumerate(trials)]
    assert "nothing can be said: optim.momentum, augment.enabled." in read(make_facts(named)).words


def test_a_tied_setting_stands_in_the_table_and_is_not_weighed():
    space = {**SPACE, "optim.average": Range(tied="optim.learning_rate")}
    trials = [
        completed(f"{i:04d}", i / 10, values={**SGD, "optim.learning_rate": 10**-i, "optim.average": 10**-i})
        for i in range(1, 8)
    ]
    page = read(make_facts(trials, space=space))
    assert page.tables[0][0][-1] == "optim.average" and page.tables[0][1][-1] == "0.1"
    assert [row[0] for row in page.tables[-1]] == ["setting", "optim.learning_rate"]


@pytest.mark.slow
def test_a_large_search_stays_below_two_megabytes():
    page = render(make_search(200, num_settings=12))
    assert len(page.encode()) < 2_000_000
    assert Page(page).faults == [] and Page(page).num_images == 3
    assert "150 more" in page  # of 180 rows, 30 are open


def test_the_same_trials_give_the_same_page():
    assert render(make_search(12)) == render(make_search(12))


EVIL = "<script>alert(1)</script><b-evil>\"'&\n\x1b\udcff\u202e$x_1$\\frac"


@pytest.mark.slow
@settings(max_examples=6)
@given(evil=st.text(max_size=30), score=st.floats(allow_nan=True, allow_infinity=True))
@example(evil=EVIL, score=0.0)
@example(evil="../../etc/passwd", score=1e300)
@example(evil="javascript:alert(1)", score=5e-324)
def test_nothing_in_names_values_and_logs_runs(evil, score):
    trials = (
        *TRIALS,
        completed("0007", score, values={**SGD, "optim.name": evil, evil: evil}, started_from=evil),
        completed(evil, 0.1, values={**SGD, "optim.learning_rate": 0.0}),
        Trial(f"{evil}2", Path("r"), {evil: evil}, "failed", reason=evil, log_end=(evil, evil)),
        Trial(f"{evil}3", Path("r"), {evil: evil}, "running"),
    )
    space = {**SPACE, f"model.{evil}": Range(values=(evil, "x"))}
    texts = dict.fromkeys(("name", "algorithm", "search_command", "train_command", "verdict"), evil)
    page = read(make_facts(trials, space=space, comparison=((evil, evil), (evil, evil)), **texts))
    assert not {"\x1b", "\u202e", "\udcff"} & set(page.words)
    assert [link for link in page.links if not re.fullmatch(r"#[a-z-]+|trials/[\w.~%-]*/report\.html", link)] == []


def test_trials_that_went_far_wrong_do_not_flatten_the_others():
    scores = np.array([0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37, 0.38, 0.40, 25.0])
    low, high = charts.find_extent(scores, "val_loss")
    assert low == 0.3 and high == pytest.approx(0.55)  # nine in ten are within 0.1 of the best
    low, high = charts.find_extent(1 - scores[:10], "val_accuracy")
    assert (low, high) == (pytest.approx(0.6), pytest.approx(0.7))


def test_of_very_many_settings_those_that_matter_fit_a_page():
    page = render(make_search(12, num_settings=22))
    assert "Not drawn: 4 settings that mattered less." in Page(page).words
    for png in re.findall('base64,([^"]+)"', page):
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)
        assert max(pixels.shape) <= 2400 and pixels.std() > 5


def test_hours_add_up_in_the_order_in_which_trials_ended():
    late = dataclasses.replace(TRIALS[0], finished="2026-03-02T00:00:00")
    ended = list_ended(make_facts((late, *TRIALS[1:])))
    assert [(hours, trial.name) for hours, trial in ended] == [(1.25, "0002"), (1.75, "0003"), (2.25, "0000")]
