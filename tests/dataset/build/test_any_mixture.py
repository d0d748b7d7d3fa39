"""Copies, near copies, conflicts of labels, groups and rejects in every mixture are built, and every verdict holds."""

import csv
import io
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import list_recorded, read_findings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder

pytestmark = pytest.mark.usefixtures("warm_workers")
CLASSES = ("angry", "happy", "sad")
POLICIES = ("drop", "fail", "keep")


def draw_scene(seed: int) -> np.ndarray:
    """A picture like no other: uint8 [96, 96, 3]."""
    colors = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(colors, (96, 96), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def make_file(scene: int, form: str) -> bytes:
    pixels = draw_scene(scene)
    make = {
        "png": lambda: encode(pixels, "PNG"),
        "bmp": lambda: encode(pixels, "BMP"),  # the same pixels
        "jpeg": lambda: encode(pixels, "JPEG", quality=60),
        "mirrored": lambda: encode(pixels[:, ::-1], "PNG"),
        "darker": lambda: encode((pixels * 0.8).astype(np.uint8), "PNG"),
        "cut": lambda: encode(pixels, "PNG")[:200],
        "text": lambda: b"not a picture",
        "empty": lambda: b"",
    }
    return make[form]()


EQUAL = ("png", "bmp")
REJECTED = {"cut": "cut_off", "text": "not_an_image", "empty": "empty"}
FORMS = (*EQUAL, "jpeg", "mirrored", "darker", *REJECTED)
FILES = {(scene, form): make_file(scene, form) for scene in range(3) for form in FORMS}
# One for each split, without which a build with a test split is refused.
ANCHORS = {name: [make_file(100 + 3 * index + i, "png") for i in range(3)] for index, name in enumerate(CLASSES)}

# Class, scene, form, group of a file, few enough of each that they meet.
PICTURE = st.tuples(
    st.sampled_from(CLASSES), st.integers(0, 2), st.sampled_from(FORMS), st.sampled_from(["", "", "ann", "bob"])
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mixture")


def write_pictures(folder: Path, pictures) -> dict[str, tuple[str, int, str, str]]:
    """Writes an images folder; returns what each path shows."""
    shown = {}
    shutil.rmtree(folder, ignore_errors=True)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for index, content in enumerate(ANCHORS[name]):
            (folder / name / f"m{index}.png").write_bytes(content)
    for index, (name, scene, form, group) in enumerate(pictures):
        path = f"{name}/{'az'[index % 2]}{index:02d}"
        (folder / path).write_bytes(FILES[scene, form])
        shown[path] = (name, scene, form, group)
    rows = "".join(f"{path},{group}\n" for path, (*_, group) in shown.items() if group)
    if rows:
        (folder / "groups.csv").write_text(f"path,group\n{rows}")
    return shown


def make_config(images: Path, records: Path, policy: str, near_policy: str, near: str = "group") -> Config:
    return Config.model_validate(
        {
            "data": {"images": images, "records": records},
            "records": {"image_size": 64, "min_shards": 2},
            "clean": {"label_conflicts": policy, "near_copies": near, "near_conflicts": near_policy},
            "split": {"validation": 0.3, "test": 0.2},
        }
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PICTURE, max_size=14), st.sampled_from(POLICIES), st.sampled_from([*POLICIES, "ignore"]))
def test_every_mixture_is_built(place, pictures, policy, near_policy):
    shown = write_pictures(place / "images", pictures)
    shutil.rmtree(place / "records", ignore_errors=True)
    near = ("keep", "ignore") if near_policy == "ignore" else (near_policy, "group")
    config = make_config(place / "images", place / "records", policy, *near)
    try:
        builder.build(config)
    except DataError as error:
        is_exact = policy == "fail" and "show one picture under two classes" in str(error)
        assert is_exact or (near_policy == "fail" and "show nearly one picture under two classes" in str(error))
        assert len({scene for _, scene, form, _ in shown.values() if form not in REJECTED}) < len(
            {(scene, name) for name, scene, form, _ in shown.values() if form not in REJECTED}
        )
        return
    check(place, shown, policy, near_policy)
    assert "is up to date" in builder.build(config)


def check(place: Path, shown, policy: str, near_policy: str) -> None:
    rows = read_rows(place / "records")
    paths = [row["path"] for row in rows]
    anchors = [f"{name}/m{index}.png" for name in CLASSES for index in range(3)]
    assert sorted(paths) == sorted([*shown, *anchors]), "every file has one row"
    found = {row["path"]: row for row in rows}
    kept = {path for path, row in found.items() if row["verdict"] == "kept"}
    assert kept == list_recorded(place / "records")
    assert set(anchors) <= kept
    for path, row in found.items():
        if path in shown and shown[path][2] in REJECTED:
            assert row["reason"] == REJECTED[shown[path][2]]
        else:
            check_copy(path, row, found, kept, policy, near_policy)
    check_equal_pictures(found, shown, policy, near_policy)
    check_sides(found, shown, kept)
    check_report(place / "records", set(found) - kept)


def check_copy(path: str, row, found, kept, policy: str, near_policy: str) -> None:
    assert row["reason"] in ("", "duplicate", "label_conflict")
    named = row["measured"].partition("equals ")[2]
    if row["reason"] == "duplicate":
        assert named in kept and found[named]["class_name"] == row["class_name"]
        assert found[named]["pixels_sha256"] == row["pixels_sha256"]
    if row["reason"] == "label_conflict":
        is_near = row["measured"].startswith("nearly ")
        assert (near_policy if is_near else policy) == "drop" and found[named]["class_name"] != row["class_name"]
        assert found[named]["reason"] == "label_conflict"
    if path in kept and row["near_copy_of"]:
        assert row["near_copy_of"] in kept
    notes = row["notes"].split()
    assert "label_conflict" not in notes or (path in kept and policy == "keep")
    assert "near_conflict" not in notes or (path in kept and near_policy == "keep")


def check_equal_pictures(found, shown, policy: str, near_policy: str) -> None:
    """Of pictures whose pixels are equal one a class stays; none if their classes differ and conflicts are dropped."""
    equal = defaultdict(lambda: defaultdict(list))
    for path, (name, scene, form, _) in shown.items():
        if form not in REJECTED:
            equal[scene, "png" if form in EQUAL else form][name].append(path)
    for by_class in equal.values():
        for paths in by_class.values():
            reasons = [found[path]["reason"] for path in sorted(paths)]
            if len(by_class) > 1 and policy == "drop":
                assert set(reasons) == {"label_conflict"}
            elif "label_conflict" in reasons:  # a near copy of another class
                assert near_policy == "drop" and set(reasons) == {"label_conflict"}
            else:
                assert reasons == ["", *["duplicate"] * (len(paths) - 1)]


def check_sides(found, shown, kept) -> None:
    sides, of_person = defaultdict(set), defaultdict(set)
    for path in kept:
        sides[found[path]["group"]].add(found[path]["split"])
        if path in shown and shown[path][3]:
            of_person[shown[path][3]].add(found[path]["split"])
    for path, row in found.items():
        if row["reason"] == "duplicate":
            first = found[row["measured"].removeprefix("equals ")]
            if shown[path][3]:
                of_person[shown[path][3]].add(first["split"])
        if path in kept and row["near_copy_of"]:
            assert row["split"] == found[row["near_copy_of"]]["split"]
    assert all(len(splits) == 1 for splits in (*sides.values(), *of_person.values())), (sides, of_person)


class Titles(HTMLParser):
    """What stands under the pointer of each picture of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.titles = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.titles.add(dict(attributes).get("title"))


def check_report(records: Path, rejected: set[str]) -> None:
    assert rejected <= Titles((records / "report.html").read_text()).titles


def read_rows(records: Path) -> list[dict[str, str]]:
    with (records / "cleaning.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def build_files(
    place: Path,
    files: dict[str, tuple[int, str]],
    policy: str = "drop",
    near_policy: str = "keep",
    groups: str = "",
    seed: int = 0,
):
    """Builds records of anchors and of `files`: path -> scene and form."""
    write_pictures(place / "images", [])
    for path, chosen in files.items():
        (place / "images" / path).write_bytes(FILES[chosen])
    if groups:
        (place / "images" / "groups.csv").write_text(groups)
    shutil.rmtree(place / "records", ignore_errors=True)
    config = make_config(place / "images", place / "records", policy, near_policy)
    builder.build(config.model_copy(update={"split": config.split.model_copy(update={"seed": seed})}))
    found = read_findings(place / "records")
    return {path: (found[path]["reason"], found[path]["measured"]) for path in files}


TWICE_AND_AGAIN = {"happy/p.png": (0, "png"), "happy/p2.png": (0, "bmp"), "sad/again.jpg": (0, "jpeg")}


def test_copies_of_a_picture_in_conflict_are_in_conflict_too(place):
    assert build_files(place, TWICE_AND_AGAIN, near_policy="drop") == {
        "happy/p.png": ("label_conflict", "nearly equals sad/again.jpg"),
        "happy/p2.png": ("label_conflict", "nearly equals sad/again.jpg"),
        "sad/again.jpg": ("label_conflict", "nearly equals happy/p.png"),
    }
    check_report(place / "records", set(TWICE_AND_AGAIN))


def test_a_near_copy_of_a_picture_whose_equal_has_another_class_is_in_conflict(place):
    files = {"happy/p.png": (0, "png"), "happy/near.jpg": (0, "jpeg"), "sad/p.bmp": (0, "bmp")}
    assert build_files(place, files, near_policy="drop") == {
        "happy/p.png": ("label_conflict", "equals sad/p.bmp"),
        "happy/near.jpg": ("label_conflict", "nearly equals sad/p.bmp"),
        "sad/p.bmp": ("label_conflict", "equals happy/p.png"),
    }


def test_near_copies_of_two_classes_stay_and_are_noted(place):
    assert build_files(place, TWICE_AND_AGAIN) == {
        "happy/p.png": ("", ""),
        "happy/p2.png": ("duplicate", "equals happy/p.png"),
        "sad/again.jpg": ("", ""),
    }
    found = read_findings(place / "records")
    first, second = found["happy/p.png"], found["sad/again.jpg"]
    assert "near_conflict" in first["notes"].split() and "near_conflict" in second["notes"].split()
    assert (first["near_copy_of"], second["near_copy_of"]) == ("sad/again.jpg", "happy/p.png")
    assert (first["group"], first["split"]) == (second["group"], second["split"])


def test_pictures_that_a_dropped_one_nearly_equals_stay_on_one_side(place):
    files = {
        "happy/p.png": (0, "png"),
        "sad/p.bmp": (0, "bmp"),
        "happy/n.jpg": (0, "jpeg"),
        "sad/m.png": (0, "mirrored"),
    }
    for seed in range(4):
        assert build_files(place, files, seed=seed) == {
            "happy/p.png": ("label_conflict", "equals sad/p.bmp"),
            "sad/p.bmp": ("label_conflict", "equals happy/p.png"),
            "happy/n.jpg": ("", ""),
            "sad/m.png": ("", ""),
        }
        found = read_findings(place / "records")
        assert found["happy/n.jpg"]["group"] == found["sad/m.png"]["group"]


def test_near_copies_of_two_classes_can_be_an_error(place):
    with pytest.raises(DataError, match=r"show nearly one picture under two classes.*clean\.near_conflicts to keep"):
        build_files(place, TWICE_AND_AGAIN, near_policy="fail")
    files = {"happy/p.png": (0, "png"), "happy/again.jpg": (0, "jpeg")}
    assert build_files(place, files, near_policy="fail") == dict.fromkeys(files, ("", ""))


def test_a_rule_for_near_copies_that_nobody_looks_for_is_refused(place):
    with pytest.raises(ValidationError, match=r"it should be keep with clean\.near_copies ignore"):
        make_config(place / "images", place / "records", "drop", "fail", "ignore")


def test_a_duplicate_is_shown_with_the_picture_of_its_class(place):
    files = {"happy/p.png": (0, "png"), "happy/p2.png": (0, "bmp"), "sad/p3.png": (0, "png")}
    assert build_files(place, files, "keep") == {
        "happy/p.png": ("", ""),
        "happy/p2.png": ("duplicate", "equals happy/p.png"),
        "sad/p3.png": ("", ""),
    }
    page = (place / "records" / "report.html").read_text()
    shown = Titles(page[page.index("<h3>Exact copies") : page.index("<h3>Nearly the same <")]).titles
    assert shown >= {"happy/p.png", "happy/p2.png"} and "sad/p3.png" not in shown


def test_a_build_that_is_to_fail_on_conflicts_passes_without_any(place):
    assert build_files(place, {"happy/p.png": (0, "png")}, "fail") == {"happy/p.png": ("", "")}


def test_a_duplicate_brings_its_group_to_the_picture_it_equals(place):
    """Else a person's picture would be trained on, and another of the same person be measured on."""
    files = {"happy/a.png": (0, "png"), "happy/z.png": (0, "bmp"), "happy/other.png": (1, "png")}
    for seed in range(4):
        build_files(place, files, groups="path,group\nhappy/z.png,ann\nhappy/other.png,ann\n", seed=seed)
        found = read_findings(place / "records")
        assert found["happy/z.png"]["reason"] == "duplicate"
        assert found["happy/a.png"]["group"] == found["happy/other.png"]["group"]
        assert found["happy/a.png"]["split"] == found["happy/other.png"]["split"]
