"""The data report holds every fact, on one page that stands alone whatever the pictures are called."""

import dataclasses
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from conftest import draw_face

from harness.dataset.records.manifest import ShardInfo
from harness.dataset.report.facts import (
    MAX_COPIES,
    MAX_GROUPS,
    MAX_REJECTS,
    THUMBNAIL_SIDE,
    ClassCounts,
    Copies,
    CopyGroup,
    Facts,
    KeptPictures,
    Notable,
    Origin,
    Probe,
    ProbeRow,
    Sample,
    SplitRule,
)
from harness.dataset.report.page import render

VOID = {"br", "img", "meta", "wbr"}


class Page(HTMLParser):
    """Text, titles and ids of a page; notes tags that do not match and whatever reaches outside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words, self.titles, self.ids, self.links, self.faults = "", [], [], [], []
        self.num_images = self.num_figures = 0
        self.feed(page)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.titles.append(values.get("title") or "")
        self.ids += [values["id"]] if "id" in values else []
        self.num_images += tag == "img"
        self.num_figures += tag == "svg"
        if tag in ("script", "link", "iframe") or any(name.startswith("on") for name in values):
            self.faults.append(f"{tag} {attributes}")
        if not values.get("src", "data:image/").startswith("data:image/"):
            self.faults.append(f"{tag} reaches for {values['src']}")
        if "href" in values:
            self.links.append(values["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words += data


def encode(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


FACE = encode(draw_face(1, happy=True, size=32))


def make_facts(**changes: object) -> Facts:
    """Twelve files of two classes, of which ten are kept."""
    facts = Facts(
        classes={
            "happy": ClassCounts({"train": 4, "validation": 2}, {"cut_off": 1}),
            "sad": ClassCounts({"train": 3, "validation": 1}, {"too_small": 1}),
        },
        split=SplitRule(
            {"train": 0.75, "validation": 0.25}, {"train": 5, "validation": 3}, 17, "column 'who' of p.csv"
        ),
        kept=make_kept(10),
        origin=Origin(
            command="python -m harness.build_records --images faces",
            version="1.2.3",
            digests={"sources": "aa11" * 16, "records": "bb22" * 16},
            settings_yaml="split:\n  seed: 17\n",
            shards=(ShardInfo("train-00000-of-00001.tfrecord", 7, 123_456, "cc33" * 16),),
        ),
    )
    return dataclasses.replace(facts, **changes)


def make_kept(number: int, *, largest: int = 4000) -> KeptPictures:
    random = np.random.default_rng(0)
    return KeptPictures(
        widths=random.integers(20, largest, number),
        heights=random.integers(20, largest, number),
        num_bytes=random.integers(500, 2_000_000, number),
        formats=random.choice(["jpeg", "png", "webp"], number),
        image_size=256,
    )


def make_rejected(number: int, *, shown: int) -> Facts:
    """Facts with `number` pictures that are too small, `shown` of them as samples."""
    samples = tuple(Sample(f"sad/{i}.png", "sad", FACE, measured=f"{i}x9 pixels") for i in range(shown))
    classes = {"sad": ClassCounts({"train": 10}, {"too_small": number})}
    return make_facts(classes=classes, rejects={"too_small": samples})


def read(facts: Facts, name: str = "faces") -> Page:
    page = Page(render(name, facts))
    assert page.faults == []
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    return page


def test_the_plain_facts_are_there():
    page = read(make_facts())
    for words in (
        "12files found",
        "10pictures kept (83.3%)",
        "happy4261",
        "256x256",
        "train75.0%70.0%75",
        "column 'who' of p.csv, 8 in all. A group lies in one split as a whole. Seed 17.",
        "python -m harness.build_records --images faces",
        "harness 1.2.3",
        "aa11" * 16,
        "bb22" * 16,
        "split:\n  seed: 17",
        "train-00000-of-00001.tfrecord7123,456cc33cc33cc33cc33",
    ):
        assert words in page.words, words


def test_a_rejected_picture_shows_what_was_measured_and_expected():
    sample = Sample("happy/a.jpg", "happy", FACE, measured="812 bytes: truncated", limit="a whole file")
    page = read(make_facts(rejects={"cut_off": (sample,)}, advice={"cut_off": "Copy it again."}))
    assert "cut off 1, expected a whole fileCopy it again.happy812 bytes: truncateda.jpg" in page.words
    assert "happy/a.jpg" in page.titles


def test_limits_that_differ_stand_with_each_picture():
    samples = tuple(Sample(f"sad/{side}.png", "sad", limit=f"{side} pixels") for side in (32, 64))
    classes = {"sad": ClassCounts({"train": 10}, {"too_small": 2})}
    page = read(make_facts(classes=classes, rejects={"too_small": samples}))
    assert "too small 2nothing to showsadexpected 32 pixels32.pngnothing to showsadexpected 64 pixels" in page.words


def test_a_reason_without_samples_is_only_counted():
    page = read(make_facts())
    assert "classfoundkeptcut offtoo small" in page.words
    assert page.ids.count("rejected-too_small") == 0


def test_what_cannot_be_shown_leaves_a_blank():
    page = read(make_facts(rejects={"cut_off": (Sample("happy/a.jpg", "happy"),)}))
    assert "nothing to show" in page.words


def test_no_rejects_are_said_to_be_none():
    page = read(make_facts(classes={"happy": ClassCounts({"train": 6}), "sad": ClassCounts({"train": 4})}))
    assert "None: every file is a picture that is kept." in page.words
    assert "10pictures kept (100.0%)" in page.words


def test_no_picture_kept_is_said():
    classes = {"happy": ClassCounts({}, {"empty": 3})}
    assert "No picture was kept." in read(make_facts(classes=classes, kept=make_kept(0))).words


def test_more_rejects_than_are_shown_are_counted():
    few, many = read(make_rejected(MAX_REJECTS, shown=MAX_REJECTS)), read(make_rejected(334, shown=MAX_REJECTS + 6))
    assert "see cleaning.csv" not in few.words
    assert "and 310 more pictures: see cleaning.csv" in many.words
    assert many.num_images == MAX_REJECTS


def test_more_copies_than_are_shown_are_counted():
    samples = tuple(Sample(f"sad/{i}.png", "sad", FACE, split="train") for i in range(MAX_COPIES + 1))
    copies = Copies("The first is kept.", (CopyGroup(samples, 9),) * MAX_GROUPS, MAX_GROUPS + 5, 1234)
    page = read(make_facts(exact_copies=copies))
    assert "Exact copies 45 groups of 1,234 picturesThe first is kept." in page.words
    assert page.words.count("and 3 more in this group") == MAX_GROUPS
    assert "and 5 more groups: see cleaning.csv" in page.words


def test_copies_say_where_each_went():
    group = CopyGroup((Sample("sad/a.png", "sad", FACE, split="validation"), Sample("sad/b.png", "sad", FACE)), 2)
    page = read(make_facts(near_duplicates=Copies("They stay together.", (group,), 1, 2)))
    assert "Nearly the same 1 group of 2 picturesThey stay together.sadin validationa.pngsadleft outb.png" in page.words


def test_classes_that_differ_in_a_group_stand_out():
    group = CopyGroup((Sample("happy/a.png", "happy", FACE), Sample("sad/a.png", "sad", FACE)), 2)
    text = render("faces", make_facts(conflicts=Copies("Both are refused.", (group,), 1, 2)))
    assert '<div class="group differs">' in text
    assert "happyleft outa.pngsadleft outa.png" in Page(text).words


def test_notable_pictures_past_the_limit_are_marked():
    samples = (Sample("sad/a.png", "sad", FACE, measured="mean 3 of 255", is_flagged=True), Sample("sad/b.png", "sad"))
    text = render("faces", make_facts(notable=(Notable("darkest", samples, "below 16 of 255", 1),)))
    assert "darkest flagged below 16 of 255: 1 picturesadmean 3 of 255a.png" in Page(text).words
    assert text.count('<figure class="flagged"') == 1


def test_a_measure_that_no_picture_is_past_the_limit_of_is_not_shown():
    samples = (Sample("sad/a.png", "sad", FACE, measured="1.00"),) * 8
    page = read(make_facts(notable=(Notable("darkest", samples, "below 0.32", 0),)))
    assert "darkest" not in page.words and "No picture is past a limit of brightness" in page.words


def test_a_limit_that_many_are_past_is_said_to_belong_to_such_pictures():
    samples = (Sample("sad/a.png", "sad", FACE, measured="0.10", is_flagged=True),)
    few, many = (
        read(make_facts(notable=(Notable("least information", samples, "below 0.3", number),))).words
        for number in (2, 3)
    )
    assert "flagged below 0.3: 2 pictures" in few and "as flat areas do to drawings" not in few
    assert "flagged below 0.3: 3 pictures, so many that it belongs to these pictures" in many


def test_what_is_the_same_in_all_pictures_is_said_in_words():
    same = np.full(10, 128)
    kept = KeptPictures(same, same, same * 100, np.array(["png"] * 10), image_size=256)
    page = read(make_facts(kept=kept))
    assert "Every picture has 128x128 pixels." in page.words and "Every picture is a png file." in page.words
    assert page.num_figures == 1


def test_sources_that_are_grown_are_told_with_what_that_costs():
    same = np.full(10, 128)
    kept = KeptPictures(same, same, same * 100, np.array(["png"] * 10), image_size=256)
    words = read(make_facts(kept=kept)).words
    assert "10 of 10 pictures (100.0%) are smaller than 256x256 and are grown, the median one from 128 pixels" in words
    assert "a network takes 4.0 times as long as with records.image_size 128" in words
    large = KeptPictures(same * 2, same * 2, same, np.array(["png"] * 10), image_size=256)
    assert "are grown" not in read(make_facts(kept=large)).words


def test_few_groups_of_a_split_that_is_measured_on_are_told():
    rule = SplitRule({"train": 0.7, "validation": 0.3}, {"train": 2, "validation": 2}, 17, "a column")
    words = read(make_facts(split=rule)).words
    assert "2 groups in validation are few" in words and "in train are few" not in words
    assert "are few" not in read(make_facts()).words  # where each picture is a group of its own


def test_shards_and_settings_are_folded():
    text = render("faces", make_facts())
    assert "<details><summary>1 shard</summary>" in text and "<details><summary>settings</summary>" in text


def test_notes_say_what_was_done():
    facts = make_facts(notes={"exif_rotated": 3, "alpha": 0}, note_meanings={"exif_rotated": "turned upright"})
    page = read(facts)
    assert "exif rotated3turned upright" in page.words
    assert "alpha" not in page.words


def test_the_probe_gives_figures_verdict_and_warning():
    row = ProbeRow("file_size", 0.913, 0.871, 0.944, 0.5, "tells the class", is_flagged=True)
    probe = Probe((row,), ("The size of the file gives the class away.",), classes="2 of 3 classes")
    page = read(make_facts(probe=probe))
    assert "Measured by cross-validation on 2 of 3 classes." in page.words
    assert "file sizetells the class91.3%87.1% to 94.4%50.0%" in page.words
    assert "The size of the file gives the class away." in page.words


def test_a_probe_that_was_not_tried_says_why():
    assert "Not tried: not enough groups." in read(make_facts(probe=Probe(skipped="not enough groups"))).words


def test_warnings_stand_before_all_else():
    page = read(make_facts(warnings=("Nine in ten pictures are happy.",)))
    assert page.words.index("Nine in ten pictures are happy.") < page.words.index("files found")
    assert "Look at this first" not in read(make_facts()).words


def test_names_are_escaped_wherever_they_stand():
    evil = "<script>alert(1)</script>\"'&\n\x1b\udcff\u202egnp.exe"
    sample = Sample(f"{evil}/x", evil, FACE, split="train", measured=evil, limit=evil, is_flagged=True)
    group = Copies(evil, (CopyGroup((sample, sample), 2),), 1, 2)
    facts = make_facts(
        classes={evil: ClassCounts({evil: 10}, {evil: 3})},
        split=SplitRule({evil: 1.0}, {evil: 2}, 0, evil),
        origin=Origin(evil, evil, {evil: evil}, evil, (ShardInfo(evil, 1, 1, evil),)),
        rejects={evil: (sample,)},
        **{"conflicts": group, "exact_copies": group, "near_duplicates": group},
        notable=(Notable(evil, (sample,), evil, 1),),
        notes={evil: 1},
        note_meanings={evil: evil},
        probe=Probe((ProbeRow(evil, 0.5, 0.4, 0.6, 0.5, evil),), (evil,)),
        warnings=(evil,),
    )
    page = Page(render(evil, facts))
    assert page.faults == []
    assert r"""<script>alert(1)</script>"'&\n\x1b\udcff\u202egnp.exe/x""" in page.titles
    assert "\x1b" not in page.words and "\u202e" not in page.words


def test_long_names_are_cut_in_the_middle_and_whole_under_the_pointer():
    path = "sad/" + "a" * 80 + "_end.png"
    page = read(make_facts(rejects={"cut_off": (Sample(path, "sad"),)}))
    assert path in page.titles
    assert "aaa…aaa" in page.words and "_end.png" in page.words and "a" * 60 not in page.words


def test_a_hundred_classes_are_all_listed():
    classes = {f"class {i:03d}": ClassCounts({"train": i}, {"empty": 1} if i == 7 else {}) for i in range(100)}
    page = read(make_facts(classes=classes, kept=make_kept(4950)))
    assert all(name in page.words for name in classes)
    assert "Classes without any, which are not listed: 99." in page.words


def test_a_full_page_stays_under_ten_megabytes():
    noise = np.random.default_rng(0).integers(0, 256, (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8)
    photograph = encode_small(cv2.GaussianBlur(noise, (0, 0), 1.0))  # more detail than photographs have
    sample = Sample("sad/a.png", "sad", photograph, split="train")
    copies = Copies("", (CopyGroup((sample,) * MAX_COPIES, 9),) * MAX_GROUPS, MAX_GROUPS, 360)
    reasons = [f"reason_{i}" for i in range(12)]
    facts = make_facts(
        classes={"sad": ClassCounts({"train": 10}, dict.fromkeys(reasons, 500))},
        rejects=dict.fromkeys(reasons, (sample,) * MAX_REJECTS),
        **{"conflicts": copies, "exact_copies": copies, "near_duplicates": copies},
        notable=tuple(Notable(name, (sample,) * 8) for name in ("darkest", "lightest", "blurriest", "emptiest", "odd")),
    )
    assert len(render("faces", facts).encode()) < 10_000_000


def encode_small(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()


@pytest.mark.parametrize(
    ("number", "largest", "num_figures"), [(1, 4000, 1), (5, 21, 2), (3000, 4000, 3), (3000, 60, 3)]
)
def test_sizes_are_drawn_for_few_and_for_many_where_they_differ(number, largest, num_figures):
    classes = {"sad": ClassCounts({"train": number})}
    facts = make_facts(classes=classes, kept=make_kept(number, largest=largest))
    assert read(facts).num_figures == num_figures
    assert render("faces", facts) == render("faces", facts)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kept": make_kept(9)}, "9 sizes for 10 kept pictures"),
        ({"rejects": {"empty": (Sample("a/b", "a"),)}}, "empty"),
        ({"classes": {"sad": ClassCounts({"other": 10})}}, "other"),
    ],
)
def test_facts_that_do_not_add_up_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        make_facts(**change)
